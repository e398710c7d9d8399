"""Learning to reply: the next word's cross-entropy, on the words of the reply alone."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from labkit.training.objectives import Objective, StepState


@dataclass(frozen=True)
class NextWord(Objective):
    """Cross-entropy of each word of the reply, given all before it. x: (B, 2, T), words' numbers and 1 where one is the reply's."""

    def loss(self, model: nn.Module, x: Tensor, y: Tensor, state: StepState) -> Tensor:
        """Return the mean over the reply's words of the batch. Raises ValueError for rows of another form."""
        if x.ndim != 3 or x.shape[1] != 2:
            raise ValueError(f"rows of the `assistant` data set have shape (B, 2, T), got {tuple(x.shape)}")
        used = int((x[:, 0] != 0).any(0).nonzero().max()) + 1  # what is padding in all rows costs nothing
        words, asked = x[:, 0, :used].to(torch.int64), x[:, 1, 1:used] > 0
        return cross_entropy(model(words[:, :-1])[asked], words[:, 1:][asked])


__all__ = ["NextWord"]
