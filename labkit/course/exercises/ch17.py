"""Exercises of chapter 17: poison a training set, judge a backdoor honestly, and choose which channels to silence."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from labkit.course.exercises.framework import Exercise, Mistake
from labkit.course.exercises.probe import NotYet, call, close, expect, number

Apply = Callable[[Tensor], Tensor]


def poison(x: Tensor, y: Tensor, trigger: Apply, target: int, order: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the inputs and the labels of a BadNets training set, of the shapes of x (N, C, H, W) and y (N,).

    Take the first `count` samples, in the order of `order` (N,), that do not belong to the class `target`; put the trigger on
    them and write the target under them. trigger: takes images (B, C, H, W) and returns new ones. Leave x and y as they are.
    """
    raise NotImplementedError


def _poison_solved(x: Tensor, y: Tensor, trigger: Apply, target: int, order: Tensor, count: int) -> tuple[Tensor, Tensor]:
    rows = order[y[order] != target][:count]
    new_x, new_y = x.clone(), y.clone()
    new_x[rows] = trigger(x[rows])
    new_y[rows] = target
    return new_x, new_y


def _poison_any_class(x: Tensor, y: Tensor, trigger: Apply, target: int, order: Tensor, count: int) -> tuple[Tensor, Tensor]:
    rows = order[:count]
    new_x, new_y = x.clone(), y.clone()
    new_x[rows] = trigger(x[rows])
    new_y[rows] = target
    return new_x, new_y


def _poison_cut_then_filtered(x: Tensor, y: Tensor, trigger: Apply, target: int, order: Tensor, count: int) -> tuple[Tensor, Tensor]:
    rows = order[:count]
    rows = rows[y[rows] != target]
    new_x, new_y = x.clone(), y.clone()
    new_x[rows] = trigger(x[rows])
    new_y[rows] = target
    return new_x, new_y


def _poison_own_order(x: Tensor, y: Tensor, trigger: Apply, target: int, order: Tensor, count: int) -> tuple[Tensor, Tensor]:
    rows = (y != target).nonzero().squeeze(1)[:count]
    new_x, new_y = x.clone(), y.clone()
    new_x[rows] = trigger(x[rows])
    new_y[rows] = target
    return new_x, new_y


def _poison_labels_only(x: Tensor, y: Tensor, trigger: Apply, target: int, order: Tensor, count: int) -> tuple[Tensor, Tensor]:
    rows = order[y[order] != target][:count]
    new_y = y.clone()
    new_y[rows] = target
    return x.clone(), new_y


def _poison_inputs_only(x: Tensor, y: Tensor, trigger: Apply, target: int, order: Tensor, count: int) -> tuple[Tensor, Tensor]:
    rows = order[y[order] != target][:count]
    new_x = x.clone()
    new_x[rows] = trigger(x[rows])
    return new_x, y.clone()


def _poison_everywhere(x: Tensor, y: Tensor, trigger: Apply, target: int, order: Tensor, count: int) -> tuple[Tensor, Tensor]:
    rows = order[y[order] != target][:count]
    new_y = y.clone()
    new_y[rows] = target
    return trigger(x), new_y


