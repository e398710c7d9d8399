"""Exercises of chapter 16: flips of one class, the rate that matters, one step of a collision, and the angle between two gradients."""

from __future__ import annotations

import math

import torch

from labkit.course.exercises.framework import Exercise, Mistake
from labkit.course.exercises.probe import call, close, expect, number, tensor


def missed_rate(predicted: torch.Tensor, y: torch.Tensor, malignant: int) -> float:
    """Return the share of malignant tumors that the model does not call malignant.

    predicted, y: labels, shape (N,); malignant: the label of malignant tumors.
    """
    raise NotImplementedError


def _missed_solved(predicted: torch.Tensor, y: torch.Tensor, malignant: int) -> float:
    sick = y == malignant
    return float((predicted[sick] != malignant).double().mean())


def _missed_of_all(predicted: torch.Tensor, y: torch.Tensor, malignant: int) -> float:
    return float(((y == malignant) & (predicted != malignant)).double().mean())


def _missed_errors(predicted: torch.Tensor, y: torch.Tensor, malignant: int) -> float:
    return float((predicted != y).double().mean())


def _missed_alarms(predicted: torch.Tensor, y: torch.Tensor, malignant: int) -> float:
    return float((predicted[y != malignant] == malignant).double().mean())


def _missed_found(predicted: torch.Tensor, y: torch.Tensor, malignant: int) -> float:
    return float((predicted[y == malignant] == malignant).double().mean())


def _missed_reversed(predicted: torch.Tensor, y: torch.Tensor, malignant: int) -> float:
    return float((y[predicted != malignant] == malignant).double().mean())


def _missed_percent(predicted: torch.Tensor, y: torch.Tensor, malignant: int) -> float:
    return 100 * _missed_solved(predicted, y, malignant)


def _missed_count(predicted: torch.Tensor, y: torch.Tensor, malignant: int) -> float:
    return float((predicted[y == malignant] != malignant).sum())


def _examine_missed(answer: object) -> None:
    y = torch.tensor([0, 1, 0, 1, 1, 0, 1, 1, 0, 1, 1, 0])
    predicted = torch.tensor([0, 1, 1, 1, 0, 1, 1, 0, 0, 1, 0, 0])
    found = number(call(answer, predicted, y, 0, names="predicted y malignant"), "The rate")
    wrong = {
        "The denominator is everybody. Divide by the patients who *have* a malignant tumor.": _missed_of_all,
        "This counts every error. A false alarm is not a missed diagnosis.": _missed_errors,
        "This is the rate of false alarms: benign tumors called malignant.": _missed_alarms,
        "This is the share that was *found*; the missed ones are the others.": _missed_found,
        "You divide by those whom the model calls benign. Condition on the truth, not on the answer.": _missed_reversed,
        "This is the rate in percent. Return a share, between 0 and 1.": _missed_percent,
        "This is a *number* of patients. Divide it by how many have a malignant tumor.": _missed_count,
    }
    for message, mistake in wrong.items():  # with room for single precision
        expect(abs(found - mistake(predicted, y, 0)) > 1e-5, message)
    right = _missed_solved(predicted, y, 0)
    expect(abs(found - right) < 1e-5, f"Expected {right:.3f} on a small trial with 12 patients, got {found:.3f}.")
    other = number(call(answer, predicted, y, 1, names="predicted y malignant"), "The rate")
    expect(abs(other - _missed_solved(predicted, y, 1)) < 1e-5, "With `malignant = 1` the answer is wrong: use the argument.")


def flip_farthest(y: torch.Tensor, margins: torch.Tensor, count: int, source: int, target: int) -> torch.Tensor:
    """Return the labels after `count` flips from `source` to `target`, of the `source` rows with the largest margins.

    y: labels, shape (N,), left as they are; margins: how clearly the attacker's model is right about each row,
    negative where it is wrong, shape (N,).
    """
    raise NotImplementedError


def _flip_solved(y: torch.Tensor, margins: torch.Tensor, count: int, source: int, target: int) -> torch.Tensor:
    rows = (y == source).nonzero().squeeze(1)
    chosen = rows[margins[rows].argsort(descending=True)[:count]]
    flipped = y.clone()
    flipped[chosen] = target
    return flipped


