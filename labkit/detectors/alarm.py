"""A detector as a model of two answers, silence and alarm, so that every evasion attack can be turned on it; and several in one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor

from labkit.detectors.base import Detector

SILENT, ALARM = 0, 1


class Alarm:
    """The logits ``(0, (score - threshold) / scale)``: the answer is ALARM exactly where the score lies above the threshold.

    ``scale`` decides only how sure a service sounds that says probabilities. Attacks take it as a model whose right answer about a
    malicious input is ALARM. Raises ValueError for a scale that is not above 0.
    """

    def __init__(self, detector: Detector, threshold: float, scale: float = 1.0) -> None:
        if not scale > 0:
            raise ValueError(f"scale must be above 0, got {scale}")
        self.detector, self.threshold, self.scale = detector, threshold, scale

    def __call__(self, x: Tensor) -> Tensor:
        """Return logits (B, 2)."""
        excess = (self.detector.score(x).double() - self.threshold) / self.scale
        return torch.stack([torch.zeros_like(excess), excess], 1)


class AnyOf:
    """Several detectors as one: each score counted in normal spreads above its normal median, the largest of them wins.

    Median and spread (median to 99th percentile) come from a third of the inputs, which the detectors are not fitted on. Differentiable
    where all of them are.
    """

    def __init__(self, detectors: Sequence[Detector]) -> None:
        if not detectors:
            raise ValueError("an ensemble needs at least one detector")
        self.detectors = list(detectors)
        self.scales_: list[tuple[float, float]] = []

    def fit(self, x: Tensor, y: Tensor | None = None) -> Self:
        """Fit every detector on two thirds of the normal inputs x (N, ...) and measure its scores on the rest."""
        held = torch.arange(len(x), device=x.device) % 3 == 0
        for detector in self.detectors:
            detector.fit(x[~held])
        return self.calibrate(x[held])

    def calibrate(self, x: Tensor) -> Self:
        """Measure the scores of detectors that are fitted already on normal inputs x (N, ...) that they have not seen."""
        self.scales_ = []
        for detector in self.detectors:
            with torch.no_grad():
                score = detector.score(x).double()
            middle, high = (float(score.quantile(q)) for q in (0.5, 0.99))
            self.scales_.append((middle, max(high - middle, 1e-12)))
        return self

    def score(self, x: Tensor) -> Tensor:
        """Return the largest of the scaled scores, (B,)."""
        parts = [(d.score(x).double() - middle) / spread for d, (middle, spread) in zip(self.detectors, self.scales_, strict=True)]
        return torch.stack(parts, 1).amax(1).to(x.dtype)


__all__ = ["ALARM", "SILENT", "Alarm", "AnyOf"]
