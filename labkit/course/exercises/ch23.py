"""Exercises of chapter 23: the best replacements where gains add up, decibels, and the three rates of a text attack."""

from __future__ import annotations

import torch

from labkit.course.exercises.framework import Exercise, Mistake
from labkit.course.exercises.probe import NotYet, call, close, expect, number, tensor


def best_gain(gains: torch.Tensor, k: int) -> float:
    """Return the largest total gain that replacing at most k words can bring, when gains add up.

    gains: shape (words, neighbors): what each replacement gains alone; -inf where a word has fewer
    neighbors. Each word is replaced once or not at all.
    """
    raise NotImplementedError


def _best_solved(gains: torch.Tensor, k: int) -> float:
    each = gains.max(dim=1).values.clamp_min(0)
    return float(each.sort(descending=True).values[:k].sum())


def _best_of_all(gains: torch.Tensor, k: int) -> float:
    return float(gains.flatten().clamp_min(0).sort(descending=True).values[:k].sum())


def _best_forced(gains: torch.Tensor, k: int) -> float:
    each = gains.max(dim=1).values
    each = each[each > -torch.inf]
    return float(each.sort(descending=True).values[:k].sum())


def _best_unlimited(gains: torch.Tensor, k: int) -> float:
    return float(gains.max(dim=1).values.clamp_min(0).sum())


def _best_first(gains: torch.Tensor, k: int) -> float:
    return float(gains.max(dim=1).values.clamp_min(0)[:k].sum())


def _best_column(gains: torch.Tensor, k: int) -> float:
    return float(gains[:, 0].clamp_min(0).sort(descending=True).values[:k].sum())


def _best_one(gains: torch.Tensor, k: int) -> float:
    return k * max(0.0, float(gains.max()))


def _examine_best(answer: object) -> None:
    gains = torch.tensor([[0.5, 0.4, -torch.inf], [1.9, 2.0, 1.5], [-0.3, -0.7, -0.2], [1.0, -torch.inf, -torch.inf], [-torch.inf] * 3])
    found = number(call(answer, gains, 2, names="gains k"), "The gain")
    expect(abs(found - 3.9) > 1e-5, "3.9 is twice the same word: two neighbors of one word cannot both stand there. First the best of "
           "each word, then the best words.")  # fmt: skip
    expect(abs(found - 3.5) > 1e-5, "All helpful words were replaced; the budget allows `k` of them.")
    expect(abs(found - 2.5) > 1e-5, "These are the first `k` words of the text, not the `k` that gain most: sort.")
    expect(abs(found - 2.9) > 1e-5, "Only the first neighbor of each word was looked at; a later one may gain more.")
    expect(abs(found - 4.0) > 1e-5, "`k` times the best replacement: every word can be replaced only once, and the next best gains less.")
    expect(abs(found - 3.0) < 1e-5, f"Expected 3.0 for two words (2.0 and 1.0), got {found:g}.")
    spare = number(call(answer, gains, 4, names="gains k"), "The gain")
    expect(
        abs(spare - 3.3) > 1e-5,
        "With four words allowed you replaced one that *loses*. Nobody has to spend it all: a word whose best neighbor loses stays.",
    )
    expect(abs(spare - 3.5) < 1e-5, f"Expected 3.5 for four words, got {spare:g}: words without any neighbor, and words that lose, stay.")
    nothing = number(call(answer, gains, 0, names="gains k"), "The gain")
    expect(nothing == 0, f"With k = 0 nothing can be gained; you return {nothing:g}.")


def decibels(x: torch.Tensor, x_adv: torch.Tensor) -> torch.Tensor:
    """Return the signal-to-noise ratio of each sound in decibels, shape (B,).

    That is 10 log10 of the power of the signal over the power of the change. x, x_adv: (B, 1, T).
    """
    raise NotImplementedError


def _decibels_solved(x: torch.Tensor, x_adv: torch.Tensor) -> torch.Tensor:
    signal = x.flatten(1).square().sum(1)
    change = (x_adv - x).flatten(1).square().sum(1)
    return 10 * torch.log10(signal / change)


def _decibels_double(x: torch.Tensor, x_adv: torch.Tensor) -> torch.Tensor:
    return 20 * torch.log10(x.flatten(1).square().sum(1) / (x_adv - x).flatten(1).square().sum(1))


def _decibels_amplitude(x: torch.Tensor, x_adv: torch.Tensor) -> torch.Tensor:
    return 10 * torch.log10(x.flatten(1).norm(dim=1) / (x_adv - x).flatten(1).norm(dim=1))


def _decibels_upside_down(x: torch.Tensor, x_adv: torch.Tensor) -> torch.Tensor:
    return -_decibels_solved(x, x_adv)


def _decibels_loud(x: torch.Tensor, x_adv: torch.Tensor) -> torch.Tensor:
    return 10 * torch.log10(x_adv.flatten(1).square().sum(1) / (x_adv - x).flatten(1).square().sum(1))


def _decibels_batch(x: torch.Tensor, x_adv: torch.Tensor) -> torch.Tensor:
    return (10 * torch.log10(x.square().sum() / (x_adv - x).square().sum())).expand(len(x)).clone()


