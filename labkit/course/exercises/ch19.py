"""Exercises of chapter 19: the slope towards a class, an input read out of a gradient, and a private field guessed."""

from __future__ import annotations

import torch

from labkit.course.exercises.framework import Exercise, Mistake
from labkit.course.exercises.probe import NotYet, call, close, expect, tensor


def slope(weight: torch.Tensor, bias: torch.Tensor, x: torch.Tensor, target: int) -> torch.Tensor:
    """Return the gradient of log p_target at a picture x, for softmax regression.

    weight: shape (K, D); bias: (K,); x: (D,), one flattened picture; target: a class number. Returns shape (D,).
    """
    raise NotImplementedError


def _slope_solved(weight: torch.Tensor, bias: torch.Tensor, x: torch.Tensor, target: int) -> torch.Tensor:
    p = (weight @ x + bias).softmax(0)
    return weight[target] - p @ weight


def _slope_weights_only(weight: torch.Tensor, bias: torch.Tensor, x: torch.Tensor, target: int) -> torch.Tensor:
    return weight[target].clone()


def _slope_even(weight: torch.Tensor, bias: torch.Tensor, x: torch.Tensor, target: int) -> torch.Tensor:
    return weight[target] - weight.mean(0)


def _slope_of_p(weight: torch.Tensor, bias: torch.Tensor, x: torch.Tensor, target: int) -> torch.Tensor:
    p = (weight @ x + bias).softmax(0)
    return p[target] * (weight[target] - p @ weight)


def _slope_downhill(weight: torch.Tensor, bias: torch.Tensor, x: torch.Tensor, target: int) -> torch.Tensor:
    p = (weight @ x + bias).softmax(0)
    return p @ weight - weight[target]


def _slope_without_bias(weight: torch.Tensor, bias: torch.Tensor, x: torch.Tensor, target: int) -> torch.Tensor:
    p = (weight @ x).softmax(0)
    return weight[target] - p @ weight


def _examine_slope(answer: object) -> None:
    source = torch.Generator().manual_seed(19)
    weight, bias = torch.randn(4, 9, generator=source), 2 * torch.randn(4, generator=source)
    x, target = torch.rand(9, generator=source), 2
    found = tensor(call(answer, weight, bias, x, target, names="weight bias x target"), (9,), "The slope")
    given = (weight, bias, x, target)
    expect(
        not close(found, weight[target]),
        "These are the target's weights alone. The scores of the *other* classes stand in the denominator: what raises them lowers p.",
    )
    expect(
        not close(found, _slope_even(*given)), "You subtract the plain mean of the weights; each class counts by its *probability* at x."
    )
    expect(not close(found, _slope_of_p(*given)), "This is the slope of p. That of log p is the same divided by p: do not multiply by it.")
    expect(not close(found, _slope_downhill(*given)), "This points *away* from the class: towards the target's weights is uphill.")
    expect(not close(found, _slope_without_bias(*given)), "The probabilities need the bias: the scores are `weight @ x + bias`.")
    expect(close(found, _slope_solved(*given)), "Not the gradient. Derive log p = score of the target - log of the sum of all exp(scores).")


def read_input(weight_gradient: torch.Tensor, bias_gradient: torch.Tensor) -> torch.Tensor:
    """Return the input of a linear layer, shape (D,), from the gradients of its weight (M, D) and its bias (M,).

    The batch held one sample. Some of the M outputs may not have been active: their gradients are zero.
    """
    raise NotImplementedError


def _read_solved(weight_gradient: torch.Tensor, bias_gradient: torch.Tensor) -> torch.Tensor:
    row = bias_gradient.abs().argmax()
    return weight_gradient[row] / bias_gradient[row]


def _read_first_row(weight_gradient: torch.Tensor, bias_gradient: torch.Tensor) -> torch.Tensor:
    return weight_gradient[0] / bias_gradient[0]


