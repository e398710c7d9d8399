"""A network with one hidden ReLU layer, copied weight by weight from its answers in float64."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from labkit.attacks.extraction.creases import Creases, along
from labkit.attacks.extraction.inquiry import Inquiry, Oracle
from labkit.attacks.extraction.result import ExtractionResult
from labkit.endpoint import OutOfQueries
from labkit.seeding import generator

#: How many points far from the center check the copy.
FAR = 20


def relu_solving(
    oracle: Oracle, center: Tensor, *, reach: float = 10.0, lines: int = 60, patience: int = 4, hidden: int | None = None,
    log: bool = True, seed: int = 0,
) -> ExtractionResult:  # fmt: skip
    """Copy softmax(V relu(Wx + b) + c) from its probabilities in float64, weights and all, up to rounding errors.

    ``center``: an input (...), float64, around which to look. Along a random line, ``reach`` times the square root of d in both
    directions, the log-ratios of the probabilities are straight between the points where a unit switches; two tangents meet exactly
    there. Before and behind such a point differences along the d axes give two gradients, which differ by the unit's row of W times its
    column of V, up to one sign. What is left after subtracting all units is linear: d + 1 queries more (we ask d + 20, and 20 far away,
    which only check); its slope tells the signs. New
    lines are drawn until ``patience`` of them (at most ``lines`` in all) show no new crease, or ``hidden`` units are known. ``log``:
    without it the result's ``x`` is empty (for a wide network the questions fill gigabytes).
    Jagielski et al. 2020, arXiv 1909.01838; Carlini, Jagielski and Mironov 2020, arXiv 2003.04884, section 4.

    Answers must be unrounded float64, inputs may lie anywhere: rounding hides the bends, labels hide all but the boundary. ``complete``
    is False when the service stopped, or when what is left is not linear near the center, or not the same at twenty points as far away as
    the lines reach: units are missing, or it is another kind of network. Beyond ``reach`` nothing is known. Raises
    ValueError for a center or answers that are not float64, OutOfQueries when not one answer came.
    """
    if center.dtype != torch.float64:
        raise ValueError(f"bends are found by differences of float64 numbers; the center is {center.dtype}")
    start, shape, ask, source = center.detach().flatten(), center.shape, Inquiry(oracle, log=log), generator(seed, "lines")

    def ratios(x: Tensor) -> Tensor:
        said = ask(x.view(-1, *shape))
        if len(said) < len(x):
            raise OutOfQueries("the service answers no more")
        return _log_ratios(said)

    def draw(rows: int) -> Tensor:
        return torch.randn(rows, len(start), generator=source, dtype=torch.float64).to(start)

    known, quiet, far, beyond = None, 0, start[None][:0], None
    try:
        known = Creases.none(start, ratios(start[None]).shape[1])
        for _ in range(lines):
            way, before = draw(1)[0], len(known)
            known = along(ratios, start + 0.5 * draw(1)[0], way / way.norm(), reach * math.sqrt(len(start)), known)
            quiet = quiet + 1 if len(known) == before else 0
            if quiet >= patience or len(known) == hidden:
                break
        points, wide = start + draw(len(start) + 20), torch.linspace(0.05, 1, FAR, dtype=torch.float64)[:, None].to(start)
        far = start + reach * wide * draw(FAR)
        said, beyond = torch.split(ratios(torch.cat([points, far])), [len(points), FAR])
    except OutOfQueries:  # then from what was asked before, at a stride
        every = max(1, len(ask.x) // (3 * len(start)))
        points, said = ask.x.flatten(1)[::every], _log_ratios(ask.answers[: len(ask.x) : every])
        points, said = points[said.isfinite().all(1)], said[said.isfinite().all(1)]
    known = known if known is not None else Creases.none(start, said.shape[1])
    slope, level, off = _linear_rest(points, said - known.signed(points).abs() @ known.bends, start)
    straight = off < 1e-6 * (1 + float(said.abs().max())) if len(said) else False
    if straight and beyond is not None:  # a probability of 0 tells nothing: such points are left out
        expected = known.signed(far).abs() @ known.bends + far @ slope + level
        sure = beyond.isfinite().all(1)
        straight = bool(((expected - beyond).abs() < 1e-5 * (1 + beyond.abs()))[sure].all())
    return ExtractionResult(
        _network(known, slope, level), ask.queries, ask.x, ask.labels, [ask.queries], answers=ask.answers,
        complete=straight and not ask.exhausted,
    )  # fmt: skip


def _log_ratios(said: Tensor) -> Tensor:
    """Return the logarithms of probabilities (N, K) relative to the last one, (N, K - 1)."""
    if said.ndim != 2 or said.dtype != torch.float64:
        raise ValueError(f"bends show in float64 probabilities only; the service says {said.dtype} of shape {tuple(said.shape)}")
    return said[:, :-1].log() - said[:, -1:].log()


def _linear_rest(points: Tensor, rest: Tensor, start: Tensor) -> tuple[Tensor, Tensor, float]:
    """Return slope (d, m) and level (m,) of what is left, and by how much it is not linear at most."""
    rows = torch.cat([points - start, points.new_ones(len(points), 1)], 1)
    fitted: Tensor = torch.linalg.lstsq(rows.cpu(), rest.cpu(), driver="gelsd").solution.to(start)
    off = float((rows @ fitted - rest).abs().max()) if len(rest) else math.inf
    return fitted[:-1], fitted[-1] - start @ fitted[:-1], off


def _network(known: Creases, slope: Tensor, level: Tensor) -> nn.Sequential:
    """Return the network of log-ratios sum_j bends_j |z_j| + slope.x + level; the last class has 0.

    With unit j on where s_j z_j > 0, |z| = 2 relu(s z) - s z: so sum_j s_j bends_j normals_j = slope, linear equations for the signs s.
    Where they have no solution of plus and minus ones (more units than equations), two more units for each output carry what is left.
    """
    features, outputs = slope.shape
    row, shift, column = known.normals, known.offsets, 2 * known.bends
    if len(known):
        system = (known.normals.T[:, None] * known.bends.T[None]).reshape(features * outputs, len(known))
        signs = torch.linalg.lstsq(system.cpu(), slope.reshape(-1, 1).cpu(), driver="gelsd").solution[:, 0].to(slope)
        signs = torch.where(signs < 0, -1.0, 1.0).to(slope)
        row, shift, turned = row * signs[:, None], shift * signs, known.bends * signs[:, None]
        slope, level = slope - known.normals.T @ turned, level - known.offsets @ turned
    if not len(known) or float(slope.abs().max()) > 1e-6:
        carry = torch.eye(outputs, dtype=slope.dtype, device=slope.device)
        row, column = torch.cat([row, slope.T, -slope.T]), torch.cat([column, carry, -carry])
        shift = torch.cat([shift, shift.new_zeros(2 * outputs)])
    first = nn.Linear(features, len(row), dtype=slope.dtype, device=slope.device)
    second = nn.Linear(len(row), outputs + 1, dtype=slope.dtype, device=slope.device)
    with torch.no_grad():
        first.weight.copy_(row)
        first.bias.copy_(shift)
        second.weight.copy_(torch.cat([column, column.new_zeros(len(column), 1)], 1).T)
        second.bias.copy_(torch.cat([level, level.new_zeros(1)]))
    return nn.Sequential(nn.Flatten(), first, nn.ReLU(), second).eval()
