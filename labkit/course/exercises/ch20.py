"""Exercises of chapter 20: a confidence that does not overflow, an honest rate at few false alarms, and the likelihood ratio."""

from __future__ import annotations

import torch
from torch import Tensor

from labkit.course.exercises.framework import Exercise, Mistake
from labkit.course.exercises.probe import NotYet, call, close, expect, number, tensor


def confidence(logits: Tensor, y: Tensor) -> Tensor:
    """Return log(p / (1 - p)) for the probability p of the class y, shape (N,), float64, finite however sure the model is.

    logits: shape (N, K); y: shape (N,).
    """
    raise NotImplementedError


def _confidence_solved(logits: Tensor, y: Tensor) -> Tensor:
    values = logits.double()
    own = values.gather(1, y[:, None]).squeeze(1)
    others = values.scatter(1, y[:, None], -torch.inf)
    return own - others.logsumexp(1)


def _confidence_from_p(logits: Tensor, y: Tensor) -> Tensor:
    p = logits.double().softmax(1).gather(1, y[:, None]).squeeze(1)
    return (p / (1 - p)).log()


def _confidence_clamped(logits: Tensor, y: Tensor) -> Tensor:
    p = logits.double().softmax(1).gather(1, y[:, None]).squeeze(1).clamp(1e-12, 1 - 1e-12)
    return (p / (1 - p)).log()


def _confidence_single(logits: Tensor, y: Tensor) -> Tensor:
    return logits.gather(1, y[:, None]).squeeze(1) - logits.scatter(1, y[:, None], -torch.inf).logsumexp(1)


def _confidence_log_p(logits: Tensor, y: Tensor) -> Tensor:
    return logits.double().log_softmax(1).gather(1, y[:, None]).squeeze(1)


def _confidence_margin(logits: Tensor, y: Tensor) -> Tensor:
    values = logits.double()
    return values.gather(1, y[:, None]).squeeze(1) - values.scatter(1, y[:, None], -torch.inf).amax(1)


def _confidence_answer(logits: Tensor, y: Tensor) -> Tensor:
    return _confidence_solved(logits, logits.argmax(1))


def _examine_confidence(answer: object) -> None:
    source = torch.Generator().manual_seed(2)
    logits, y = 3 * torch.randn(8, 5, generator=source), torch.arange(8) % 5
    y[0] = (int(logits[0].argmax()) + 1) % 5  # at least one wrong answer
    given = tensor(call(answer, logits, y, names="logits y"), (8,), "The confidence")
    found = given.double()
    right = _confidence_solved(logits, y)
    if close(found, _confidence_log_p(logits, y), 1e-4):
        raise NotYet("This is log p: it ends at 0, where most members sit. Subtract log(1 - p) as well.")
    if close(found, _confidence_margin(logits, y), 1e-4):
        raise NotYet("You compare with the *largest* other class. 1 - p is the sum over all others: logsumexp instead of the maximum.")
    if close(found, _confidence_answer(logits, y), 1e-4):
        raise NotYet("This is the confidence in the model's own answer. Membership shows in the *label*, also where the answer is wrong.")
    expect(close(found, right, 1e-4), "Expected z_y - logsumexp of the other classes' logits.")
    sure = torch.tensor([[60.0, 0.0, 1.0], [-60.0, 0.0, 1.0]])
    said = call(answer, sure, torch.zeros(2, dtype=torch.int64), names="logits y")
    expect(
        not isinstance(said, Tensor) or bool(said.isfinite().all()),
        "For a very sure model 1 - p is rounded to 0 and the result is infinite. Never form p: work on the logits.",
    )
    at_ends = tensor(said, (2,), "The confidence").double()
    expect(
        close(at_ends, _confidence_solved(sure, torch.zeros(2, dtype=torch.int64)), 1e-3),
        f"For logits of 60, 0 and 1 the value is 60 - log(1 + e) = 58.7; yours is {float(at_ends[0]):.1f}. A clamped p, or one with a "
        "small number added, is finite, but puts all very sure models at the same place. Work on the logits, without p.",
    )
    expect(
        given.dtype == torch.float64, f"The values are right, but in `{given.dtype}`. Asked for is float64: begin with `logits.double()`."
    )


