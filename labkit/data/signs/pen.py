"""Drawing in unit coordinates: a sign face spans [-1, 1] in x (to the right) and y (downwards), whatever its pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence

from PIL import Image, ImageDraw

Point = tuple[float, float]
Color = tuple[int, int, int]


class Pen:
    """Draws filled shapes and thick round-ended strokes on a transparent square of ``pixels`` x ``pixels``."""

    def __init__(self, pixels: int) -> None:
        self.image = Image.new("RGBA", (pixels, pixels), (0, 0, 0, 0))
        self._draw = ImageDraw.Draw(self.image)
        self._half = pixels / 2

    def _px(self, point: Point) -> Point:
        return (self._half * (1 + point[0]), self._half * (1 + point[1]))

    def polygon(self, points: Sequence[Point], color: Color, *, rounding: float = 0.0) -> None:
        """Fill a polygon; ``rounding`` grows it by that much with round corners (so inset the points by it first)."""
        self._draw.polygon([self._px(point) for point in points], fill=color)
        if rounding > 0:
            self.stroke([*points, points[0]], 2 * rounding, color)

    def disc(self, center: Point, radius: float, color: Color) -> None:
        """Fill a disc."""
        x, y = self._px(center)
        r = self._half * radius
        self._draw.ellipse((x - r, y - r, x + r, y + r), fill=color)

    def stroke(self, points: Sequence[Point], width: float, color: Color) -> None:
        """Draw a line of ``width`` through the points, with round ends and joints."""
        thick = max(1, round(self._half * width))
        self._draw.line([self._px(point) for point in points], fill=color, width=thick)
        for point in points:
            self.disc(point, width / 2, color)


def arc(center: Point, radius: Point, start: float, stop: float, steps: int = 32) -> list[Point]:
    """Return points of an elliptic arc, ``radius`` = (horizontal, vertical), angles in degrees clockwise from the right."""
    angles = [math.radians(start + (stop - start) * k / steps) for k in range(steps + 1)]
    return [(center[0] + radius[0] * math.cos(a), center[1] + radius[1] * math.sin(a)) for a in angles]


def regular(corners: int, radius: float, turn: float) -> list[Point]:
    """Return the corners of a regular polygon; the first one at angle ``turn`` (degrees clockwise from the right)."""
    return arc((0, 0), (radius, radius), turn, turn + 360 * (corners - 1) / corners, corners - 1)


# Letters and digits as strokes in a box of height 1 and width about 0.6, centered at the origin.
GLYPHS: dict[str, list[list[Point]]] = {
    "S": [arc((0.0, -0.24), (0.22, 0.21), -20, -270, 24) + arc((0.0, 0.21), (0.23, 0.24), -90, 160, 24)],
    "T": [[(-0.25, -0.45), (0.25, -0.45)], [(0.0, -0.45), (0.0, 0.45)]],
    "O": [arc((0.0, 0.0), (0.25, 0.45), 0, 360, 40)],
    "P": [[(-0.19, 0.45), (-0.19, -0.45)], [(-0.19, -0.45), (0.03, -0.45), *arc((0.03, -0.21), (0.2, 0.24), -90, 90, 20), (-0.19, 0.03)]],
    "5": [[(0.2, -0.45), (-0.17, -0.45), (-0.21, -0.02), *arc((0.0, 0.14), (0.24, 0.31), -128, 150, 28)]],
    "8": [arc((0.0, -0.22), (0.19, 0.23), 0, 360, 32), arc((0.0, 0.22), (0.23, 0.24), 0, 360, 32)],
    "0": [arc((0.0, 0.0), (0.22, 0.45), 0, 360, 40)],
}


def write(pen: Pen, text: str, *, height: float, width: float, weight: float, color: Color, y: float = 0.0) -> None:
    """Write ``text`` centered on the face: ``width`` is the advance of a letter, ``weight`` the thickness of the stroke."""
    for position, letter in enumerate(text):
        x = (position - (len(text) - 1) / 2) * width
        for line in GLYPHS[letter]:
            pen.stroke([(x + px * height, y + py * height) for px, py in line], weight, color)
