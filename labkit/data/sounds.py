"""``sounds``: ten spoken commands of made-up voices, synthesized from formants; half a second at 8,000 samples a second."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from labkit.data.cards import CARDS
from labkit.data.dataset import Dataset, Role, Split
from labkit.data.images import stride
from labkit.data.store import Arrays, cached
from labkit.progress import progress
from labkit.seeding import numpy_generator

Signal = NDArray[np.float64]
RATE, SAMPLES = 8_000, 4_000
TRAIN, TEST = 1_500, 500
FORMAT = 1  # raise it with every change of the signals

# What the mouth does: three formants (Hz), voice, hiss (both 0 to 1), where the hiss lies (Hz).
_SOUNDS = {
    "a": ((780, 1250, 2550), 1.0, 0.0, 3000), "e": ((520, 1850, 2550), 1.0, 0.0, 3000), "i": ((310, 2250, 3000), 0.9, 0.0, 3000),
    "o": ((480, 880, 2500), 1.0, 0.0, 3000), "u": ((330, 800, 2300), 0.9, 0.0, 3000), "r": ((420, 1150, 1600), 0.7, 0.0, 3000),
    "l": ((360, 1150, 2650), 0.6, 0.0, 3000), "n": ((270, 1450, 2350), 0.35, 0.0, 3000), "s": ((300, 1700, 2600), 0.0, 0.5, 3500),
    "f": ((300, 1400, 2600), 0.0, 0.22, 2600), "t": ((300, 1700, 2600), 0.0, 0.7, 3000), "p": ((300, 900, 2300), 0.0, 0.5, 900),
    "d": ((300, 1700, 2600), 0.25, 0.35, 2700), "g": ((300, 2000, 2300), 0.25, 0.4, 1900), " ": ((400, 1400, 2500), 0.0, 0.0, 3000),
}  # fmt: skip
_SHORT = {"t": 0.25, "p": 0.25, "d": 0.25, "g": 0.25, " ": 0.35, "s": 0.8, "f": 0.8, "n": 0.7, "l": 0.5, "r": 0.5}
_WORDS = {
    "yes": "ies", "no": "nou", "up": "a p", "down": "daun", "left": "lef t", "right": "rai t", "on": "on", "off": "of",
    "stop": "s to p", "go": "gou",
}  # fmt: skip
CLASSES = tuple(_WORDS)


def load(*, size: int | None = None, seed: int = 0, smoke: bool = False) -> Dataset:
    """Return (N, 1, 4000) waveforms in [-1, 1], which ``bounds`` says; classes are balanced, voices of train and test differ.

    Spoken once and then cached. ``size`` keeps at most that many of each split, at a constant stride. Raises ValueError for size < 1.
    """
    if smoke:
        arrays = _speak({"train": 64, "test": 64}, seed)
    else:
        arrays = cached(f"sounds-v{FORMAT}-seed{seed}", lambda: _speak({"train": TRAIN, "test": TEST}, seed))
    card = CARDS["sounds"]

    def split(role: Role) -> Split:
        x, y = arrays[f"x_{role}"], arrays[f"y_{role}"]
        index = stride(len(y), size)
        waves = torch.from_numpy(x[index].astype(np.float32)).div_(32_767)[:, None]
        return Split(waves, torch.from_numpy(y[index].astype(np.int64)), role, f"sounds {role}", torch.from_numpy(index))

    return Dataset("sounds", split("train"), split("test"), CLASSES, bounds=(-1.0, 1.0),
                   licence=card.licence, citation=card.citation, description=card.description)  # fmt: skip


def _speak(counts: dict[str, int], seed: int) -> Arrays:
    arrays: dict[str, NDArray[np.int16] | NDArray[np.uint8]] = {}
    for split, count in counts.items():
        blocks = [numpy_generator(seed, "sounds", split, "labels", block).permutation(10) for block in range(-(-count // 10))]
        y = np.concatenate(blocks)[:count]
        said = [speak(CLASSES[y[i]], numpy_generator(seed, "sounds", split, i)) for i in progress(range(count), "speaking", total=count)]
        arrays[f"x_{split}"], arrays[f"y_{split}"] = (np.stack(said) * 32_767).round().astype(np.int16), y.astype(np.uint8)
    return arrays  # type: ignore[return-value]


def speak(word: str, rng: np.random.Generator) -> Signal:
    """Return one word of a random voice, (4000,) in [-1, 1]. Raises ValueError for a word that is not in ``CLASSES``."""
    if word not in _WORDS:
        raise ValueError(f"no word {word!r}; the voices know {', '.join(CLASSES)}")
    tract, pitch = rng.uniform(0.88, 1.18), np.exp(rng.normal(np.log(155), 0.28))  # a long tract and a low pitch: a large person
    formants, voice, hiss, center = _score(word, rng)
    time = np.arange(SAMPLES) / RATE
    melody = pitch * (1 + rng.normal(0.06, 0.05) * (0.5 - time / time[-1]) + 0.01 * np.sin(2 * np.pi * (5.5 * time + rng.random())))
    numbers = np.arange(1, 1 + int(0.47 * RATE / melody.min()), dtype=np.float32)[:, None]  # as many harmonics as the rate can hold
    harmonics = numbers * melody.astype(np.float32)
    loudness = np.zeros_like(harmonics)
    for place, (width, height) in zip((formants * tract).astype(np.float32), ((90, 1.0), (120, 0.55), (180, 0.25)), strict=True):
        loudness += height / (1 + ((harmonics - place) / width) ** 2)
    loudness *= (harmonics < 0.47 * RATE) / np.sqrt(numbers)
    turns = (np.cumsum(melody) / RATE % 1).astype(np.float32)  # of the lowest harmonic; whole turns do not matter
    voiced = voice * (loudness * np.sin(2 * np.pi * (numbers * turns + rng.random(numbers.shape, dtype=np.float32)))).sum(0)
    soft = np.convolve(rng.standard_normal(SAMPLES), np.ones(5) / 5, mode="same")
    hissed = hiss * soft * np.cos(2 * np.pi * np.cumsum(center * tract) / RATE)
    signal = voiced + 0.9 * hissed
    signal *= rng.uniform(0.25, 0.8) / (np.abs(signal).max() + 1e-9)
    room = rng.standard_normal(SAMPLES)
    level = np.sqrt((signal**2).mean()) * 10 ** (-rng.uniform(14, 34) / 20)  # 14 to 34 decibels below the voice
    result: Signal = (signal + level * np.convolve(room, [0.5, 0.35, 0.15], mode="same")).clip(-1, 1)
    return result


def _score(word: str, rng: np.random.Generator) -> tuple[Signal, Signal, Signal, Signal]:
    """Return what the mouth does at each sample: formants (3, T), voice (T,), hiss (T,), center of the hiss (T,)."""
    letters = _WORDS[word]
    lengths = np.array([_SHORT.get(letter, 1.0) for letter in letters]) * np.exp(rng.normal(0, 0.15, len(letters)))
    lengths *= rng.uniform(0.26, 0.42) / lengths.sum()  # seconds
    start = rng.uniform(0.02, 0.49 - lengths.sum())
    edges = ((start + np.concatenate([[0], lengths.cumsum()])) * RATE).astype(int)
    plan = np.zeros((6, SAMPLES))
    first, last = _SOUNDS[letters[0]], _SOUNDS[letters[-1]]
    plan[:3, : edges[0]], plan[:3, edges[-1] :] = np.array(first[0])[:, None], np.array(last[0])[:, None]
    plan[5] = first[3]
    for letter, a, b in zip(letters, edges, edges[1:], strict=False):
        places, voice, hiss, center = _SOUNDS[letter]
        plan[:3, a:b], plan[3, a:b], plan[4, a:b], plan[5, a:b] = np.array(places)[:, None], voice, hiss, center
    glide = np.hanning(int(0.03 * RATE))  # thirty milliseconds from one sound to the next
    smooth = np.stack([np.convolve(np.pad(row, len(glide) // 2, mode="edge"), glide / glide.sum(), mode="same") for row in plan])
    smooth = smooth[:, len(glide) // 2 :][:, :SAMPLES]
    return smooth[:3], smooth[3], smooth[4], smooth[5]


__all__ = ["CLASSES", "FORMAT", "RATE", "SAMPLES", "TEST", "TRAIN", "load", "speak"]