def _read_sums(weight_gradient: torch.Tensor, bias_gradient: torch.Tensor) -> torch.Tensor:
    return weight_gradient.sum(0) / bias_gradient.sum()


def _read_largest(weight_gradient: torch.Tensor, bias_gradient: torch.Tensor) -> torch.Tensor:
    row = bias_gradient.argmax()
    return weight_gradient[row] / bias_gradient[row]


def _read_row_alone(weight_gradient: torch.Tensor, bias_gradient: torch.Tensor) -> torch.Tensor:
    return weight_gradient[bias_gradient.abs().argmax()].clone()


def _read_by_size(weight_gradient: torch.Tensor, bias_gradient: torch.Tensor) -> torch.Tensor:
    row = bias_gradient.abs().argmax()
    return weight_gradient[row] / bias_gradient[row].abs()


def _read_multiply(weight_gradient: torch.Tensor, bias_gradient: torch.Tensor) -> torch.Tensor:
    row = bias_gradient.abs().argmax()
    return weight_gradient[row] * bias_gradient[row]


def _read_nearly_zero(weight_gradient: torch.Tensor, bias_gradient: torch.Tensor) -> torch.Tensor:
    return (weight_gradient / (bias_gradient[:, None] + 1e-8)).mean(0)


def _examine_read(answer: object) -> None:
    source = torch.Generator().manual_seed(7)
    x = torch.rand(6, generator=source)

    def gradients(bias: list[float]) -> tuple[torch.Tensor, torch.Tensor]:
        b = torch.tensor(bias)
        return torch.outer(b, x), b

    alive = gradients([0.4, -0.9, 0.3])
    found = call(answer, *alive, names="weight_gradient bias_gradient")
    found = tensor(found, (6,), "The input")
    expect(
        not close(found, alive[0][1]) and not close(found, -alive[0][1]),
        "This is a row of the weight's gradient: the input *times* the bias's gradient of that row. Divide.",
    )
    expect(
        not close(found, -x, 1e-4),
        "This is the input with the wrong *sign*: choose the row by the absolute value, but divide by the bias gradient itself.",
    )
    expect(
        not close(found, 0.81 * x, 1e-4),
        "You multiply: the bias's gradient is now in it *twice*. Divide by it.",
    )
    dead = call(answer, *gradients([0.0, -0.9, 0.3]), names="weight_gradient bias_gradient")
    expect(
        isinstance(dead, torch.Tensor) and bool(torch.isfinite(dead).all()),
        "With an inactive output you divide zero by zero (`nan`). Choose a row whose bias gradient is *not* zero.",
    )
    right = close(tensor(dead, (6,), "The input"), x, 1e-4)
    expect(
        right or not close(found, x, 1e-4),
        "Right while every output is active, wrong with an inactive one: its row says nothing and must be *left out*, of an average too.",
    )
    expect(right, "Not the input, whether or not every output is active: in each row, the weight's gradient is the bias's times x.")
    balanced = call(answer, *gradients([0.5, -0.8, 0.3]), names="weight_gradient bias_gradient")
    expect(
        isinstance(balanced, torch.Tensor) and bool(torch.isfinite(balanced).all()) and close(balanced, x, 1e-3),
        "When positive and negative bias gradients cancel, your *sum* is (nearly) zero and the quotient is rounding. One row is enough.",
    )
    negative = call(answer, *gradients([0.0, -0.9, -0.2]), names="weight_gradient bias_gradient")
    expect(
        isinstance(negative, torch.Tensor) and bool(torch.isfinite(negative).all()),
        "Where no bias gradient is positive, the *largest* one is zero. Look for the largest absolute value.",
    )
    expect(close(found, x, 1e-4) and close(negative, x, 1e-4), "Not the input: in each row, the weight's gradient is the bias's times x.")