def _flip_nearest(y: torch.Tensor, margins: torch.Tensor, count: int, source: int, target: int) -> torch.Tensor:
    rows = (y == source).nonzero().squeeze(1)
    chosen = rows[margins[rows].argsort()[:count]]
    flipped = y.clone()
    flipped[chosen] = target
    return flipped


def _flip_any(y: torch.Tensor, margins: torch.Tensor, count: int, source: int, target: int) -> torch.Tensor:
    flipped = y.clone()
    flipped[margins.argsort(descending=True)[:count]] = target
    return flipped


def _flip_positions(y: torch.Tensor, margins: torch.Tensor, count: int, source: int, target: int) -> torch.Tensor:
    flipped = y.clone()
    flipped[margins[y == source].argsort(descending=True)[:count]] = target
    return flipped


def _flip_in_place(y: torch.Tensor, margins: torch.Tensor, count: int, source: int, target: int) -> torch.Tensor:
    rows = (y == source).nonzero().squeeze(1)
    y[rows[margins[rows].argsort(descending=True)[:count]]] = target
    return y


def _flip_abs(y: torch.Tensor, margins: torch.Tensor, count: int, source: int, target: int) -> torch.Tensor:
    return _flip_solved(y, margins.abs(), count, source, target)


def _flip_masked(y: torch.Tensor, margins: torch.Tensor, count: int, source: int, target: int) -> torch.Tensor:
    flipped = y.clone()
    flipped[(margins * (y == source)).argsort(descending=True)[:count]] = target
    return flipped


def _examine_flip(answer: object) -> None:
    y = torch.tensor([1, 0, 2, 0, 1, 0, 2, 0, 0, 1])
    margins = torch.tensor([5.0, 0.3, 4.0, 2.5, 3.0, -9.0, 3.5, 1.5, 0.9, 4.5])
    found = call(answer, y, margins, 2, 0, 1, names="y margins count source target")
    expect(
        isinstance(found, torch.Tensor) and found.shape == y.shape and found.dtype == torch.int64,
        "Return the labels of all rows, int64, shape (N,).",
    )
    right = _flip_solved(y, margins, 2, 0, 1)
    expect(
        not torch.equal(found, _flip_nearest(y, margins, 2, 0, 1)),
        "These are the rows with the *smallest* margins, where the model is unsure or wrong anyway: it loses little there.",
    )
    expect(
        not torch.equal(found, _flip_any(y, margins, 2, 0, 1)),
        "Rows of all classes compete. Choose among those with label `source` only.",
    )
    expect(
        not torch.equal(found, _flip_positions(y, margins, 2, 0, 1)),
        "`margins[y == source].argsort()` counts *within the class*. Translate back: `rows[...]`, with `rows` the places of that class.",
    )
    expect(
        not torch.equal(found, _flip_abs(y, margins, 2, 0, 1)),
        "The sign of a margin counts: -9 is a row that the model gets clearly *wrong*, not one deep inside its class. Leave out `abs`.",
    )
    changed = int((found != y).sum())
    expect(changed == 2, f"Two labels were to be flipped; {changed} changed.")
    expect(torch.equal(found, right), f"Expected {right.tolist()} on a small trial, got {found.tolist()}.")
    low = torch.tensor([5.0, -0.3, 4.0, -2.5, 3.0, -0.5, 3.5, -1.5, -0.9, 4.5])
    found, right = call(answer, y, low, 3, 0, 1, names="y margins count source target"), _flip_solved(y, low, 3, 0, 1)
    expect(
        not torch.equal(found, _flip_masked(y, low, 3, 0, 1)),
        "Where all margins of the class are negative, zeros win: `margins * (y == source)` gives the other classes a zero. Choose among "
        "the rows of the class.",
    )
    expect(torch.equal(found, right), f"Where all margins of the class are negative: expected {right.tolist()}, got {found.tolist()}.")


