"""Where a hidden ReLU unit switches, the answer has a crease: creases found along lines, and the unit behind each."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

#: Points (N, d) -> log-ratios of the answers (N, m), float64.
Ratios = Callable[[Tensor], Tensor]
#: A line that still bends in more intervals than this has no creases but steps or curves.
MOST = 2048


@dataclass(frozen=True)
class Creases:
    """What is known of the hidden units: ``normals`` (h, d) of length 1, ``offsets`` (h,), ``bends`` (h, m).

    Unit j switches where z_j = normals_j.x + offsets_j = 0, and adds bends_j |z_j| to the log-ratios, besides something linear.
    """

    normals: Tensor
    offsets: Tensor
    bends: Tensor

    @classmethod
    def none(cls, like: Tensor, outputs: int) -> Creases:
        """Return no creases yet, for points like ``like`` (d,)."""
        return cls(like.new_zeros(0, len(like)), like.new_zeros(0), like.new_zeros(0, outputs))

    def __len__(self) -> int:
        return len(self.offsets)

    def signed(self, x: Tensor) -> Tensor:
        """Return z (N, h): the signed distances of x (N, d) to all creases."""
        return x @ self.normals.T + self.offsets

    def also(self, point: Tensor, normal: Tensor, bend: Tensor) -> Creases:
        """Return these and one more, through ``point`` (d,)."""
        offset = -(normal @ point)
        return Creases(
            torch.cat([self.normals, normal[None]]), torch.cat([self.offsets, offset[None]]), torch.cat([self.bends, bend[None]])
        )


def along(ratios: Ratios, begin: Tensor, way: Tensor, reach: float, known: Creases) -> Creases:
    """Return ``known`` with the new creases that the line begin + t way crosses, |t| < reach. ``way``: (d,), of length 1.

    ``reach`` is halved until no probability is 0 at the ends. Raises ValueError when that never happens.
    """
    line = _asked_once(lambda t: ratios(begin + t.to(begin)[:, None] * way))
    while not bool(line(torch.tensor([-reach, reach], dtype=torch.float64)).isfinite().all()):
        reach /= 2
        if reach < 1e-6:
            raise ValueError("a probability is 0 all around the center: the network is too sure, or the service rounds")
    places = bends_on(line, -reach, reach)
    for number, at in enumerate(places):
        point = begin + at * way
        if bool((known.signed(point[None]).abs() < 1e-6 * (1 + abs(at))).any()):
            continue
        gap = min([abs(at - other) for k, other in enumerate(places) if k != number] + [reach - abs(at), 1.0])
        # Too near to another one: some other line will meet it where there is room.
        if gap > 1e-4 and (found := unit_at(ratios, point, way, gap / 4)) is not None:
            known = known.also(point, *found)
    return known


def _asked_once(value: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Return the same function of t (N,), which remembers what it was asked: intervals share their ends, and every answer costs."""
    known: dict[float, Tensor] = {}

    def remembering(t: Tensor) -> Tensor:
        places = t.tolist()
        if fresh := [at for at in dict.fromkeys(places) if at not in known]:
            known.update(zip(fresh, value(torch.tensor(fresh, dtype=torch.float64)), strict=True))
        return torch.stack([known[at] for at in places])

    return remembering