def found_at(scores: Tensor, members: Tensor, fpr: float) -> float:
    """Return the largest share of members that any threshold finds while at most a share `fpr` of the non-members is called member.

    scores: shape (N,), higher = more likely a member; members: (N,) booleans. A record is called a member when its score >= threshold.
    """
    raise NotImplementedError


def _found_solved(scores: Tensor, members: Tensor, fpr: float) -> float:
    inside, outside = scores[members], scores[~members]
    best = 0.0
    for threshold in torch.unique(scores):
        if float((outside >= threshold).double().mean()) <= fpr:
            best = max(best, float((inside >= threshold).double().mean()))
    return best


def _found_strict(scores: Tensor, members: Tensor, fpr: float) -> float:
    inside, outside = scores[members], scores[~members]
    fine = [t for t in torch.unique(scores) if float((outside >= t).double().mean()) < fpr]
    return max((float((inside >= t).double().mean()) for t in fine), default=0.0)


def _found_false_of_all(scores: Tensor, members: Tensor, fpr: float) -> float:
    inside, outside = scores[members], scores[~members]
    fine = [t for t in torch.unique(scores) if int((outside >= t).sum()) / len(scores) <= fpr]
    return max((float((inside >= t).double().mean()) for t in fine), default=0.0)


def _found_of_nothing(scores: Tensor, members: Tensor, fpr: float) -> float:
    inside, outside = scores[members], scores[~members]
    return max(float((inside >= t).double().mean()) for t in torch.unique(scores) if float((outside >= t).double().mean()) <= fpr)


def _found_with_ties(scores: Tensor, members: Tensor, fpr: float) -> float:
    inside, outside = scores[members], scores[~members].sort(descending=True).values
    threshold = outside[max(0, int(fpr * len(outside)) - 1)]
    return float((inside >= threshold).double().mean())


def _found_one_by_one(scores: Tensor, members: Tensor, fpr: float) -> float:
    inside = members[scores.sort(descending=True, stable=True).indices]
    false, true = (~inside).cumsum(0) / (~inside).sum(), inside.cumsum(0) / inside.sum()
    return float(torch.where(false <= fpr, true, 0.0).max())


def _found_of_all(scores: Tensor, members: Tensor, fpr: float) -> float:
    order = scores.argsort(descending=True)
    return float(members[order[: int(fpr * len(scores))]].double().sum() / members.sum())


def _found_accuracy(scores: Tensor, members: Tensor, fpr: float) -> float:
    called = scores >= _threshold(scores, members, fpr)
    return float((called == members).double().mean())


def _found_precision(scores: Tensor, members: Tensor, fpr: float) -> float:
    called = scores >= _threshold(scores, members, fpr)
    return float(members[called].double().mean())


def _threshold(scores: Tensor, members: Tensor, fpr: float) -> Tensor:
    outside = scores[~members]
    fine = [t for t in torch.unique(scores) if float((outside >= t).double().mean()) <= fpr]
    return torch.stack(fine).min() if fine else torch.tensor(torch.inf)