def guess_field(probabilities: torch.Tensor, y: torch.Tensor, prior: torch.Tensor) -> torch.Tensor:
    """Return the likeliest value of the private field for each record, shape (N,), int64.

    probabilities: shape (N, V, K), the model's answer for record n with value v in the field; y: the label that the
    attacker knows, (N,); prior: how frequent each value is, (V,).
    """
    raise NotImplementedError


def _guess_solved(probabilities: torch.Tensor, y: torch.Tensor, prior: torch.Tensor) -> torch.Tensor:
    of_y = probabilities[torch.arange(len(y)), :, y]
    return (of_y * prior).argmax(1)


def _guess_no_prior(probabilities: torch.Tensor, y: torch.Tensor, prior: torch.Tensor) -> torch.Tensor:
    return probabilities[torch.arange(len(y)), :, y].argmax(1)


def _guess_no_model(probabilities: torch.Tensor, y: torch.Tensor, prior: torch.Tensor) -> torch.Tensor:
    return prior.argmax().expand(len(y)).clone()


def _guess_surest(probabilities: torch.Tensor, y: torch.Tensor, prior: torch.Tensor) -> torch.Tensor:
    return (probabilities.amax(2) * prior).argmax(1)


def _guess_sum(probabilities: torch.Tensor, y: torch.Tensor, prior: torch.Tensor) -> torch.Tensor:
    return (probabilities[torch.arange(len(y)), :, y] + prior).argmax(1)


def _guess_every_label(probabilities: torch.Tensor, y: torch.Tensor, prior: torch.Tensor) -> torch.Tensor:
    return (probabilities[:, :, y] * prior).argmax(1)


def _guess_divide(probabilities: torch.Tensor, y: torch.Tensor, prior: torch.Tensor) -> torch.Tensor:
    return (probabilities[torch.arange(len(y)), :, y] / prior).argmax(1)


def _guess_answers(probabilities: torch.Tensor, y: torch.Tensor, prior: torch.Tensor) -> torch.Tensor:
    return ((probabilities.argmax(2) == y[:, None]).float() * prior).argmax(1)


def _examine_guess(answer: object) -> None:
    source = torch.Generator().manual_seed(4)
    probabilities = (2 * torch.randn(60, 3, 4, generator=source)).softmax(2)
    y, prior = torch.randint(0, 4, (60,), generator=source), torch.tensor([0.6, 0.3, 0.1])
    try:
        found = call(answer, probabilities, y, prior, names="probabilities y prior")
    except RuntimeError as error:  # shapes that do not go together: `probabilities[:, :, y]` is the usual reason
        raise NotYet(
            f"The shapes do not fit ({error}). `probabilities[:, :, y]` takes the labels of *all* records for each one, shape (N, V, N); "
            "each record needs only its own, shape (N, V)."
        ) from None
    if not isinstance(found, torch.Tensor) or found.shape != (60,):
        raise NotYet(f"One guess per record is expected, shape (60,); yours is {getattr(found, 'shape', type(found).__name__)}.")
    expect(not found.is_floating_point(), "A guess is the *number* of a value: use `argmax`, not the largest score.")
    given = (probabilities, y, prior)
    expect(not torch.equal(found, _guess_no_prior(*given)), "A rare value needs better evidence: weigh by `prior`.")
    expect(not torch.equal(found, _guess_no_model(*given)), "This is the most frequent value for everybody: the model has no say in it.")
    expect(
        not torch.equal(found, _guess_surest(*given)),
        "You take how sure the model is of *its own* answer. What counts is how likely it finds the label y that the attacker knows.",
    )
    expect(not torch.equal(found, _guess_divide(*given)), "You *divide* by `prior`, which favors rare values: multiply by it.")
    expect(
        not torch.equal(found, _guess_answers(*given)),
        "You keep only whether the model's answer *equals* y; its probability of y says more, also where another label is likelier.",
    )
    expect(not torch.equal(found, _guess_sum(*given)), "Evidence and prior *multiply* (Bayes); you add them.")
    expect(
        torch.equal(found, _guess_solved(*given)), "Not the most likely values: p(y | value) times prior(value), the largest of each row."
    )