def forward_backward(x: torch.Tensor, slope: torch.Tensor, base: torch.Tensor, step: float, beta: float) -> torch.Tensor:
    """Return the next image of a feature collision, with values in [0, 1].

    x, base: images, shape (B, C, H, W); slope: the gradient of |f(x) - f(target)|^2 at x. Forward: x - step * slope.
    Backward: from there, the z that minimizes |z - there|^2 / (2 step) + beta |z - base|^2. Then the box.
    """
    raise NotImplementedError


def _step_solved(x: torch.Tensor, slope: torch.Tensor, base: torch.Tensor, step: float, beta: float) -> torch.Tensor:
    there = x - step * slope
    return ((there + 2 * step * beta * base) / (1 + 2 * step * beta)).clamp(0, 1)


def _step_boxless(x: torch.Tensor, slope: torch.Tensor, base: torch.Tensor, step: float, beta: float) -> torch.Tensor:
    there = x - step * slope
    return (there + 2 * step * beta * base) / (1 + 2 * step * beta)


def _step_half(x: torch.Tensor, slope: torch.Tensor, base: torch.Tensor, step: float, beta: float) -> torch.Tensor:
    there = x - step * slope
    return ((there + step * beta * base) / (1 + step * beta)).clamp(0, 1)


def _step_uphill(x: torch.Tensor, slope: torch.Tensor, base: torch.Tensor, step: float, beta: float) -> torch.Tensor:
    there = x + step * slope
    return ((there + 2 * step * beta * base) / (1 + 2 * step * beta)).clamp(0, 1)


def _step_explicit(x: torch.Tensor, slope: torch.Tensor, base: torch.Tensor, step: float, beta: float) -> torch.Tensor:
    return (x - step * (slope + 2 * beta * (x - base))).clamp(0, 1)


def _step_forward_only(x: torch.Tensor, slope: torch.Tensor, base: torch.Tensor, step: float, beta: float) -> torch.Tensor:
    return (x - step * slope).clamp(0, 1)


def _step_early_box(x: torch.Tensor, slope: torch.Tensor, base: torch.Tensor, step: float, beta: float) -> torch.Tensor:
    there = (x - step * slope).clamp(0, 1)
    return (there + 2 * step * beta * base) / (1 + 2 * step * beta)


def _examine_step(answer: object) -> None:
    source = torch.Generator().manual_seed(2)
    x, base = (torch.rand(2, 1, 4, 4, generator=source) for _ in range(2))
    slope = 3 * torch.randn(2, 1, 4, 4, generator=source)
    found = tensor(call(answer, x, slope, base, 0.25, 0.8, names="x slope base step beta"), (2, 1, 4, 4), "The next image")
    wrong = {
        "Values outside [0, 1]: that is no image. Clamp at the very end.": _step_boxless,
        "Set the derivative to zero: `(z - there) / step + 2 * beta * (z - base) = 0`. The 2 belongs to the square.": _step_half,
        "The forward step goes uphill: the features shall come *closer* to the target's.": _step_uphill,
        "This is one plain gradient step on both terms. The backward step is solved exactly, after the forward step.": _step_explicit,
        "You clamp too early: the backward step starts from where the forward step ended, box or no box.": _step_early_box,
        "The backward step is missing: nothing pulls the image back to its base.": _step_forward_only,
    }
    for message, mistake in wrong.items():
        expect(not close(found, mistake(x, slope, base, 0.25, 0.8), 1e-5), message)
    expect(close(found, _step_solved(x, slope, base, 0.25, 0.8), 1e-5), "First forward, then the minimizer of the quadratic, then the box.")


def cosine(ours: list[torch.Tensor], target: list[torch.Tensor]) -> float:
    """Return the cosine of the angle between two gradients of a whole network.

    ours, target: one tensor for each parameter, with equal shapes. All parameters together are one long vector.
    """
    raise NotImplementedError


def _cosine_solved(ours: list[torch.Tensor], target: list[torch.Tensor]) -> float:
    a, b = (torch.cat([part.flatten() for part in parts]) for parts in (ours, target))
    return float(a @ b / (a.norm() * b.norm()))


