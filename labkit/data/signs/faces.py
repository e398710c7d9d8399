"""The ten sign faces, drawn after the shapes of the Vienna Convention on Road Signs (1968)."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

from PIL import Image

from labkit.data.signs.pen import Color, Pen, Point, arc, regular, write

RED: Color = (190, 22, 34)
WHITE: Color = (240, 240, 236)
BLACK: Color = (22, 22, 24)
BLUE: Color = (16, 74, 156)
YELLOW: Color = (246, 190, 22)

SUPERSAMPLING = 6


def _stop(pen: Pen) -> None:
    pen.polygon(regular(8, 1.0, 22.5), WHITE)
    pen.polygon(regular(8, 0.91, 22.5), RED)
    write(pen, "STOP", height=0.64, width=0.405, weight=0.125, color=WHITE)


def _speed_limit(pen: Pen, number: str) -> None:
    pen.disc((0, 0), 0.97, WHITE)
    pen.disc((0, 0), 0.94, RED)
    pen.disc((0, 0), 0.70, WHITE)
    write(pen, number, height=0.78, width=0.56, weight=0.15, color=BLACK)


def _yield(pen: Pen) -> None:
    pen.polygon([(-0.9, -0.72), (0.9, -0.72), (0.0, 0.82)], RED, rounding=0.09)
    pen.polygon([(-0.52, -0.50), (0.52, -0.50), (0.0, 0.38)], WHITE, rounding=0.03)


def _no_entry(pen: Pen) -> None:
    pen.disc((0, 0), 0.97, WHITE)
    pen.disc((0, 0), 0.92, RED)
    pen.polygon([(-0.66, -0.17), (0.66, -0.17), (0.66, 0.17), (-0.66, 0.17)], WHITE)


def _priority_road(pen: Pen) -> None:
    def diamond(radius: float, color: Color, rounding: float) -> None:
        inner = radius - rounding * math.sqrt(2)
        pen.polygon([(0, -inner), (inner, 0), (0, inner), (-inner, 0)], color, rounding=rounding)

    diamond(1.02, BLACK, 0.07)
    diamond(0.985, WHITE, 0.06)
    diamond(0.68, BLACK, 0.04)
    diamond(0.64, YELLOW, 0.03)


def _walker(pen: Pen, x: float, y: float, size: float, color: Color) -> None:
    def at(px: float, py: float) -> Point:
        return (x + px * size, y + py * size)

    pen.disc(at(0.04, -0.80), 0.16 * size, color)
    pen.polygon([at(-0.17, -0.58), at(0.17, -0.58), at(0.13, 0.08), at(-0.13, 0.08)], color)
    pen.stroke([at(-0.13, -0.52), at(-0.38, -0.20), at(-0.30, 0.08)], 0.14 * size, color)
    pen.stroke([at(0.13, -0.52), at(0.34, -0.20), at(0.50, -0.06)], 0.14 * size, color)
    pen.stroke([at(-0.06, 0.05), at(-0.20, 0.48), at(-0.44, 0.90)], 0.19 * size, color)
    pen.stroke([at(0.06, 0.05), at(0.24, 0.46), at(0.34, 0.92)], 0.19 * size, color)


def _pedestrian_crossing(pen: Pen) -> None:
    square = [(-0.86, -0.86), (0.86, -0.86), (0.86, 0.86), (-0.86, 0.86)]
    pen.polygon(square, WHITE, rounding=0.10)
    pen.polygon(square, BLUE, rounding=0.055)
    pen.polygon([(0.0, -0.74), (0.78, 0.70), (-0.78, 0.70)], WHITE)
    _walker(pen, 0.0, 0.16, 0.44, BLACK)
    for x in (-0.46, -0.16, 0.16, 0.46):
        pen.polygon([(x - 0.09, 0.64), (x + 0.07, 0.64), (x + 0.09, 0.56), (x - 0.05, 0.56)], BLACK)


def _blue_disc(pen: Pen) -> None:
    pen.disc((0, 0), 0.97, WHITE)
    pen.disc((0, 0), 0.92, BLUE)


def _roundabout(pen: Pen) -> None:
    _blue_disc(pen)
    for turn in (-90.0, 30.0, 150.0):
        # traffic goes around counter-clockwise, as where one drives on the right
        pen.stroke(arc((0, 0), (0.52, 0.52), turn + 40, turn - 26), 0.19, WHITE)
        tip, back = math.radians(turn - 66), math.radians(turn - 24)
        pen.polygon(
            [
                (0.56 * math.cos(tip), 0.56 * math.sin(tip)),
                (0.80 * math.cos(back), 0.80 * math.sin(back)),
                (0.26 * math.cos(back), 0.26 * math.sin(back)),
            ],
            WHITE,
        )


def _turn_right(pen: Pen) -> None:
    _blue_disc(pen)
    pen.stroke([(-0.28, 0.58), (-0.28, 0.0), *arc((-0.10, 0.0), (0.18, 0.18), 180, 270, 10), (0.24, -0.18)], 0.24, WHITE)
    pen.polygon([(0.20, -0.56), (0.70, -0.18), (0.20, 0.20)], WHITE)


def _road_work(pen: Pen) -> None:
    pen.polygon([(0.0, -0.80), (0.88, 0.70), (-0.88, 0.70)], WHITE, rounding=0.11)
    pen.polygon([(0.0, -0.80), (0.88, 0.70), (-0.88, 0.70)], RED, rounding=0.085)
    pen.polygon([(0.0, -0.42), (0.57, 0.55), (-0.57, 0.55)], WHITE, rounding=0.04)
    pen.polygon([(0.06, 0.56), (0.30, 0.16), (0.56, 0.56)], BLACK)  # the heap
    pen.disc((-0.05, -0.26), 0.095, BLACK)
    pen.polygon([(-0.16, -0.18), (0.03, -0.12), (-0.12, 0.26), (-0.30, 0.16)], BLACK)
    pen.stroke([(-0.24, 0.20), (-0.22, 0.36), (-0.40, 0.55)], 0.11, BLACK)
    pen.stroke([(-0.18, 0.20), (-0.06, 0.36), (-0.10, 0.55)], 0.11, BLACK)
    pen.stroke([(0.00, -0.08), (0.14, 0.14), (0.02, 0.20)], 0.08, BLACK)  # arms
    pen.stroke([(-0.10, 0.02), (0.26, 0.32)], 0.06, BLACK)  # shovel


FACES: dict[str, Callable[[Pen], None]] = {
    "stop": _stop,
    "speed limit 50": lambda pen: _speed_limit(pen, "50"),
    "speed limit 80": lambda pen: _speed_limit(pen, "80"),
    "yield": _yield,
    "no entry": _no_entry,
    "priority road": _priority_road,
    "pedestrian crossing": _pedestrian_crossing,
    "roundabout": _roundabout,
    "turn right": _turn_right,
    "road work": _road_work,
}
CLASSES = tuple(FACES)


@cache
def face(name: str, pixels: int) -> Image.Image:
    """Return a sign face as an RGBA picture of ``pixels`` x ``pixels``, drawn six times larger and averaged down."""
    pen = Pen(pixels * SUPERSAMPLING)
    FACES[name](pen)
    return pen.image.resize((pixels, pixels), Image.Resampling.BOX)