def _examine_found(answer: object) -> None:
    outside = torch.cat([torch.tensor([9.0, 8.0]), torch.full((10,), 5.0), torch.arange(88.0) / 100])
    inside = torch.cat([torch.full((7,), 8.5), torch.full((9,), 5.0), torch.full((24,), 4.0)])
    order = torch.randperm(140, generator=torch.Generator().manual_seed(4))
    scores, members = torch.cat([outside, inside])[order], (torch.arange(140) >= 100)[order]
    found = number(call(answer, scores, members, 0.05, names="scores members fpr"), "The share")
    right = _found_solved(scores, members, 0.05)
    if abs(found - _found_precision(scores, members, 0.05)) < 1e-4:
        raise NotYet("This is the share of members among those *called* member. Asked for: of all members, how many are found.")
    if abs(found - _found_accuracy(scores, members, 0.05)) < 1e-4:
        raise NotYet("This is an accuracy over both kinds of records; the rate has the members alone below the line.")
    if abs(found - _found_of_all(scores, members, 0.05)) < 1e-4:
        raise NotYet("You let the top 5 % of *all* records through. The false alarms are counted among the non-members only.")
    if abs(found - _found_with_ties(scores, members, 0.05)) < 1e-4 and found > right:
        raise NotYet(
            "Ten non-members share one score. A threshold takes all of them or none, and with them you are at 12 % false alarms, not 5 %."
        )
    if found > right + 1e-4:
        raise NotYet(
            f"You find {found:.3f}; no threshold finds more than {right:.3f}. Ten non-members share one score, and so do several members: "
            "adding up one record at a time, or interpolating a ROC, stops in the midst of a tie, where there is no threshold."
        )
    expect(abs(found - right) < 1e-4, f"Expected {right:.3f}, got {found:.3f}: try every score as a threshold, keep those within `fpr`.")
    lax = number(call(answer, scores, members, 0.1, names="scores members fpr"), "The share")
    if abs(lax - _found_false_of_all(scores, members, 0.1)) < 1e-4:
        raise NotYet(
            "12 false alarms among 100 non-members are 12 %, and 10 % are allowed. You divided them by the number of *all* 140 records."
        )
    expect(abs(lax - _found_solved(scores, members, 0.1)) < 1e-4, f"At 10 % false alarms the answer is still {right:.3f}, not {lax:.3f}.")
    reached = number(call(answer, scores, members, 0.12, names="scores members fpr"), "The share")
    expect(
        abs(reached - _found_solved(scores, members, 0.12)) < 1e-4,
        f"A threshold that accuses exactly 12 % of the non-members is allowed when `fpr` is 0.12: at most means `<=`. Expected "
        f"{_found_solved(scores, members, 0.12):.3f}, got {reached:.3f}.",
    )
    try:
        said = call(answer, torch.ones(20), torch.arange(20) < 10, 0.05, names="scores members fpr")
    except (ValueError, IndexError, RuntimeError) as error:
        raise NotYet(
            f"When all scores are equal, each threshold that occurs accuses everybody: none is allowed at 5 % false alarms, and your code "
            f"stops (`{type(error).__name__}: {error}`). The largest of nothing is not defined: begin with 0, or `max(..., default=0.0)`."
        ) from None
    blind = number(said, "The share")
    expect(blind == 0.0, f"When all scores are equal nothing is found at 5 % false alarms: 0, not {blind:g}.")


def ratio(signal: Tensor, shadows: Tensor, members: Tensor) -> Tensor:
    """Return the log likelihood ratio of membership for each record, shape (N,).

    signal: (N,), the target's confidence in each record; shadows: (S, N), the shadow models'; members: (S, N) booleans, which shadow
    model was trained with which record. Two normal laws per record, with mean and standard deviation of the models with and without it.
    """
    raise NotImplementedError


def _laws(shadows: Tensor, members: Tensor, correction: int = 1) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    found: list[Tensor] = []
    for chosen in (members, ~members):
        count = chosen.sum(0)
        mean = torch.where(chosen, shadows, 0.0).sum(0) / count
        spread = (torch.where(chosen, (shadows - mean) ** 2, 0.0).sum(0) / (count - correction)).sqrt()
        found += [mean, spread]
    return found[0], found[1], found[2], found[3]


def _log_ratio(signal: Tensor, mean_in: Tensor, sd_in: Tensor, mean_out: Tensor, sd_out: Tensor) -> Tensor:
    return ((signal - mean_out) / sd_out) ** 2 / 2 + sd_out.log() - ((signal - mean_in) / sd_in) ** 2 / 2 - sd_in.log()


def _ratio_solved(signal: Tensor, shadows: Tensor, members: Tensor) -> Tensor:
    log_density = []
    for chosen in (members, ~members):
        count = chosen.sum(0)
        mean = torch.where(chosen, shadows, 0.0).sum(0) / count
        variance = torch.where(chosen, (shadows - mean) ** 2, 0.0).sum(0) / (count - 1)
        log_density.append(-((signal - mean) ** 2) / (2 * variance) - variance.log() / 2)
    return log_density[0] - log_density[1]


