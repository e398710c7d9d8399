"""Exercises of chapter 00: measuring a change, and naming the denominator."""

from __future__ import annotations

import torch

from labkit.course.exercises.framework import Exercise, Mistake
from labkit.course.exercises.probe import NotYet, call, close, expect, images, number, tensor


def linf_distance(x_adv: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Return how far each image was moved: the largest change of any of its values.

    x_adv, x: images in [0, 1], shape (B, C, H, W). Returns shape (B,).
    """
    raise NotImplementedError


def _linf_solved(x_adv: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    return (x_adv - x).abs().flatten(1).amax(dim=1)


def _linf_of_the_batch(x_adv: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    return (x_adv - x).abs().max()


def _linf_mean(x_adv: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    return (x_adv - x).abs().flatten(1).mean(dim=1)


def _linf_signed(x_adv: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    return (x_adv - x).flatten(1).amax(dim=1)


def _linf_of_channels(x_adv: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    return (x_adv - x).abs().amax(dim=1)


def _examine_linf(answer: object) -> None:
    x = images((4, 3, 5, 5), seed=1) * 0.5 + 0.25
    change = torch.zeros_like(x)
    change[0, 0, 2, 2] = 0.10
    change[1, 2, 1, 3], change[1, 0, 0, 0] = -0.20, 0.05  # the largest change of this image is downwards
    change[3] = -0.03
    x_adv = x + change
    distance = call(answer, x_adv, x, names="x_adv x")
    if isinstance(distance, (float, int)) or (isinstance(distance, torch.Tensor) and distance.ndim == 0):
        raise NotYet(
            "One number came back for the whole batch. Every image has a distance of its own: flatten all but the first dimension."
        )
    if isinstance(distance, torch.Tensor) and distance.shape == (4, 5, 5):
        raise NotYet(
            "Only the channels were compared: rows and columns are still there. `flatten(1)` puts all values of an image in a row."
        )
    distance = tensor(distance, (4,), "The distance")
    difference = (x_adv - x).flatten(1)
    if close(distance, difference.abs().mean(1)):
        raise NotYet("This is the *average* change. The Linf distance asks for the largest one: a single altered pixel must count in full.")
    if close(distance, difference.amax(1)):
        raise NotYet(
            "Image 1 was darkened by 0.20, yet you report 0.05: a change downwards counts as much as one upwards. Take `.abs()` first."
        )
    expect(
        not close(distance, difference.norm(dim=1)),
        "This is the L2 distance, the root of the summed squares. Linf takes the largest value.",
    )
    for i, (found, wanted) in enumerate(zip(distance.tolist(), difference.abs().amax(1).tolist(), strict=True)):
        expect(abs(found - wanted) < 1e-5, f"Image {i}: you report {found:.3f}, and its largest change is {wanted:.3f}.")


def robust_accuracy(predicted_clean: torch.Tensor, predicted_adv: torch.Tensor, y: torch.Tensor) -> float:
    """Return the share of all images that the model gets right both as they are and after the attack.

    predicted_clean, predicted_adv, y: class numbers, shape (B,). Returns a number from 0 to 1.
    """
    raise NotImplementedError


def _robust_solved(predicted_clean: torch.Tensor, predicted_adv: torch.Tensor, y: torch.Tensor) -> float:
    survived = (predicted_clean == y) & (predicted_adv == y)
    return survived.float().mean().item()


def _robust_among_correct(predicted_clean: torch.Tensor, predicted_adv: torch.Tensor, y: torch.Tensor) -> float:
    correct = predicted_clean == y
    return ((predicted_adv == y) & correct).sum().item() / correct.sum().item()


def _robust_if_not_fooled(predicted_clean: torch.Tensor, predicted_adv: torch.Tensor, y: torch.Tensor) -> float:
    fooled = (predicted_clean == y) & (predicted_adv != y)
    return 1 - fooled.float().mean().item()


def _robust_if_unchanged(predicted_clean: torch.Tensor, predicted_adv: torch.Tensor, y: torch.Tensor) -> float:
    return (predicted_adv == predicted_clean).float().mean().item()


def _robust_after_attack_only(predicted_clean: torch.Tensor, predicted_adv: torch.Tensor, y: torch.Tensor) -> float:
    return (predicted_adv == y).float().mean().item()


def _examine_robust(answer: object) -> None:
    # Twelve images. Right at first: 8, of which 3 survive. Wrong at first: 4, of which 2 stay as they were, 1 becomes another
    # error, 1 becomes right by accident. Every known mistake gives another number.
    y = torch.arange(12)
    clean = torch.tensor([0, 1, 2, 3, 4, 5, 6, 7, 50, 50, 50, 50])
    attacked = torch.tensor([0, 1, 2, 60, 60, 60, 60, 60, 50, 50, 60, 11])
    value = number(call(answer, clean, attacked, y, names="predicted_clean predicted_adv y"), "Robust accuracy")
    known = {
        3 / 8: "You divided by the 8 images that were right at first. Robust accuracy divides by *all* 12: otherwise a model would gain "
        "by being wrong from the start.",
        7 / 12: "An image that was misclassified before the attack counts as robust in your result. The attacker had nothing left to do "
        "there: it is an error.",
        5 / 12: "You count predictions that *did not change*. Two equal predictions can both be wrong: compare each with `y`.",
        4 / 12: "One image is wrong as it is and becomes right under attack by accident. The attacker would simply leave it alone, so it "
        "is an error: both predictions have to be right.",
        3.0: "You returned how many images survive. Divide by the number of images.",
    }
    for wrong, message in known.items():
        expect(abs(value - wrong) > 1e-6, message)
    expect(abs(value - 25) > 1e-6, "You returned a percentage. Return the share itself, between 0 and 1.")
    expect(abs(value - 3 / 12) < 1e-6, f"Of the twelve images, three are right before and after the attack: 0.25. You return {value:.3f}.")
    none = number(call(answer, torch.tensor([1, 1]), torch.tensor([0, 0]), torch.tensor([0, 0])), "Robust accuracy")
    expect(none == 0, f"A model that gets nothing right without an attack has robust accuracy 0; you return {none}.")


EXERCISES = (
    Exercise(
        id="00.1",
        title="Measure the change",
        difficulty=1,
        minutes=5,
        statement=(
            "An attack is only interesting when the change is small, so measure it. Write `linf_distance(x_adv, x)`: for every image, the "
            "largest absolute difference over all its channels, rows and columns,\n\n"
            r"$$d_i = \max_{c,h,w} \left| x^{adv}_{i,c,h,w} - x_{i,c,h,w} \right|.$$"
        ),
        stub=linf_distance,
        solution=_linf_solved,
        examine=_examine_linf,
        hints=(
            "Three steps: the difference, its absolute value, and the largest entry of each image.",
            "`t.flatten(1)` turns (B, C, H, W) into (B, C*H*W): one row for each image.",
            "`t.amax(dim=1)` gives the largest value of every row, shape (B,).",
        ),
        mistakes=(
            Mistake("takes the maximum over the whole batch", _linf_of_the_batch, "for the whole batch"),
            Mistake("averages instead of taking the largest", _linf_mean, "*average* change"),
            Mistake("forgets the absolute value", _linf_signed, "a change downwards counts"),
            Mistake("takes the maximum over channels only", _linf_of_channels, "Only the channels"),
        ),
    ),
    Exercise(
        id="00.2",
        title="Robust accuracy, with the right denominator",
        difficulty=1,
        minutes=8,
        statement=(
            "Write `robust_accuracy(predicted_clean, predicted_adv, y)`: the share of *all* images that are classified correctly as they "
            "are **and** after the attack. Decide which images the model has to thank for its number, and which it must not count."
        ),
        stub=robust_accuracy,
        solution=_robust_solved,
        examine=_examine_robust,
        hints=(
            "Write down the four cases for one image: right or wrong before, right or wrong after. Which of them are a success of "
            "the model?",
            "Only right-right counts. The denominator is the number of images, whatever was predicted.",
            "`(a == y) & (b == y)` is a mask of shape (B,); `mask.float().mean()` is its share.",
        ),
        mistakes=(
            Mistake("divides by the initially correct", _robust_among_correct, "divided by the 8"),
            Mistake("counts misclassified images as robust", _robust_if_not_fooled, "misclassified before the attack counts as robust"),
            Mistake("counts unchanged predictions", _robust_if_unchanged, "*did not change*"),
            Mistake("looks only at the attacked images", _robust_after_attack_only, "right under attack by accident"),
        ),
    ),
)
