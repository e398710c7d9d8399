"""The ROC of a membership attack, exact with ties, and its value at few false alarms only where there are enough non-members."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

#: A rate of false alarms is stated only when at least so many of the non-members at hand may be false alarms at that rate.
FALSE_ALARMS = 5


@dataclass(frozen=True)
class Ranking:
    """Scores sorted once, so that a resample is a set of weights.

    ``order`` (N,): positions by falling score. ``ends`` (P,): where each run of equal scores ends, -1 first. ``thresholds`` (P,): inf,
    then the scores of the runs. ``inside`` (N,) float64: 1 for a member, in that order.
    """

    order: Tensor
    ends: Tensor
    thresholds: Tensor
    inside: Tensor

    def roc(self, weights: Tensor | None = None) -> Roc:
        """Return the ROC, each score counted ``weights`` (N,) times, given in ``order`` (once by default)."""
        each = torch.ones_like(self.inside) if weights is None else weights.to(self.inside)
        found = each * self.inside
        # The appended zero stands at -1: the strictest threshold calls nobody a member.
        true, called = (torch.cat([part.cumsum(0), part.new_zeros(1)])[self.ends] for part in (found, each))
        return Roc(self.thresholds, called - true, true)


@dataclass(frozen=True)
class Roc:
    """Operating points from the strictest threshold to the laxest; a record is called a member when its score >= the threshold.

    ``thresholds`` (P,): falling, the first is inf. ``false`` and ``true`` (P,): how many non-members and members are called members.
    Equal scores are one point: no threshold tells them apart.
    """

    thresholds: Tensor
    false: Tensor
    true: Tensor

    @property
    def fpr(self) -> Tensor:
        """The share of non-members called members, (P,)."""
        return self.false / self.false[-1]

    @property
    def tpr(self) -> Tensor:
        """The share of members found, (P,)."""
        return self.true / self.true[-1]

    @property
    def auc(self) -> float:
        """The area under the curve: the chance that a member scores higher than a non-member, ties counted half."""
        area = ((self.true[1:] + self.true[:-1]) * self.false.diff()).sum()  # of counts: exact
        return float(area / (2 * self.true[-1] * self.false[-1]))

    @property
    def advantage(self) -> float:
        """The largest TPR - FPR over all thresholds, which an attacker who knew it would reach (Yeom et al. 2018)."""
        return float((self.tpr - self.fpr).max())

    @property
    def balanced_accuracy(self) -> float:
        """The accuracy at the best threshold when members and non-members count alike: (1 + advantage) / 2."""
        return (1 + self.advantage) / 2

    def tpr_at(self, fpr: float) -> float:
        """Return the largest TPR of all thresholds whose FPR is at most ``fpr``; nothing is interpolated.

        Raises ValueError for an ``fpr`` outside (0, 1], and with fewer than 5 / fpr non-members (5,000 for 0.1 %): below that, the
        number would be the luck of a handful of records.
        """
        if not 0 < fpr <= 1:
            raise ValueError(f"a rate of false alarms lies between 0 and 1, got {fpr}; 1 % is 0.01")
        negatives, needed = float(self.false[-1]), FALSE_ALARMS / fpr
        if negatives < needed - 1e-6:
            raise ValueError(
                f"{negatives:,.0f} scores of non-members are too few to state a TPR at an FPR of {fpr:.3g}: {needed:,.0f} are needed "
                f"({FALSE_ALARMS} false alarms). Use more records, pool several target models, or state a higher FPR"
            )
        return float(self.tpr[self.false <= fpr * negatives + 1e-6].max())


def rank(scores: Tensor, members: Tensor) -> Ranking:
    """Sort scores (N,), higher = more likely a member, with the truth (N,) bool. Raises ValueError for NaN or only one kind of record."""
    if scores.shape != members.shape or scores.ndim != 1 or members.dtype != torch.bool:
        raise ValueError(f"scores (N,) go with members (N,) of booleans; got {tuple(scores.shape)}, {tuple(members.shape)} {members.dtype}")
    if broken := int(scores.isnan().sum()):
        raise ValueError(f"{broken} of {len(scores)} scores are NaN; was a variance zero, or the model's answer NaN?")
    if not bool(members.any()) or bool(members.all()):
        raise ValueError(f"{int(members.sum())} members among {len(members)} records: a ROC needs members and non-members")
    values, order = scores.sort(descending=True, stable=True)
    last = torch.ones(len(values), dtype=torch.bool, device=values.device)
    last[:-1] = values[1:] != values[:-1]
    runs = last.nonzero().squeeze(1)
    first = runs.new_full((1,), -1)
    thresholds = torch.cat([values.new_full((1,), torch.inf, dtype=torch.float64), values[runs].double()])
    return Ranking(order, torch.cat([first, runs]), thresholds, members[order].double())