def _cosine_layers(ours: list[torch.Tensor], target: list[torch.Tensor]) -> float:
    each = [float(a.flatten() @ b.flatten() / (a.norm() * b.norm())) for a, b in zip(ours, target, strict=True)]
    return sum(each) / len(each)


def _cosine_product(ours: list[torch.Tensor], target: list[torch.Tensor]) -> float:
    return float(sum((a * b).sum() for a, b in zip(ours, target, strict=True)))


def _cosine_loss(ours: list[torch.Tensor], target: list[torch.Tensor]) -> float:
    return 1 - _cosine_solved(ours, target)


def _cosine_squared(ours: list[torch.Tensor], target: list[torch.Tensor]) -> float:
    a, b = (torch.cat([part.flatten() for part in parts]) for parts in (ours, target))
    return float(a @ b / ((a @ a) * (b @ b)))


def _cosine_sum(ours: list[torch.Tensor], target: list[torch.Tensor]) -> float:
    lengths = [sum(float(part.norm()) for part in parts) for parts in (ours, target)]
    return _cosine_product(ours, target) / (lengths[0] * lengths[1])


def _cosine_angle(ours: list[torch.Tensor], target: list[torch.Tensor]) -> float:
    return math.acos(_cosine_solved(ours, target))


def _cosine_negative(ours: list[torch.Tensor], target: list[torch.Tensor]) -> float:
    return -_cosine_solved(ours, target)


def _examine_cosine(answer: object) -> None:
    source = torch.Generator().manual_seed(4)
    shapes = ((5, 3), (5,), (2, 5), (2,))
    ours, target = ([scale * torch.randn(shape, generator=source) for shape, scale in zip(shapes, scales, strict=True)]
                    for scales in ((1.0, 0.1, 4.0, 0.3), (0.2, 2.0, 1.0, 0.5)))  # fmt: skip
    found = number(call(answer, ours, target, names="ours target"), "The cosine")
    right = _cosine_solved(ours, target)
    wrong = {
        "A mean over layers weighs a bias of two numbers like a whole weight matrix. Join all parameters first.": _cosine_layers,
        "This is the inner product: it grows with the gradients' lengths. Divide by both norms.": _cosine_product,
        "This is one minus the cosine, the *loss* that the attack minimizes. The cosine itself was asked for.": _cosine_loss,
        "You divided by the squared lengths: take their square roots.": _cosine_squared,
        "The length of the joined vector is not the sum of the layers' lengths: add the squares, then take the root.": _cosine_sum,
        "This is the angle itself, in radians. Its cosine was asked for.": _cosine_angle,
        "The number is right, with the opposite sign. A minus belongs into a loss, not here.": _cosine_negative,
    }
    for message, mistake in wrong.items():
        expect(abs(found - mistake(ours, target)) > 1e-5, message)
    expect(abs(found - right) < 1e-4, f"Expected {right:.4f} on a small trial, got {found:.4f}.")