def _ratio_mixed(signal: Tensor, shadows: Tensor, members: Tensor, correction: int = 1) -> Tensor:
    mean_in, sd_in, mean_out, _ = _laws(shadows, members, correction)
    return _log_ratio(signal, mean_in, sd_in, mean_out, sd_in)


def _ratio_no_norm(signal: Tensor, shadows: Tensor, members: Tensor, correction: int = 1) -> Tensor:
    mean_in, sd_in, mean_out, sd_out = _laws(shadows, members, correction)
    return ((signal - mean_out) / sd_out) ** 2 / 2 - ((signal - mean_in) / sd_in) ** 2 / 2


def _ratio_backwards(signal: Tensor, shadows: Tensor, members: Tensor, correction: int = 1) -> Tensor:
    return -_log_ratio(signal, *_laws(shadows, members, correction))


def _ratio_without_log(signal: Tensor, shadows: Tensor, members: Tensor, correction: int = 1) -> Tensor:
    return _log_ratio(signal, *_laws(shadows, members, correction)).exp()


def _ratio_offline(signal: Tensor, shadows: Tensor, members: Tensor, correction: int = 1) -> Tensor:
    _, _, mean_out, sd_out = _laws(shadows, members, correction)
    return (signal - mean_out) / sd_out


def _ratio_variance_as_sd(signal: Tensor, shadows: Tensor, members: Tensor, correction: int = 1) -> Tensor:
    mean_in, sd_in, mean_out, sd_out = _laws(shadows, members, correction)
    return _log_ratio(signal, mean_in, sd_in**2, mean_out, sd_out**2)


def _ratio_one_variance(signal: Tensor, shadows: Tensor, members: Tensor, correction: int = 1) -> Tensor:
    mean_in, sd_in, mean_out, sd_out = _laws(shadows, members, correction)
    return _log_ratio(signal, mean_in, (sd_in**2).mean().sqrt(), mean_out, (sd_out**2).mean().sqrt())


def _ratio_median(signal: Tensor, shadows: Tensor, members: Tensor, correction: int = 1) -> Tensor:
    _, sd_in, _, sd_out = _laws(shadows, members, correction)
    middle_in, middle_out = (torch.where(chosen, shadows, torch.nan).nanquantile(0.5, dim=0) for chosen in (members, ~members))
    return _log_ratio(signal, middle_in, sd_in, middle_out, sd_out)


def _ratio_lower_median(signal: Tensor, shadows: Tensor, members: Tensor, correction: int = 1) -> Tensor:
    _, sd_in, _, sd_out = _laws(shadows, members, correction)
    middle_in, middle_out = (torch.where(chosen, shadows, torch.nan).nanmedian(dim=0).values for chosen in (members, ~members))
    return _log_ratio(signal, middle_in, sd_in, middle_out, sd_out)


def _ratio_one_law(signal: Tensor, shadows: Tensor, members: Tensor, correction: int = 1) -> Tensor:
    both = torch.zeros(2, signal.shape[0])
    for row, chosen in enumerate((members, ~members)):
        values = shadows[chosen]
        both[row] = torch.distributions.Normal(values.mean(), values.std(correction=correction)).log_prob(signal)  # type: ignore[no-untyped-call]
    return both[0] - both[1]


def _ratio_zeros_counted(signal: Tensor, shadows: Tensor, members: Tensor, correction: int = 1) -> Tensor:
    filled = [torch.where(chosen, shadows, 0.0) for chosen in (members, ~members)]
    (mean_in, sd_in), (mean_out, sd_out) = ((one.mean(0), one.std(0, correction=correction)) for one in filled)
    return _log_ratio(signal, mean_in, sd_in, mean_out, sd_out)


