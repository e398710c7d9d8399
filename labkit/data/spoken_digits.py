"""``spoken_digits``: 3,000 real recordings of the digits, found in ``LABKIT_DATA/free-spoken-digit/recordings.zip``."""

from __future__ import annotations

import io
import re
import tempfile
import wave
import zipfile
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from labkit.data.bring import brought
from labkit.data.cards import CARDS
from labkit.data.dataset import Dataset, Role, Split
from labkit.data.errors import DataCorrupt
from labkit.data.images import stride
from labkit.data.verify import Known

CLASSES = tuple(str(digit) for digit in range(10))
RATE, SAMPLES = 8_000, 8_000  # one second of each recording
TEST_INDICES = 5  # recordings 0 to 4 of each digit and speaker are test, officially
PATH = "free-spoken-digit/recordings.zip"
KNOWN = Known(16_161_380, "6e78baa883bb68c61a2d6ba70cbe49b8")
ORIGIN = "the Free Spoken Digit Dataset (doi 10.5281/zenodo.1342401; its folder recordings, zipped)"
_NAME = re.compile(r"(?:.*/)?(\d)_([a-z]+)_(\d+)\.wav")


def load(*, size: int | None = None, seed: int = 0, smoke: bool = False) -> Dataset:
    """Return (N, 1, 8000) waveforms in [-1, 1], which ``bounds`` says; the split is the official one, the same six speakers in both.

    A recording longer than a second is cut at its end, a shorter one is followed by silence. ``size`` keeps at most that many of each
    split, at a constant stride; ``seed`` changes nothing. Raises DataMissing, DataTruncated or DataCorrupt, ValueError for size < 1.
    """
    if smoke:
        from labkit.data.fake import write_spoken_digits

        with tempfile.TemporaryDirectory() as folder:
            arrays = read(write_spoken_digits(Path(folder)))
    else:
        arrays = read(brought("spoken_digits", PATH, KNOWN, ORIGIN))
    card = CARDS["spoken_digits"]

    def split(role: Role) -> Split:
        x, y = arrays[role]
        index = stride(len(y), size)
        waves = torch.from_numpy(x[index].astype(np.float32)).div_(32_768)[:, None]
        return Split(waves, torch.from_numpy(y[index]), role, f"spoken_digits {role}", torch.from_numpy(index))

    return Dataset("spoken_digits", split("train"), split("test"), CLASSES, bounds=(-1.0, 1.0),
                   licence=card.licence, citation=card.citation, description=card.description)  # fmt: skip


def read(path: Path) -> dict[str, tuple[NDArray[np.int16], NDArray[np.int64]]]:
    """Return the recordings of the archive by split, int16 (N, 8000), and their digits; digits alternate, so that a stride is fair.

    Raises DataCorrupt for a file that is no 8,000 Hz, 16 bit, mono recording.
    """
    found: dict[str, list[tuple[tuple[int, str, int], NDArray[np.int16]]]] = {"train": [], "test": []}
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if not (match := _NAME.fullmatch(name)):
                continue
            digit, speaker, index = int(match[1]), match[2], int(match[3])
            try:
                with wave.open(io.BytesIO(archive.read(name))) as sound:
                    kind = (sound.getframerate(), sound.getsampwidth(), sound.getnchannels())
                    frames = np.frombuffer(sound.readframes(SAMPLES), "<i2")
            except (wave.Error, EOFError, zipfile.BadZipFile) as error:
                raise DataCorrupt(f"{path}: {name} cannot be decoded ({error})") from error
            if kind != (RATE, 2, 1):
                raise DataCorrupt(f"{path}: {name} has (rate, bytes, channels) {kind}, expected {(RATE, 2, 1)}")
            role = "test" if index < TEST_INDICES else "train"
            found[role].append(((index, speaker, digit), np.pad(frames, (0, SAMPLES - len(frames)))))
    result = {}
    for role, sounds in found.items():
        sounds.sort(key=lambda item: item[0])
        result[role] = (np.stack([one for _, one in sounds]), np.array([key[2] for key, _ in sounds], dtype=np.int64))
    return result
