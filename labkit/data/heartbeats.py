"""``heartbeats``: single beats of an electrocardiogram, drawn from a sum of waves; honest physiology in miniature, no patient's data."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from labkit.data.dataset import Dataset
from labkit.data.drawn import drawn

CLASSES = ("normal", "premature, ventricular", "premature, atrial", "blocked branch")
SAMPLES, RATE = 140, 200  # samples of one beat, samples a second
LOW, HIGH = -1.5, 2.5  # millivolts: what 0 and 1 stand for
TRAIN, TEST = 3_000, 1_000
SHARES = (0.7, 0.1, 0.1, 0.1)
FORMAT = 1  # raise it with every change of the signals

# The waves P, Q, R, S, T of each class: place (seconds from the R peak), height (millivolts), width (seconds); a second R in a block.
_WAVES = {
    "normal": [(-0.17, 0.15, 0.022), (-0.028, -0.12, 0.009), (0, 1.25, 0.011), (0.03, -0.28, 0.010), (0.24, 0.32, 0.042)],
    # wide, tall, no P, the T wave turned over: it starts in a ventricle, a lower chamber
    "premature, ventricular": [(-0.17, 0, 0.022), (-0.06, -0.25, 0.02), (0, 1.45, 0.034), (0.085, -0.55, 0.030), (0.27, -0.38, 0.052)],
    # it starts in an atrium, an upper chamber: an early P of another shape close to a narrow beat
    "premature, atrial": [(-0.11, -0.09, 0.017), (-0.026, -0.12, 0.009), (0, 1.15, 0.011), (0.03, -0.27, 0.010), (0.21, 0.26, 0.040)],
    # one ventricle late: a second, smaller peak
    "blocked branch": [(-0.17, 0.14, 0.022), (-0.03, -0.08, 0.010), (0, 0.95, 0.013), (0.052, 0.42, 0.018), (0.26, -0.16, 0.045)],
}  # fmt: skip


def load(*, size: int | None = None, seed: int = 0, smoke: bool = False) -> Dataset:
    """Return (N, 1, 140) beats at 200 samples a second, 0 to 1 standing for -1.5 to 2.5 millivolts; seven of ten are normal.

    ``size`` keeps at most that many of each split, at a constant stride; ``seed`` draws other hearts. Raises ValueError for size < 1.
    """

    def tensors(count: int, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        x, y = draw(count, rng)
        return torch.from_numpy(x)[:, None], torch.from_numpy(y)

    draws = {"train": lambda rng: tensors(TRAIN, rng), "test": lambda rng: tensors(TEST, rng)}
    return drawn("heartbeats", draws, CLASSES, FORMAT, size=size, seed=seed, smoke=smoke)


def draw(count: int, rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return beats (N, 140) float32 in [0, 1] and their classes (N,): each beat has a heart of its own, a lead and some noise."""
    y = rng.choice(len(CLASSES), count, p=SHARES)
    waves = np.array(list(_WAVES.values()))[y]  # (N, 5, 3)
    place = waves[:, :, 0] * rng.normal(1, 0.08, (count, 1)) + rng.normal(0, 0.006, (count, 5))
    height = waves[:, :, 1] * np.exp(rng.normal(0, 0.18, (count, 5))) * np.exp(rng.normal(0, 0.12, (count, 1)))
    height += rng.normal(0, 0.02, (count, 5)) * (waves[:, :, 1] != 0)
    width = waves[:, :, 2] * np.exp(rng.normal(0, 0.13, (count, 5)))
    time = np.arange(SAMPLES) / RATE - 0.28 + rng.normal(0, 0.008, (count, 1))
    offset = time[:, None, :] - place[:, :, None]
    beat = (height[:, :, None] * np.exp(-0.5 * (offset / width[:, :, None]) ** 2)).sum(1)
    breath = rng.normal(0, 0.06, (count, 1)) + rng.normal(0, 0.05, (count, 1)) * np.sin(2 * np.pi * (0.3 * time + rng.random((count, 1))))
    mains = rng.exponential(0.008, (count, 1)) * np.sin(2 * np.pi * (50 * time + rng.random((count, 1))))
    muscle = rng.normal(0, 1, (count, SAMPLES)) * np.exp(rng.normal(-3.9, 0.4, (count, 1)))
    signal = beat + breath + mains + muscle
    return ((signal - LOW) / (HIGH - LOW)).clip(0, 1).astype(np.float32), y.astype(np.int64)


__all__ = ["CLASSES", "FORMAT", "HIGH", "LOW", "RATE", "SAMPLES", "SHARES", "TEST", "TRAIN", "draw", "load"]