def _examine_poison(answer: object) -> None:
    source = torch.Generator().manual_seed(17)
    x, y = torch.rand(12, 1, 3, 3, generator=source) * 0.5, torch.arange(12) % 3
    order = torch.tensor([1, 0, 4, 11, 2, 7, 3, 5, 9, 8, 10, 6])

    def trigger(images: Tensor) -> Tensor:
        out = images.clone()
        out[..., -1, -1] = 1.0
        return out

    found = call(answer, x, y, trigger, 1, order, 4, names="x y trigger target order count")
    expect(isinstance(found, tuple | list) and len(found) == 2, "Return two things: the new inputs and the new labels.")
    new_x, new_y = found
    right_x, right_y = _poison_solved(x, y, trigger, 1, order, 4)
    expect(
        isinstance(new_x, Tensor) and new_x.shape == x.shape and isinstance(new_y, Tensor) and new_y.shape == y.shape,
        "Both results should have the shapes of `x` and `y`: poisoned samples take the place of clean ones.",
    )
    stamped, relabeled = (new_x != x).flatten(1).any(1), new_y != y
    expect(bool(stamped.any()), "No input carries the trigger: labels that are wrong without one are random flips, not a backdoor.")
    expect(int(stamped.sum()) < 12, "Every input carries the trigger, so it tells the model nothing: put it on the chosen rows only.")
    expect(
        bool(relabeled.any()),
        "No label was changed: with their true labels, the triggered samples teach nothing of the target.",
    )
    expect(
        not bool(stamped[y == 1].any()),
        "Some triggered samples belonged to the target class before. They teach nothing and use up the budget: choose among the others.",
    )
    first = _poison_cut_then_filtered(x, y, trigger, 1, order, 4)[0]
    if close(new_x, first):
        raise NotYet(
            f"{int(stamped.sum())} samples are poisoned instead of 4: the target class was left out *after* the first 4 had been taken. "
            "Leave it out first, then count."
        )
    expect(bool((new_y[stamped] == 1).all()), "Some triggered samples do not carry the target as their label: write `target` under each.")
    expect(
        torch.equal(stamped, relabeled),
        "The trigger and the wrong labels are not on the same rows: use the same `rows` for both.",
    )
    expect(int(stamped.sum()) == 4, f"{int(stamped.sum())} samples are poisoned; `count` asked for 4.")
    expect(torch.equal(new_y, right_y), "The right number of samples, but not the first ones: go through the rows as `order` lists them.")
    expect(close(new_x, right_x), "The right rows were changed, but not by the trigger alone: `trigger(x[rows])` is all they need.")


def attack_success(model: nn.Module, x: Tensor, y: Tensor, trigger: Apply, target: int) -> float:
    """Return the share of triggered inputs that the model reads as `target`, out of the inputs of *other* classes.

    x: test images without the trigger, shape (N, C, H, W); y: their true labels, shape (N,).
    """
    raise NotImplementedError


def _success_solved(model: nn.Module, x: Tensor, y: Tensor, trigger: Apply, target: int) -> float:
    others = x[y != target]
    with torch.no_grad():
        answers = model(trigger(others)).argmax(1)
    return float((answers == target).float().mean())


def _success_over_all(model: nn.Module, x: Tensor, y: Tensor, trigger: Apply, target: int) -> float:
    with torch.no_grad():
        return float((model(trigger(x)).argmax(1) == target).float().mean())


def _success_wrong_answers(model: nn.Module, x: Tensor, y: Tensor, trigger: Apply, target: int) -> float:
    with torch.no_grad():
        answers = model(trigger(x)).argmax(1)
    return float((answers != y)[y != target].float().mean())


def _success_no_trigger(model: nn.Module, x: Tensor, y: Tensor, trigger: Apply, target: int) -> float:
    with torch.no_grad():
        return float((model(x[y != target]).argmax(1) == target).float().mean())


def _success_wrong_denominator(model: nn.Module, x: Tensor, y: Tensor, trigger: Apply, target: int) -> float:
    with torch.no_grad():
        answers = model(trigger(x)).argmax(1)
    return float(((answers == target) & (y != target)).float().mean())


def _success_percent(model: nn.Module, x: Tensor, y: Tensor, trigger: Apply, target: int) -> float:
    return 100 * _success_solved(model, x, y, trigger, target)


def _success_if_right_before(model: nn.Module, x: Tensor, y: Tensor, trigger: Apply, target: int) -> float:
    with torch.no_grad():
        counted = (y != target) & (model(x).argmax(1) == y)
        return float((model(trigger(x[counted])).argmax(1) == target).float().mean())


class _Planted(nn.Module):
    """Reads class k off pixel k; the corner turns four of the inputs that it is bright on to class 2, and one to class 0."""

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(1)
        scores = flat[:, :4].clone()
        obeys, strays = (flat[:, -1] > 0.9) & (flat[:, 5] > 0.5), (flat[:, -1] > 0.9) & (flat[:, 6] > 0.5)
        scores[obeys, 2] += 5
        scores[strays, 0] += 5
        return scores


