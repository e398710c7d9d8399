"""Networks of one kind trained as one: parameters (M, ...), a batch of its own for each, one batched pass for all."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap
from torch.nn.functional import cross_entropy

Weights = dict[str, Tensor]


def caller(skeleton: nn.Module) -> Callable[[Weights, Tensor], Tensor]:
    """Return what calls ``skeleton`` with the weights handed in: (weights, inputs) -> outputs; ``vmap`` makes it one of many networks."""

    def one(weights: Weights, x: Tensor) -> Tensor:
        out: Tensor = functional_call(skeleton, weights, (x,))
        return out

    return one


class Stacked:
    """``weights``: the networks' parameters (M, ...), leaves on ``device`` that an optimizer may take.

    An optimizer that acts on each number alone (Adam, SGD) trains them as separate networks would be. Networks with running statistics
    cannot be stacked so: the caller refuses them.
    """

    def __init__(self, models: Sequence[nn.Module], device: torch.device) -> None:
        skeleton = models[0].train()
        stacked, _ = stack_module_state(list(models))
        self.weights: Weights = {name: tensor.detach().clone().to(device).requires_grad_(True) for name, tensor in stacked.items()}
        self._forward = vmap(caller(skeleton.to(device)))

    def step(self, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor) -> Tensor:
        """Take one step on inputs (M, B, ...) with labels (M, B) or shares (M, B, K); return the sum of the networks' mean losses.

        The sum has each network's own gradient.
        """
        losses = cross_entropy(self._forward(self.weights, x).flatten(0, 1), y.flatten(0, 1), reduction="none")
        loss = losses.view(y.shape[:2]).mean(1).sum()
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        return loss.detach()


__all__ = ["Stacked", "Weights", "caller"]
