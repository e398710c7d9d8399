"""What a membership attack hands back: a score for every record, the truth beside it, and what that is worth."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from labkit.attacks.membership.roc import FALSE_ALARMS, Ranking, Roc, rank
from labkit.attacks.outcome import Outcome
from labkit.rates import Rate
from labkit.seeding import generator
from labkit.threats import ThreatModelCard
from labkit.threats.catalogue import card


@dataclass(frozen=True)
class MembershipResult(Outcome):
    """Scores of records, of one target model or pooled over several.

    ``scores``: (N,), higher = more likely a member. ``members``: (N,) bool, the truth. ``targets``: (N,) int64, the target model that a
    score is about (0 by default). ``records``: (N,) int64, its number in the pool (0 to N - 1 by default). ``units``: (N,) int64, what a
    bootstrap draws: targets that were attacked with the same shadows belong together (``targets`` by default). ``queries``: asked of all
    targets together; ``trainings``: shadow models trained. Raises ValueError for NaN, other shapes, or one kind of record only.
    """

    scores: Tensor
    members: Tensor
    targets: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64))
    records: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64))
    units: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64))
    queries: int = 0
    trainings: int = 0

    def __post_init__(self) -> None:
        count = len(self.scores)
        missing = {
            "targets": torch.zeros(count, dtype=torch.int64),
            "records": torch.arange(count),
            "units": self.targets if len(self.targets) else torch.zeros(count, dtype=torch.int64),
        }
        for name, value in missing.items():
            if not len(getattr(self, name)):
                object.__setattr__(self, name, value)
            elif len(getattr(self, name)) != count:
                raise ValueError(f"{count} scores but {len(getattr(self, name))} {name}")
        _ = self.ranking  # judged now, not when the first number is asked for

    @classmethod
    def of(cls, scores: Tensor, members: Tensor, *, units: Tensor | None = None, queries: int = 1, trainings: int = 0) -> MembershipResult:
        """Pool scores (T, N) about T target models over the same N records, with the truth (T, N) bool.

        ``units`` (T,): which targets a bootstrap draws together. ``queries``: asked for each score. Raises ValueError as the class does.
        """
        if scores.ndim != 2 or scores.shape != members.shape:
            raise ValueError(f"scores and members must both be (targets, records), got {tuple(scores.shape)} and {tuple(members.shape)}")
        models, count = scores.shape
        targets = torch.arange(models).repeat_interleave(count)
        drawn = targets if units is None else units.repeat_interleave(count)
        records = torch.arange(count).repeat(models)
        return cls(scores.flatten().cpu(), members.flatten().cpu(), targets, records, drawn, queries * scores.numel(), trainings)

    @cached_property
    def ranking(self) -> Ranking:
        """The scores, sorted once."""
        return rank(self.scores, self.members)

    @cached_property
    def roc(self) -> Roc:
        """The ROC over all scores."""
        return self.ranking.roc()

    @property
    def auc(self) -> float:
        """The chance that a member scores higher than a non-member."""
        return self.roc.auc

    @property
    def advantage(self) -> float:
        """The largest TPR - FPR."""
        return self.roc.advantage

    @property
    def balanced_accuracy(self) -> float:
        """The accuracy at the best threshold, both kinds counted alike."""
        return self.roc.balanced_accuracy

    def tpr_at(self, fpr: float) -> float:
        """Return the share of members found at that rate of false alarms. Raises ValueError with fewer than 5 / fpr non-members."""
        return self.roc.tpr_at(fpr)

    def called(self, threshold: float) -> Tensor:
        """Return who is called a member at a threshold, (N,) bool: score >= threshold."""
        return self.scores >= threshold

    def precision(self, threshold: float) -> Rate:
        """Return how many of those called members are members."""
        called = self.called(threshold)
        return Rate(int((called & self.members).sum()), int(called.sum()), "records called members")

    def recall(self, threshold: float) -> Rate:
        """Return how many of the members are called so."""
        return Rate(int((self.called(threshold) & self.members).sum()), int(self.members.sum()), "members")

    def interval(self, of: Callable[[Roc], float], *, level: float = 0.95, resamples: int = 300, seed: int = 0) -> tuple[float, float]:
        """Return the percentile bootstrap interval of a number of the ROC, drawing target models again and not records.

        ``of``: such as ``lambda roc: roc.tpr_at(0.01)``. All scores about one model share its training run: drawing records as if each
        were an independent trial would make the interval too narrow. Raises ValueError with fewer than two units, for then nothing is
        known about how the number varies from model to model.
        """
        return self.intervals({"it": of}, level=level, resamples=resamples, seed=seed)["it"]

    def intervals(
        self, of: Mapping[str, Callable[[Roc], float]], *, level: float = 0.95, resamples: int = 300, seed: int = 0
    ) -> dict[str, tuple[float, float]]:
        """Return the intervals of several numbers by name, from the same resamples. Raises ValueError as ``interval`` does."""
        names, unit = torch.unique(self.units, return_inverse=True)
        if len(names) < 2:
            raise ValueError(f"an interval over models needs two target models or more, and these scores are about {len(names)}")
        unit = unit[self.ranking.order]
        source, values = generator(seed, "membership", "bootstrap"), torch.empty(resamples, len(of), dtype=torch.float64)
        for row in values:
            drawn = torch.randint(len(names), (len(names),), generator=source)
            roc = self.ranking.roc(torch.bincount(drawn, minlength=len(names))[unit])
            row[:] = torch.tensor([number(roc) for number in of.values()], dtype=torch.float64)
        ends = values.quantile(torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64), dim=0)
        return {name: (float(low), float(high)) for name, low, high in zip(of, *ends, strict=True)}

    def exposure(self) -> Tensor:
        """Return for each record of the pool its mean score where it was a member minus where it was not, (R,); nan where one is missing.

        It says who is at risk; it takes the truth, so it is an audit's number and not the attacker's.
        """
        size = int(self.records.max()) + 1
        means = []
        for chosen in (self.members, ~self.members):
            total = torch.zeros(size, dtype=torch.float64).index_add_(0, self.records[chosen], self.scores[chosen].double())
            means.append(total / torch.bincount(self.records[chosen], minlength=size))
        return means[0] - means[1]

    @property
    def metrics(self) -> dict[str, Rate | float]:
        """AUC, advantage, balanced accuracy, and the TPR at 1 % and 0.1 % FPR; the latter two nan with too few non-members."""
        negatives = float(self.roc.false[-1])
        low = {f"TPR at {100 * fpr:g} % FPR": self.tpr_at(fpr) if negatives * fpr >= FALSE_ALARMS else torch.nan for fpr in (0.01, 0.001)}
        return {"AUC": self.auc, "advantage": self.advantage, "balanced accuracy": self.balanced_accuracy, **low}

    @property
    def costs(self) -> dict[str, float]:
        """The queries to the targets, and the shadow models trained."""
        return {"queries": self.queries, "trainings": self.trainings}

    @property
    def threat(self) -> ThreatModelCard:
        """Who attacks, knowing what."""
        return card("20_membership_inference")
