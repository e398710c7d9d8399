"""Detectors that read nothing but the model's own answer. All scores: higher is more suspicious, differentiable in x."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, log_softmax, softmax

from labkit.attacks.losses import margin
from labkit.attacks.views import Model
from labkit.device import model_device


class ConfidenceDetector(ABC):
    """A score computed from the logits (B, K) of ``model``; there is nothing to fit."""

    def __init__(self, model: Model) -> None:
        self.model = model

    def fit(self, x: Tensor, y: Tensor | None = None) -> Self:
        """Return the detector itself: the model's answer needs no fitting."""
        return self

    def score(self, x: Tensor) -> Tensor:
        """Return the score of each input x (B, ...), (B,) on x's device."""
        return self.of_logits(self.model(x.to(model_device(self.model, x)))).to(x.device)

    @abstractmethod
    def of_logits(self, logits: Tensor) -> Tensor:
        """Return the score of each row of logits (B, K), (B,)."""


class MaxSoftmax(ConfidenceDetector):
    """``1 - max_k softmax(z)_k``: the baseline of Hendrycks and Gimpel 2017 (arXiv 1610.02136)."""

    def of_logits(self, logits: Tensor) -> Tensor:
        """Return one minus the largest probability, as the sum of the others: in float32 ``1 - p`` is 0 for every confident answer."""
        best = torch.zeros_like(logits, dtype=torch.bool).scatter(1, logits.argmax(1, keepdim=True), True)
        return torch.exp(torch.logsumexp(logits.masked_fill(best, -torch.inf), 1) - torch.logsumexp(logits, 1))


class Entropy(ConfidenceDetector):
    """``-sum_k p_k log p_k``, in nats: 0 for a certain answer, log K for a uniform one."""

    def of_logits(self, logits: Tensor) -> Tensor:
        """Return the entropy of the softmax."""
        return -(softmax(logits, 1) * log_softmax(logits, 1)).sum(1)


class Energy(ConfidenceDetector):
    """``-T log sum_k exp(z_k / T)``: not normalized, so it sees the size of the logits (Liu et al. 2020, arXiv 2010.03759)."""

    def __init__(self, model: Model, temperature: float = 1.0) -> None:
        super().__init__(model)
        if temperature <= 0:
            raise ValueError(f"temperature must be positive, got {temperature}")
        self.temperature = temperature

    def of_logits(self, logits: Tensor) -> Tensor:
        """Return the free energy."""
        return -self.temperature * torch.logsumexp(logits / self.temperature, 1)


class MaxLogit(ConfidenceDetector):
    """``-max_k z_k`` (Hendrycks et al. 2022, arXiv 1911.11132)."""

    def of_logits(self, logits: Tensor) -> Tensor:
        """Return minus the largest logit."""
        return -logits.amax(1)


class TopTwoMargin(ConfidenceDetector):
    """Minus the lead of the best answer's logit over the second: small leads are suspicious."""

    def of_logits(self, logits: Tensor) -> Tensor:
        """Return the (negative) lead."""
        return margin(logits, logits.argmax(1))


class TwoSided(ConfidenceDetector):
    """How far a confidence score lies outside its usual range, on either side: too sure is as odd as too unsure.

    ``fit`` learns median and median absolute deviation (MAD) of the inner score on normal inputs; the score is ``|s - median| / MAD``.
    Raises RuntimeError when scoring before ``fit``.
    """

    def __init__(self, inner: ConfidenceDetector) -> None:
        super().__init__(inner.model)
        self.inner = inner
        self.median_: Tensor | None = None
        self.spread_: Tensor | None = None

    def fit(self, x: Tensor, y: Tensor | None = None) -> Self:
        """Learn the usual range from normal inputs x (N, ...)."""
        with torch.no_grad():
            scores = self.inner.score(x)
        self.median_ = scores.median()
        self.spread_ = (scores - self.median_).abs().median().clamp_min(1e-12)
        return self

    def of_logits(self, logits: Tensor) -> Tensor:
        """Return the distance from the median in units of the spread."""
        if self.median_ is None or self.spread_ is None:
            raise RuntimeError("TwoSided scores only after fit(x) on normal inputs")
        return (self.inner.of_logits(logits) - self.median_).abs() / self.spread_


class Tempered(nn.Module):
    """A model whose logits are divided by a temperature: the answer stays, the confidence changes (Guo et al. 2017, 1706.04599)."""

    def __init__(self, model: Model, temperature: float) -> None:
        super().__init__()
        if temperature <= 0:
            raise ValueError(f"temperature must be positive, got {temperature}")
        self.inner, self.temperature = model, temperature

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x) / self.temperature

    def extra_repr(self) -> str:
        return f"temperature={self.temperature}"


def fit_temperature(logits: Tensor, y: Tensor) -> float:
    """Return the temperature that minimizes the cross-entropy of ``logits / T`` on held-out data (Guo et al. 2017, 1706.04599).

    logits (N, K), y (N,). The problem is convex in 1/T: golden-section search over log T in [-4, 4].
    Raises ValueError when there are none.
    """
    if not len(logits):
        raise ValueError("a temperature needs held-out data, got 0 rows of logits")

    def cost(log_t: float) -> float:
        return float(cross_entropy(logits.double() / math.exp(log_t), y))

    golden, low, high = (5**0.5 - 1) / 2, -4.0, 4.0
    while high - low > 1e-6:
        a, b = high - golden * (high - low), low + golden * (high - low)
        low, high = (low, b) if cost(a) < cost(b) else (a, high)
    return math.exp((low + high) / 2)


def calibration(logits: Tensor, y: Tensor, bins: int = 15) -> tuple[float, Tensor, Tensor, Tensor]:
    """Return the expected calibration error and, per bin of confidence, mean confidence, accuracy and count, each (bins,).

    The error is ``sum_b n_b / N * |accuracy_b - confidence_b|`` over equal-width bins (Guo et al. 2017, arXiv 1706.04599).
    Empty bins hold nan.
    """
    confidence, answer = softmax(logits.double(), 1).max(1)
    place = (confidence * bins).long().clamp(0, bins - 1)
    count = torch.bincount(place, minlength=bins).double()
    sure = torch.bincount(place, confidence, minlength=bins) / count
    right = torch.bincount(place, (answer == y).double(), minlength=bins) / count
    error = float(((sure - right).abs().nan_to_num(0.0) * count).sum() / len(y))
    return error, sure, right, count
