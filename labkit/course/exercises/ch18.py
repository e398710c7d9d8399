"""Exercises of chapter 18: equations from probabilities, fidelity, learning from probabilities, and a bend found by four queries."""

from __future__ import annotations

from collections.abc import Callable

import torch

from labkit.course.exercises.framework import Exercise, Mistake
from labkit.course.exercises.probe import NotYet, call, close, expect, number, tensor

Ask = Callable[[torch.Tensor], torch.Tensor]


def steal(ask: Ask, x: torch.Tensor) -> torch.Tensor:
    """Return weights and bias of a logistic regression, (d + 1,), the bias last, from its answers about x, shape (d + 1, d).

    ask: takes inputs (B, d) and returns the probability of the second class, (B,), p = 1 / (1 + exp(-(w.x + b))).
    Ask once about all of x.
    """
    raise NotImplementedError


def _steal_solved(ask: Ask, x: torch.Tensor) -> torch.Tensor:
    p = ask(x)
    known = torch.cat([x, torch.ones(len(x), 1, dtype=x.dtype)], 1)
    solution: torch.Tensor = torch.linalg.solve(known, p.log() - (1 - p).log())
    return solution


def _steal_probabilities(ask: Ask, x: torch.Tensor) -> torch.Tensor:
    known = torch.cat([x, torch.ones(len(x), 1, dtype=x.dtype)], 1)
    solution: torch.Tensor = torch.linalg.solve(known, ask(x))
    return solution


def _steal_log(ask: Ask, x: torch.Tensor) -> torch.Tensor:
    known = torch.cat([x, torch.ones(len(x), 1, dtype=x.dtype)], 1)
    solution: torch.Tensor = torch.linalg.solve(known, ask(x).log())
    return solution


def _steal_no_bias(ask: Ask, x: torch.Tensor) -> torch.Tensor:
    p = ask(x)
    solution = torch.linalg.lstsq(x, (p.log() - (1 - p).log())[:, None]).solution[:, 0]
    return torch.cat([solution, torch.zeros(1, dtype=x.dtype)])


def _steal_upside_down(ask: Ask, x: torch.Tensor) -> torch.Tensor:
    return -_steal_solved(ask, x)


def _steal_bias_first(ask: Ask, x: torch.Tensor) -> torch.Tensor:
    return _steal_solved(ask, x).roll(1)


def _examine_steal(answer: object) -> None:
    source = torch.Generator().manual_seed(18)
    truth = 2 * torch.randn(6, generator=source, dtype=torch.float64)
    x, asked = torch.rand(6, 5, generator=source, dtype=torch.float64), 0

    def ask(points: torch.Tensor) -> torch.Tensor:
        nonlocal asked
        expect(points.ndim == 2 and points.shape[1] == 5, f"`ask` takes inputs (B, 5); it got {tuple(points.shape)}.")
        asked += len(points)
        return (points @ truth[:5] + truth[5]).sigmoid()

    found = tensor(call(answer, ask, x, names="ask x"), (6,), "The weights and the bias").double()
    p = (x @ truth[:5] + truth[5]).sigmoid()
    known = torch.cat([x, torch.ones(6, 1, dtype=torch.float64)], 1)
    if close(found, torch.linalg.solve(known, p), 1e-6):
        raise NotYet("The probability is not linear in x. Something made of it is: solve $p = 1 / (1 + e^{-t})$ for $t$.")
    if close(found, torch.linalg.solve(known, p.log()), 1e-6):
        raise NotYet("The logarithm of p alone is not linear in x: it is the *ratio* p / (1 - p) whose logarithm is.")
    if close(found, -truth, 1e-6):
        raise NotYet("All signs are turned: this is the logarithm of (1 - p) / p.")
    if close(found, truth.roll(1), 1e-6):
        raise NotYet("These are the right numbers with the bias first. The bias comes last: put the ones *behind* x.")
    expect(abs(float(found[5])) > 1e-12, "The bias is 0. It is one more unknown: give every input a last value of 1.")
    expect(asked == 6, f"You asked about {asked} inputs; six unknowns need six answers, and every answer costs.")
    expect(
        close(found, truth, 1e-6),
        "One equation for each row of x: the weights times the row, plus the bias, equal the logarithm of p / (1 - p).",
    )


def fidelity(copy: torch.Tensor, victim: torch.Tensor, truth: torch.Tensor, queried: torch.Tensor) -> float:
    """Return how often a copy answers as the victim does, on inputs that were never queried.

    copy, victim, truth: the copy's answers, the victim's, and the true classes, shape (N,); queried: booleans (N,), True where
    the attacker asked the victim while making the copy.
    """
    raise NotImplementedError


def _fidelity_solved(copy: torch.Tensor, victim: torch.Tensor, truth: torch.Tensor, queried: torch.Tensor) -> float:
    return float((copy == victim)[~queried].double().mean())


