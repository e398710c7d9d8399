"""Shadow models: many small networks of one kind, each on its own part of the pool, trained together where that is faster."""

from __future__ import annotations

import copy
import json
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from labkit.attacks.views import held_still
from labkit.device import device as choose_device
from labkit.files import cache_dir, fingerprint, lock
from labkit.progress import progress
from labkit.seeding import derive, generator
from labkit.tensors import read_tensors, write_tensors

log = logging.getLogger(__name__)
#: Part of every cache key: raise it when the same settings would train other models.
VERSION = 1
Weights = dict[str, Tensor]


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


@dataclass(frozen=True)
class Shadows:
    """M trained networks. ``weights``: their parameters, stacked (M, ...). ``members``: (M, N) bool, which record each was trained with.

    ``seconds``: what training took, when it was done; ``loaded``: from the cache now. ``snapshots``: the weights after earlier epochs.
    """

    skeleton: nn.Module
    weights: Weights
    members: Tensor
    seconds: float
    loaded: bool
    snapshots: dict[int, Weights]

    def __len__(self) -> int:
        return len(self.members)

    def logits(self, x: Tensor, *, batch: int = 256) -> Tensor:
        """Return all models' logits (M, B, K) on x (B, ...), in evaluation mode, on the CPU."""
        one, device = _caller(self.skeleton), next(iter(self.weights.values())).device
        with torch.no_grad(), held_still(self.skeleton):
            parts = [vmap(one, in_dims=(0, None))(self.weights, part.to(device)).cpu() for part in torch.split(x, batch)]
        return torch.cat(parts, dim=1)

    def model(self, index: int) -> nn.Module:
        """Return one of the models as a module of its own, in evaluation mode."""
        alone = copy.deepcopy(self.skeleton)
        alone.load_state_dict({name: tensor[index] for name, tensor in self.weights.items()}, strict=False)
        return alone.eval()

    def at(self, epoch: int) -> Shadows:
        """Return the models as they were after an epoch that was kept. Raises ValueError naming the epochs that were."""
        if epoch not in self.snapshots:
            raise ValueError(f"no weights were kept after epoch {epoch}, only after {sorted(self.snapshots)}: train_shadows(..., keep=...)")
        return replace(self, weights=self.snapshots[epoch])


def train_shadows(
    build_model: Callable[[int], nn.Module], x: Tensor, y: Tensor, members: Tensor, recipe: ShadowRecipe | None = None, *, seed: int = 0,
    keep: Sequence[int] = (), together: bool | None = None, device: torch.device | str | None = None, cache: bool = True,
    label: str = "shadow models", **settings: Any,
) -> Shadows:  # fmt: skip
    """Train M networks, the m-th on the records ``members[m]``, or load them if exactly these were trained before.

    ``build_model``: a seed -> a fresh network. ``x``: (N, ...), ``y``: (N,) int64; ``members``: (M, N) bool, equally many records in
    each row. ``settings``: changes to the recipe, such as ``epochs=10``. ``keep``: epochs after which the weights are kept as well; at
    a constant rate they are those of a shorter training. ``together``: one batched pass through all M networks (``torch.func.vmap``)
    instead of M passes; by default for networks without convolutions, and for all on a GPU: batched convolutions are
    slower on a CPU. Both train the same networks, up to rounding: initial weights and order belong to the model's number.
    Raises ValueError for rows of different length, layers that need randomness or keep statistics (dropout,
    batch norm), and epochs to keep that are not reached.
    """
    recipe = replace(recipe or ShadowRecipe(), **settings)
    models = [build_model(derive(seed, "shadow", number)) for number in range(len(members))]
    _judge(models, x, y, members, recipe, keep)
    target = choose_device(device)
    convolves = any(isinstance(module, nn.Conv1d | nn.Conv2d) for module in models[0].modules())
    batched = (target.type != "cpu" or not convolves) if together is None else together
    kept = sorted({*keep, recipe.epochs})
    state = [fingerprint(*model.state_dict().values()) for model in models]
    key = fingerprint(x, y, members, repr(models[0]), state, asdict(recipe), seed, kept, batched, VERSION, target.type)
    path = cache_dir("models") / f"shadows-{key}.safetensors"
    if not cache:
        found, seconds = _train(models, x, y, members, recipe, seed, kept, batched, target, label)
        return Shadows(models[0].to(target).eval(), found[recipe.epochs], members, seconds, False, found)
    with lock(path):
        stored = _read(path, kept)
        if stored is None:
            found, seconds = _train(models, x, y, members, recipe, seed, kept, batched, target, label)
            flat = {f"{epoch}/{name}": tensor for epoch, weights in found.items() for name, tensor in weights.items()}
            write_tensors(path, flat, {"facts": json.dumps({"seconds": seconds, "recipe": asdict(recipe), "seed": seed})})
        else:
            found, seconds = stored
            found = {epoch: {name: tensor.to(target) for name, tensor in weights.items()} for epoch, weights in found.items()}
    return Shadows(models[0].to(target).eval(), found[recipe.epochs], members, seconds, stored is not None, found)


