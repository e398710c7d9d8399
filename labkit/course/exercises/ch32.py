"""Exercises of chapter 32: a score that survives large logits, a threshold, and whom the detector has to catch."""

from __future__ import annotations

import math

import torch

from labkit.course.exercises.framework import Exercise, Mistake
from labkit.course.exercises.probe import NotYet, call, close, expect, number, tensor


def entropy_score(logits: torch.Tensor) -> torch.Tensor:
    """Return the entropy (in nats) of the model's prediction: higher means less certain, and more suspicious.

    logits: shape (B, K), of any size: 1000 must not overflow. Returns shape (B,), from 0 to log K.
    """
    raise NotImplementedError


def _entropy_solved(logits: torch.Tensor) -> torch.Tensor:
    log_p = torch.log_softmax(logits, dim=1)
    return -(log_p.exp() * log_p).sum(dim=1)


def _entropy_twice(logits: torch.Tensor) -> torch.Tensor:
    log_p = torch.log_softmax(torch.softmax(logits, dim=1), dim=1)
    return -(log_p.exp() * log_p).sum(dim=1)


def _entropy_overflow(logits: torch.Tensor) -> torch.Tensor:
    p = logits.exp() / logits.exp().sum(dim=1, keepdim=True)
    return -(p * p.log()).sum(dim=1)


def _entropy_log_of_zero(logits: torch.Tensor) -> torch.Tensor:
    p = torch.softmax(logits, dim=1)
    return -(p * p.log()).sum(dim=1)


def _entropy_reversed(logits: torch.Tensor) -> torch.Tensor:
    log_p = torch.log_softmax(logits, dim=1)
    return (log_p.exp() * log_p).sum(dim=1)


def _entropy_over_batch(logits: torch.Tensor) -> torch.Tensor:
    log_p = torch.log_softmax(logits, dim=0)
    return -(log_p.exp() * log_p).sum(dim=1)


def _examine_entropy(answer: object) -> None:
    logits = torch.randn((6, 4), generator=torch.Generator().manual_seed(11)) * 3
    logits[0] = 0.0  # undecided: log 4
    score = call(answer, logits, names="logits")
    score = tensor(score, (6,), "The score")
    right = _entropy_solved(logits)
    expect(
        not close(score, -right), "The sign is reversed: a sure prediction gets the higher score. Entropy is *minus* the sum of p log p."
    )
    if close(score, _entropy_twice(logits)):
        raise NotYet("The softmax was applied twice: its output was treated as logits again, and even sure predictions look undecided.")
    expect(
        not close(score, _entropy_over_batch(logits)),
        "The softmax runs over the batch (`dim=0`). An input must not depend on its neighbors: `dim=1`.",
    )
    expect(not close(score, right / math.log(2)), "This is the entropy in bits. Use the natural logarithm.")
    expect(close(score, right), f"Four equal logits have entropy log 4 = 1.386 (yours: {float(score[0]):.3f}); compare the formula.")
    for size in (100.0, 1000.0, 10000.0):
        large = torch.tensor([[size, 0.0, -size, 0.0], [size, size, 0.0, -size]])
        given = call(answer, large, names="logits")
        if isinstance(given, torch.Tensor) and not torch.isfinite(given).all():
            softmax_is_safe = bool(torch.isfinite(call(answer, torch.full((1, 4), 500.0))).all())
            if softmax_is_safe:
                raise NotYet(
                    f"With logits of {size:.0f} a probability is exactly 0, and 0 * log 0 is NaN. Start from `torch.log_softmax`, "
                    "not from its result."
                )
            raise NotYet(
                f"With logits of {size:.0f} the score is NaN: `exp` overflows above 88. Let `log_softmax` subtract the largest logit "
                "for you."
            )
        expect(
            close(tensor(given, (2,), "The score"), torch.tensor([0.0, math.log(2)]), 1e-3),
            f"With logits of {size:.0f} the score is wrong: {given}.",
        )


def threshold_at_fpr(clean_scores: torch.Tensor, attacked_scores: torch.Tensor, fpr: float) -> float:
    """Return the lowest threshold that flags at most the share ``fpr`` of clean inputs. Flagged means: score > threshold.

    clean_scores: shape (N,), of inputs nobody attacked; attacked_scores: shape (M,). Higher is more suspicious; 0 < fpr < 1.
    """
    raise NotImplementedError


def _threshold_solved(clean_scores: torch.Tensor, attacked_scores: torch.Tensor, fpr: float) -> float:
    allowed = int(fpr * len(clean_scores) + 1e-9)  # so many clean inputs may be flagged; 1e-9: 0.29 * 100 is 28.999...
    return clean_scores.sort(descending=True).values[allowed].item()


def _threshold_wrong_tail(clean_scores: torch.Tensor, attacked_scores: torch.Tensor, fpr: float) -> float:
    return torch.quantile(clean_scores, fpr).item()


