"""``fit``: train a network once, keep it, and say honestly whether it was trained now or loaded."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from labkit.data.dataset import Split
from labkit.device import device as choose_device
from labkit.files import cache_dir, fingerprint, lock
from labkit.progress import progress
from labkit.seeding import derive, generator
from labkit.training import store
from labkit.training.objectives import Natural, Objective, StepState

log = logging.getLogger(__name__)

#: Part of every cache key: raise it when the same recipe would train a different model. A test pins what each version trains.
VERSION = 1
#: About what an interruption may cost. To write a checkpoint after each epoch of a tiny network takes longer than to train it.
CHECKPOINT_SECONDS = 2.0
_OWN = {"epoch", "loss", "seconds"}
Augment = Callable[[Tensor, torch.Generator], Tensor]
#: Looks at the model after an epoch (counted from 0) and returns what it saw, by name.
Watch = Callable[[nn.Module, int], dict[str, float]]


@dataclass(frozen=True)
class Recipe:
    """How to train: everything that decides the result besides data, initial weights, objective and seed."""

    epochs: int = 10
    batch_size: int = 128
    optimizer: Literal["adam", "sgd"] = "adam"
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    momentum: float = 0.9
    schedule: Literal["constant", "cosine", "one_cycle"] = "one_cycle"
    flip: bool = False
    shift: int = 0
    channels_last: bool = True

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 1:
            raise ValueError(f"epochs and batch_size must be 1 or more, got {self.epochs} and {self.batch_size}")
        if self.learning_rate <= 0:
            raise ValueError(f"learning_rate must be positive, got {self.learning_rate}")


@dataclass
class Trained:
    """A trained model and how it came about. ``seconds``: what training took, when it was done; ``loaded``: from the cache now."""

    model: nn.Module
    seconds: float
    loaded: bool
    history: list[dict[str, float]]
    key: str
    path: Path | None

    def __str__(self) -> str:
        done = "loaded from the cache; training took" if self.loaded else "trained in"
        count = f"{len(self.history)} epoch{'s' * (len(self.history) != 1)}"
        return f"{done} {self.seconds:.0f} s, {count}, final loss {self.history[-1]['loss']:.4f}"


def fit(
    model: nn.Module, data: Split, recipe: Recipe | None = None, *, objective: Objective | None = None, seed: int = 0,
    device: torch.device | str | None = None, cache: bool = True, label: str = "training", watch: Watch | None = None, **settings: Any,
) -> Trained:  # fmt: skip
    """Train ``model`` in place on ``data`` and return it, in evaluation mode; or load it if exactly this was trained before.

    ``settings``: changes to the recipe, such as ``epochs=5``. ``objective``: what a step minimizes (``Natural()`` by default).
    The cache key holds the data, the architecture, the initial weights, the recipe, the objective, the seed and the version
    of the training code; a lock lets parallel jobs train each model once. After an epoch a checkpoint is kept, every
    two seconds at most: an interrupted training resumes there, with the same result. ``watch``: called with the model in evaluation mode
    and the epoch after every epoch; what it returns is kept in ``history``. It changes neither the training nor the cache key nor
    ``seconds``: when a cached model's history was not made with this watch, judged by what it says of the final model, the model is
    trained again.
    Raises WrongRole for data with role "test" or "queried", ValueError for a watch that returns the names "epoch", "loss" or "seconds".
    """
    data.require("train", "poisoned", "shadow", purpose="fit")
    recipe = replace(recipe or Recipe(), **settings)
    aim = objective or Natural()
    if not len(data):
        raise ValueError(f"split {data.name!r} is empty: nothing to train on")
    target = choose_device(device)
    key = _key(model, data, recipe, aim, seed, target)
    path = cache_dir("models") / f"{key}.safetensors"
    if not cache:
        return _train(model, data, recipe, aim, seed, target, key, None, label, watch)
    with lock(path):
        fresh = {name: tensor.clone() for name, tensor in model.state_dict().items()} if watch is not None else {}
        if (found := store.load(path, model)) is not None:
            model.to(target).eval()
            if watch is None or _seen_by(watch, model, found["history"][-1]):
                return Trained(model, found["seconds"], True, found["history"], key, path)
            log.warning("%s: the cached model was not watched in this way; training again", label)
            model.load_state_dict(fresh)
        result = _train(model, data, recipe, aim, seed, target, key, path, label, watch)
        facts = {"seconds": result.seconds, "history": result.history, "recipe": asdict(recipe) | aim.recipe(), "seed": seed}
        store.save(path, model, facts)
        _checkpoint_path(path).unlink(missing_ok=True)
    return result


def _key(model: nn.Module, data: Split, recipe: Recipe, aim: Objective, seed: int, device: torch.device) -> str:
    weights = [fingerprint(tensor) for tensor in model.state_dict().values()]
    frozen = [name for name, parameter in model.named_parameters() if not parameter.requires_grad]
    code = (VERSION, aim.version)
    return fingerprint(data.fingerprint, repr(model), weights, asdict(recipe), aim.recipe(), seed, *code, device.type, *frozen)


def _look(watch: Watch | None, model: nn.Module, epoch: int) -> dict[str, float]:
    """Return what the watch says of the model as it is; the model is left in training mode, without gradients."""
    if watch is None:
        return {}
    seen = {name: float(value) for name, value in watch(model.eval(), epoch).items()}
    model.train()
    model.zero_grad(set_to_none=True)
    if taken := _OWN & seen.keys():
        raise ValueError(f"watch returns {sorted(taken)}, which are names of the history's own columns; choose others")
    return seen


def _seen_by(watch: Watch, model: nn.Module, last: dict[str, float]) -> bool:
    """Say whether the last line of a history is what the watch sees now: another watch under the same names must not pass for it."""
    now = _look(watch, model, int(last["epoch"]) - 1)
    model.eval()
    # Not exactly: another number of threads may move a borderline input.
    return now.keys() == last.keys() - _OWN and all(abs(value - last[name]) <= 0.01 * max(1.0, abs(value)) for name, value in now.items())


def _checkpoint_path(path: Path) -> Path:
    return path.with_suffix(".checkpoint")


def _train(
    model: nn.Module, data: Split, recipe: Recipe, aim: Objective, seed: int, device: torch.device, key: str, path: Path | None, label: str,
    watch: Watch | None = None,
) -> Trained:  # fmt: skip
    model.to(device).train()
    if recipe.channels_last and data.x.ndim == 4:
        model.to(memory_format=torch.channels_last)
    optimizer = _optimizer(model, recipe)
    per_epoch = -(-len(data) // recipe.batch_size)
    schedule = _schedule(optimizer, recipe, per_epoch)
    state, history, seconds, first = StepState(total_steps=per_epoch * recipe.epochs, seed=seed), [], 0.0, 0
    saved = None if path is None else store.load_checkpoint(_checkpoint_path(path))
    if saved is not None and watch is not None and not all(line.keys() - _OWN for line in saved["history"]):
        log.warning("%s: the epochs before the interruption were not watched; starting over", label)
        saved = None
    if saved is not None:
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        schedule.load_state_dict(saved["schedule"])
        history, seconds, first = saved["history"], saved["seconds"], saved["epoch"]
        state.memory = {name: tensor.to(device) for name, tensor in saved["memory"].items()}
        log.warning("%s resumes after epoch %d of %d", label, first, recipe.epochs)
    x, y = data.x.to(device), data.y.to(device)
    cuda = list(range(torch.cuda.device_count())) if device.type == "cuda" else []
    reseed = torch.manual_seed if cuda else torch.default_generator.manual_seed  # the former seeds every GPU as well
    kept = seconds
    with torch.random.fork_rng(devices=cuda):  # dropout draws from the global state: inside a fork, the user's comes back
        for epoch in progress(range(first, recipe.epochs), label):
            begin = time.perf_counter()
            reseed(derive(seed, "epoch", epoch))
            state.epoch = epoch
            loss = _epoch(model, optimizer, schedule, x, y, recipe, aim, state, generator(seed, "order", epoch))
            seconds += time.perf_counter() - begin
            history.append({"epoch": epoch + 1, "loss": loss, "seconds": seconds} | _look(watch, model, epoch))
            if path is not None and epoch + 1 < recipe.epochs and seconds - kept >= CHECKPOINT_SECONDS:
                kept = seconds
                store.save_checkpoint(
                    _checkpoint_path(path),
                    {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "schedule": schedule.state_dict(),
                     "history": history, "seconds": seconds, "epoch": epoch + 1, "memory": state.memory},
                )  # fmt: skip
    model.eval()
    optimizer.zero_grad(set_to_none=True)  # a loaded model has no gradients either
    if recipe.channels_last and data.x.ndim == 4:
        model.to(memory_format=torch.contiguous_format)
    return Trained(model, seconds, False, history, key, path)


def _epoch(
    model: nn.Module, optimizer: torch.optim.Optimizer, schedule: torch.optim.lr_scheduler.LRScheduler, x: Tensor, y: Tensor,
    recipe: Recipe, aim: Objective, state: StepState, source: torch.Generator,
) -> float:  # fmt: skip
    order = torch.randperm(len(y), generator=source).to(x.device)
    total = torch.zeros((), dtype=torch.float64)
    model.train()
    for begin in range(0, len(order), recipe.batch_size):
        batch = order[begin : begin + recipe.batch_size]
        state.step = schedule.last_epoch
        images = _augmented(x[batch], recipe, source)
        if recipe.channels_last and images.ndim == 4:
            images = images.contiguous(memory_format=torch.channels_last)
        value = aim.step(model, optimizer, images, y[batch], state)
        if not math.isfinite(value):
            rate = recipe.learning_rate
            raise FloatingPointError(f"the loss is {value} in epoch {state.epoch + 1}: is the learning rate {rate} too high?")
        total += value * len(batch)
        schedule.step()
    return float(total) / len(y)


def _augmented(x: Tensor, recipe: Recipe, source: torch.Generator) -> Tensor:
    """Return the batch with random flips and shifts, per image; zero padding, as the CIFAR papers do."""
    if (recipe.flip or recipe.shift) and x.ndim != 4:
        raise ValueError(f"flip and shift are for images (N, C, H, W), got inputs of shape {tuple(x.shape)}")
    if recipe.flip:
        mirrored = torch.rand(len(x), generator=source).to(x.device) < 0.5
        x = torch.where(mirrored[:, None, None, None], x.flip(-1), x)
    if recipe.shift:
        pad, (height, width) = recipe.shift, x.shape[-2:]
        padded = nn.functional.pad(x, (pad, pad, pad, pad))
        corner = torch.randint(0, 2 * pad + 1, (2, len(x)), generator=source).to(x.device)
        rows = corner[0][:, None] + torch.arange(height, device=x.device)
        columns = corner[1][:, None] + torch.arange(width, device=x.device)
        sample = torch.arange(len(x), device=x.device)[:, None, None]
        x = padded.permute(0, 2, 3, 1)[sample, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
    return x


def _optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    if recipe.optimizer == "adam":
        return torch.optim.Adam(model.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay)
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(model.parameters(), recipe.learning_rate, recipe.momentum, weight_decay=recipe.weight_decay)
    raise ValueError(f"optimizer must be 'adam' or 'sgd', got {recipe.optimizer!r}")


def _schedule(optimizer: torch.optim.Optimizer, recipe: Recipe, per_epoch: int) -> torch.optim.lr_scheduler.LRScheduler:
    steps = per_epoch * recipe.epochs
    if recipe.schedule == "constant":
        return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
    if recipe.schedule == "cosine":
        return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    if recipe.schedule == "one_cycle":
        return torch.optim.lr_scheduler.LambdaLR(optimizer, one_cycle(steps))
    raise ValueError(f"schedule must be 'constant', 'cosine' or 'one_cycle', got {recipe.schedule!r}")


def one_cycle(steps: int) -> Callable[[int], float]:
    """Return the factor of the learning rate at each step: linear up over the first 30 %, linear down to nothing. Short ones like it."""
    up = max(1, round(0.3 * steps))
    down = max(1, steps - up)
    return lambda step: min((step + 1) / up, max(0.0, (steps - step) / down))


__all__ = ["Recipe", "Trained", "fit", "one_cycle"]
