"""Shadow models: many small networks of one kind, each on its own part of the pool, trained together where that is faster."""

from __future__ import annotations

import copy
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import vmap

from labkit.attacks.membership.together import ShadowRecipe, train
from labkit.attacks.views import held_still
from labkit.device import device as choose_device
from labkit.files import cache_dir, fingerprint, lock
from labkit.seeding import derive
from labkit.tensors import read_tensors, write_tensors
from labkit.training.stacked import Weights, caller

log = logging.getLogger(__name__)
#: Part of every cache key: raise it when the same settings would train other models.
VERSION = 1


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
        one, device = caller(self.skeleton), next(iter(self.weights.values())).device
        with torch.no_grad(), held_still(self.skeleton):
            parts = [vmap(one, in_dims=(0, None))(self.weights, part.to(device)).cpu() for part in torch.split(x, batch)]
        return torch.cat(parts, dim=1)

    def model(self, index: int) -> nn.Module:
        """Return one of the models as a module of its own, in evaluation mode."""
        alone = copy.deepcopy(self.skeleton)
        alone.load_state_dict({name: tensor[index] for name, tensor in self.weights.items()}, strict=False)
        return alone.eval()

    def first(self, count: int) -> Shadows:
        """Return the first models only, with what they were trained with. Raises ValueError for none or more than there are."""
        if not 1 <= count <= len(self):
            raise ValueError(f"the first {count} of {len(self)} models: expected 1 to {len(self)}")
        few = {epoch: {name: tensor[:count] for name, tensor in weights.items()} for epoch, weights in self.snapshots.items()}
        mine = {name: tensor[:count] for name, tensor in self.weights.items()}
        return replace(self, weights=mine, members=self.members[:count], snapshots=few)

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
        found, seconds = train(models, x, y, members, recipe, seed, kept, batched, target, label)
        return Shadows(models[0].to(target).eval(), found[recipe.epochs], members, seconds, False, found)
    with lock(path):
        stored = _read(path, kept)
        if stored is None:
            found, seconds = train(models, x, y, members, recipe, seed, kept, batched, target, label)
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
