"""Model inversion: from a class to an input that the model takes for that class, by gradients or by queries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from labkit.attacks.inversion.priors import Pixels, Prior, first_points
from labkit.attacks.inversion.result import InversionResult, Stop
from labkit.attacks.views import Model, held_still
from labkit.endpoint import OutOfQueries
from labkit.progress import progress
from labkit.seeding import derive, normal_for

Loss = Literal["confidence", "log"]
Process = Callable[[Tensor], Tensor]
PROBES = 1024  # asked at a time: bounds the memory
# At points (B, ...) of the prior, for targets (B,), with their rows (B,) in the ledger, in a step: the inputs, their costs (B,), the
# targets' probabilities (B,), and a function from a mask of the rows that go on to their gradients: who stops here pays for none.
_Seen = tuple[Tensor, Tensor, Tensor, Callable[[Tensor], Tensor]]
_Look = Callable[[Tensor, Tensor, Tensor, int], _Seen]


def invert(
    model: Model, targets: Tensor, prior: Prior, *, steps: int = 5000, step_size: float = 0.1, patience: int = 100,
    confidence: float = 0.99, loss: Loss = "confidence", unit: bool = False, process: Process | None = None,
    start: Tensor | None = None,
) -> InversionResult:  # fmt: skip
    """Descend ``1 - p_target(x)`` for each class in ``targets`` (T,), with the model's gradients: MI-Face.

    ``model``: inputs (B, ...) -> logits (B, K). ``prior``: the coordinates that are searched, and a penalty on them; ``Pixels(shape)`` is
    the paper's. ``steps``, ``patience``, ``confidence``: the paper's alpha, beta and gamma: stop when the probability is high enough, or
    when the cost is no lower than at every one of the last ``patience`` steps. ``step_size``: its lambda. ``loss``: "log" descends
    ``-log p_target``, whose gradient does not vanish where the class is far. ``unit``: steps of just that length along the
    gradient. ``process``: run on the image after every step (the paper's PROCESS, e.g. ``smooth``). ``start``: points of the prior (T, ...)
    to begin at. The best point seen is returned.
    Fredrikson, Jha, Ristenpart 2015, CCS, algorithm 1.

    Notes: the paper prints the second rule as "cost <= gamma" with gamma 0.99, which would stop at once; what is meant is a confidence.
    Raises ValueError for options out of range, for a process without ``Pixels``, and for a class that the model does not have.
    """
    _check(steps, step_size, patience, confidence, loss)
    if process is not None and not isinstance(prior, Pixels):
        raise ValueError(f"process works on images between two steps; the search here runs in the coordinates of {type(prior).__name__}")

    spent = _ledger(len(targets))

    def look(code: Tensor, wished: Tensor, rows: Tensor, step: int) -> _Seen:
        leaf = code.detach().requires_grad_(True)
        x = prior.decode(leaf)
        logits = model(x)
        _check_classes(wished, logits)
        log_p = logits.log_softmax(1).gather(1, wished[:, None])[:, 0]
        cost = _cost(log_p, loss) + prior.penalty(leaf)
        spent["forwards"][rows.cpu()] += 1

        def slope(going: Tensor) -> Tensor:
            (gradient,) = torch.autograd.grad(cost[going].sum(), leaf)
            spent["backwards"][rows[going].cpu()] += 1
            return gradient[going]

        return x.detach(), cost.detach(), log_p.detach().exp(), slope

    with held_still(model), torch.enable_grad():
        return _descend(
            look,
            prior,
            first_points(prior, len(targets), start),
            targets,
            steps,
            step_size,
            patience,
            confidence,
            unit,
            process,
            spent,
            {"attack": "invert", "loss": loss},
        )


def invert_by_queries(
    service: Model, targets: Tensor, prior: Prior, *, steps: int = 200, step_size: float = 0.1, patience: int = 100,
    confidence: float = 0.99, loss: Loss = "log", unit: bool = False, pairs: int | None = None, sigma: float = 0.01,
    start: Tensor | None = None, seed: int = 0,
) -> InversionResult:  # fmt: skip
    """Do the same through a service that answers with probabilities: ``endpoint.as_model()``, whose answers are log-probabilities.

    ``pairs``: None asks on both sides of every coordinate of the prior (central differences); a number asks along so many random directions
    (NES). One more query per step looks at the new point. ``sigma``: how far apart the two questions are from the middle, in the prior's
    coordinates. When the service stops answering, the best points so far are returned. Other options as ``invert``.
    Fredrikson, Jha, Ristenpart 2015, section 5 (numeric gradients); Ilyas et al. 2018, arXiv 1804.08598 (NES).
    Raises ValueError for options out of range and for a class that the service does not have.
    """
    _check(steps, step_size, patience, confidence, loss)
    if sigma <= 0 or (pairs is not None and pairs < 1):
        raise ValueError(f"sigma must be above 0 and pairs 1 or more (or None), got sigma={sigma} and pairs={pairs}")

    spent = _ledger(len(targets))

    def ask(code: Tensor, wished: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = prior.decode(code)
        answers = service(x)
        _check_classes(wished, answers)
        log_p = answers.gather(1, wished[:, None])[:, 0]
        return x, log_p, _cost(log_p, loss) + prior.penalty(code)

    def look(code: Tensor, wished: Tensor, rows: Tensor, step: int) -> _Seen:
        x, log_p, cost = ask(code, wished)
        spent["queries"][rows.cpu()] += 1

        def slope(going: Tensor) -> Tensor:
            u = torch.stack([directions(code[0], int(label), step) for label in wished[going]])  # (going, n, ...)
            each = max(1, PROBES // (2 * u.shape[1]))
            parts = [torch.split(one, each) for one in (code[going], wished[going], rows[going], u)]
            return torch.cat([along(*part) for part in zip(*parts, strict=True)])

        return x, cost, log_p.exp(), slope

    def directions(like: Tensor, label: int, step: int) -> Tensor:
        if pairs is None:
            return torch.eye(like.numel(), dtype=like.dtype, device=like.device).view(-1, *like.shape)
        key = derive(seed, "invert", label)
        return normal_for([key], (pairs, *like.shape), "directions", step, dtype=like.dtype)[0].to(like.device)

    def along(code: Tensor, wished: Tensor, rows: Tensor, u: Tensor) -> Tensor:
        count = u.shape[1]
        probes = torch.cat([code[:, None] + sigma * u, code[:, None] - sigma * u], 1)
        _, _, cost = ask(probes.flatten(0, 1), wished.repeat_interleave(2 * count))
        spent["queries"][rows.cpu()] += 2 * count
        rise = (cost.view(len(code), 2, count)[:, 0] - cost.view(len(code), 2, count)[:, 1]) / (2 * sigma)
        total = torch.bmm(rise[:, None], u.flatten(2)).view_as(code)
        return total / (1 if pairs is None else pairs)

    with torch.no_grad():
        facts: dict[str, object] = {"attack": "invert_by_queries", "loss": loss, "pairs": pairs, "sigma": sigma}
        return _descend(
            look, prior, first_points(prior, len(targets), start), targets, steps, step_size, patience, confidence, unit, None, spent, facts
        )


def _descend(
    look: _Look, prior: Prior, code: Tensor, targets: Tensor, steps: int, step_size: float, patience: int, confidence: float, unit: bool,
    process: Process | None, spent: dict[str, Tensor], meta: dict[str, object],
) -> InversionResult:  # fmt: skip
    """Run the descent of all classes side by side; ``look`` writes what it costs into the ledger ``spent``."""
    count = len(targets)
    targets = targets.to(code.device)
    x, best_code = prior.decode(code).detach().clone(), code.clone()
    best, reached = code.new_full((count,), torch.inf), code.new_full((count,), torch.nan)
    stopped: list[Stop] = ["steps"] * count
    blind, active = torch.zeros(count, dtype=torch.bool, device=code.device), torch.arange(count, device=code.device)
    costs, trace = [], []
    for step in progress(range(steps + 1), "inverting"):
        try:
            seen, cost, p, slope = look(code[active], targets[active], active, step)
            costs.append(torch.full_like(best, torch.nan).index_copy_(0, active, cost))
            trace.append(torch.full_like(best, torch.nan).index_copy_(0, active, p))
            better = cost < best[active]
            rows = active[better]
            best[rows], reached[rows], x[rows], best_code[rows] = cost[better], p[better], seen[better], code[rows]
            stalled = torch.zeros_like(better)
            if step >= patience:
                stalled = cost >= torch.stack(costs[-1 - patience : -1])[:, active].amax(0)
            done = p >= confidence
            for place in torch.nonzero(done | stalled)[:, 0].tolist():
                stopped[int(active[place])] = "confident" if bool(done[place]) else "stalled"
            going = ~(done | stalled)
            if step == steps or not bool(going.any()):
                break
            gradient = slope(going)
        except OutOfQueries:
            for place in active.tolist():
                stopped[place] = "queries"
            break
        active = active[going]
        spent["steps"][active.cpu()] += 1
        length = gradient.flatten(1).norm(dim=1).view(-1, *[1] * (gradient.ndim - 1))
        if step == 0:
            blind[active] = length.flatten() == 0
        move = gradient / length.clamp_min(torch.finfo(gradient.dtype).tiny) if unit else gradient
        moved = code[active] - step_size * move
        code[active] = moved if process is None else process(moved)
        if isinstance(prior, Pixels):
            code[active] = prior.decode(code[active])  # the box: a value that left it would have no gradient back
    steps_of, forwards, backwards, queries = spent.values()
    seen_p = torch.stack(trace) if trace else best.new_empty(0, count)
    return InversionResult(
        x, targets, reached, steps_of, forwards, backwards, queries, tuple(stopped), blind, best_code, confidence, seen_p, meta=dict(meta)
    )


def _ledger(count: int) -> dict[str, Tensor]:
    return {name: torch.zeros(count, dtype=torch.int64) for name in ("steps", "forwards", "backwards", "queries")}


def _cost(log_p: Tensor, loss: Loss) -> Tensor:
    return -log_p if loss == "log" else -torch.expm1(log_p)  # 1 - p, exact where p is nearly 1


def _check(steps: int, step_size: float, patience: int, confidence: float, loss: str) -> None:
    if steps < 0 or patience < 1 or step_size <= 0 or not 0 < confidence <= 1:
        raise ValueError(
            f"steps must be 0 or more, patience 1 or more, step_size above 0 and confidence in (0, 1]; got {steps}, {patience}, "
            f"{step_size} and {confidence}"
        )
    if loss not in ("confidence", "log"):
        raise ValueError(f"loss must be 'confidence' (1 - p) or 'log' (-log p), got {loss!r}")


def _check_classes(wished: Tensor, answers: Tensor) -> None:
    if answers.ndim != 2 or len(answers) != len(wished):
        raise ValueError(f"the model must return ({len(wished)}, classes), got {tuple(answers.shape)}")
    if len(wished) and not 0 <= int(wished.min()) <= int(wished.max()) < answers.shape[1]:
        raise ValueError(f"targets run from {int(wished.min())} to {int(wished.max())}; the model has classes 0 to {answers.shape[1] - 1}")


__all__ = ["invert", "invert_by_queries"]