EXERCISES = (
    Exercise(
        id="19.1",
        title="The slope towards a class",
        difficulty=1,
        minutes=10,
        statement=(
            "Write `slope(weight, bias, x, target)`: the direction in which softmax regression becomes surer of a class,\n\n"
            r"$$\nabla_x \log p_y(x) = w_y - \sum_k p_k(x) \, w_k.$$"
            "\n\nNo autograd needed."
        ),
        stub=slope,
        solution=_slope_solved,
        examine=_examine_slope,
        hints=(
            "The scores are `weight @ x + bias`, shape (K,); `softmax(0)` makes probabilities of them.",
            "The sum over the classes of p_k times w_k is one product: `p @ weight`, shape (D,).",
            "`weight[target]` minus that product. Nothing is multiplied by the target's own probability.",
        ),
        mistakes=(
            Mistake("the target's weights only", _slope_weights_only, "weights alone"),
            Mistake("all classes count the same", _slope_even, "by its *probability*"),
            Mistake("the slope of p", _slope_of_p, "This is the slope of p"),
            Mistake("downhill", _slope_downhill, "*away* from the class"),
            Mistake("forgets the bias", _slope_without_bias, "need the bias"),
        ),
    ),
    Exercise(
        id="19.2",
        title="Read the input out of a gradient",
        difficulty=2,
        minutes=10,
        statement=(
            "Write `read_input(weight_gradient, bias_gradient)`: the input of a linear layer from what one participant of training "
            "sends. Each row of the weight's gradient is the input times that row's bias gradient. Mind outputs that were not active."
        ),
        stub=read_input,
        solution=_read_solved,
        examine=_examine_read,
        hints=(
            "In row i: `weight_gradient[i] = bias_gradient[i] * x`. One good row is enough.",
            "A row whose bias gradient is zero says nothing, and a tiny one says it with rounding errors.",
            "Take the row where `bias_gradient.abs()` is largest, and divide.",
        ),
        mistakes=(
            Mistake("takes row 0", _read_first_row, "*not* zero"),
            Mistake("takes the largest instead of the largest absolute value", _read_largest, "largest absolute value"),
            Mistake("divides the sums", _read_sums, "your *sum* is"),
            Mistake("does not divide", _read_row_alone, "input *times*"),
            Mistake("divides by the absolute value", _read_by_size, "wrong *sign*"),
            Mistake("multiplies", _read_multiply, "*twice*"),
            Mistake("averages over inactive rows too", _read_nearly_zero, "*left out*"),
        ),
    ),
    Exercise(
        id="19.3",
        title="Guess a private field",
        difficulty=2,
        minutes=15,
        statement=(
            "Write `guess_field(probabilities, y, prior)`: for each record the value that explains the known label best, weighed by how "
            r"frequent the value is: $\arg\max_v \; p(y \mid x \text{ with } v) \Pr(v)$."
        ),
        stub=guess_field,
        solution=_guess_solved,
        examine=_examine_guess,
        hints=(
            "You need, for each record, one number per value: the probability of *its own* label y. Shape (N, V).",
            "`probabilities[torch.arange(len(y)), :, y]` picks the label of each record and keeps the values.",
            "Multiply by `prior` (it broadcasts over the records), and take `argmax(1)`.",
        ),
        mistakes=(
            Mistake("ignores the prior", _guess_no_prior, "weigh by `prior`"),
            Mistake("ignores the model", _guess_no_model, "the model has no say"),
            Mistake("takes the model's confidence", _guess_surest, "*its own* answer"),
            Mistake("adds", _guess_sum, "*multiply* (Bayes)"),
            Mistake("takes every record's label", _guess_every_label, "labels of *all* records"),
            Mistake("divides by the prior", _guess_divide, "*divide* by `prior`"),
            Mistake("counts answers that agree", _guess_answers, "*equals* y"),
        ),
    ),
)
