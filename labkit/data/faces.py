"""``faces``: twenty made-up people, drawn with varying pose, expression and light: inversion without a real person's face."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from labkit.data.cards import CARDS
from labkit.data.dataset import Dataset, Split
from labkit.data.images import image_dataset, to_tensor
from labkit.data.store import Arrays, cached
from labkit.files import cache_dir
from labkit.progress import progress
from labkit.seeding import numpy_generator

PEOPLE, PIXELS, CANVAS = 20, 32, 128
TRAIN, TEST = 60, 20  # pictures of each person
CLASSES = tuple(f"person {i + 1}" for i in range(PEOPLE))
FORMAT = 1  # raise it with every change of the pictures


@dataclass(frozen=True)
class Person:
    """What a person looks like in every picture; lengths in half-heights of the head, brightness in [0, 1]."""

    width: float
    chin: float
    skin: float
    hair: float
    hairline: float
    volume: float
    long: bool
    eye_gap: float
    eye_size: float
    brow: float
    brow_tilt: float
    nose: float
    mouth: float
    lips: float
    glasses: bool
    beard: float


def person(number: int) -> Person:
    """Return one of the people; the same number always gives the same one. Raises ValueError for a number out of range."""
    if not 0 <= number < PEOPLE:
        raise ValueError(f"there are {PEOPLE} people, 0 to {PEOPLE - 1}; asked for {number}")
    return _made_up(numpy_generator(FORMAT, "faces", "person", number), number)


def stranger(number: int) -> Person:
    """Return somebody made up by the same law who is none of the twenty; the same number always gives the same one."""
    return _made_up(numpy_generator(FORMAT, "faces", "stranger", number), number)


def _made_up(rng: np.random.Generator, number: int) -> Person:
    u = rng.uniform
    skin = u(0.45, 0.92)
    return Person(
        width=u(0.68, 0.88), chin=u(0.75, 1.1), skin=skin, hair=u(0.05, 0.75) if skin > 0.6 else u(0.03, 0.25), hairline=u(0.45, 0.75),
        volume=u(0.06, 0.28), long=bool(rng.random() < 0.4), eye_gap=u(0.30, 0.42), eye_size=u(0.09, 0.15), brow=u(0.03, 0.08),
        brow_tilt=u(-0.02, 0.03), nose=u(0.22, 0.40), mouth=u(0.22, 0.36), lips=u(0.03, 0.08), glasses=number % 4 == 1,
        beard=u(0.3, 0.8) if number % 5 == 3 else 0.0,
    )  # fmt: skip


def load(*, size: int | None = None, seed: int = 0, smoke: bool = False) -> Dataset:
    """Return (N, 1, 32, 32) gray pictures in [0, 1] of twenty people, sixty of each to train and twenty to test.

    Drawn once (seconds) and then cached. ``size`` keeps at most that many of each split, at a constant stride; ``seed`` draws other
    pictures of the same people. Raises ValueError for size < 1.
    """
    key = f"faces-v{FORMAT}-seed{seed}"
    if smoke and not (cache_dir("data") / f"{key}.npz").is_file():
        arrays = draw({"train": 4, "test": 4}, seed)
    else:
        arrays = cached(key, lambda: draw({"train": TRAIN, "test": TEST}, seed))
    return image_dataset(CARDS["faces"], arrays, CLASSES, size=min(size or 64, 64) if smoke else size)


def draw(each: dict[str, int], seed: int) -> Arrays:
    """Return ``x_train, y_train, ...``: as many pictures of each person as ``each`` says, people in turn; bytes."""
    arrays: Arrays = {}
    for split, count in each.items():
        y = np.arange(count * PEOPLE) % PEOPLE
        turns = progress(range(len(y)), f"drawing faces ({split})", total=len(y))
        arrays[f"x_{split}"] = np.stack([picture(person(int(y[i])), numpy_generator(seed, "faces", split, i)) for i in turns])
        arrays[f"y_{split}"] = y.astype(np.uint8)
    return arrays


def strangers(people: int = 60, each: int = 10, seed: int = 0) -> Split:
    """Return ``each`` pictures of ``people`` strangers, people in turn: what is public about faces. Drawn once and then cached.

    Raises ValueError for fewer than one of either.
    """
    if people < 1 or each < 1:
        raise ValueError(f"people and each must be 1 or more, got {people} and {each}")

    def drawing() -> Arrays:
        y = np.arange(people * each) % people
        turns = progress(range(len(y)), "drawing strangers", total=len(y))
        x = [picture(stranger(int(y[i])), numpy_generator(seed, "faces", "strangers", i)) for i in turns]
        return {"x": np.stack(x), "y": y.astype(np.int64)}

    arrays = cached(f"strangers-v{FORMAT}-{people}x{each}-seed{seed}", drawing)
    return Split(to_tensor(arrays["x"]), torch.from_numpy(arrays["y"].astype(np.int64)), "shadow", "strangers")


def picture(who: Person, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return one picture of a person, (32, 32) bytes: ``rng`` decides pose, expression, light, background and noise."""
    from PIL import Image, ImageDraw, ImageFilter

    yaw, pitch, roll = np.clip(rng.normal(0, (0.09, 0.06, 5.0)), (-0.2, -0.12, -12), (0.2, 0.12, 12))
    smile, surprise, blink = rng.normal(0.1, 0.5), abs(rng.normal(0, 0.4)), rng.random() < 0.06
    back = rng.uniform(0.25, 0.85)
    unit = CANVAS * rng.uniform(0.36, 0.40)  # half the height of the head, in canvas pixels
    middle = np.array([CANVAS / 2, CANVAS * 0.53]) + rng.normal(0, 2.0, 2)
    image = Image.new("L", (CANVAS, CANVAS), int(255 * back))
    pen = ImageDraw.Draw(image)

    def at(x: float, y: float, depth: float = 0.0) -> tuple[float, float]:
        """Place a point of the face, x to the right and y down in half-heights; what stands out moves more when the head turns."""
        return float(middle[0] + unit * (x + yaw * depth)), float(middle[1] + unit * (y + pitch * depth))

    def oval(x: float, y: float, across: float, down: float, tone: float, depth: float = 0.0) -> None:
        (left, top), (right, bottom) = at(x - across, y - down, depth), at(x + across, y + down, depth)
        pen.ellipse((left, top, right, bottom), fill=int(255 * min(max(tone, 0), 1)))

    w, tone = who.width, who.skin
    if who.long:
        oval(0, 0.15, w + who.volume, 1.0 + who.volume, who.hair)
    oval(0, -0.25, w + who.volume * 0.7, 0.8 + who.volume, who.hair)
    pen.rectangle((*at(-0.3, 0.7), *at(0.3, 1.6)), fill=int(255 * tone * 0.85))
    oval(0, 0, w, 1.0, tone)
    oval(0, 0.35, w * 0.86, 0.65 * who.chin, tone)
    slant = 81 * (1 - who.hairline)
    pen.chord((*at(-w - 0.02, -1.02), *at(w + 0.02, 0.6)), 180 + slant, 360 - slant, fill=int(255 * who.hair))
    oval(0, 0.05, w * 0.93, 0.72, tone, 0.2)
    if who.beard:
        oval(0, 0.62, w * 0.72, 0.40, tone * (1 - who.beard) + who.hair * who.beard, 0.4)
        oval(0, 0.40, w * 0.50, 0.20, tone, 0.5)
    for side in (-1, 1):
        x = side * who.eye_gap
        open_ = 0.015 if blink else who.eye_size * (0.75 + 0.3 * min(surprise, 1.0))
        oval(x, -0.12, who.eye_size * 1.25, open_, 0.96, 0.8)
        if not blink:
            oval(x + 0.5 * yaw, -0.12, who.eye_size * 0.62, min(open_, who.eye_size * 0.62), 0.08, 0.85)
        tilt, high = side * who.brow_tilt, -0.34 - 0.07 * surprise
        line = [at(x - 0.15, high + tilt, 0.8), at(x + 0.15, high - tilt, 0.8)]
        pen.line(line, fill=int(255 * who.hair * 0.8), width=max(1, int(unit * who.brow)))
        if who.glasses:
            pen.ellipse((*at(x - 0.22, -0.30, 0.95), *at(x + 0.22, 0.06, 0.95)), outline=15, width=3)
    if who.glasses:
        pen.line([at(-who.eye_gap + 0.22, -0.14, 0.95), at(who.eye_gap - 0.22, -0.14, 0.95)], fill=15, width=3)
    nose = [at(0.0, -0.08, 1.1), at(0.09, -0.08 + who.nose, 1.5), at(-0.07, -0.08 + who.nose, 1.5)]
    pen.polygon(nose, fill=int(255 * tone * 0.86))
    wide, high, gape = who.mouth * (1 + 0.15 * smile), 0.50, 0.03 + 0.10 * max(surprise - 0.3, 0)
    corner = 0.07 * smile
    above, below = high + 0.6 * corner - who.lips, high + corner + who.lips + gape
    lips = [at(-wide, high - corner, 1), at(0, above, 1.1), at(wide, high - corner, 1), at(0, below, 1.1)]
    pen.polygon(lips, fill=int(255 * tone * 0.55))
    image = image.rotate(float(roll), Image.Resampling.BICUBIC, center=(float(middle[0]), float(middle[1])), fillcolor=int(255 * back))
    image = image.filter(ImageFilter.GaussianBlur(1.6)).resize((PIXELS, PIXELS), Image.Resampling.BOX)
    gray = np.asarray(image, dtype=np.float64) / 255
    across, down = np.meshgrid(np.linspace(-1, 1, PIXELS), np.linspace(-1, 1, PIXELS))
    light = rng.uniform(0.75, 1.1) * (1 + rng.normal(0, 0.16) * across + rng.normal(0, 0.10) * down)
    gray = gray * light + rng.normal(0, 0.018, gray.shape)
    return (gray.clip(0, 1) * 255).round().astype(np.uint8)


__all__ = ["CLASSES", "FORMAT", "PEOPLE", "Person", "draw", "load", "person", "picture", "stranger", "strangers"]
