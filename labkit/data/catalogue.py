"""The catalogue: every data set of the course by its name."""

from __future__ import annotations

import difflib
import importlib

from labkit.data.cards import CARDS
from labkit.data.dataset import Dataset

# Loaded on first use, so that naming a data set costs nothing.
_MODULES = {
    "signs": "labkit.data.signs",
    "digits": "labkit.data.digits",
    "tumors": "labkit.data.tumors",
    "faces": "labkit.data.faces",
    "flows": "labkit.data.flows",
    "transactions": "labkit.data.transactions",
    "heartbeats": "labkit.data.heartbeats",
    "sounds": "labkit.data.sounds",
    "messages": "labkit.data.messages",
    "assistant": "labkit.data.assistant",
    "mnist": "labkit.data.mnist",
    "fashion_mnist": "labkit.data.fashion_mnist",
    "cifar10": "labkit.data.cifar10",
    "gtsrb": "labkit.data.gtsrb",
    "adult": "labkit.data.adult",
    "sms_spam": "labkit.data.sms_spam",
    "spoken_digits": "labkit.data.spoken_digits",
    "ecg5000": "labkit.data.ecg5000",
    "location30": "labkit.data.location30",
    "att_faces": "labkit.data.att_faces",
    "nsl_kdd": "labkit.data.nsl_kdd",
}
EMBEDDED = ("signs", "digits", "tumors", "faces", "flows", "transactions", "heartbeats", "sounds", "messages", "assistant")


def names() -> tuple[str, ...]:
    """Return the names that ``load`` knows; the embedded ones, which need no download, come first."""
    return tuple(_MODULES)


def load(name: str, *, size: int | None = None, seed: int = 0, smoke: bool = False) -> Dataset:
    """Return a data set: inputs float32 (N, C, H, W) or (N, features) in [0, 1] (waveforms in [-1, 1]), labels int64.

    ``size`` keeps at most that many samples of each split, at a constant stride (of ``signs``, which are independent
    draws, the first). ``seed`` chooses which signs are drawn; the other sets and their splits are fixed. ``smoke`` gives 64
    made-up samples a split, written in the real files' layout and read by the real reader, so that code for the papers' data
    can be walked anywhere; numbers computed on them mean nothing. Nothing is ever downloaded here, and ``LABKIT_DATA`` is only read.
    Raises ValueError for an unknown name, DataMissing, DataTruncated or DataCorrupt with the remedy.
    """
    module = importlib.import_module(_MODULES[known(name)])
    dataset: Dataset = module.load(size=size, seed=seed, smoke=smoke)
    return dataset


def card(name: str) -> str:
    """Return the data card of a data set as Markdown. Raises ValueError for an unknown name."""
    return CARDS[known(name)].markdown()


def known(name: str) -> str:
    """Return the name itself if it is in the catalogue; else raise ValueError that names the nearest ones."""
    if name in _MODULES:
        return name
    close = difflib.get_close_matches(name, _MODULES, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}? " if close else ""
    raise ValueError(f"no data set {name!r}: {hint}the catalogue has {', '.join(_MODULES)}")
