"""Equation solving: a softmax regression that says its probabilities gives K - 1 linear equations with every answer."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from labkit.attacks.extraction.inquiry import Inquiry, Oracle
from labkit.attacks.extraction.result import ExtractionResult

Method = Literal["equations", "likelihood"]


def equation_solving(
    oracle: Oracle, x: Tensor, *, method: Method = "equations", decimals: int | None = None, partial: bool = False
) -> ExtractionResult:
    """Copy a logistic (K = 2) or softmax regression of d features from its probabilities on x (n, ...), n >= d + 1.

    log p_k - mean_j log p_j = w_k.x + b_k, the weights centered over the classes: a linear equation for each class and query (one of them
    follows from the others). With d + 1 inputs in general position the copy is exact up to rounding errors; with more, "equations" is least
    squares. ``decimals``: to how many the service rounds; a probability of 0 is then read as half the last digit. Where it rounds, the
    logarithm of a small probability is mostly noise; "likelihood" weighs it by how small it is: the regression under which the answers,
    taken as shares, are likeliest (with a small penalty on the weights, of the size of the rounding). ``partial``: also
    with fewer than d + 1 inputs, for the smallest solution. Tramer et al. 2016, arXiv 1609.02943, section 4.1.

    All inputs are asked about in one go, and solved in float64; ask in float64 for an exact copy, if the service answers so. When the
    service stops before, the copy is made of what came (``complete`` is False). Raises ValueError, before anything is asked, for inputs
    that cannot determine the copy, and for a probability of 0 without ``decimals``.

    Notes: the paper counts k(d + 1) queries, one for each unknown of a softmax; with all probabilities in an answer d + 1 suffice.
    """
    known = design(x)
    needed, rank = known.shape[1], int(torch.linalg.matrix_rank(known))
    if not partial and rank < needed:
        raise ValueError(
            f"{len(x)} inputs of {needed - 1} features give {rank} independent equations for each class, {needed} are needed: "
            "too few inputs, two that are alike, or a feature that never changes"
        )
    ask = Inquiry(oracle)
    said = ask(x)
    if not len(said) or said.ndim != 2:
        kind = "no answer" if not len(said) else "labels only"
        raise ValueError(f"equations need probabilities, and the service gave {kind}; for labels there is label_solving")
    theta = solve(design(ask.x), said.double(), method, decimals)
    return ExtractionResult(
        as_model(theta, x.dtype), ask.queries, ask.x, ask.labels, [ask.queries], answers=said, complete=not ask.exhausted
    )


def design(x: Tensor) -> Tensor:
    """Return inputs (n, ...) as rows of float64 with a one behind, (n, d + 1)."""
    flat = x.detach().flatten(1).double()
    return torch.cat([flat, flat.new_ones(len(flat), 1)], 1)


def as_model(theta: Tensor, dtype: torch.dtype) -> nn.Sequential:
    """Return theta (d + 1, K), weights over biases, as a network in evaluation mode."""
    layer = nn.Linear(theta.shape[0] - 1, theta.shape[1], device=theta.device, dtype=dtype)
    with torch.no_grad():
        layer.weight.copy_(theta[:-1].T)
        layer.bias.copy_(theta[-1])
    return nn.Sequential(nn.Flatten(), layer).eval()


def solve(known: Tensor, said: Tensor, method: Method = "equations", decimals: int | None = None) -> Tensor:
    """Return theta (d + 1, K), centered over the classes, from the design (n, d + 1) and probabilities (n, K), float64."""
    if method not in ("equations", "likelihood"):
        raise ValueError(f"method must be 'equations' or 'likelihood', got {method!r}")
    unit = 0.0 if decimals is None else 10.0**-decimals
    if method == "likelihood":
        return _likeliest(known, said / said.sum(1, keepdim=True).clamp_min(1e-12), penalty=1e-3 * unit)
    if not unit and bool((said == 0).any()):
        raise ValueError(
            f"{int((said == 0).sum())} probabilities are exactly 0, which has no logarithm: does the service round (decimals=), or do the "
            "inputs make it too sure (choose smaller ones)?"
        )
    ratios = said.clamp_min(unit / 2).log()
    ratios = ratios - ratios.mean(1, keepdim=True)
    theta: Tensor = torch.linalg.lstsq(known.cpu(), ratios.cpu(), driver="gelsd").solution
    return theta.to(known.device)


def _likeliest(known: Tensor, shares: Tensor, penalty: float, steps: int = 100) -> Tensor:
    """Minimize the cross-entropy with ``shares`` plus penalty * |theta|^2, by L-BFGS in coordinates in which the inputs are round."""
    covariance = known.T @ known / len(known)
    ridge = 1e-9 if len(known) >= known.shape[1] else 1e-3
    square = torch.linalg.cholesky(covariance + ridge * torch.eye(len(covariance), dtype=known.dtype, device=known.device)).T
    back = torch.linalg.inv(square)
    round_inputs = known @ back
    theta = torch.zeros(known.shape[1], shares.shape[1], dtype=known.dtype, device=known.device, requires_grad=True)
    climb = torch.optim.LBFGS(
        [theta], max_iter=steps, max_eval=2 * steps, history_size=30, line_search_fn="strong_wolfe", tolerance_change=0
    )

    def loss() -> Tensor:
        climb.zero_grad()
        value: Tensor = -(shares * (round_inputs @ theta).log_softmax(1)).sum(1).mean()
        if penalty:
            value = value + penalty * (back @ theta).square().sum()
        torch.autograd.backward(value)
        return value

    with torch.enable_grad():
        climb.step(loss)  # type: ignore[no-untyped-call]
    found: Tensor = back @ theta.detach()
    return found - found.mean(1, keepdim=True)