def _threshold_from_attacks(clean_scores: torch.Tensor, attacked_scores: torch.Tensor, fpr: float) -> float:
    return torch.quantile(attacked_scores, fpr).item()


def _threshold_interpolated(clean_scores: torch.Tensor, attacked_scores: torch.Tensor, fpr: float) -> float:
    return torch.quantile(clean_scores, 1 - fpr).item()


def _threshold_too_strict(clean_scores: torch.Tensor, attacked_scores: torch.Tensor, fpr: float) -> float:
    allowed = int(fpr * len(clean_scores) + 1e-9)
    return clean_scores.sort(descending=True).values[allowed - 1].item()


def _threshold_too_lax(clean_scores: torch.Tensor, attacked_scores: torch.Tensor, fpr: float) -> float:
    allowed = int(fpr * len(clean_scores) + 1e-9)
    return clean_scores.sort(descending=True).values[allowed + 1].item()


def _examine_threshold(answer: object) -> None:
    own = torch.Generator().manual_seed(13)

    def flagged(fpr: float, clean: torch.Tensor) -> int:
        attacked = torch.randn((80,), generator=own) + 3
        value = number(call(answer, clean, attacked, fpr, names="clean_scores attacked_scores fpr"), "The threshold")
        shifted = number(call(answer, clean, attacked + 5, fpr, names="clean_scores attacked_scores fpr"), "The threshold")
        expect(math.isfinite(value), f"The threshold is {value}.")
        expect(
            shifted == value,
            "The threshold moves when only the *attacked* scores change. A defender sets it before any attack is seen, on clean "
            "inputs alone.",
        )
        return int((clean > value).sum())

    for n, fpr in ((200, 0.05), (100, 0.1), (1000, 0.01), (25, 0.1), (100, 0.29)):
        clean, allowed = torch.randn((n,), generator=own), int(fpr * n + 1e-9)
        count = flagged(fpr, clean)
        share = f"{count} of {n} clean inputs are above the threshold; {fpr:.0%} allows {allowed}"
        expect(abs(n - count - allowed) > 2, f"{share}. That is the wrong tail: suspicious scores are the *high* ones.")
        if count > allowed:
            expect((n, fpr) != (25, 0.1) or count - allowed > 1, f"{share}. `quantile` rounds in your favor here: sort and count instead.")
            expect(count > allowed + 1, f"{share}: one step too far down the sorted scores breaks the promise.")
            raise NotYet(f"{share}: too many.")
        expect(count != allowed - 1, f"{share}. Off by one: `>` does not flag the threshold itself, so it can be the next score down.")
        expect(count == allowed, f"{share}: the threshold could be lower.")
    ties = torch.tensor([0.0] * 10 + [1.0] * 10)
    count = flagged(0.1, ties)
    expect(
        count == 0,
        f"Ten of twenty clean scores are equal and highest. Flagging any flags all ten, so none may be flagged; you flag {count}.",
    )


def detection_rate(attacked_scores: torch.Tensor, success: torch.Tensor, threshold: float) -> float:
    """Return the share of *successful* attacks that the detector flags. Flagged means: score > threshold.

    attacked_scores: shape (M,); success: boolean, shape (M,), whether the attack fooled the model. Returns a number from 0 to 1,
    or NaN when no attack succeeded: then there is nothing to detect.
    """
    raise NotImplementedError


def _rate_solved(attacked_scores: torch.Tensor, success: torch.Tensor, threshold: float) -> float:
    return (attacked_scores[success] > threshold).float().mean().item()


def _rate_of_all(attacked_scores: torch.Tensor, success: torch.Tensor, threshold: float) -> float:
    return (attacked_scores > threshold).float().mean().item()


def _rate_joint(attacked_scores: torch.Tensor, success: torch.Tensor, threshold: float) -> float:
    return ((attacked_scores > threshold) & success).float().mean().item()


def _rate_precision(attacked_scores: torch.Tensor, success: torch.Tensor, threshold: float) -> float:
    flagged = attacked_scores > threshold
    return (flagged & success).sum().item() / max(int(flagged.sum()), 1)


def _rate_missed(attacked_scores: torch.Tensor, success: torch.Tensor, threshold: float) -> float:
    return (attacked_scores[success] <= threshold).float().mean().item()


def _rate_zero_for_none(attacked_scores: torch.Tensor, success: torch.Tensor, threshold: float) -> float:
    return ((attacked_scores > threshold) & success).sum().item() / max(int(success.sum()), 1)


