"""Gradient matching: correctly labelled poisons whose training gradient pulls the way a wrong label on the target would."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from labkit.attacks.poisoning.result import PoisonedData
from labkit.attacks.views import held_still
from labkit.data.dataset import Split
from labkit.progress import progress
from labkit.seeding import generator
from labkit.threats.balls import Linf


def gradient_matching(
    clean: Split, rows: Tensor, target: Tensor, wish: int, model: nn.Module, threat: Linf, *, steps: int = 100,
    step_size: float | None = None, restarts: int = 1, seed: int = 0,
) -> PoisonedData:  # fmt: skip
    """Change the inputs of ``rows`` (P,) within ``threat``, labels untouched, so that whoever trains on it calls ``target`` a ``wish``.

    ``target``: one input, shaped like those of ``clean``; nobody changes it. ``model``: the attacker's own, trained on the clean set.
    Maximizes ``alignment`` of the poisons' gradient with the target's by Adam on the sign of its gradient, from ``restarts`` random
    starts. ``step_size`` (default eps / 10) is divided by 10 after 3/8, 5/8 and 7/8 of the steps. Geiping et al. 2021, arXiv 2009.02276.
    ``trace``: "alignment", (restarts, steps + 1). The same seed and more restarts make the same starts and more.

    Notes: the paper takes 250 steps from 8 starts, keeps the start with the best last step, and augments while it optimizes; here the best
    of all steps of all starts is kept, and nothing is augmented.
    Raises WrongRole; ValueError for a target of another shape, for no rows or rows whose label is not ``wish`` (they would have to pull
    the other way), for a threat without eps, and for steps, restarts or a step size that make no sense.
    """
    if target.shape != clean.x.shape[1:]:
        raise ValueError(f"the target is one input of shape {tuple(clean.x.shape[1:])}, got {tuple(target.shape)}")
    if not len(rows) or bool((clean.y[rows] != wish).any()):
        raise ValueError(
            f"the poisons must be rows labelled {wish}, as the target shall be; got labels {sorted(set(clean.y[rows].tolist()))}"
        )
    if not threat.eps < float("inf"):
        raise ValueError(f"{threat} has no budget: unlimited poisons would be copies of the target")
    if restarts < 1 or steps < 0 or (step_size is not None and step_size <= 0):
        raise ValueError(f"restarts must be 1 or more, steps 0 or more, step_size positive; got {restarts}, {steps}, {step_size}")
    base, y, size = clean.x[rows], clean.y[rows], threat.eps / 10 if step_size is None else step_size
    best, best_x, trails = -2.0, base, []
    with held_still(model):
        aim = _gradient(model, target[None], torch.tensor([wish], device=base.device), create_graph=False)
        for restart in range(restarts):
            x = threat.project(base + threat.eps * (2 * _noise(base, seed, restart) - 1), base)
            first, second, trail = torch.zeros_like(x), torch.zeros_like(x), []
            for step in progress(range(1, steps + 2), "matching gradients"):
                leaf = x.detach().requires_grad_(True)
                cosine = _cosine(_gradient(model, leaf, y, create_graph=True), aim)
                (slope,) = torch.autograd.grad(cosine, leaf)
                trail.append(float(cosine.detach()))
                if trail[-1] > best:
                    best, best_x = trail[-1], x
                if step > steps:
                    break
                slope = slope.sign()
                first, second = 0.9 * first + 0.1 * slope, 0.999 * second + 0.001 * slope * slope
                done = sum(step > steps * eighth / 8 for eighth in (3, 5, 7))
                move = (first / (1 - 0.9**step)) / ((second / (1 - 0.999**step)).sqrt() + 1e-8)
                x = threat.project(x + size / 10**done * move, base)
            trails.append(torch.tensor(trail))
    spent = {"backwards": float(2 * restarts * (steps + 1) * len(rows))}
    return PoisonedData.changing(clean, rows, x=best_x, threat=threat, spent=spent, trace={"alignment": torch.stack(trails)})


def alignment(model: nn.Module, x: Tensor, y: Tensor, target: Tensor, wish: int) -> float:
    """Return the cosine between two training gradients: of the mean loss on (x, y), and of the loss on ``target`` labelled ``wish``.

    ``x`` (P, ...), ``y`` (P,), ``target`` one input. 1: a step on these rows is a step on the mislabelled target.
    """
    with held_still(model):
        aim = _gradient(model, target[None], torch.tensor([wish], device=x.device), create_graph=False)
        return float(_cosine(_gradient(model, x, y, create_graph=False), aim))


def _gradient(model: nn.Module, x: Tensor, y: Tensor, *, create_graph: bool) -> list[Tensor]:
    """Return the gradient of the mean loss with respect to every parameter, whether training is frozen or not."""
    own = {name: parameter.detach().requires_grad_(True) for name, parameter in model.named_parameters()}
    loss = cross_entropy(torch.func.functional_call(model, own, (x,)), y)
    return list(torch.autograd.grad(loss, list(own.values()), create_graph=create_graph))


def _cosine(ours: list[Tensor], aim: list[Tensor]) -> Tensor:
    product = torch.stack([(a * b).sum() for a, b in zip(ours, aim, strict=True)]).sum()
    lengths = [torch.stack([part.square().sum() for part in parts]).sum().sqrt() for parts in (ours, aim)]
    return product / (lengths[0] * lengths[1]).clamp(min=1e-30)


def _noise(base: Tensor, seed: int, restart: int) -> Tensor:
    return torch.rand(base.shape, generator=generator(seed, "gradient matching", restart), dtype=base.dtype).to(base.device)
