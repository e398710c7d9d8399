"""What an inversion hands back: one reconstruction per class, how sure the model is of it, and what that took."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from torch import Tensor

from labkit.attacks.outcome import Outcome
from labkit.rates import Rate

Stop = Literal["confident", "stalled", "steps", "queries"]


@dataclass(frozen=True)
class InversionResult(Outcome):
    """The outcome of inverting T classes; every tensor has T rows.

    ``x``: the reconstructions (T, ...), inside the model's bounds. ``target`` (T,) int64: the classes. ``confidence`` (T,): the model's
    probability of the target on ``x``, as the attacker saw it. ``steps``, ``forwards``, ``backwards``, ``queries`` (T,) int64: what each
    class took; an attack by queries has no forwards of its own. ``stopped``: why each search ended: "confident" (the wished confidence),
    "stalled" (no progress), "steps", or "queries" (the service answered no more). ``blind`` (T,) bool: the first gradient was exactly zero.
    ``code``: where the search ended in the prior's own coordinates. ``wanted``: the confidence asked for. ``trace``: (S, T) confidence at
    each step, nan after a class had stopped. That the model is sure says nothing about likeness: ``identify`` and ``likeness`` do.
    """

    x: Tensor
    target: Tensor
    confidence: Tensor
    steps: Tensor
    forwards: Tensor
    backwards: Tensor
    queries: Tensor
    stopped: tuple[Stop, ...]
    blind: Tensor
    code: Tensor
    wanted: float
    trace: Tensor
    threat: str = "19_model_inversion"
    meta: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.target)

    @property
    def convinced(self) -> Rate:
        """Classes whose reconstruction reached the wished confidence, of all."""
        return Rate(int((self.confidence >= self.wanted).sum()), len(self), "classes")

    @property
    def metrics(self) -> dict[str, Rate | float]:
        """What the model thinks of the reconstructions; whether they look like anybody takes a judge (``identify``)."""
        return {"model convinced": self.convinced, "median confidence": float(self.confidence.double().quantile(0.5))}

    @property
    def costs(self) -> dict[str, float]:
        """Evaluations of the model, or queries to the service, all classes together; what was not used is left out."""
        spent = {"forwards": self.forwards, "backwards": self.backwards, "queries": self.queries}
        return {name: int(count.sum()) for name, count in spent.items() if int(count.sum())}
