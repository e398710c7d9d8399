"""Labels only: walk to the boundaries of a linear model by bisection; every point on one is an equation."""

from __future__ import annotations

import torch
from torch import Tensor

from labkit.attacks.extraction.equations import as_model, design
from labkit.attacks.extraction.inquiry import Inquiry, Oracle
from labkit.attacks.extraction.result import ExtractionResult
from labkit.seeding import generator


def label_solving(
    oracle: Oracle, starts: Tensor, *, points: int | None = None, steps: int = 45, spare: float = 1.3,
    classes: int | None = None, seed: int = 0,
) -> ExtractionResult:  # fmt: skip
    """Copy the decisions of a linear model of K classes from its labels alone, exactly up to the tolerance of the bisection.

    ``starts``: inputs (n, ...) to begin with, some of every class. Between two starts with different labels runs a line; ``steps`` halvings
    find where the first label ends. There two classes i and j are equal: (w_i - w_j).x + b_i - b_j = 0. Of (K - 1)(d + 1) unknown
    differences to the last class all but their common scale follow, as the direction that all equations leave over. ``points``: how many
    boundary points, ``spare`` times what is needed by default: only the line decides which two classes meet. Each costs
    ``steps`` queries. ``classes``: K, where more are known to exist than the starts show; a class that no start has is never the copy's
    answer. In the spirit of Lowd and Meek 2005, who did it for two classes.

    The scale is not in the answers: the copy decides as the original does, and its probabilities mean nothing. When the service
    stops before, the last intervals are used as they are (``complete`` is False). Raises ValueError for starts of one class, and
    when the points leave more than one direction over.
    """
    if steps < 1:
        raise ValueError(f"steps must be 1 or more halvings, got {steps}")
    ask = Inquiry(lambda x: _labels(oracle(x)))
    first = ask(starts)
    seen: Tensor = torch.unique(first)
    if len(seen) < 2:
        raise ValueError(f"all {len(first)} starts have label {seen.tolist()}: a boundary lies between two classes, give starts of both")
    flat, count_all = starts[: len(first)].detach(), int(seen.max()) + 1
    if classes is not None and classes < count_all:
        raise ValueError(f"classes={classes}, but the service answered {count_all - 1}")
    features = flat[0].numel()
    needed = (len(seen) - 1) * (features + 1) - 1
    count = round(spare * needed) if points is None else points
    source = generator(seed, "boundary")
    low, high, one = _pairs(flat, first, seen, count, source)
    two, far = first[high], (-1,) + (1,) * (flat.ndim - 1)
    begin, end = flat[low], flat[high]
    below, above = begin.new_zeros(count), begin.new_ones(count)
    for _ in range(steps):
        middle = (below + above) / 2
        said = ask(begin + middle.view(far) * (end - begin))
        got = len(said)
        same = said == one[:got]
        below[:got] = torch.where(same, middle[:got], below[:got])
        above[:got] = torch.where(same, above[:got], middle[:got])
        two[:got] = torch.where(same, two[:got], said)
        if got < count:
            break
    middle = (below + above) / 2
    at = begin + middle.view(far) * (end - begin)
    theta, spread = solve_boundary(design(at), one, two, seen)
    if spread < 1e-10 and not ask.exhausted:
        raise ValueError(
            f"{count} boundary points leave more than one answer for {needed} unknowns of {len(seen)} classes: "
            "take more points=, or starts in more general positions"
        )
    full = theta.new_full((features + 1, classes or count_all), 0.0)
    full[-1] = -torch.inf  # a class that no start had is never the answer
    known, place = design(flat), torch.searchsorted(seen, first)
    full[:, seen] = max((theta, -theta), key=lambda one: int(((known @ one).argmax(1) == place).sum()))
    return ExtractionResult(
        as_model(full, starts.dtype), ask.queries, ask.x, ask.labels, [len(first), ask.queries], complete=not ask.exhausted
    )


def solve_boundary(known: Tensor, one: Tensor, two: Tensor, classes: Tensor) -> tuple[Tensor, float]:
    """Return theta (d + 1, K) up to scale and sign, and how well the points determine it.

    ``known``: the design (m, d + 1) of points where classes ``one`` and ``two`` (m,) are equal; ``classes``: the labels, sorted. The
    last class is the reference, 0. The second value is the ratio of the second smallest singular value to the largest; 0 when two
    directions fit equally well.
    """
    width, last = known.shape[1], len(classes) - 1
    rows = known.new_zeros(len(known), len(classes), width)
    index = torch.arange(len(known), device=known.device)
    rows[index, torch.searchsorted(classes, one)] += known
    rows[index, torch.searchsorted(classes, two)] -= known
    system = rows[:, :last].flatten(1)
    _, values, turn = torch.linalg.svd(system, full_matrices=len(system) < system.shape[1])
    second = float(values[-2] / values[0]) if len(system) >= system.shape[1] else float(values[-1] / values[0])
    if len(system) < system.shape[1] - 1:
        second = 0.0
    theta = torch.cat([turn[-1].view(last, width), known.new_zeros(1, width)]).T
    return theta, second


def _labels(answer: object) -> Tensor:
    """Return labels, whatever else a service says."""
    said = answer[0] if isinstance(answer, tuple) else answer
    if not isinstance(said, Tensor):
        raise ValueError(f"an oracle answers with a tensor, got {type(said).__name__}")
    return said[:, 0] if isinstance(answer, tuple) else said if said.ndim == 1 else said.argmax(1)


def _pairs(x: Tensor, labels: Tensor, classes: Tensor, count: int, source: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Return positions of two starts (count,) each with different labels, and the first one's label; classes take turns."""
    members = {int(label): (labels == label).nonzero().squeeze(1).tolist() for label in classes}
    order, drawn, before = list(members), list[tuple[int, int]](), set[tuple[int, int]]()
    for number in range(count):
        for _ in range(20):  # a pair drawn before gives the same point again: try another
            turn = number + 1 + int(torch.randint(len(order) - 1, (), generator=source))
            sides = (members[order[number % len(order)]], members[order[turn % len(order)]])
            one, other = (side[int(torch.randint(len(side), (), generator=source))] for side in sides)
            if (one, other) not in before:
                break
        drawn.append((one, other))
        before |= {(one, other), (other, one)}
    low, high = torch.tensor(drawn, device=x.device).unbind(1)
    return low, high, labels[low]
