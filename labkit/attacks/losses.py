"""Losses an attacker climbs: each takes logits (B, K) and labels (B,), returns (B,); larger is better for an untargeted attack.

Each is a function of one sample's logits only, so that nothing leaks between neighbours; attacks sum them, never average.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy as _cross_entropy


def cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """Return ``-log softmax(z)_y``."""
    return _cross_entropy(logits, y, reduction="none")


def margin(logits: Tensor, y: Tensor) -> Tensor:
    """Return ``max_{k != y} z_k - z_y``: positive exactly where the answer is wrong (Carlini and Wagner 2017, arXiv 1608.04644)."""
    true = logits.gather(1, y[:, None]).squeeze(1)
    others = logits.masked_fill(torch.nn.functional.one_hot(y, logits.shape[1]).bool(), -torch.inf)
    return others.amax(1) - true


def dlr(logits: Tensor, y: Tensor) -> Tensor:
    """Return the difference of logits ratio ``(max_{k != y} z_k - z_y) / (z_(1) - z_(3))`` (Croce and Hein 2020, arXiv 2003.01690).

    Unchanged by shifting and positive scaling of the logits. Raises ValueError for fewer than three classes.
    """
    if logits.shape[1] < 3:
        raise ValueError(f"the DLR loss needs at least 3 classes, the model has {logits.shape[1]}; use loss='margin'")
    top = logits.topk(3, dim=1).values
    return margin(logits, y) / (top[:, 0] - top[:, 2] + 1e-12)


LOSSES = {"cross_entropy": cross_entropy, "margin": margin, "dlr": dlr}
