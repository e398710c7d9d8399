"""Distillation from queries: let the service label inputs, and train a copy on all that it says about them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from labkit.attacks.extraction.inquiry import Inquiry, Oracle
from labkit.attacks.extraction.result import ExtractionResult
from labkit.attacks.views import held_still
from labkit.data.dataset import Split
from labkit.seeding import generator
from labkit.training import fit
from labkit.training.objectives import Objective, StepState

Choice = Literal["random", "uncertain"]


@dataclass(frozen=True, eq=False)
class SoftLabels(Objective):
    """Cross-entropy with what somebody else said in place of labels: ``answers`` (N, K); y (B,) tells which row belongs to each input."""

    answers: Tensor

    def loss(self, model: nn.Module, x: Tensor, y: Tensor, state: StepState) -> Tensor:
        """Return the mean over the batch of -sum_k answers_k log softmax(model(x))_k."""
        return cross_entropy(model(x), self.answers.to(x.device)[y])


def distill(
    oracle: Oracle, pool: Tensor, build_model: Callable[[], nn.Module], *, budget: int, choose: Choice = "random", rounds: int = 1,
    classes: int | None = None, seed: int = 0, cache: bool = True, **training: Any,
) -> ExtractionResult:  # fmt: skip
    """Train a copy of ``oracle`` on its answers to ``budget`` inputs of the attacker's ``pool`` (N, ...).

    ``oracle``: answers labels (n,), probabilities (n, K) or a ``Top`` (then ``classes`` = K); whatever it says is what the copy learns.
    ``pool``: inputs without labels: of the victim's kind, of another kind, or noise. ``choose``: "random", or "uncertain": in ``rounds``
    equal parts, after each the copy is trained afresh and asks next about those of which it is least sure (smallest lead of its first
    answer over its second). ``training``: changes to the recipe of ``labkit.training.fit``. Tramer et al. 2016, arXiv 1609.02943, section 6
    (retraining); Orekondy et al. 2019, arXiv 1812.02766 (the pool of another kind, probabilities as targets).

    When the service stops before, the copy is trained on what came (``complete`` is False). Raises ValueError for a budget outside 1
    to N and rounds below 1, OutOfQueries when not one answer came.
    """
    if not 1 <= budget <= len(pool):
        raise ValueError(f"a budget of {budget} queries does not fit a pool of {len(pool)} inputs")
    if rounds < 1 or choose not in ("random", "uncertain"):
        raise ValueError(f"choose must be 'random' or 'uncertain' and rounds 1 or more, got {choose!r} and {rounds}")
    ask, free = Inquiry(oracle, classes=classes), torch.ones(len(pool), dtype=torch.bool, device=pool.device)
    order = torch.randperm(len(pool), generator=generator(seed, "distill")).to(pool.device)
    sizes: list[int] = []
    model: nn.Module | None = None
    for number in range(1, rounds + 1):
        left = order[free[order]]
        if model is not None and choose == "uncertain":
            left = left[_lead(model, pool[left]).argsort(stable=True)]
        chosen = left[: budget * number // rounds - ask.queries]
        free[chosen] = False
        ask(pool[chosen])
        if choose == "random" and number < rounds and not ask.exhausted:
            continue  # what is asked next does not depend on the copy
        model = _student(build_model, ask, seed, cache, number, training)
        sizes.append(ask.queries)
        if ask.exhausted:
            break
    assert model is not None
    said = ask.answers
    answers = said if said.ndim == 2 else None
    return ExtractionResult(model, ask.queries, ask.x, ask.labels, sizes, answers=answers, complete=not ask.exhausted)


def _lead(model: nn.Module, x: Tensor) -> Tensor:
    with held_still(model), torch.no_grad():
        best = torch.cat([model(part).softmax(1) for part in torch.split(x, 512)]).topk(2, dim=1).values
    return best[:, 0] - best[:, 1]


def _student(
    build_model: Callable[[], nn.Module], ask: Inquiry, seed: int, cache: bool, number: int, training: dict[str, Any]
) -> nn.Module:
    x, said = ask.x, ask.answers
    label = f"copy, round {number}"
    if said.ndim == 1:
        known = Split(x, said, "shadow", label)
        return fit(build_model(), known, seed=seed, device=x.device, cache=cache, label=label, **training).model
    known = Split(x, torch.arange(len(x), device=x.device), "shadow", label)
    learn = SoftLabels(said.to(x.dtype))
    return fit(build_model(), known, objective=learn, seed=seed, device=x.device, cache=cache, label=label, **training).model
