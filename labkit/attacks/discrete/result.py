"""What an attack on texts hands back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from labkit.attacks.outcome import Outcome
from labkit.rates import Rate
from labkit.threats.substitutions import Substitutions


@dataclass(frozen=True)
class SubstitutionResult(Outcome):
    """The outcome of a substitution attack on B texts.

    ``success`` (B,) bool: the goal is met, by one fresh answer of the model on ``texts_adv``. ``already``: it was met before; such texts
    are untouched. ``prediction`` (B,) int64 on ``texts_adv``. ``changed``, ``words`` (B,) int64: words replaced, of how many. ``queries``
    (B,) int64: texts that the model answered for it, each different text once, the verifying answer not among them; ``repeats``:
    questions answered from memory, which some libraries count as queries. ``gradients`` (B,) int64. ``logs``: per text, what was asked,
    in order, if kept.
    """

    texts: list[str]
    texts_adv: list[str]
    y: Tensor
    success: Tensor
    already: Tensor
    prediction: Tensor
    changed: Tensor
    words: Tensor
    queries: Tensor
    repeats: Tensor
    gradients: Tensor
    threat: Substitutions
    logs: list[list[str]] = field(default_factory=list)
    meta: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def turned(self) -> Tensor:
        """Return (B,) bool: the goal was not met before and is met now."""
        return self.success & ~self.already

    @property
    def accuracy_before(self) -> Rate:
        """Texts that were read correctly before, over all. Raises ValueError for a targeted attack."""
        self._untargeted()
        return Rate(int((~self.already).sum()), len(self), "texts")

    @property
    def accuracy_after(self) -> Rate:
        """Texts still read correctly under attack, over all: those wrong before count as wrong. Raises ValueError if targeted."""
        self._untargeted()
        return Rate(int((~self.success).sum()), len(self), "texts")

    @property
    def success_rate(self) -> Rate:
        """Texts that the attack turned, over those that did not meet the goal before: skipped texts are no successes."""
        attacked = "texts not read as the target before" if self.meta.get("targeted") else "texts read correctly before"
        return Rate(int(self.turned.sum()), int((~self.already).sum()), attacked)

    @property
    def share_changed(self) -> float:
        """The mean share of words replaced in the texts that were turned; nan if there are none."""
        shares = (self.changed / self.words.clamp_min(1))[self.turned]
        return float(shares.double().mean()) if len(shares) else float("nan")

    @property
    def median_changed(self) -> float:
        """The median number of words replaced in the texts that were turned; nan if there are none."""
        return float(self.changed[self.turned].double().quantile(0.5)) if bool(self.turned.any()) else float("nan")

    @property
    def mean_queries(self) -> float:
        """Queries for each text that was attacked, failures included; nan if there are none."""
        return float(self.queries[~self.already].double().mean()) if bool((~self.already).any()) else float("nan")

    @property
    def metrics(self) -> dict[str, Rate | float]:
        """Success and, unless targeted, accuracy before and after; words replaced."""
        rates: dict[str, Rate | float] = {"success": self.success_rate}
        if not self.meta.get("targeted"):
            rates |= {"accuracy before": self.accuracy_before, "accuracy under attack": self.accuracy_after}
        return {**rates, "median words changed": self.median_changed, "mean share of words changed": self.share_changed}

    @property
    def costs(self) -> dict[str, float]:
        """Answers of the model, and gradients, all texts together."""
        spent = {"queries": int(self.queries.sum()), "gradients": int(self.gradients.sum())}
        return {unit: float(count) for unit, count in spent.items() if count or unit == "queries"}

    def _untargeted(self) -> None:
        if self.meta.get("targeted"):
            raise ValueError("a targeted attack does not measure accuracy: not reaching the target is not being right")

    def __str__(self) -> str:
        return f"{self.meta.get('attack', 'attack')} under {self.threat}: success {self.success_rate}"


__all__ = ["SubstitutionResult"]