EXERCISES = (
    Exercise(
        id="16.1",
        title="The rate that matters",
        difficulty=1,
        minutes=5,
        statement=(
            "Accuracy hides what this attack does. Write `missed_rate(predicted, y, malignant)`: of the patients with a malignant tumor, "
            "the share that the model does not call malignant."
        ),
        stub=missed_rate,
        solution=_missed_solved,
        examine=_examine_missed,
        hints=(
            "First decide who is in the denominator: patients by their *true* label.",
            "`sick = y == malignant` is a mask; `predicted[sick]` are the answers for those patients.",
            "The rate is the mean of `predicted[sick] != malignant`, as a float.",
        ),
        mistakes=(
            Mistake("divides by everybody", _missed_of_all, "denominator is everybody"),
            Mistake("counts every error", _missed_errors, "false alarm is not a missed"),
            Mistake("counts false alarms", _missed_alarms, "rate of false alarms"),
            Mistake("counts the found", _missed_found, "that was *found*"),
            Mistake("conditions on the answer", _missed_reversed, "Condition on the truth"),
            Mistake("answers in percent", _missed_percent, "the rate in percent"),
            Mistake("returns a count", _missed_count, "a *number* of patients"),
        ),
    ),
    Exercise(
        id="16.2",
        title="Flip where it hurts",
        difficulty=2,
        minutes=10,
        statement=(
            "Write `flip_farthest(y, margins, count, source, target)`: exactly `count` labels go from `source` to `target`, those of the "
            "`source` rows with the largest margins. A margin says how clearly the attacker's model is right about a row; it is negative "
            "where the model is wrong, and all of them may be."
        ),
        stub=flip_farthest,
        solution=_flip_solved,
        examine=_examine_flip,
        hints=(
            "Find the places of the class first: `rows = (y == source).nonzero().squeeze(1)`.",
            "`margins[rows].argsort(descending=True)` orders positions *within* `rows`.",
            "Change a clone: the caller keeps the true labels.",
        ),
        mistakes=(
            Mistake("flips the smallest margins", _flip_nearest, "*smallest* margins"),
            Mistake("flips any class", _flip_any, "Rows of all classes compete"),
            Mistake("confuses positions", _flip_positions, "*within the class*"),
            Mistake("drops the signs", _flip_abs, "Leave out `abs`"),
            Mistake("multiplies by the mask", _flip_masked, "zeros win"),
            Mistake("writes into the labels", _flip_in_place, "changed the values of `y` in place"),
        ),
    ),
    Exercise(
        id="16.3",
        title="Forward, backward",
        difficulty=2,
        minutes=15,
        statement=(
            "One step of a feature collision, `forward_backward(x, slope, base, step, beta)`. Forward: against the slope of the "
            "feature distance. Backward: the exact minimizer of\n\n"
            r"$$\frac{1}{2\lambda} \lVert z - \hat x \rVert^2 + \beta \lVert z - b \rVert^2,$$"
            "\n\nwith $\\lambda$ the step, $\\hat x$ the point after the forward step and $b$ the base. Then clamp."
        ),
        stub=forward_backward,
        solution=_step_solved,
        examine=_examine_step,
        hints=(
            "The forward step is one line: `there = x - step * slope`.",
            "Set the derivative with respect to z to zero and solve for z; it is a weighted mean of `there` and `base`.",
            "`(there + 2 * step * beta * base) / (1 + 2 * step * beta)`, then `.clamp(0, 1)`.",
        ),
        mistakes=(
            Mistake("leaves the box", _step_boxless, "that is no image"),
            Mistake("loses the 2", _step_half, "The 2 belongs to the square"),
            Mistake("goes uphill", _step_uphill, "goes uphill"),
            Mistake("steps on both terms", _step_explicit, "plain gradient step on both terms"),
            Mistake("clamps in between", _step_early_box, "clamp too early"),
            Mistake("goes forward only", _step_forward_only, "backward step is missing"),
        ),
    ),
    Exercise(
        id="16.4",
        title="The angle between two gradients",
        difficulty=2,
        minutes=10,
        statement=(
            "Gradient matching maximizes a cosine. Write `cosine(ours, target)` for two gradients that come as lists, one tensor for each "
            "parameter of the network."
        ),
        stub=cosine,
        solution=_cosine_solved,
        examine=_examine_cosine,
        hints=(
            "All parameters together are one vector: flatten each tensor, then `torch.cat`.",
            "The cosine is the inner product divided by both lengths.",
            "`float(a @ b / (a.norm() * b.norm()))` with the two joined vectors `a` and `b`.",
        ),
        mistakes=(
            Mistake("averages over layers", _cosine_layers, "mean over layers"),
            Mistake("forgets the lengths", _cosine_product, "inner product"),
            Mistake("returns the loss", _cosine_loss, "one minus the cosine"),
            Mistake("divides by squares", _cosine_squared, "squared lengths"),
            Mistake("adds the lengths", _cosine_sum, "sum of the layers"),
            Mistake("returns the angle", _cosine_angle, "in radians"),
            Mistake("turns the sign", _cosine_negative, "opposite sign"),
        ),
    ),
)  # fmt: skip
