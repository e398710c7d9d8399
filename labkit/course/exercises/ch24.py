"""Exercises of chapter 24: what the best critic says, what a generator covers, and how many different samples it has."""

from __future__ import annotations

import torch

from labkit.course.exercises.framework import Exercise, Mistake
from labkit.course.exercises.probe import NotYet, call, close, expect, number, tensor


def best_critic(x: torch.Tensor, real: float, fake: float, spread: float) -> torch.Tensor:
    """Return the logit of the best critic between two normal distributions of the same spread.

    x: shape (B,); real, fake: the two means; spread: the standard deviation of both.
    Above zero means "real". Returns shape (B,).
    """
    raise NotImplementedError


def _critic_solved(x: torch.Tensor, real: float, fake: float, spread: float) -> torch.Tensor:
    return ((x - fake) ** 2 - (x - real) ** 2) / (2 * spread**2)


def _critic_reversed(x: torch.Tensor, real: float, fake: float, spread: float) -> torch.Tensor:
    return ((x - real) ** 2 - (x - fake) ** 2) / (2 * spread**2)


def _critic_probability(x: torch.Tensor, real: float, fake: float, spread: float) -> torch.Tensor:
    return _critic_solved(x, real, fake, spread).sigmoid()


def _critic_half(x: torch.Tensor, real: float, fake: float, spread: float) -> torch.Tensor:
    return ((x - fake) ** 2 - (x - real) ** 2) / spread**2


def _critic_unsquared(x: torch.Tensor, real: float, fake: float, spread: float) -> torch.Tensor:
    return ((x - fake) ** 2 - (x - real) ** 2) / (2 * spread)


def _examine_critic(answer: object) -> None:
    x = torch.tensor([-1.0, 0.0, 0.5, 2.0])
    arguments = (x, 1.0, -0.5, 0.5)
    found = tensor(call(answer, *arguments, names="x real fake spread"), (4,), "The logits")
    expect(not close(found, _critic_reversed(*arguments)), "The sign is turned around: near the real mean the logit must be above zero.")
    expect(
        not close(found, _critic_probability(*arguments)),
        "This is the probability. The *logit* is asked for: the logarithm of p / q, before any sigmoid.",
    )
    expect(not close(found, _critic_half(*arguments)), "Twice too large: the exponent of a normal density has a 2 in its denominator.")
    expect(not close(found, _critic_unsquared(*arguments)), "The exponent is divided by the *square* of the spread.")
    expect(close(found, _critic_solved(*arguments)), "Expected log p(x) - log q(x), the difference of two squares over 2 spread^2.")


def modes_covered(samples: torch.Tensor, centers: torch.Tensor, radius: float) -> tuple[int, float]:
    """Return how many centers have a sample within radius, and the share of samples within radius of any.

    samples: shape (N, D); centers: shape (M, D); distances are Euclidean.
    """
    raise NotImplementedError


def _modes_solved(samples: torch.Tensor, centers: torch.Tensor, radius: float) -> tuple[int, float]:
    close_by = torch.cdist(samples, centers) <= radius
    return int(close_by.any(0).sum()), float(close_by.any(1).double().mean())


def _modes_nearest(samples: torch.Tensor, centers: torch.Tensor, radius: float) -> tuple[int, float]:
    distances = torch.cdist(samples, centers)
    return len(set(distances.argmin(1).tolist())), float((distances.min(1).values <= radius).double().mean())


def _modes_share(samples: torch.Tensor, centers: torch.Tensor, radius: float) -> tuple[float, float]:
    close_by = torch.cdist(samples, centers) <= radius
    return float(close_by.any(0).double().mean()), float(close_by.any(1).double().mean())


def _modes_pairs(samples: torch.Tensor, centers: torch.Tensor, radius: float) -> tuple[int, float]:
    close_by = torch.cdist(samples, centers) <= radius
    return int(close_by.any(0).sum()), float(close_by.double().mean())


def _modes_twice(samples: torch.Tensor, centers: torch.Tensor, radius: float) -> tuple[int, float]:
    close_by = torch.cdist(samples, centers) <= radius
    return int(close_by.any(0).sum()), float(close_by.double().sum() / len(samples))


def _examine_modes(answer: object) -> None:
    centers = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [3.0, 3.0]])
    samples = torch.tensor([[0.05, 0.0], [0.0, -0.05], [0.95, 0.0], [0.4, 0.4], [0.1, 0.7]])
    result = call(answer, samples, centers, 0.1, names="samples centers radius")
    if not isinstance(result, tuple) or len(result) != 2:
        raise NotYet(f"Two values are asked for, as a tuple: (how many centers, which share of the samples). Yours is {result!r}.")
    modes, share = number(result[0], "The count"), number(result[1], "The share")
    expect(
        modes != 3,
        "You count a center as soon as it is the *nearest* one of some sample, however far that lies. Only samples within `radius` count.",
    )
    expect(modes != 0.5, "The first value is a share of the centers. Return how many there are.")
    expect(modes == 2, f"Two of these four centers have a sample within 0.1; yours: {modes:g}.")
    expect(abs(share - 0.15) > 1e-6, "Your share is over all pairs. A sample counts once, when *any* center is near: reduce over centers.")
    expect(abs(share - 0.6) < 1e-6, f"Three of the five samples lie within 0.1 of a center, which gives 0.6; yours is {share:.3f}.")
    result = call(answer, samples, centers, 0.75, names="samples centers radius")
    share = number(result[1] if isinstance(result, tuple) and len(result) == 2 else None, "The share")
    expect(
        abs(share - 1) < 1e-6,
        f"Within 0.75, a sample may have several centers near. It still counts once: all five are good, a share of 1; yours: {share:.3f}.",
    )