def bends_on(value: Callable[[Tensor], Tensor], low: float, high: float, rounds: int = 40) -> list[float]:
    """Return where a piecewise linear function of t (N,) -> (N, m) bends between ``low`` and ``high``, sorted.

    In an interval with one bend the tangents at both ends meet exactly there, and the function agrees. All other intervals are cut in two.
    Raises ValueError for a function that bends everywhere.
    """
    left, right = torch.tensor([low], dtype=torch.float64), torch.tensor([high], dtype=torch.float64)
    places: list[float] = []
    for _ in range(rounds):
        if not len(left):
            break
        if len(left) > MOST:
            raise ValueError(f"{len(left):,} intervals of one line have bends left: not piecewise linear, or does the service round?")
        width = right - left
        step = 1e-3 * width
        cut = left + 0.4871 * width  # not the middle, where things lie on purpose
        a, a_step, b_step, b, inner = torch.split(value(torch.cat([left, left + step, right - step, right, cut])), len(left))
        size = 1 + torch.stack([a.abs(), b.abs(), inner.abs()]).amax(0)
        straight = ((inner - a - 0.4871 * (b - a)).abs() < 1e-11 * size) & ((a_step - a - 1e-3 * (b - a)).abs() < 1e-11 * size)
        rise, fall = (a_step - a) / step[:, None], (b - b_step) / step[:, None]
        meet = _meeting(a, b, rise, fall, left, width)
        inside = (meet > left + step) & (meet < right - step) & ~straight.all(1)
        probe = torch.where(inside, meet, cut)
        top, near, far = torch.split(value(torch.cat([probe, (left + probe) / 2, (right + probe) / 2])), len(left))
        exact = (top - a - rise * (probe - left)[:, None]).abs() < 1e-9 * size
        exact &= ((near - (a + top) / 2).abs() < 1e-10 * size) & ((far - (top + b) / 2).abs() < 1e-10 * size)
        one = inside & exact.all(1)
        places += [_sharpened(value, *row) for row in torch.stack([probe, left, right], 1)[one].tolist()]
        rest = ~straight.all(1) & ~one & (width > 1e-7)
        left, right = torch.cat([left[rest], cut[rest]]), torch.cat([cut[rest], right[rest]])
    return sorted(places)


def _meeting(a: Tensor, b: Tensor, rise: Tensor, fall: Tensor, left: Tensor, width: Tensor) -> Tensor:
    """Return where the tangents a + rise (t - left) and b + fall (t - left - width) meet, (N,): best over the outputs."""
    turn, chord = rise - fall, b - a - fall * width[:, None]
    return left + (turn * chord).sum(1) / turn.square().sum(1).clamp_min(1e-300)


def _sharpened(value: Callable[[Tensor], Tensor], at: float, low: float, high: float) -> float:
    """Return a bend once more, from tangents as long as the interval allows: length divides the rounding errors."""
    room = 0.01 * min(at - low, high - at)
    v = value(torch.tensor([low, at - room, at + room, high], dtype=torch.float64))[:, None]
    rise, fall = (v[1] - v[0]) / (at - room - low), (v[3] - v[2]) / (high - at - room)
    begin = torch.tensor([low], dtype=torch.float64, device=v.device)
    return float(_meeting(v[0], v[3], rise, fall, begin, begin.new_full((1,), high - low)))


def unit_at(ratios: Ratios, point: Tensor, way: Tensor, room: float) -> tuple[Tensor, Tensor] | None:
    """Return normal (d,) and bend (m,) of the unit that switches at ``point``; None where others are too near to tell.

    2d + 2 queries give the gradients ``room`` before and behind the point; they differ by the unit's row of weights, and by it alone.
    """
    features = len(point)
    axes = room / (2 * math.sqrt(features)) * torch.eye(features, dtype=point.dtype, device=point.device)
    slopes = []
    for side in (point + room * way, point - room * way):
        said = ratios(torch.cat([side[None], side + axes]))
        slopes.append((said[1:] - said[0]) / axes[0, 0])
    left, values, right = torch.linalg.svd(slopes[0] - slopes[1], full_matrices=False)  # (d, m), of rank one
    if float(values[0]) < 1e-7 or (len(values) > 1 and float(values[1]) > 1e-5 * float(values[0])):
        return None
    normal, bend = left[:, 0], right[0] * values[0] / 2
    bend = bend * torch.sign(normal @ way)  # along the way |z| turns from falling to rising
    # A unit's crease goes on beside the point: seen across it, a few steps away.
    beside = axes[:4] * math.sqrt(features)
    beside = beside - (beside @ normal)[:, None] * normal
    across = 0.2 * room * normal
    here, one, other = torch.split(ratios(torch.cat([point + beside, point + beside + across, point + beside - across])), len(beside))
    off = (one + other - 2 * here - 0.4 * room * bend).abs().max()
    return (normal, bend) if float(off) < 1e-6 * float(values[0]) * room else None
