"""Deep leakage from gradients: inputs that would have given the gradient that was seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from labkit.attacks.inversion.leaks import Gradient
from labkit.attacks.inversion.priors import total_variation
from labkit.attacks.outcome import Outcome
from labkit.rates import Rate
from labkit.seeding import generator

Match = Literal["l2", "cosine"]


@dataclass(frozen=True)
class LeakResult(Outcome):
    """Inputs recovered from gradients. ``x`` (B, ...), inside [0, 1]; ``labels`` (B,) int64; ``mismatch``: what the search had left;
    ``iterations``, ``gradients``: steps of the optimizer, and gradients of the model that they took. ``psnr`` (B,) in dB, once ``scored``.
    """

    x: Tensor
    labels: Tensor
    mismatch: float
    iterations: int
    gradients: int
    psnr: Tensor = field(default_factory=lambda: torch.empty(0))
    right_labels: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.bool))
    recognized_at: float = 20.0
    threat: str = "19_model_inversion"
    meta: dict[str, Any] = field(default_factory=dict)

    @property
    def metrics(self) -> dict[str, Rate | float]:
        """Images recovered to ``recognized_at`` dB or better and labels recovered, of all; the mismatch alone before scoring."""
        if not len(self.psnr):
            return {"mismatch": self.mismatch}
        count = len(self.psnr)
        recovered = Rate(int((self.psnr >= self.recognized_at).sum()), count, "images")
        return {"recovered": recovered, "labels": Rate(int(self.right_labels.sum()), count, "labels"), "mismatch": self.mismatch}

    @property
    def costs(self) -> dict[str, float]:
        """Optimizer steps and gradients of the model (each with a second derivative)."""
        return {"iterations": self.iterations, "gradients": self.gradients}

    def scored(self, x: Tensor, y: Tensor) -> LeakResult:
        """Return the result beside the true batch x (B, ...), y (B,), in whatever order fits best: a gradient keeps no order."""
        from scipy.optimize import linear_sum_assignment

        values = torch.stack([psnr(self.x, one.expand_as(self.x)) for one in x])  # (true, found)
        rows, columns = linear_sum_assignment(-values.clamp(max=200).cpu().numpy())
        order = torch.as_tensor(columns)
        return replace(self, psnr=values[rows, columns], x=self.x[order], labels=self.labels[order], right_labels=self.labels[order] == y)


def psnr(x: Tensor, reference: Tensor) -> Tensor:
    """Return the peak signal-to-noise ratio, (B,) in dB, of inputs in [0, 1]: ``-10 log10(mean squared difference)``; inf if equal."""
    if x.shape != reference.shape:
        raise ValueError(f"psnr compares equal shapes, got {tuple(x.shape)} and {tuple(reference.shape)}")
    return -10 * (x.double() - reference.double()).square().flatten(1).mean(1).log10()


def deep_leakage(
    model: nn.Module, gradient: Sequence[Tensor], shape: tuple[int, ...], *, labels: Tensor | None = None, steps: int = 100,
    match: Match = "l2", tv: float = 0.0, inner: int = 20, starts: int = 1, enough: float = 1e-10, seed: int = 0,
) -> LeakResult:  # fmt: skip
    """Search inputs (and soft labels) whose gradient is the one that was seen: L-BFGS on ``|g(x, y) - g*|^2 / |g*|^2``.

    ``gradient``: one tensor per parameter of ``model``, as ``shared_gradient`` returns it. ``shape``: of the batch, (B, ...).
    ``labels``: (B,), if known already (iDLG takes them from ``label_from_weight``); else they are searched along, as B x K logits (DLG).
    ``steps``: of the optimizer, ``inner`` iterations each. ``match``: "cosine" compares directions only (Geiping et al. 2020,
    arXiv 2003.14053, who minimize it with Adam; here with L-BFGS). ``tv``: weight of the total variation, for images.
    ``starts``: random beginnings; no more are tried once the mismatch is below ``enough``. The best point seen is returned, clamped
    to [0, 1]. A small mismatch is no proof of a right batch: where gradients are nearly flat in the input (trained networks, many inputs),
    1e-6 is reached by wrong ones; only rounding (some 1e-12 in float32) says that nothing is left to search.
    Zhu, Liu, Han 2019, arXiv 1906.08935; Zhao et al. 2020, arXiv 2001.02610.

    Notes: the papers do not divide by ``|g*|^2``; here the optimizer's tolerances must not depend on the gradient's size. The search begins
    at uniform noise in [0, 1] (the papers: normal noise). The model needs second derivatives: with ReLU they are zero almost everywhere,
    hence sigmoid or tanh in the papers. Raises ValueError when the gradient does not fit the model.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    if [g.shape for g in gradient] != [p.shape for p in parameters]:
        raise ValueError(f"the gradient's {len(gradient)} parts are not those of the model's {len(parameters)} trainable parameters")
    if match not in ("l2", "cosine") or min(steps, inner, starts) < 1:
        raise ValueError(f"match must be 'l2' or 'cosine', steps, inner and starts 1 or more; got {match!r}, {steps}, {inner} and {starts}")
    if not enough >= 0:
        raise ValueError(f"enough, the mismatch at which no further beginning is tried, must be 0 or more, got {enough}")
    meta = {"attack": "deep_leakage", "match": match, "labels": "given" if labels is not None else "searched"}
    best, done, calls = _Best(), 0, 0
    for start in range(starts):
        source = generator(seed, "deep leakage", start)
        more = _search(model, parameters, tuple(gradient), shape, labels, steps, match, tv, inner, source, best)
        done, calls = done + more[0], calls + more[1]
        if best.mismatch < enough:
            break
    assert best.x is not None
    return LeakResult(best.x.clamp(0, 1), best.labels if labels is None else labels, best.mismatch, done, calls, meta=meta)


