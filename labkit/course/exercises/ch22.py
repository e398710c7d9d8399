"""Exercises of chapter 22: a flow that can occur, the most normal value of one field, and the patience that a centroid needs."""

from __future__ import annotations

import torch

from labkit.course.exercises.framework import Exercise, Mistake
from labkit.course.exercises.probe import NotYet, call, close, expect, number, tensor


def _real(given: object) -> object:
    """Days and packets may come as whole numbers: what counts is the value."""
    return given.double() if isinstance(given, torch.Tensor) and not given.is_floating_point() else given


def possible_flow(packets: torch.Tensor, size: torch.Tensor, packets_before: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the packets and bytes, shape (B,) each, of the nearest flows that can occur.

    packets, size: what the attacker wishes, real numbers, shape (B,); packets_before: whole numbers, what was sent.
    Packets come whole and none can be taken back; bytes come whole, 40 to 1,500 for each packet.
    """
    raise NotImplementedError


def _flow_solved(packets: torch.Tensor, size: torch.Tensor, packets_before: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    packets = torch.maximum(packets.round(), packets_before)
    size = torch.minimum(torch.maximum(size.round(), 40 * packets), 1500 * packets)
    return packets, size


def _flow_unrounded(packets: torch.Tensor, size: torch.Tensor, packets_before: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    packets = torch.maximum(packets, packets_before)
    return packets, torch.minimum(torch.maximum(size, 40 * packets), 1500 * packets)


def _flow_taken_back(packets: torch.Tensor, size: torch.Tensor, packets_before: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    packets = packets.round().clamp(min=1)
    return packets, torch.minimum(torch.maximum(size.round(), 40 * packets), 1500 * packets)


def _flow_stale(packets: torch.Tensor, size: torch.Tensor, packets_before: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    size = torch.minimum(torch.maximum(size.round(), 40 * packets.round()), 1500 * packets.round())
    return torch.maximum(packets.round(), packets_before), size


def _flow_one_side(packets: torch.Tensor, size: torch.Tensor, packets_before: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    packets = torch.maximum(packets.round(), packets_before)
    return packets, torch.minimum(size.round(), 1500 * packets)


def _examine_flow(answer: object) -> None:
    packets = torch.tensor([10.4, 2.0, 30.0, 3.7, 100.0])
    size = torch.tensor([5000.6, 600.0, 90.0, 99000.0, 70000.0])
    sent = torch.tensor([10.0, 20.0, 30.0, 2.0, 50.0])
    given = call(answer, packets.clone(), size.clone(), sent.clone(), names="packets size packets_before")
    expect(isinstance(given, tuple) and len(given) == 2, "Return two tensors: `return packets, size`.")
    assert isinstance(given, tuple)
    count, amount = tensor(_real(given[0]), (5,), "The packets"), tensor(_real(given[1]), (5,), "The bytes")
    expect(
        close(count, count.round(), 1e-6) and close(amount, amount.round(), 1e-6), "Some packets or bytes are not *whole*: use `round()`."
    )
    expect(bool((count >= sent).all()), "A flow lost packets that it had sent already: what was sent cannot be *taken back*.")
    if close(count, torch.tensor([10.0, 20, 30, 4, 100]), 1e-6):
        if bool((amount < 40 * count).any()) and close(amount, torch.tensor([5001.0, 600, 90, 6000, 70000]), 1e-6):
            raise NotYet("Thirty packets with 90 bytes in all: each needs *at least* 40.")
        expect(
            bool((amount >= 40 * count).all() & (amount <= 1500 * count).all()),
            "Some bytes do not fit the packets that you return. Settle the packets *first*: the limits of the bytes depend on them.",
        )
    right = _flow_solved(packets, size, sent)
    expect(close(count, right[0], 1e-6), "The packets are not the nearest allowed ones: round the wish, then keep at least what was sent.")
    expect(close(amount, right[1], 1e-6), "The bytes are not the nearest allowed ones: change them only as far as the limits ask.")


def most_normal_value(x: torch.Tensor, field: int, mean: torch.Tensor, inverse: torch.Tensor, low: float, high: float) -> float:
    """Return the value of one field, from low to high, with the smallest Mahalanobis score (x - mean)^T inverse (x - mean).

    x, mean: shape (D,); inverse: the inverse covariance, shape (D, D); the other fields stay as they are in x.
    """
    raise NotImplementedError


def _normal_solved(x: torch.Tensor, field: int, mean: torch.Tensor, inverse: torch.Tensor, low: float, high: float) -> float:
    away = x - mean
    away[field] = 0  # what the other fields pull
    best = mean[field] - inverse[field] @ away / inverse[field, field]
    return float(best.clamp(low, high))


def _normal_mean(x: torch.Tensor, field: int, mean: torch.Tensor, inverse: torch.Tensor, low: float, high: float) -> float:
    return float(mean[field].clamp(low, high))


def _normal_unclamped(x: torch.Tensor, field: int, mean: torch.Tensor, inverse: torch.Tensor, low: float, high: float) -> float:
    away = x - mean
    away[field] = 0
    return float(mean[field] - inverse[field] @ away / inverse[field, field])


def _normal_sign(x: torch.Tensor, field: int, mean: torch.Tensor, inverse: torch.Tensor, low: float, high: float) -> float:
    away = x - mean
    away[field] = 0
    return float((mean[field] + inverse[field] @ away / inverse[field, field]).clamp(low, high))


def _normal_itself(x: torch.Tensor, field: int, mean: torch.Tensor, inverse: torch.Tensor, low: float, high: float) -> float:
    return float((mean[field] - inverse[field] @ (x - mean) / inverse[field, field]).clamp(low, high))


def _normal_lower_only(x: torch.Tensor, field: int, mean: torch.Tensor, inverse: torch.Tensor, low: float, high: float) -> float:
    return max(_normal_unclamped(x, field, mean, inverse, low, high), low)


def _examine_normal(answer: object) -> None:
    source = torch.Generator().manual_seed(8)
    root = torch.randn(4, 4, generator=source, dtype=torch.float64)
    inverse, mean = root @ root.T + torch.eye(4, dtype=torch.float64), torch.randn(4, generator=source, dtype=torch.float64)
    x = mean + torch.tensor([1.0, -2.0, 1.5, 0.5], dtype=torch.float64)
    names = "x field mean inverse low high"
    wide = number(call(answer, x.clone(), 1, mean, inverse, -100.0, 100.0, names=names), "The value")
    right = _normal_solved(x.clone(), 1, mean, inverse, -100.0, 100.0)
    expect(
        abs(wide - _normal_mean(x, 1, mean, inverse, -100.0, 100.0)) > 1e-6,
        "You return the field's mean. Fields *hang together*: given unusual values in the others, another value is the most normal one.",
    )
    expect(
        abs(wide - _normal_itself(x, 1, mean, inverse, -100.0, 100.0)) > 1e-6,
        "The field's *own* old value still pulls: the score is a parabola in its new value, and where it was before plays no part.",
    )
    expect(
        abs(wide - _normal_sign(x.clone(), 1, mean, inverse, -100.0, 100.0)) > 1e-6,
        "The other fields pull in the *opposite* direction: set the derivative `2 * inverse[field] @ (x - mean)` to zero and solve again.",
    )
    expect(
        abs(wide - right) < 2e-3 * max(1.0, abs(right)),
        f"Expected {right:.4f}, got {wide:.4f}: the score is a parabola in one field; its lowest point is where the derivative is zero.",
    )
    low, high = right + 0.5, right + 2.0
    edge = number(call(answer, x.clone(), 1, mean, inverse, low, high, names=names), "The value")
    expect(abs(edge - right) > 1e-6, "The lowest point lies outside the field's *limits* here; the nearest limit is then the best.")
    expect(abs(edge - low) < 2e-3, f"The lowest point lies below the limits, so {low:.2f} is best; got {edge:.2f}.")
    low, high = right - 2.0, right - 0.5
    edge = number(call(answer, x.clone(), 1, mean, inverse, low, high, names=names), "The value")
    expect(abs(edge - high) < 2e-3, f"The lowest point lies above the *upper* limit, so {high:.2f} is best; got {edge:.2f}.")


def days_until_it_passes(distance: torch.Tensor, radius: float, window: int, dose: int) -> torch.Tensor:
    """Return after how many whole days records at `distance`, shape (B,), from the center pass a detector with a fixed radius; shape (B,).

    The center is the mean of `window` records. Each poison record stands at the border, on the way to the wanted one, and replaces an
    average record: it moves the center by radius / window. There are `dose` of them a day; the detector learns at night.
    """
    raise NotImplementedError


def _days_solved(distance: torch.Tensor, radius: float, window: int, dose: int) -> torch.Tensor:
    way = (distance - radius).clamp(min=0)
    return (way / (dose * radius / window)).ceil()


def _days_whole_way(distance: torch.Tensor, radius: float, window: int, dose: int) -> torch.Tensor:
    return (distance / (dose * radius / window)).ceil()


def _days_records(distance: torch.Tensor, radius: float, window: int, dose: int) -> torch.Tensor:
    way = (distance - radius).clamp(min=0)
    return (way / (radius / window)).ceil()


def _days_floor(distance: torch.Tensor, radius: float, window: int, dose: int) -> torch.Tensor:
    way = (distance - radius).clamp(min=0)
    return (way / (dose * radius / window)).floor()


def _days_negative(distance: torch.Tensor, radius: float, window: int, dose: int) -> torch.Tensor:
    return ((distance - radius) / (dose * radius / window)).ceil()


def _days_unit_radius(distance: torch.Tensor, radius: float, window: int, dose: int) -> torch.Tensor:
    way = (distance - radius).clamp(min=0)
    return (way / (dose / window)).ceil()


def _examine_days(answer: object) -> None:
    distance = torch.tensor([3.13, 2.33, 1.01, 0.37], dtype=torch.float64)
    names = "distance radius window dose"
    found = tensor(_real(call(answer, distance.clone(), 1.0, 100, 5, names=names)), (4,), "The result")
    outside = found[:3]
    expect(
        not close(outside, _days_whole_way(distance, 1.0, 100, 5)[:3]),
        "The center need not come *all the way*: a record passes as soon as it lies within the radius.",
    )
    expect(not close(outside, _days_records(distance, 1.0, 100, 5)[:3]), "This counts poison *records*; several of them come each day.")
    expect(
        not close(outside, _days_floor(distance, 1.0, 100, 5)[:3]),
        "One day *too early*: the last, partly needed day has to pass as well. Round up.",
    )
    expect(
        close(outside, torch.tensor([43.0, 27.0, 1.0])),
        f"Expected 43, 27 and 1 days, got {[round(d, 2) for d in outside.tolist()]}. By hand: the first lies 3.13 - 1 = 2.13 outside, "
        "and five poison records of 1 / 100 each move the center by 0.05 *a day*.",
    )
    expect(float(found[3]) == 0, f"A record inside the radius passes *at once*, after 0 days; you return {float(found[3]):g}.")
    other = torch.tensor([6.26, 2.53, 1.9], dtype=torch.float64)
    found = tensor(_real(call(answer, other, 2.0, 100, 5, names=names)), (3,), "The result")
    expect(
        close(found, _days_solved(other, 2.0, 100, 5)),
        f"With a *radius of 2* the first takes 43 days, the second 6, the third none; you return {[round(d, 2) for d in found.tolist()]}. "
        "One poison record moves the center by `radius / window`.",
    )


EXERCISES = (
    Exercise(
        id="22.1",
        title="A flow that can occur",
        difficulty=1,
        minutes=10,
        statement=(
            "An attack wishes for 10.4 packets. Write `possible_flow(packets, size, packets_before)`: the nearest flow that could "
            "really be sent. Settle the packets first, the bytes then follow. Whole packets, none taken back; whole bytes, 40 to 1,500 "
            "for each packet."
        ),
        stub=possible_flow,
        solution=_flow_solved,
        examine=_examine_flow,
        hints=(
            "Work on the packets first; the limits of the bytes depend on how many packets there are in the end.",
            "`torch.maximum(packets.round(), packets_before)` rounds the wish and keeps what was sent.",
            "`torch.minimum(torch.maximum(size.round(), 40 * packets), 1500 * packets)` puts the bytes between their limits.",
        ),
        mistakes=(
            Mistake("does not round", _flow_unrounded, "not *whole*"),
            Mistake("takes packets back", _flow_taken_back, "*taken back*"),
            Mistake("uses the wished packets", _flow_stale, "*first*"),
            Mistake("forgets the lower limit", _flow_one_side, "*at least* 40"),
        ),
    ),
    Exercise(
        id="22.2",
        title="The most normal value of one field",
        difficulty=3,
        minutes=20,
        statement=(
            "An attacker controls one field. Against a Mahalanobis detector no search is needed: the score is a parabola in that field. "
            "Write `most_normal_value(x, field, mean, inverse, low, high)`, the value within the limits with the smallest score."
        ),
        stub=most_normal_value,
        solution=_normal_solved,
        examine=_examine_normal,
        hints=(
            "Write the score with `away = x - mean`. Its derivative by the field is `2 * inverse[field] @ away`. Where is it zero?",
            "Split the sum: `inverse[field, field] * away[field]` plus what the other fields contribute. Solve for `away[field]`.",
            "With `away[field] = 0` first, the best value is `mean[field] - inverse[field] @ away / inverse[field, field]`, then clamped.",
        ),
        mistakes=(
            Mistake("takes the mean", _normal_mean, "*hang together*"),
            Mistake("forgets the limits", _normal_unclamped, "*limits*"),
            Mistake("forgets the upper limit", _normal_lower_only, "*upper* limit"),
            Mistake("turns the sign", _normal_sign, "*opposite*"),
            Mistake("lets the old value pull", _normal_itself, "*own* old value"),
        ),
    ),
    Exercise(
        id="22.3",
        title="How patient must a poisoner be?",
        difficulty=2,
        minutes=10,
        statement=(
            "The center of a detector is the mean of its last `window` records; each record of poison replaces an average one and "
            "stands at the border. Write `days_until_it_passes(distance, radius, window, dose)`."
        ),
        stub=days_until_it_passes,
        solution=_days_solved,
        examine=_examine_days,
        hints=(
            "The wanted record passes once the center has come within `radius` of it. How long is that way?",
            "Every poison record moves the center by `radius / window`; a day has `dose` of them.",
            "Divide, round up with `.ceil()`, and mind a record that lies inside the radius from the start.",
        ),
        mistakes=(
            Mistake("goes all the way", _days_whole_way, "*all the way*"),
            Mistake("counts records", _days_records, "*records*"),
            Mistake("rounds down", _days_floor, "*too early*"),
            Mistake("forgets the radius", _days_unit_radius, "*radius of 2*"),
            Mistake("passes before it began", _days_negative, "*at once*"),
        ),
    ),
)