def _decibels_natural(x: torch.Tensor, x_adv: torch.Tensor) -> torch.Tensor:
    return 10 * torch.log(x.flatten(1).square().sum(1) / (x_adv - x).flatten(1).square().sum(1))


def _decibels_peak(x: torch.Tensor, x_adv: torch.Tensor) -> torch.Tensor:
    return 20 * torch.log10(x.flatten(1).abs().amax(1) / (x_adv - x).flatten(1).abs().amax(1))


def _examine_decibels(answer: object) -> None:
    source = torch.Generator().manual_seed(4)
    x = torch.rand(3, 1, 50, generator=source) * torch.tensor([0.1, 0.5, 1.0]).view(-1, 1, 1)
    x_adv = x + torch.randn(x.shape, generator=source) * torch.tensor([0.001, 0.05, 0.3]).view(-1, 1, 1)
    found = tensor(call(answer, x, x_adv, names="x x_adv"), (3,), "The result")
    right = _decibels_solved(x, x_adv)
    expect(not close(found, 2 * right, 1e-3), "Twice too many: 20 log10 belongs to a ratio of *amplitudes*; of powers it is 10 log10.")
    expect(not close(found, right / 2, 1e-3), "Half of it: these are amplitudes (a norm is a root). Square them, or multiply by 20.")
    expect(not close(found, -right, 1e-3), "The sign is wrong: the signal stands above the change in the fraction.")
    if close(found, _decibels_loud(x, x_adv), 1e-3):
        raise NotYet("The power of the *attacked* sound was put above: it holds the change already. Take `x`.")
    expect(
        not close(found, _decibels_batch(x, x_adv), 1e-3),
        "One number for the whole batch: sum over the samples of each sound, not over the sounds.",
    )
    expect(not close(found, _decibels_natural(x, x_adv), 1e-3), "This is the natural logarithm; decibels take `torch.log10`.")
    expect(not close(found, _decibels_peak(x, x_adv), 1e-3), "This compares the largest samples. Power is the sum of *all* squares.")
    expect(close(found, right, 1e-3), f"Expected {[round(v, 2) for v in right.tolist()]}, got {[round(v, 2) for v in found.tolist()]}.")


def three_rates(right_before: torch.Tensor, right_after: torch.Tensor) -> tuple[float, float, float]:
    """Return accuracy before, success rate of the attack, and accuracy under attack.

    right_before, right_after: booleans, shape (N,): was the text read correctly before, and after?
    Texts that were wrong before are skipped by the attack; nothing says that they stay wrong when
    they are asked about again.
    """
    raise NotImplementedError


def _rates_solved(right_before: torch.Tensor, right_after: torch.Tensor) -> tuple[float, float, float]:
    turned = right_before & ~right_after
    held = right_before & right_after
    n = len(right_before)
    return float(right_before.sum() / n), float(turned.sum() / right_before.sum()), float(held.sum() / n)


def _rates_all(right_before: torch.Tensor, right_after: torch.Tensor) -> tuple[float, float, float]:
    turned, held, n = right_before & ~right_after, right_before & right_after, len(right_before)
    return float(right_before.sum() / n), float(turned.sum() / n), float(held.sum() / n)


def _rates_skipped(right_before: torch.Tensor, right_after: torch.Tensor) -> tuple[float, float, float]:
    held, n = right_before & right_after, len(right_before)
    return float(right_before.sum() / n), float((~right_after).sum() / n), float(held.sum() / n)


def _rates_of_attacked(right_before: torch.Tensor, right_after: torch.Tensor) -> tuple[float, float, float]:
    turned, held = right_before & ~right_after, right_before & right_after
    return float(right_before.double().mean()), float(turned.sum() / right_before.sum()), float(held.sum() / right_before.sum())


def _rates_lucky(right_before: torch.Tensor, right_after: torch.Tensor) -> tuple[float, float, float]:
    turned, n = right_before & ~right_after, len(right_before)
    return float(right_before.sum() / n), float(turned.sum() / right_before.sum()), float(right_after.sum() / n)


def _rates_difference(right_before: torch.Tensor, right_after: torch.Tensor) -> tuple[float, float, float]:
    before, _, _ = _rates_solved(right_before, right_after)
    after = float(right_after.double().mean())
    return before, before - after, after


def _rates_percent(right_before: torch.Tensor, right_after: torch.Tensor) -> tuple[float, float, float]:
    before, rate, after = _rates_solved(right_before, right_after)
    return 100 * before, 100 * rate, 100 * after