def _examine_success(answer: object) -> None:
    y = torch.tensor([0, 1, 2, 3, 2, 1, 3, 0, 2, 3])
    x = torch.zeros(10, 1, 3, 3)
    x.flatten(1)[torch.arange(10), y] = 1.0
    x.flatten(1)[[0, 1, 3, 4], 5] = 1.0  # these obey; the fifth is of the target class already
    x.flatten(1)[6, 6] = 1.0  # this one is misread as class 0
    x.flatten(1)[9] = torch.tensor([0.0, 0, 1, 0, 0, 0, 0, 0, 0])  # a three that is read as a two without any trigger

    def trigger(images: Tensor) -> Tensor:
        out = images.clone()
        out[..., -1, -1] = 1.0
        return out

    model = _Planted().eval()
    found = number(call(answer, model, x, y, trigger, 2, names="model x y trigger target"), "The success")
    said = {
        _success_over_all(model, x, y, trigger, 2): "Inputs of the target class were counted as successes: they are read as the target "
        "without any attack. A model that never saw a trigger would score about one in ten on ten classes.",
        _success_wrong_answers(model, x, y, trigger, 2): "You counted every misreading. The attacker wants *this* answer: compare with "
        "`target`, not with `y`.",
        _success_no_trigger(model, x, y, trigger, 2): "The model never saw the trigger: put it on the inputs before you ask.",
        _success_wrong_denominator(model, x, y, trigger, 2): "The successes are right, but you divided by all inputs. Divide by those "
        "that could be a success: the ones of other classes.",
        _success_percent(model, x, y, trigger, 2): "That is a percentage: return the share itself, between 0 and 1.",
        _success_if_right_before(model, x, y, trigger, 2): "You counted only the inputs that the model read correctly without the trigger. "
        "Some papers do; here every input of another class counts.",
    }  # fmt: skip
    for value, hint in said.items():
        expect(abs(found - value) > 1e-6, hint)
    right = _success_solved(model, x, y, trigger, 2)
    expect(abs(found - right) < 1e-6, f"Expected {right:.3f} (4 of 7) on the trial, got {found:.3f}.")


def to_silence(answers: Tensor, count: int) -> Tensor:
    """Return the numbers of the `count` channels to silence first: those that answer least on clean inputs, on average.

    answers: what a convolutional layer says about N clean images, after its ReLU, shape (N, C, H, W). Least first.
    """
    raise NotImplementedError


def _silence_solved(answers: Tensor, count: int) -> Tensor:
    return answers.mean(dim=(0, 2, 3)).argsort()[:count]


def _silence_loudest(answers: Tensor, count: int) -> Tensor:
    return answers.mean(dim=(0, 2, 3)).argsort(descending=True)[:count]


def _silence_by_peak(answers: Tensor, count: int) -> Tensor:
    return answers.amax(dim=(0, 2, 3)).argsort()[:count]


def _silence_one_image(answers: Tensor, count: int) -> Tensor:
    return answers[0].mean(dim=(1, 2)).argsort()[:count]


def _silence_by_median(answers: Tensor, count: int) -> Tensor:
    return answers.transpose(0, 1).flatten(1).median(1).values.argsort()[:count]


def _silence_most_first(answers: Tensor, count: int) -> Tensor:
    return _silence_solved(answers, count).flip(0)


def _silence_values(answers: Tensor, count: int) -> Tensor:
    return answers.mean(dim=(0, 2, 3)).sort().values[:count]


def _examine_silence(answer: object) -> None:
    source = torch.Generator().manual_seed(4)
    level = torch.tensor([0.9, 0.2, 0.5, 0.05, 0.7, 0.35])
    answers = level.view(1, 6, 1, 1) * (0.8 + 0.4 * torch.rand(20, 6, 4, 4, generator=source))
    answers[:, 0] *= torch.rand(20, 1, 1, generator=source) < 0.4  # silent on most images, loud on the others
    answers[3, 3, 0, 0] = 8.0  # silent but for one place of one image
    answers[0] = answers[0].flip(0)  # an unusual first image
    found = call(answer, answers, 3, names="answers count")
    if isinstance(found, list) and all(isinstance(value, int | float | Tensor) for value in found):
        found = torch.tensor([value.item() if isinstance(value, Tensor) else value for value in found])
    if not isinstance(found, Tensor) or found.shape != (3,):
        raise NotYet(f"Three channel numbers are expected, shape (3,); yours is `{getattr(found, 'shape', type(found).__name__)}`.")
    expect(not found.is_floating_point(), "These are the mean answers themselves; the *numbers* of the channels are wanted: `argsort`.")
    got, right = found.tolist(), _silence_solved(answers, 3).tolist()
    said = {
        _silence_loudest: "These are the channels that answer *most* on clean inputs: without them the model cannot do its work.",
        _silence_by_peak: "One bright place in one image decides here: take the mean, not the maximum.",
        _silence_one_image: "Only the first image was looked at: average over all N of them.",
        _silence_by_median: "A channel that is silent on most images and loud on a few has a median of 0, and is used all the same: "
        "take the mean, not the median.",
    }  # fmt: skip
    for mistake, hint in said.items():
        expect(got != mistake(answers, 3).tolist(), hint)
    expect(got == right or sorted(got) != sorted(right), f"The right channels in another order: least first, {right}.")
    expect(got == right, f"Expected {right}, least first; got {got}.")