def _examine_rate(answer: object) -> None:
    # Ten attacks. Five succeed, and two of these are flagged; of the five that failed, all are flagged.
    success = torch.tensor([True] * 5 + [False] * 5)
    scores = torch.tensor([0.9, 0.8, 0.1, 0.2, 0.3, 0.9, 0.7, 0.8, 0.9, 0.6])
    value = number(call(answer, scores, success, 0.5, names="attacked_scores success threshold"), "The rate")
    known = {
        7 / 10: "You averaged over all ten attacks. Failed attacks are easy to flag and harmless: only those that fooled the model count.",
        2 / 10: "You counted flagged successes, but divided by all ten attacks. The denominator is the five that succeeded.",
        2
        / 7: "You divided by the seven flagged inputs: that is the precision of the alarm. The rate asks how many *successes* are caught.",
        3 / 5: "This is the share that gets away. The detection rate is the share above the threshold.",
    }
    for wrong, message in known.items():
        expect(abs(value - wrong) > 1e-6, message)
    expect(abs(value - 2 / 5) < 1e-6, f"Two of the five successful attacks are flagged: 0.4. You return {value:.3f}.")
    at = number(call(answer, torch.tensor([0.5, 0.6]), torch.tensor([True, True]), 0.5), "The rate")
    expect(at == 0.5, "A score equal to the threshold is not flagged: the comparison is strict.")
    none = call(answer, scores, torch.zeros(10, dtype=torch.bool), 0.5)
    expect(
        math.isnan(number(none, "The rate")),
        "When no attack succeeds the rate is undefined: return NaN. A number would claim a measurement.",
    )


EXERCISES = (
    Exercise(
        id="32.1",
        title="An entropy that survives large logits",
        difficulty=1,
        minutes=10,
        statement=(
            "Write `entropy_score(logits)`: the entropy of the softmax, one number per input,\n\n"
            r"$$H = -\sum_k p_k \log p_k, \qquad p = \mathrm{softmax}(z).$$"
            "\n\nAttackers like extreme logits, so yours will be tried with values up to 10,000."
        ),
        stub=entropy_score,
        solution=_entropy_solved,
        examine=_examine_entropy,
        hints=(
            "Which appears first when logits grow: an infinite exponential, or the logarithm of an exact zero? Both must go.",
            "`torch.log_softmax(logits, dim=1)` gives log p directly, finite for all finite logits.",
            "p is `log_p.exp()`. Multiply, sum over the classes, and mind the minus sign.",
        ),
        mistakes=(
            Mistake("applies the softmax twice", _entropy_twice, "applied twice"),
            Mistake("overflows", _entropy_overflow, "`exp` overflows"),
            Mistake("takes the logarithm of zero", _entropy_log_of_zero, "0 * log 0"),
            Mistake("reverses the sign", _entropy_reversed, "sign is reversed"),
            Mistake("normalizes over the batch", _entropy_over_batch, "over the batch"),
        ),
    ),
    Exercise(
        id="32.2",
        title="A threshold with a promise",
        difficulty=2,
        minutes=12,
        statement=(
            "Write `threshold_at_fpr(clean_scores, attacked_scores, fpr)`: the lowest threshold above which at most the share `fpr` "
            "of the clean "
            "scores lie. An input is flagged when its score is *greater* than the threshold. You are handed the attacked scores as well; "
            "decide whether a defender would have them."
        ),
        stub=threshold_at_fpr,
        solution=_threshold_solved,
        examine=_examine_threshold,
        hints=(
            "How many of N clean inputs may be flagged at most? Round down: a promise is a promise.",
            "Sort the clean scores from high to low. If k may be flagged, which score is the first that may not?",
            "That score itself is the threshold, since `>` does not flag it: index k of the descending order, counting from 0.",
        ),
        mistakes=(
            Mistake("uses the wrong tail", _threshold_wrong_tail, "wrong tail"),
            Mistake("uses the attacked scores", _threshold_from_attacks, "moves when only the *attacked*"),
            Mistake("is off by one, too strict", _threshold_too_strict, "Off by one"),
            Mistake("is off by one, too lax", _threshold_too_lax, "breaks the promise"),
            Mistake("interpolates", _threshold_interpolated, "sort and count"),
        ),
    ),
    Exercise(
        id="32.3",
        title="Whom the detector has to catch",
        difficulty=1,
        minutes=8,
        statement=(
            "Write `detection_rate(attacked_scores, success, threshold)`: of the attacks that *fooled the model*, the share that the "
            "detector flags. An attack that failed needs no detector."
        ),
        stub=detection_rate,
        solution=_rate_solved,
        examine=_examine_rate,
        hints=(
            "Two sets: the attacks that succeeded, and among them the flagged ones. The first is the denominator.",
            "`attacked_scores[success]` keeps the scores of successful attacks.",
            "The mean of an empty tensor is NaN in PyTorch: the honest answer when nothing succeeded.",
        ),
        mistakes=(
            Mistake("averages over all attacks", _rate_of_all, "over all ten"),
            Mistake("divides joint counts by all", _rate_joint, "divided by all ten"),
            Mistake("returns the precision", _rate_precision, "precision of the alarm"),
            Mistake("returns the misses", _rate_missed, "gets away"),
            Mistake("returns 0 when nothing succeeded", _rate_zero_for_none, "undefined"),
        ),
    ),
)
