"""Many copies distilled in one batched pass: networks of one kind, stacked, each with its own questions, answers and weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from labkit.attacks.extraction.inquiry import Inquiry, Oracle
from labkit.attacks.extraction.result import ExtractionResult
from labkit.files import cache_dir, fingerprint, lock
from labkit.progress import progress
from labkit.seeding import generator
from labkit.training import store
from labkit.training.fit import one_cycle
from labkit.training.stacked import Stacked

#: Part of every cache key: raise it when the same plans would train other copies.
VERSION = 1


@dataclass(frozen=True, eq=False)
class Plan:
    """One copy to be made: who is asked, about ``budget`` inputs of ``pool`` (N, ...), by which fresh network, chosen by which seed."""

    oracle: Oracle
    pool: Tensor
    model: nn.Module
    budget: int
    seed: int = 0


@dataclass(frozen=True)
class _Recipe:
    """Adam, its learning rate linearly up over 0.3 of the steps and down to nothing, as ``labkit.training.fit`` does."""

    steps: int
    batch_size: int
    learning_rate: float

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch_size < 1 or self.learning_rate <= 0:
            raise ValueError(f"steps, batch_size >= 1 and learning_rate > 0 are needed, got {asdict(self)}")


def distill_together(
    plans: Sequence[Plan], *, steps: int, batch_size: int = 32, learning_rate: float = 5e-3, cache: bool = True,
) -> list[ExtractionResult]:  # fmt: skip
    """Make the copies of all plans at once, each as if it were alone; what takes a minute one by one takes seconds.

    The networks have one architecture; services, pools, budgets and seeds may differ. A plan asks what ``distill`` with the same seed
    asks, and its copy sees every answer once before it sees any twice, for ``steps`` batches: the same for every budget. Answers are
    labels or probabilities. A service that stops leaves a copy of what came (``complete`` is False). Raises ValueError for no plans, a
    budget outside 1 to N, networks of different kinds or with running statistics; OutOfQueries when not one answer came.
    """
    recipe = _Recipe(steps, batch_size, learning_rate)
    _check(plans)
    asked = [_ask(plan) for plan in plans]
    rows = [ask.x for ask in asked]
    x = torch.cat(rows)
    copies = nn.ModuleList([plan.model.to(x.device) for plan in plans])
    with torch.no_grad():
        classes = copies[0].eval()(x[:1]).shape[1]
    y = torch.cat([_shares(ask.answers, classes).to(x) for ask in asked])
    sizes, seeds = [len(part) for part in rows], [plan.seed for plan in plans]
    weights = [fingerprint(tensor) for tensor in copies.state_dict().values()]
    key = fingerprint("distill together", VERSION, repr(plans[0].model), weights, x, y, sizes, seeds, asdict(recipe), x.device.type)
    path = cache_dir("models") / f"{key}.safetensors"
    if not cache:
        _train(copies, x, y, sizes, seeds, recipe)
    else:
        with lock(path):
            if store.load(path, copies) is None:
                _train(copies, x, y, sizes, seeds, recipe)
                store.save(path, copies, {"recipe": asdict(recipe), "seeds": seeds})
    return [
        ExtractionResult(
            copy.eval(), ask.queries, ask.x, ask.labels, [ask.queries], answers=ask.answers if ask.answers.ndim == 2 else None,
            complete=not ask.exhausted,
        )
        for copy, ask in zip(copies, asked, strict=True)
    ]  # fmt: skip


def _check(plans: Sequence[Plan]) -> None:
    if not plans:
        raise ValueError("no plans: there is nothing to train")
    for plan in plans:
        if not 1 <= plan.budget <= len(plan.pool):
            raise ValueError(f"a budget of {plan.budget} queries does not fit a pool of {len(plan.pool)} inputs")
        if repr(plan.model) != repr(plans[0].model):
            raise ValueError(f"copies trained together have one architecture; got\n{plans[0].model}\nand\n{plan.model}")
    if names := [name for name, _ in plans[0].model.named_buffers()]:
        raise ValueError(f"networks with running statistics ({', '.join(names)}) cannot be stacked; train them one by one with distill")
    if len({id(plan.model) for plan in plans}) < len(plans):
        raise ValueError("two plans have the very same network; build one for each")


def _ask(plan: Plan) -> Inquiry:
    """Ask what ``distill`` asks with the same seed."""
    ask = Inquiry(plan.oracle)
    order = torch.randperm(len(plan.pool), generator=generator(plan.seed, "distill")).to(plan.pool.device)
    ask(plan.pool[order[: plan.budget]])
    return ask


def _shares(said: Tensor, classes: int) -> Tensor:
    if said.ndim == 1:
        return one_hot(said, classes)
    if said.shape[1] != classes:
        raise ValueError(f"the service knows {said.shape[1]} classes, the copy has {classes} outputs")
    return said


def _train(copies: nn.ModuleList, x: Tensor, y: Tensor, sizes: list[int], seeds: list[int], recipe: _Recipe) -> None:
    stacked = Stacked(list(copies), x.device)
    optimizer = torch.optim.Adam(list(stacked.weights.values()), recipe.learning_rate, fused=True)
    rates = torch.optim.lr_scheduler.LambdaLR(optimizer, one_cycle(recipe.steps))
    orders = _orders(sizes, seeds, recipe).to(x.device)
    loss = x.new_zeros(())
    with torch.enable_grad():
        for step in progress(range(recipe.steps), f"training {len(copies)} copies together"):
            batch = orders[:, step * recipe.batch_size : (step + 1) * recipe.batch_size].long()
            loss = stacked.step(optimizer, x[batch], y[batch])
            rates.step()
    if not math.isfinite(last := float(loss)):
        raise FloatingPointError(f"the loss is {last} at the end: is the learning rate {recipe.learning_rate} too high?")
    with torch.no_grad():
        for number, copy in enumerate(copies):
            for name, parameter in copy.named_parameters():
                parameter.copy_(stacked.weights[name][number])


def _orders(sizes: list[int], seeds: list[int], recipe: _Recipe) -> Tensor:
    """Return which rows each copy sees, (M, steps * batch_size) int32: its own ones, shuffled, and shuffled again when they are through."""
    need, first, found = recipe.steps * recipe.batch_size, 0, []
    for size, seed in zip(sizes, seeds, strict=True):
        source = generator(seed, "order together")
        whole = torch.cat([torch.randperm(size, generator=source) for _ in range(-(-need // size))])
        found.append((whole[:need] + first).to(torch.int32))
        first += size
    return torch.stack(found)