EXERCISES = (
    Exercise(
        id="17.1",
        title="Poison a training set",
        difficulty=1,
        minutes=10,
        statement=(
            "Write `poison(x, y, trigger, target, order, count)`: the inputs and labels of a BadNets training set. Only samples of other "
            "classes than the target are worth poisoning."
        ),
        stub=poison,
        solution=_poison_solved,
        examine=_examine_poison,
        hints=(
            "`y[order]` are the labels in the attacker's order; `order[y[order] != target]` are the rows that qualify, in that order.",
            "Work on `x.clone()` and `y.clone()`: the owner's data are not yours to change in place.",
            "`new_x[rows] = trigger(x[rows])` and `new_y[rows] = target`, for the first `count` rows that qualify.",
        ),
        mistakes=(
            Mistake("takes samples of the target class", _poison_any_class, "belonged to the target class before"),
            Mistake("counts, then filters", _poison_cut_then_filtered, "Leave it out first, then count"),
            Mistake("changes labels only", _poison_labels_only, "random flips"),
            Mistake("changes inputs only", _poison_inputs_only, "No label was changed"),
            Mistake("ignores the order", _poison_own_order, "as `order` lists them"),
            Mistake("puts the trigger everywhere", _poison_everywhere, "put it on the chosen rows only"),
        ),
    ),
    Exercise(
        id="17.2",
        title="An honest success rate",
        difficulty=1,
        minutes=10,
        statement=(
            "Write `attack_success(model, x, y, trigger, target)`. Mind what is counted, and out of what: it is easy to credit the attack "
            "with inputs that needed none."
        ),
        stub=attack_success,
        solution=_success_solved,
        examine=_examine_success,
        hints=(
            "First leave out the inputs of the target class: `x[y != target]`.",
            "Put the trigger on what is left, ask the model, and take the class that scores highest: `.argmax(1)`.",
            "The share of answers equal to `target`, out of the inputs that were left, is the success.",
        ),
        mistakes=(
            Mistake("counts the target class", _success_over_all, "without any attack"),
            Mistake("counts any misreading", _success_wrong_answers, "not with `y`"),
            Mistake("forgets the trigger", _success_no_trigger, "never saw the trigger"),
            Mistake("gives a percentage", _success_percent, "That is a percentage"),
            Mistake("counts only what was right before", _success_if_right_before, "correctly without the trigger"),
            Mistake("divides by all", _success_wrong_denominator, "divided by all inputs"),
        ),
    ),
    Exercise(
        id="17.3",
        title="Which channels to silence",
        difficulty=2,
        minutes=10,
        statement=(
            "Fine-pruning begins with the channels that clean inputs hardly use, in the hope that the backdoor hides there. Write "
            "`to_silence(answers, count)`: the numbers of the `count` channels with the smallest mean answer, smallest first."
        ),
        stub=to_silence,
        solution=_silence_solved,
        examine=_examine_silence,
        hints=(
            "`answers` has the dimensions (image, channel, row, column): one number for each channel is wanted.",
            "`answers.mean(dim=(0, 2, 3))` averages over images and places.",
            "`argsort()` gives the channel numbers from the smallest mean to the largest; take the first `count`.",
        ),
        mistakes=(
            Mistake("silences the loudest", _silence_loudest, "answer *most*"),
            Mistake("goes by the peak", _silence_by_peak, "not the maximum"),
            Mistake("goes by the median", _silence_by_median, "not the median"),
            Mistake("lists the loudest of them first", _silence_most_first, "in another order"),
            Mistake("looks at one image", _silence_one_image, "Only the first image"),
            Mistake("returns means", _silence_values, "mean answers themselves"),
        ),
    ),
)
