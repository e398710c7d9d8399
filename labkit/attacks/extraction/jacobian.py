"""Substitute training by label-only queries: ask where the copy's answer changes fastest, learn, ask again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from labkit.attacks.extraction.inquiry import Inquiry
from labkit.attacks.extraction.result import ExtractionResult
from labkit.attacks.views import held_still
from labkit.data.dataset import Split
from labkit.device import model_device
from labkit.seeding import generator
from labkit.training import fit

Oracle = Callable[[Tensor], Tensor]


def augment(model: nn.Module, x: Tensor, labels: Tensor, step: float, bounds: tuple[float, float] = (0.0, 1.0)) -> Tensor:
    """Return ``x + step * sign(d model(x)[label] / dx)``, clamped to ``bounds``: one new point for each x (N, ...).

    ``labels``: (N,) int64, the oracle's answers. Papernot et al. 2017, arXiv 1602.02697, section 4.
    """
    device, points = model_device(model, x), []
    with held_still(model), torch.enable_grad():
        for part, wanted in zip(torch.split(x, 512), torch.split(labels, 512), strict=True):
            leaf = part.detach().to(device, copy=True).requires_grad_(True)
            (grad,) = torch.autograd.grad(model(leaf).gather(1, wanted.to(device)[:, None]).sum(), leaf)
            points.append((leaf.detach() + step * grad.sign()).clamp(*bounds).to(x.device))
    return torch.cat(points)


def substitute(
    oracle: Oracle, seeds: Tensor, build_model: Callable[[], nn.Module], *, rounds: int = 6, step: float = 0.1,
    period: int | None = None, budget: int | None = None, bounds: tuple[float, float] = (0.0, 1.0), seed: int = 0, cache: bool = True,
    **training: Any,
) -> ExtractionResult:  # fmt: skip
    """Train a copy of ``oracle`` from its answers: label the seeds, train, add a point beside each known one, label, train, and so on.

    ``oracle``: inputs (N, ...) -> labels (N,) int64, and nothing else; every row that it is given is counted. ``seeds``: the first
    inputs, (n, ...). ``build_model``: returns a fresh, untrained network. ``rounds``: how often the set is doubled, so that
    n * 2^rounds queries are made. ``step``: how far a new point is changed in every value, the paper's lambda. ``period``: reverse
    its sign every so many rounds; without it all points go deeper into their classes, away from the boundaries. ``budget``: the most
    queries; when doubling would pass it, only a random part of the points gets a companion. ``training``: changes to the recipe of
    ``labkit.training.fit``, such as ``epochs=20``. Papernot et al. 2017, arXiv 1602.02697, algorithm 1; period and random part: Papernot
    et al. 2016, arXiv 1605.07277. When the service stops before (``OutOfQueries``), the copy is trained on what came, and the result's
    ``complete`` is False. Raises ValueError for a budget below the seeds, rounds below 0, a period below 1, and answers that are not one
    label per input.

    Notes: the derivative is that of the label's logit; that of its probability is zero where the copy is sure. The copy begins afresh
    in each round. New points are clamped to the bounds, because a service refuses others. What was asked once is not asked again.
    """
    if rounds < 0:
        raise ValueError(f"rounds must be 0 or more, got {rounds}")
    if period is not None and period < 1:
        raise ValueError(f"period must be 1 or more rounds, got {period}")
    if budget is not None and budget < len(seeds):
        raise ValueError(f"a budget of {budget} queries does not cover the {len(seeds)} seeds")
    ask = Inquiry(lambda inputs: _ask(oracle, inputs))
    ask(seeds)
    x, labels = ask.x, ask.labels
    model, sizes = _trained(build_model, x, labels, seed, cache, 0, training), [len(x)]
    for number in range(1, rounds + 1):
        room = len(x) if budget is None else min(len(x), budget - len(x))
        if not room or ask.exhausted:
            break
        chosen = torch.randperm(len(x), generator=generator(seed, "substitute", number))[:room].sort().values.to(x.device)
        signed = step if period is None or (number - 1) // period % 2 == 0 else -step
        new = augment(model, x[chosen], labels[chosen], signed, bounds)
        if not len(ask(new)):
            break
        x, labels = ask.x, ask.labels
        model = _trained(build_model, x, labels, seed, cache, number, training)
        sizes.append(len(x))
    return ExtractionResult(model, len(x), x, labels, sizes, complete=not ask.exhausted)


def _ask(oracle: Oracle, x: Tensor) -> Tensor:
    answers = oracle(x)
    if answers.shape != (len(x),) or answers.dtype != torch.int64:
        raise ValueError(
            f"the oracle must answer one int64 label per input, shape ({len(x)},), got {answers.dtype} of shape {tuple(answers.shape)}; "
            "is it a model? Use lambda x: model(x).argmax(1)"
        )
    return answers.detach().to(x.device)


def _trained(
    build_model: Callable[[], nn.Module], x: Tensor, labels: Tensor, seed: int, cache: bool, number: int, training: dict[str, Any]
) -> nn.Module:
    """Return a fresh network trained on everything known so far. The set is the attacker's own, hence the role."""
    known = Split(x, labels, "shadow", f"round {number}")
    return fit(build_model(), known, seed=seed, device=x.device, cache=cache, label=f"substitute, round {number}", **training).model