def _judge(models: list[nn.Module], x: Tensor, y: Tensor, members: Tensor, recipe: ShadowRecipe, keep: Sequence[int]) -> None:
    if members.ndim != 2 or members.dtype != torch.bool or members.shape[1] != len(x) or len(x) != len(y):
        raise ValueError(
            f"members (M, N) bool go with N records; got {tuple(members.shape)} {members.dtype}, {len(x)} inputs, {len(y)} labels"
        )
    sizes = torch.unique(members.sum(1)).tolist()
    if len(sizes) != 1 or not sizes[0]:
        raise ValueError(f"every model must have equally many records, at least one; the rows of members hold {sizes}")
    unfit = (nn.modules.batchnorm._NormBase, nn.modules.dropout._DropoutNd)
    for module in models[0].modules():
        if isinstance(module, unfit):
            raise ValueError(
                f"{type(module).__name__} draws numbers or keeps statistics in training, which is not supported here; leave it out"
            )
    if wrong := [epoch for epoch in keep if not 1 <= epoch <= recipe.epochs]:
        raise ValueError(f"epochs to keep must lie between 1 and {recipe.epochs}, got {wrong}")


def _train(
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
    """Train all models in one: parameters (M, ...), a batch of its own for each; the sum of their losses has each one's gradient."""
    stacked, _ = stack_module_state(models)
    weights = {name: tensor.detach().clone().to(x.device).requires_grad_(True) for name, tensor in stacked.items()}
    skeleton = models[0].to(x.device).train()
    optimizer, forward = _optimizer(list(weights.values()), recipe), vmap(_caller(skeleton))
    found = {}
    for epoch in progress(range(1, recipe.epochs + 1), label):
        order = rows.gather(1, torch.stack([_order(rows.shape[1], seed, m, epoch) for m in range(len(models))])).to(x.device)
        for batch in torch.split(order, recipe.batch_size, dim=1):
            logits = forward(weights, x[batch])
            losses = nn.functional.cross_entropy(logits.flatten(0, 1), y[batch].flatten(), reduction="none")
            optimizer.zero_grad()
            torch.autograd.backward(losses.view(batch.shape).mean(1).sum())
            optimizer.step()
        if epoch in kept:
            found[epoch] = {name: tensor.detach().clone() for name, tensor in weights.items()}
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


def _caller(skeleton: nn.Module) -> Callable[[Weights, Tensor], Tensor]:
    def one(weights: Weights, x: Tensor) -> Tensor:
        out: Tensor = functional_call(skeleton, weights, (x,))
        return out

    return one


def _read(path: Any, kept: list[int]) -> tuple[dict[int, Weights], float] | None:
    """Return what is stored, None when there is nothing usable; a damaged file is reported and moved aside."""
    if not path.exists():
        return None
    try:
        flat, metadata = read_tensors(path)
        found: dict[int, Weights] = {epoch: {} for epoch in kept}
        for name, tensor in flat.items():
            epoch, parameter = name.split("/", 1)
            found[int(epoch)][parameter] = tensor
        return found, float(json.loads(metadata["facts"])["seconds"])
    except (ValueError, KeyError) as error:
        aside = path.with_suffix(".damaged")
        path.replace(aside)
        log.warning("the cached shadow models %s are damaged (%s); moved to %s, training again", path.name, error, aside.name)
        return None