def _ratio_shared(signal: Tensor, shadows: Tensor, members: Tensor, correction: int = 1) -> Tensor:
    mean_in, _, mean_out, _ = _laws(shadows, members)
    spread = torch.where(members, shadows - mean_in, shadows - mean_out).std(0, correction=correction)
    return _log_ratio(signal, mean_in, spread, mean_out, spread)


def _ratio_spread_of_all(signal: Tensor, shadows: Tensor, members: Tensor, correction: int = 1) -> Tensor:
    mean_in, _, mean_out, _ = _laws(shadows, members)
    spread = shadows.std(0, correction=correction)
    return _log_ratio(signal, mean_in, spread, mean_out, spread)


def _examine_ratio(answer: object) -> None:
    source = torch.Generator().manual_seed(6)
    members = torch.stack([torch.randperm(12, generator=source) < 6 for _ in range(7)], dim=1)
    center, noise = 3 * torch.randn(7, generator=source), torch.randn(12, 7, generator=source)
    shadows = center + torch.where(members, 2 + 0.4 * noise, 1.6 * noise) * torch.linspace(1.5, 0.6, 7)  # a spread of its own for each
    signal = center + torch.linspace(-1, 3, 7)
    found = tensor(call(answer, signal, shadows, members, names="signal shadows members"), (7,), "The ratio")
    right = _ratio_solved(signal, shadows, members)
    median = "This takes the median of the models, as the chapter's attack does. Here the *mean* is asked for."
    tells = (
        (_ratio_backwards, "The signs are turned: a record that fits the models *with* it better must get the higher score."),
        (
            _ratio_mixed,
            "Both laws got the spread of the models with the record. Those without it vary four times as much here: each law has its own "
            "standard deviation. (A widely used implementation has this very slip.)",
        ),
        (_ratio_no_norm, "The normal density has a factor 1 / sd in front. It cancels only where both standard deviations are equal."),
        (
            _ratio_offline,
            "This looks at the models *without* the record only: the offline score. The ratio compares with those that had it.",
        ),
        (
            _ratio_one_law,
            "One law for all records at once: an easy record then always looks like a member. Mean and spread are per record "
            "(dimension 0 counts the shadow models).",
        ),
        (_ratio_without_log, "This is the ratio itself. Asked for is its logarithm: far out the ratio is rounded to 0 or infinity."),
        (_ratio_variance_as_sd, "The variance stands where the standard deviation belongs: take its square root first."),
        (_ratio_one_variance, "The means are per record, but one variance serves all records. Here each record has a variance of its own."),
        (
            _ratio_zeros_counted,
            "`torch.where(members, shadows, 0.0)` leaves zeros for the other models, and they went into the mean and the spread: divide "
            "the sums by the number of models in each group.",
        ),
        (_ratio_shared, "The two laws share a spread here. Take one over the models with the record, and another over those without."),
        (
            _ratio_spread_of_all,
            "The spread is over *all* shadow models of a record. Take one over those with it, one over the rest.",
        ),
        (_ratio_median, median),
        (_ratio_lower_median, median),
    )
    for mistaken, told in tells:
        for correction in (1, 0):  # the spread of a sample or of a population: neither is a mistake
            if close(found, mistaken(signal, shadows, members, correction), 1e-3):
                raise NotYet(told)
    biased = (found - right).abs() < 0.35 * right.abs() + 0.5
    expect(bool(biased.all()), "Expected log N(signal; mean_in, sd_in) - log N(signal; mean_out, sd_out), each per record.")


