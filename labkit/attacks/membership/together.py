"""How shadow models are trained: all in one batched pass, or one by one; the same networks either way."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from labkit.progress import progress
from labkit.seeding import generator
from labkit.training.stacked import Stacked, Weights


@dataclass(frozen=True)
class ShadowRecipe:
    """How every shadow model is trained, at a constant learning rate."""

    epochs: int = 40
    batch_size: int = 32
    learning_rate: float = 5e-3
    optimizer: Literal["adam", "sgd"] = "adam"
    weight_decay: float = 0.0
    momentum: float = 0.9

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 1 or self.learning_rate <= 0:
            raise ValueError(f"epochs, batch_size >= 1 and learning_rate > 0 are needed, got {asdict(self)}")
        if self.optimizer not in ("adam", "sgd"):
            raise ValueError(f"optimizer must be 'adam' or 'sgd', got {self.optimizer!r}")


def train(
    models: list[nn.Module], x: Tensor, y: Tensor, members: Tensor, recipe: ShadowRecipe, seed: int, kept: list[int], batched: bool,
    device: torch.device, label: str,
) -> tuple[dict[int, Weights], float]:  # fmt: skip
    """Return the stacked weights after each epoch to keep, and the seconds."""
    begin, x, y = time.perf_counter(), x.to(device), y.to(device)
    rows = torch.stack([row.nonzero().squeeze(1) for row in members.cpu()])
    if batched:
        found = _together(models, x, y, rows, recipe, seed, kept, label)
    else:
        alone = [_alone(model.to(device), x, y, rows[m], recipe, seed, m, kept) for m, model in enumerate(progress(models, label))]
        found = {epoch: {name: torch.stack([one[epoch][name] for one in alone]) for name in alone[0][epoch]} for epoch in kept}
    return found, time.perf_counter() - begin


def _together(
    models: list[nn.Module], x: Tensor, y: Tensor, rows: Tensor, recipe: ShadowRecipe, seed: int, kept: list[int], label: str
) -> dict[int, Weights]:
    """Train all models in one."""
    stacked, found = Stacked(models, x.device), {}
    optimizer = _optimizer(list(stacked.weights.values()), recipe)
    for epoch in progress(range(1, recipe.epochs + 1), label):
        order = rows.gather(1, torch.stack([_order(rows.shape[1], seed, m, epoch) for m in range(len(models))])).to(x.device)
        for batch in torch.split(order, recipe.batch_size, dim=1):
            stacked.step(optimizer, x[batch], y[batch])
        if epoch in kept:
            found[epoch] = {name: tensor.detach().clone() for name, tensor in stacked.weights.items()}
    return found


def _alone(
    model: nn.Module, x: Tensor, y: Tensor, row: Tensor, recipe: ShadowRecipe, seed: int, m: int, kept: list[int]
) -> dict[int, Weights]:
    """Train one model the ordinary way."""
    optimizer, found = _optimizer(list(model.train().parameters()), recipe), {}
    for epoch in range(1, recipe.epochs + 1):
        order = row[_order(len(row), seed, m, epoch)].to(x.device)
        for batch in torch.split(order, recipe.batch_size):
            optimizer.zero_grad()
            torch.autograd.backward(nn.functional.cross_entropy(model(x[batch]), y[batch]))
            optimizer.step()
        if epoch in kept:
            found[epoch] = {name: tensor.detach().clone() for name, tensor in model.named_parameters()}
    return found


def _order(size: int, seed: int, m: int, epoch: int) -> Tensor:
    return torch.randperm(size, generator=generator(seed, "shadow order", m, epoch))


def _optimizer(parameters: list[Tensor], recipe: ShadowRecipe) -> torch.optim.Optimizer:
    """Both optimizers act on each number alone, so stacked parameters are trained as separate ones would be.

    ``fused``: one pass over the weights per step instead of a dozen.
    """
    if recipe.optimizer == "adam":
        return torch.optim.Adam(parameters, recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True)
    return torch.optim.SGD(parameters, recipe.learning_rate, recipe.momentum, weight_decay=recipe.weight_decay, fused=True)