def _fidelity_accuracy(copy: torch.Tensor, victim: torch.Tensor, truth: torch.Tensor, queried: torch.Tensor) -> float:
    return float((copy == truth)[~queried].double().mean())


def _fidelity_on_all(copy: torch.Tensor, victim: torch.Tensor, truth: torch.Tensor, queried: torch.Tensor) -> float:
    return float((copy == victim).double().mean())


def _fidelity_on_queried(copy: torch.Tensor, victim: torch.Tensor, truth: torch.Tensor, queried: torch.Tensor) -> float:
    return float((copy == victim)[queried].double().mean())


def _fidelity_of_all(copy: torch.Tensor, victim: torch.Tensor, truth: torch.Tensor, queried: torch.Tensor) -> float:
    return float(((copy == victim) & ~queried).double().mean())


def _fidelity_where_right(copy: torch.Tensor, victim: torch.Tensor, truth: torch.Tensor, queried: torch.Tensor) -> float:
    return float((copy == victim)[~queried & (victim == truth)].double().mean())


def _fidelity_count(copy: torch.Tensor, victim: torch.Tensor, truth: torch.Tensor, queried: torch.Tensor) -> float:
    return float((copy == victim)[~queried].sum())


def _examine_fidelity(answer: object) -> None:
    truth = torch.arange(40) % 4
    victim, queried = truth.clone(), torch.arange(40) < 16
    victim[[1, 20, 21, 30]] = (victim[[1, 20, 21, 30]] + 1) % 4
    copy = victim.clone()
    copy[[21, 25, 26, 27, 38, 3]] = (copy[[21, 25, 26, 27, 38, 3]] + 2) % 4
    args = (copy, victim, truth, queried)
    found = number(call(answer, *args, names="copy victim truth queried"), "The fidelity")
    for wrong, message in (
        (_fidelity_accuracy, "This is the copy's *accuracy*: it compares with the truth. A faithful copy repeats the victim's errors."),
        (
            _fidelity_on_all,
            "The queried inputs are in it: the copy was trained on the victim's answers to them, so agreement there is no news.",
        ),
        (_fidelity_on_queried, "This is the agreement on the *queried* inputs, the wrong half: `~queried` selects the others."),
        (_fidelity_of_all, "You divide by all inputs, also those that may not count: average over the unqueried ones only."),
        (_fidelity_count, "This is a *number* of inputs. How often is a share of them: divide by how many were not queried."),
        (_fidelity_where_right, "You left out where the victim errs. Agreeing with its errors is what makes a copy faithful."),
    ):
        if abs(found - wrong(*args)) < 1e-6:
            raise NotYet(message)
    expect(abs(found - _fidelity_solved(*args)) < 1e-6, f"Expected {_fidelity_solved(*args):.4f} on the trial, got {found:.4f}.")


def soft_loss(logits: torch.Tensor, answers: torch.Tensor) -> torch.Tensor:
    """Return the cross-entropy of a copy with what the service said: its mean over the batch, a tensor of one number.

    logits: the copy's, shape (B, K), not normalized; answers: the service's probabilities, shape (B, K).
    """
    raise NotImplementedError


def _soft_solved(logits: torch.Tensor, answers: torch.Tensor) -> torch.Tensor:
    return -(answers * logits.log_softmax(1)).sum(1).mean()