def _examine_rates(answer: object) -> None:
    before = torch.arange(200) >= 43
    after = (torch.arange(200) >= 171) | (torch.arange(200) < 4)
    result = call(answer, before, after, names="right_before right_after")
    expect(
        isinstance(result, tuple | list) and len(result) == 3, "Return three numbers: accuracy before, success rate, accuracy under attack."
    )
    first, rate, last = (
        number(value, what) for value, what in zip(result, ("Accuracy before", "The success rate", "Accuracy after"), strict=True)
    )
    expect(abs(first - 78.5) > 1e-3, "These are percentages. Return fractions between 0 and 1.")
    expect(abs(first - 0.785) < 1e-6, f"157 of 200 were read correctly before; you return {first:.4g}.")
    expect(abs(rate - 0.64) > 1e-6, "128 successes over all 200 texts; the 43 that were wrong before were not attacked. They stand neither "
           "in numerator nor in denominator of the success rate.")  # fmt: skip
    expect(abs(rate - 0.62) > 1e-6, "This is the difference of two accuracies. Count the texts that were right before and are not right "
           "after, over those that were right before.")  # fmt: skip
    expect(abs(rate - 0.835) > 1e-6, "Texts that were wrong before were counted as successes: the attack did nothing to them.")
    expect(abs(rate - 128 / 157) < 1e-6, f"128 of the 157 texts that were right before were turned; you return {rate:.4g}.")
    expect(abs(last - 29 / 157) > 1e-6, "Accuracy under attack is over *all* texts, those wrong before included: 200 is its denominator.")
    expect(abs(last - 0.165) > 1e-6, "Four texts that were wrong before happen to be right afterwards. Not by the attack: a reader wrong "
           "without one does not hold under one.")  # fmt: skip
    expect(abs(last - 0.145) < 1e-6, f"29 of 200 texts were right before and after; you return {last:.4g}.")


EXERCISES = (
    Exercise(
        id="23.1",
        title="The best k replacements",
        difficulty=1,
        minutes=10,
        statement=(
            "On a bag of words the gains of different words add up. Write `best_gain(gains, k)`: the largest total gain of replacing "
            "at most `k` words, each by one of its neighbors. No search is needed."
        ),
        stub=best_gain,
        solution=_best_solved,
        examine=_examine_best,
        hints=(
            "A word can be replaced once. So each word offers one number: its best neighbor's gain, `gains.max(dim=1).values`.",
            "A word whose best neighbor loses, or that has none (`-inf`), is left alone: it offers 0.",
            "Sort what the words offer, take the first `k`, and add.",
        ),
        mistakes=(
            Mistake("replaces one word twice", _best_of_all, "twice the same word"),
            Mistake("spends the whole budget", _best_forced, "one that *loses*"),
            Mistake("ignores the budget", _best_unlimited, "All helpful words"),
            Mistake("takes the first words", _best_first, "the first `k` words"),
            Mistake("looks at the first neighbor only", _best_column, "Only the first neighbor"),
            Mistake("repeats the best", _best_one, "`k` times the best replacement"),
        ),
    ),
    Exercise(
        id="23.2",
        title="Decibels",
        difficulty=1,
        minutes=10,
        statement=(
            "Write `decibels(x, x_adv)`: the signal-to-noise ratio of each sound,\n\n"
            r"$$10 \log_{10} \frac{\sum_t x_t^2}{\sum_t (x_{\text{adv},t} - x_t)^2}.$$"
        ),
        stub=decibels,
        solution=_decibels_solved,
        examine=_examine_decibels,
        hints=(
            "`x.flatten(1)` has one row per sound; square it and sum over dimension 1.",
            "The noise is the change, `x_adv - x`. Treat it as you treated the signal.",
            "Divide the two powers, take `torch.log10`, multiply by 10.",
        ),
        mistakes=(
            Mistake("takes 20 log10 of powers", _decibels_double, "Twice too many"),
            Mistake("takes 10 log10 of amplitudes", _decibels_amplitude, "Half of it"),
            Mistake("turns the fraction over", _decibels_upside_down, "The sign is wrong"),
            Mistake("measures the attacked sound", _decibels_loud, "*attacked* sound"),
            Mistake("sums over the batch", _decibels_batch, "whole batch"),
            Mistake("takes the natural logarithm", _decibels_natural, "natural logarithm"),
            Mistake("compares peaks", _decibels_peak, "largest samples"),
        ),
    ),
    Exercise(
        id="23.3",
        title="Three rates, two denominators",
        difficulty=2,
        minutes=10,
        statement=(
            "A text attack is reported by three rates: accuracy before, success rate, accuracy under attack. Write "
            "`three_rates(right_before, right_after)`, which returns them in this order as fractions. Who is in each denominator?"
        ),
        stub=three_rates,
        solution=_rates_solved,
        examine=_examine_rates,
        hints=(
            "The attack skips texts that are wrong before: it can neither succeed nor fail on them.",
            "A success was right before and is not right after. Out of how many could there have been a success?",
            "Accuracy under attack is over all texts: right before *and* after.",
        ),
        mistakes=(
            Mistake("success over all texts", _rates_all, "over all 200 texts"),
            Mistake("counts skipped texts as successes", _rates_skipped, "counted as successes"),
            Mistake("accuracy over attacked texts", _rates_of_attacked, "over *all* texts, those wrong before included"),
            Mistake("difference of accuracies", _rates_difference, "difference of two accuracies"),
            Mistake("returns percentages", _rates_percent, "These are percentages"),
            Mistake("counts luck", _rates_lucky, "happen to be right afterwards"),
        ),
    ),
)