@dataclass
class _Best:
    """The point with the smallest mismatch so far, over all beginnings."""

    x: Tensor | None = None
    labels: Tensor = field(default_factory=lambda: torch.empty(0))
    mismatch: float = float("inf")


def _search(
    model: nn.Module, parameters: list[nn.Parameter], gradient: Gradient, shape: tuple[int, ...], labels: Tensor | None, steps: int,
    match: Match, tv: float, inner: int, source: torch.Generator, best: _Best,
) -> tuple[int, int]:  # fmt: skip
    """Search from one beginning; write what is better into ``best``. Return how many steps and gradients it took."""
    like = gradient[0]
    x = torch.rand(shape, generator=source, dtype=like.dtype).to(like.device).requires_grad_(True)
    with torch.no_grad():
        classes = model(x).shape[1]
    free = torch.randn(shape[0], classes, generator=source, dtype=like.dtype).to(like.device).requires_grad_(True)
    fixed = None if labels is None else one_hot(labels, classes).to(like)
    unknown = [x] if fixed is not None else [x, free]
    optimizer = torch.optim.LBFGS(unknown, lr=1.0, max_iter=inner, history_size=100, tolerance_grad=0, tolerance_change=0)
    done, calls, own = 0, 0, float("inf")

    def closure() -> Tensor:
        nonlocal calls, own
        calls += 1
        soft = free.softmax(1) if fixed is None else fixed
        loss = -(soft * model(x).log_softmax(1)).sum(1).mean()
        mine = torch.autograd.grad(loss, parameters, create_graph=True)
        off = _mismatch(mine, gradient, match)
        seen = float(off.detach())
        own = min(own, seen)
        if best.x is None or seen < best.mismatch:
            best.x, best.labels, best.mismatch = x.detach().clone(), free.detach().argmax(1), seen
        cost = off + tv * total_variation(x).sum() if tv else off
        for leaf, slope in zip(unknown, torch.autograd.grad(cost, unknown), strict=True):
            leaf.grad = slope
        return cost.detach()

    with torch.enable_grad():
        while done < steps:
            before, done = own, done + 1
            value = float(optimizer.step(closure))  # type: ignore[no-untyped-call]
            if not value < float("inf") or own < 1e-14 or own == before:
                break  # diverged, exact, or stuck
    return done, calls


def _mismatch(mine: Gradient, seen: Gradient, match: Match) -> Tensor:
    if match == "l2":
        length = torch.stack([part.square().sum() for part in seen]).sum().clamp_min(1e-30)
        return torch.stack([(a - b).square().sum() for a, b in zip(mine, seen, strict=True)]).sum() / length
    product = torch.stack([(a * b).sum() for a, b in zip(mine, seen, strict=True)]).sum()
    lengths = [torch.stack([part.square().sum() for part in parts]).sum().sqrt() for parts in (mine, seen)]
    return 1 - product / (lengths[0] * lengths[1]).clamp_min(1e-30)


__all__ = ["LeakResult", "Match", "deep_leakage", "psnr"]
