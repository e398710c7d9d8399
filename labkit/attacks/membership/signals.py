"""What an answer says about one record: the signals that membership attacks compare, all higher for a more likely member."""

from __future__ import annotations

import torch
from torch import Tensor


def _checked(logits: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return logits (..., N, K) in float64 and labels (..., N, 1). Raises ValueError when the two do not belong together."""
    if logits.ndim < 2 or y.ndim != 1 or logits.shape[-2] != len(y):
        raise ValueError(f"logits of shape (..., N, classes) go with labels (N,); got {tuple(logits.shape)} and {tuple(y.shape)}")
    if bool(((y < 0) | (y >= logits.shape[-1])).any()):
        raise ValueError(f"labels from {int(y.min())} to {int(y.max())}, but the answers have {logits.shape[-1]} classes")
    index = y.to(logits.device).view(*[1] * (logits.ndim - 2), -1, 1).expand(*logits.shape[:-1], 1)
    return logits.detach().double(), index


def log_probability(logits: Tensor, y: Tensor) -> Tensor:
    """Return log p(y | x) in float64, shape (..., N), from logits or log-probabilities (..., N, K) and labels (N,): minus the loss.

    Raises ValueError when shapes or labels do not fit.
    """
    values, index = _checked(logits, y)
    return values.log_softmax(-1).gather(-1, index).squeeze(-1)


def logit_score(logits: Tensor, y: Tensor) -> Tensor:
    """Return log(p / (1 - p)) for p = p(y | x), in float64, shape (..., N), as ``z_y - logsumexp(z_other)``.

    The confidence on a scale on which it is nearly normal over models (Carlini et al. 2022, arXiv 2112.03570, section IV). Computed from
    p it would be infinite as soon as 1 - p is rounded to 0, that is for most members; from the logits it never is. Log-probabilities
    do as well as logits: adding a number to all classes changes nothing. Raises ValueError when shapes or labels do not fit.
    """
    values, index = _checked(logits, y)
    if values.shape[-1] < 2:
        raise ValueError("a logit score compares a class with the others; these answers have one class")
    return values.gather(-1, index).squeeze(-1) - values.scatter(-1, index, -torch.inf).logsumexp(-1)


def correct(logits: Tensor, y: Tensor) -> Tensor:
    """Return 1.0 where the answer is right and 0.0 where it is wrong, float64, shape (..., N): all that the gap attack looks at.

    "Guess member if and only if the model is right" (Yeom et al. 2018, arXiv 1709.01604, section 3.2). Raises ValueError as the others.
    """
    _checked(logits, y)
    return (logits.argmax(-1) == y.to(logits.device)).double()