def _soft_hard(logits: torch.Tensor, answers: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.cross_entropy(logits, answers.argmax(1))


def _soft_twice(logits: torch.Tensor, answers: torch.Tensor) -> torch.Tensor:
    return -(answers * logits.softmax(1).log_softmax(1)).sum(1).mean()


def _soft_mean(logits: torch.Tensor, answers: torch.Tensor) -> torch.Tensor:
    return -(answers * logits.log_softmax(1)).mean()


def _soft_sign(logits: torch.Tensor, answers: torch.Tensor) -> torch.Tensor:
    return (answers * logits.log_softmax(1)).sum(1).mean()


def _soft_swapped(logits: torch.Tensor, answers: torch.Tensor) -> torch.Tensor:
    return -(logits.softmax(1) * answers.log()).sum(1).mean()


def _soft_divergence(logits: torch.Tensor, answers: torch.Tensor) -> torch.Tensor:
    return (answers * (answers.log() - logits.log_softmax(1))).sum(1).mean()


def _soft_sum(logits: torch.Tensor, answers: torch.Tensor) -> torch.Tensor:
    return -(answers * logits.log_softmax(1)).sum()


def _soft_raw(logits: torch.Tensor, answers: torch.Tensor) -> torch.Tensor:
    return -(answers * logits).sum(1).mean()


def _examine_soft(answer: object) -> None:
    source = torch.Generator().manual_seed(3)
    logits, answers = 2 * torch.randn(5, 4, generator=source), torch.randn(5, 4, generator=source).softmax(1)
    found = tensor(call(answer, logits, answers, names="logits answers"), (), "The loss")
    for wrong, message in (
        (_soft_hard, "You learn the likeliest class only (`argmax`): all else that the service said is thrown away."),
        (_soft_twice, "Softmax was applied twice: `log_softmax` takes the logits themselves."),
        (_soft_mean, "You average over the classes as well; sum over them, then average over the batch."),
        (_soft_sign, "The sign is missing: minimizing this drives the copy *away* from the answers."),
        (
            _soft_divergence,
            "This is the Kullback-Leibler divergence. It has the same gradient, but the cross-entropy is asked for: leave the answers' own "
            "logarithms out.",
        ),
        (_soft_sum, "You sum over the batch as well: the loss would grow with its size. Average over it."),
        (_soft_raw, "The logits are no logarithms of probabilities yet: take their `log_softmax` first."),
        (_soft_swapped, "The roles are swapped: the logarithm belongs to the copy, the weights are the service's answers."),
    ):
        if close(found, wrong(logits, answers), 1e-5):
            raise NotYet(message)
    expect(
        close(found, _soft_solved(logits, answers), 1e-5),
        r"Compute $-\sum_k a_k \log q_k$ for each input, $q$ the copy's softmax; average.",
    )
    slope = logits.clone().requires_grad_(True)
    again = call(answer, slope, answers, names="logits answers", pure=False)
    expect(
        bool(getattr(again, "requires_grad", False)),
        "The loss has no gradient: nothing can be learned from it. Keep the operations on tensors.",
    )


def bend(f: Ask, low: float, high: float, step: float) -> float:
    """Return where a function of one number bends, from four values of it.

    f: takes numbers, shape (B,), and returns values, shape (B,); it is straight but for a single bend, between low + step and high - step.
    Ask at both ends and one step inside: the two tangents meet at the bend.
    """
    raise NotImplementedError


def _bend_solved(f: Ask, low: float, high: float, step: float) -> float:
    a, a_in, b_in, b = f(torch.tensor([low, low + step, high - step, high], dtype=torch.float64)).tolist()
    rise, fall = (a_in - a) / step, (b - b_in) / step
    return float((b - a + rise * low - fall * high) / (rise - fall))


def _bend_middle(f: Ask, low: float, high: float, step: float) -> float:
    return (low + high) / 2


def _bend_shifted(f: Ask, low: float, high: float, step: float) -> float:
    return _bend_solved(f, low, high, step) - low


def _bend_sign(f: Ask, low: float, high: float, step: float) -> float:
    a, a_in, b_in, b = f(torch.tensor([low, low + step, high - step, high], dtype=torch.float64)).tolist()
    rise, fall = (a_in - a) / step, (b_in - b) / step
    return float((b - a + rise * low - fall * high) / (rise - fall))


def _bend_bisected(f: Ask, low: float, high: float, step: float) -> float:
    for _ in range(30):
        middle = (low + high) / 2
        a, a_in, m, m_in = f(torch.tensor([low, low + 1e-6, middle, middle + 1e-6], dtype=torch.float64)).tolist()
        same = abs((a_in - a) - (m_in - m)) < 1e-9
        low, high = (middle, high) if same else (low, middle)
    return low


def _examine_bend(answer: object) -> None:
    place, asked = 0.7321, 0

    def f(t: object) -> torch.Tensor:
        nonlocal asked
        t = torch.as_tensor(t, dtype=torch.float64)
        asked += t.numel()
        return 0.4 * t - 1 + 1.7 * (t - place).clamp_min(0)

    found = number(call(answer, f, -1.0, 2.5, 0.25, names="f low high step"), "The place")
    expect(abs(found - 0.75) > 1e-9, "This is the middle of the interval, whatever the function does.")
    expect(abs(found - place - 1.0) > 1e-6, "You measured from `low`: add it.")
    wrong = _bend_sign(f, -1.0, 2.5, 0.25)
    asked -= 4
    expect(abs(found - wrong) > 1e-6, "The slope at the right end has the wrong sign: rise over run, the run going to the right.")
    expect(
        abs(found - place) < 1e-2, f"The bend is at {place}; you found {found:.4f}. Write both tangents as lines in t and set them equal."
    )
    expect(asked == 4, f"You asked {asked} times. Four values are enough: two tangents, and where they meet.")
    expect(abs(found - place) < 1e-6, f"The tangents meet exactly at the bend; yours are off by {abs(found - place):.1e}.")


EXERCISES = (
    Exercise(
        id="18.1",
        title="A model from d + 1 answers",
        difficulty=1,
        minutes=10,
        statement=(
            "Write `steal(ask, x)`: a logistic regression with d weights and a bias, copied from d + 1 answers. The service says\n\n"
            r"$$p = \frac{1}{1 + e^{-(w \cdot x + b)}}.$$"
        ),
        stub=steal,
        solution=_steal_solved,
        examine=_examine_steal,
        hints=(
            r"Solve the formula for the exponent: $w \cdot x + b = \log \frac{p}{1 - p}$. That is linear in the unknowns.",
            "Put a column of ones beside x: then `known @ unknowns` is weights times inputs plus bias.",
            "`torch.linalg.solve(known, right)` solves the d + 1 equations.",
        ),
        mistakes=(
            Mistake("solves for the probabilities", _steal_probabilities, "not linear in x. Something made of it"),
            Mistake("takes the logarithm of p", _steal_log, "it is the *ratio*"),
            Mistake("forgets the bias", _steal_no_bias, "The bias is 0"),
            Mistake("turns the ratio over", _steal_upside_down, "All signs are turned"),
            Mistake("puts the bias first", _steal_bias_first, "with the bias first"),
        ),
    ),
    Exercise(
        id="18.2",
        title="Faithful, not right",
        difficulty=1,
        minutes=5,
        statement=(
            "Write `fidelity(copy, victim, truth, queried)`: how often the copy answers as the victim does, on inputs that were never "
            "queried. One of the four arguments is a trap."
        ),
        stub=fidelity,
        solution=_fidelity_solved,
        examine=_examine_fidelity,
        hints=(
            "Two questions are asked about a copy. Accuracy: is it right? Fidelity: does it say the same?",
            "`(copy == victim)` is a mask; indexing it with another mask keeps the entries that count.",
            "`(copy == victim)[~queried].double().mean()`.",
        ),
        mistakes=(
            Mistake("measures accuracy", _fidelity_accuracy, "copy's *accuracy*"),
            Mistake("counts queried inputs", _fidelity_on_all, "agreement there is no news"),
            Mistake("counts queried inputs only", _fidelity_on_queried, "the wrong half"),
            Mistake("divides by all", _fidelity_of_all, "divide by all inputs"),
            Mistake("counts instead of averaging", _fidelity_count, "share of them"),
            Mistake("leaves out the victim's errors", _fidelity_where_right, "left out where the victim errs"),
        ),
    ),
    Exercise(
        id="18.3",
        title="Learn all that was said",
        difficulty=2,
        minutes=10,
        statement=(
            "A label is one of ten; a vector of probabilities says how near the others were. Write `soft_loss(logits, answers)`, the "
            r"cross-entropy with probabilities in place of labels: $-\sum_k a_k \log q_k$, $q$ the softmax of the logits, averaged "
            "over the batch."
        ),
        stub=soft_loss,
        solution=_soft_solved,
        examine=_examine_soft,
        hints=(
            "`logits.log_softmax(1)` gives the logarithms of the copy's probabilities in one safe step.",
            "Multiply by the answers, sum over the classes (dimension 1), average over the batch.",
            "A minus in front: likelier answers must have a smaller loss.",
        ),
        mistakes=(
            Mistake("keeps the label only", _soft_hard, "likeliest class only"),
            Mistake("applies softmax twice", _soft_twice, "applied twice"),
            Mistake("averages over the classes", _soft_mean, "average over the classes as well"),
            Mistake("forgets the sign", _soft_sign, "sign is missing"),
            Mistake("computes the divergence", _soft_divergence, "Kullback-Leibler"),
            Mistake("sums over the batch", _soft_sum, "sum over the batch as well"),
            Mistake("takes the logits for logarithms", _soft_raw, "no logarithms of probabilities"),
            Mistake("swaps the roles", _soft_swapped, "roles are swapped"),
        ),
    ),
    Exercise(
        id="18.4",
        title="A bend from four queries",
        difficulty=3,
        minutes=15,
        statement=(
            "Along a line through input space a ReLU network is straight between the points where a unit switches. Write "
            "`bend(f, low, high, step)`: where the one bend between `low` and `high` is, exactly, from four values. No search."
        ),
        stub=bend,
        solution=_bend_solved,
        examine=_examine_bend,
        hints=(
            "Two values a step apart at the left end give the left tangent: its value and its slope. The same at the right end.",
            "Left tangent: `a + rise * (t - low)`. Right tangent: `b + fall * (t - high)`. At the bend both are equal.",
            "`t = (b - a + rise * low - fall * high) / (rise - fall)`.",
        ),
        mistakes=(
            Mistake("takes the middle", _bend_middle, "middle of the interval"),
            Mistake("measures from the left end", _bend_shifted, "measured from `low`"),
            Mistake("turns the right slope", _bend_sign, "wrong sign"),
            Mistake("searches", _bend_bisected, "Four values are enough"),
        ),
    ),
)