def support_size(n: int, collided: float) -> float:
    """Return how many equally likely different samples a source has, from the birthday paradox.

    n: how many samples were drawn at once; collided: the share of draws in which two were the same.
    Uses 1 - exp(-pairs / size) for the chance of a collision; returns a number (accuracy 0.1 %).
    """
    raise NotImplementedError


def _support_solved(n: int, collided: float) -> float:
    alone = torch.tensor(1 - collided, dtype=torch.float64)
    return n * (n - 1) / 2 / float(-alone.log())


def _support_ordered(n: int, collided: float) -> float:
    return 2 * _support_solved(n, collided)


def _support_linear(n: int, collided: float) -> float:
    return n * (n - 1) / 2 / collided


def _support_samples(n: int, collided: float) -> float:
    return _support_solved(n, collided) * 2 / (n - 1)


def _support_survived(n: int, collided: float) -> float:
    return _support_solved(n, 1 - collided)


def _examine_support(answer: object) -> None:
    found = number(call(answer, 23, 0.6, names="n collided"), "The size")

    def near(value: float) -> bool:
        return abs(found / value - 1) < 1e-3

    expect(not near(_support_ordered(23, 0.6)), "You count every pair twice: among n samples there are n (n - 1) / 2 pairs.")
    expect(
        not near(_support_linear(23, 0.6)),
        "You divide by the share itself, which holds for rare collisions only. Solve 1 - exp(-pairs / size) = collided for the size.",
    )
    expect(not near(_support_samples(23, 0.6)), "Every *pair* of samples is a chance to collide, not every sample.")
    expect(not near(_support_survived(23, 0.6)), "The logarithm is of the share *without* a collision, 1 - collided.")
    expect(
        near(_support_solved(23, 0.6)), f"23 samples that collide in 60 % of the draws mean about 276 different ones; yours: {found:.4g}."
    )


EXERCISES = (
    Exercise(
        id="24.1",
        title="The best critic",
        difficulty=1,
        minutes=10,
        statement=(
            "Real samples come from a normal distribution $p$ with mean `real`, generated ones from $q$ with mean `fake`; both have the "
            "standard deviation `spread`. The best critic answers with the logit $\\log p(x) - \\log q(x)$ (Goodfellow et al. 2014, "
            "proposition 1). Write `best_critic(x, real, fake, spread)`. What does it say when the means are equal?"
        ),
        stub=best_critic,
        solution=_critic_solved,
        examine=_examine_critic,
        hints=(
            "The logarithm of a normal density is a constant minus a square. Which parts cancel in the difference?",
            "$\\log p(x) = c - (x - \\mathrm{real})^2 / (2\\,\\mathrm{spread}^2)$, and the same constant stands in $\\log q$.",
            "What is left: ((x - fake)^2 - (x - real)^2) / (2 spread^2). It is a straight line in x.",
        ),
        mistakes=(
            Mistake("turns the sign around", _critic_reversed, "turned around"),
            Mistake("returns the probability", _critic_probability, "before any sigmoid"),
            Mistake("forgets the 2", _critic_half, "Twice too large"),
            Mistake("does not square the spread", _critic_unsquared, "*square* of the spread"),
        ),
    ),
    Exercise(
        id="24.2",
        title="What is covered?",
        difficulty=2,
        minutes=10,
        statement=(
            "Write `modes_covered(samples, centers, radius)`, the two numbers that the literature on mode collapse reports: how many of "
            "the known centers a generator reaches, and which share of its samples is good at all. Neither says much without the other."
        ),
        stub=modes_covered,
        solution=_modes_solved,
        examine=_examine_modes,
        hints=(
            "`torch.cdist(samples, centers)` is the table of all distances, (N, M).",
            "Compare the table with the radius: a boolean table says which sample is near which center.",
            "A center is covered if *any* sample is near (reduce over samples); a sample is good if any center is near (over centers).",
        ),
        mistakes=(
            Mistake("takes the nearest center without the radius", _modes_nearest, "however far"),
            Mistake("returns a share of the centers", _modes_share, "share of the centers"),
            Mistake("divides by all pairs", _modes_pairs, "over all pairs"),
            Mistake("counts a sample once for each center", _modes_twice, "still counts once"),
        ),
    ),
    Exercise(
        id="24.3",
        title="A generator's birthday party",
        difficulty=2,
        minutes=15,
        statement=(
            "How many *different* samples does a generator have? Arora and Zhang 2017 invite it to a party: among `n` samples there are "
            "pairs, and if a share `collided` of the parties has two equal guests, the source has about `size` different ones, where "
            "$1 - \\exp(-\\mathrm{pairs} / \\mathrm{size}) = \\mathrm{collided}$. Write `support_size(n, collided)`."
        ),
        stub=support_size,
        solution=_support_solved,
        examine=_examine_support,
        hints=(
            "How many pairs of guests are there among n?",
            "Bring the exponential to one side: $\\exp(-\\mathrm{pairs} / \\mathrm{size}) = 1 - \\mathrm{collided}$. Take the logarithm.",
            "size = pairs / -log(1 - collided). For 23 guests and an even chance this gives the length of a year, nearly.",
        ),
        mistakes=(
            Mistake("counts pairs twice", _support_ordered, "every pair twice"),
            Mistake("takes rare collisions for granted", _support_linear, "rare collisions only"),
            Mistake("counts samples instead of pairs", _support_samples, "Every *pair*"),
            Mistake("takes the wrong logarithm", _support_survived, "1 - collided"),
        ),
    ),
)