EXERCISES = (
    Exercise(
        id="20.1",
        title="A confidence without ceiling",
        difficulty=1,
        minutes=10,
        statement=(
            "Write `confidence(logits, y)`: $\\log \\frac{p}{1-p}$ for the probability $p$ of the class `y`. A model is so sure of its "
            "training records that $1 - p$ is rounded to zero. Your result, in float64, must stay finite and right."
        ),
        stub=confidence,
        solution=_confidence_solved,
        examine=_examine_confidence,
        hints=(
            "With z the logits, p is exp(z_y) over the sum of all exp(z). What is 1 - p over the same sum? Divide the two.",
            "What remains is exp(z_y) over the sum of exp(z) of the *other* classes. Take the logarithm before anything overflows.",
            "`logits.double()`, then `scatter(1, y[:, None], -torch.inf)` takes the own class out of a `logsumexp(1)`.",
        ),
        mistakes=(
            Mistake("forms p", _confidence_from_p, "Never form p"),
            Mistake("clamps p", _confidence_clamped, "A clamped p"),
            Mistake("single precision", _confidence_single, "Asked for is float64"),
            Mistake("log p", _confidence_log_p, "ends at 0"),
            Mistake("largest other class", _confidence_margin, "*largest* other class"),
            Mistake("the answer instead of the label", _confidence_answer, "model's own answer"),
        ),
    ),
    Exercise(
        id="20.2",
        title="How many are found at few false alarms?",
        difficulty=2,
        minutes=15,
        statement=(
            "Write `found_at(scores, members, fpr)`: the share of members found by the best threshold that calls at most a share `fpr` "
            "of the non-members a member. Scores may be tied, and a threshold cannot split a tie."
        ),
        stub=found_at,
        solution=_found_solved,
        examine=_examine_found,
        hints=(
            "Only the scores that occur are worth trying as thresholds: `scores.unique()`.",
            "For each threshold: the share of `scores[~members]` that reach it, and the share of `scores[members]` that do.",
            "Keep the thresholds whose first share is at most `fpr`; the answer is the largest second share among them, 0 if none is left.",
        ),
        mistakes=(
            Mistake("splits a tie", _found_with_ties, "all of them or none"),
            Mistake("record by record", _found_one_by_one, "in the midst of a tie"),
            Mistake("quantile of all records", _found_of_all, "top 5 % of *all* records"),
            Mistake("false alarms among all records", _found_false_of_all, "number of *all* 140 records"),
            Mistake("strictly below", _found_strict, "at most means `<=`"),
            Mistake("the largest of nothing", _found_of_nothing, "The largest of nothing"),
            Mistake("accuracy", _found_accuracy, "over both kinds of records"),
            Mistake("precision", _found_precision, "among those *called* member"),
        ),
    ),
    Exercise(
        id="20.3",
        title="The likelihood ratio",
        difficulty=2,
        minutes=20,
        statement=(
            "Write `ratio(signal, shadows, members)`, the heart of LiRA: for each record, how much likelier is the target's confidence "
            "from a model that was trained with the record than from one that was not? Each normal law has the *mean* and the standard "
            "deviation of its shadow models. (The chapter's own code takes the median; the rest is the same.)"
        ),
        stub=ratio,
        solution=_ratio_solved,
        examine=_examine_ratio,
        hints=(
            "For each record (a column) the shadow models fall into two groups. Each group gives a mean and a standard deviation.",
            "`torch.where(members, shadows, 0.0).sum(0) / members.sum(0)` is the mean of the first group; the same with `~members`.",
            "`torch.distributions.Normal(mean, sd).log_prob(signal)` for both groups; the answer is the first minus the second.",
        ),
        mistakes=(
            Mistake("one spread for both laws", _ratio_mixed, "its own standard deviation"),
            Mistake("forgets the factor of the density", _ratio_no_norm, "factor 1 / sd"),
            Mistake("backwards", _ratio_backwards, "signs are turned"),
            Mistake("offline", _ratio_offline, "offline score"),
            Mistake("one law for all records", _ratio_one_law, "One law for all records"),
            Mistake("without the logarithm", _ratio_without_log, "the ratio itself"),
            Mistake("variance as standard deviation", _ratio_variance_as_sd, "where the standard deviation belongs"),
            Mistake("one variance for all records", _ratio_one_variance, "one variance serves all records"),
            Mistake("median", _ratio_median, "takes the median"),
            Mistake("counts the zeros of where", _ratio_zeros_counted, "leaves zeros"),
            Mistake("a spread shared by both laws", _ratio_shared, "share a spread"),
            Mistake("the spread of all models", _ratio_spread_of_all, "over *all* shadow models"),
        ),
    ),
)  # fmt: skip
