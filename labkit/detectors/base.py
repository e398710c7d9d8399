"""What a detector of suspicious inputs is, and how it is judged."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol, Self

import torch
from torch import Tensor

from labkit.attacks.result import AttackResult
from labkit.rates import Rate


class Detector(Protocol):
    """Scores inputs: higher is more suspicious. ``score`` is differentiable in x wherever the method is."""

    def fit(self, x: Tensor, y: Tensor | None = None) -> Self:
        """Learn what normal inputs look like from x (N, ...)."""
        ...

    def score(self, x: Tensor) -> Tensor:
        """Return how suspicious each input is, (B,)."""
        ...


def threshold_at_fpr(normal: Tensor, fpr: float) -> float:
    """Return the smallest threshold at which at most ``fpr`` of the normal scores lie above it.

    ``normal``: (N,) scores of clean inputs that the detector was not fitted on. An input is flagged when its score is *greater*
    than the threshold. Raises ValueError for an empty tensor, non-finite scores, or a rate outside [0, 1].
    """
    if not len(normal):
        raise ValueError("a threshold needs at least one normal score")
    if not 0 <= fpr <= 1:
        raise ValueError(f"fpr must lie in [0, 1], got {fpr}")
    if not bool(normal.isfinite().all()):
        raise ValueError("normal scores must be finite; nan or inf seen")
    ordered = normal.double().sort().values
    allowed = math.floor(fpr * len(ordered) + 1e-9)  # how many normal inputs may be flagged
    if allowed >= len(ordered):
        return -math.inf
    return float(ordered[len(ordered) - 1 - allowed])


def auroc(normal: Tensor, attacked: Tensor) -> float:
    """Return the probability that an attacked input scores above a normal one, ties counting one half (Mann-Whitney).

    Raises ValueError when either is empty or holds nan.
    """
    normal, scores = _both_sides(normal, attacked)
    ordered = normal.sort().values
    below = torch.searchsorted(ordered, scores, right=False)
    not_above = torch.searchsorted(ordered, scores, right=True)
    return float((below + not_above).double().mean() / (2 * len(ordered)))


def average_precision(normal: Tensor, attacked: Tensor) -> float:
    """Return the area under the precision-recall curve with the attacked inputs as positives; ties share one threshold.

    Raises ValueError when either is empty or holds nan.
    """
    scores = torch.cat(_both_sides(normal, attacked))
    positive = torch.cat([torch.zeros(len(normal)), torch.ones(len(attacked))]).double()
    scores, order = scores.sort(descending=True)
    hits = positive[order].cumsum(0)
    last = torch.cat([scores[1:] != scores[:-1], torch.ones(1, dtype=torch.bool)])  # only the end of a tie is a threshold
    recall, precision = hits[last] / len(attacked), hits[last] / (torch.arange(len(scores))[last] + 1)
    return float((recall.diff(prepend=torch.zeros(1, dtype=torch.float64)) * precision).sum())


def _both_sides(normal: Tensor, attacked: Tensor) -> tuple[Tensor, Tensor]:
    if not len(normal) or not len(attacked):
        raise ValueError(f"a ranking needs scores on both sides, got {len(normal)} normal and {len(attacked)} attacked")
    if bool(normal.isnan().any() | attacked.isnan().any().to(normal.device)):
        raise ValueError("scores that are nan have no rank: the detector gave no answer there")
    return normal.cpu().double(), attacked.cpu().double()


@dataclass(frozen=True)
class DetectionReport:
    """How well a detector tells attacked from normal inputs, and what gets past both model and detector.

    ``auroc`` and ``detected`` (true-positive rate) count *successful* attacks only: an attack that failed needs no detecting.
    ``false_alarms``: flagged among the normal inputs. ``fooled_undetected``: wrong *and* not flagged, over all attacked inputs.
    """

    auroc: float
    threshold: float
    detected: Rate
    false_alarms: Rate
    fooled_undetected: Rate

    def __str__(self) -> str:
        return f"AUROC {self.auroc:.3f}; detected {self.detected}; false alarms {self.false_alarms}; past both {self.fooled_undetected}"


def detection_report(detector: Detector, normal: Tensor, result: AttackResult, threshold: float) -> DetectionReport:
    """Judge ``detector`` on clean inputs ``normal`` (N, ...) and on an attack's result, at a ``threshold`` chosen before.

    The AUROC is nan when no attack succeeded.
    """
    clean, attacked = _scores(detector, normal), _scores(detector, result.x_adv)
    turned = result.success & ~result.already
    flagged = attacked > threshold
    return DetectionReport(
        auroc=auroc(clean, attacked[turned]) if bool(turned.any()) else math.nan,
        threshold=threshold,
        detected=Rate(int((flagged & turned).sum()), int(turned.sum()), "successful attacks"),
        false_alarms=Rate(int((clean > threshold).sum()), len(clean), "normal inputs"),
        fooled_undetected=Rate(int((result.success & ~flagged).sum()), len(result), "attacked inputs"),
    )


def _scores(detector: Detector, x: Tensor, batch_size: int = 512) -> Tensor:
    with torch.no_grad():
        return torch.cat([detector.score(x[i : i + batch_size]).to(x.device) for i in range(0, max(len(x), 1), batch_size)])
