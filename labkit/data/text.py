"""Texts as tensors, without loss: the bytes of the UTF-8 form, and a vocabulary that turns words into numbers for a model."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from labkit.data.dataset import Split

PAD, UNKNOWN = 0, 1
_EDGES = "\"'`.,:;!?()[]{}<>*~-_/\\"


def encode(texts: Sequence[str], length: int | None = None) -> Tensor:
    """Return texts as (N, L) float32 in [0, 1]: one value for each byte of the UTF-8 form, divided by 255, zeros after the end.

    ``length``: L, by default the longest text's. Runs of white space become one blank. Raises ValueError for a text that does not fit
    or holds a zero byte.
    """
    rows = [" ".join(text.split()).encode() for text in texts]
    if any(0 in row for row in rows):
        raise ValueError("a text holds a zero byte, which marks the end here")
    longest = max((len(row) for row in rows), default=0)
    width = longest if length is None else length
    if longest > width:
        raise ValueError(f"a text of {longest} bytes does not fit into {width}")
    flat = np.frombuffer(b"".join(row.ljust(width, b"\0") for row in rows), dtype=np.uint8).reshape(len(rows), width)
    return torch.from_numpy(flat.astype(np.float32)).div_(255)


def decode(x: Tensor) -> list[str]:
    """Return the texts of ``x`` (N, L), as ``encode`` made it. Raises ValueError where the bytes are no text: noise was added, perhaps."""
    data = (x.detach().cpu().double() * 255).round().clamp(0, 255).to(torch.uint8).numpy()
    try:
        return [row.tobytes().rstrip(b"\0").decode() for row in data]
    except UnicodeDecodeError as error:
        raise ValueError(f"these values are not the bytes of a text ({error.reason}): was a continuous change added to them?") from None


@dataclass(frozen=True)
class TextSplit(Split):
    """A split whose inputs are texts: ``x`` holds their bytes, ``text`` reads them."""

    @property
    def text(self) -> list[str]:
        """The texts, in the order of ``x``."""
        return decode(self.x)


@lru_cache(maxsize=1 << 16)  # an attack asks about the same words over and over
def token(word: str) -> str:
    """Return what a model sees of a word: lower case, without punctuation at its edges, every digit a 0 (how many still shows)."""
    word = word.lower()
    return re.sub(r"\d", "0", word.strip(_EDGES)) or word


@dataclass(frozen=True)
class Vocabulary:
    """The words that a model knows, by number; 0 is padding and 1 is every word that it does not know.

    A word is what stands between blanks; ``token`` says what is kept of it. ``words[0]`` and ``words[1]`` stand for the two.
    """

    words: tuple[str, ...]
    counts: tuple[int, ...]

    @classmethod
    def of(cls, texts: Sequence[str], at_least: int = 2) -> Vocabulary:
        """Return the vocabulary of the words that occur ``at_least`` so often in ``texts``, the most frequent first."""
        seen = Counter(token(word) for text in texts for word in text.split())
        kept = sorted((word for word, count in seen.items() if count >= at_least), key=lambda word: (-seen[word], word))
        return cls(("", "<unknown>", *kept), (0, 0, *(seen[word] for word in kept)))

    def __post_init__(self) -> None:
        object.__setattr__(self, "_number", {word: i for i, word in enumerate(self.words) if i > UNKNOWN})

    def __len__(self) -> int:
        return len(self.words)

    def __contains__(self, word: str) -> bool:
        return token(word) in self._numbers

    @property
    def _numbers(self) -> dict[str, int]:
        return self._number  # type: ignore[attr-defined, no-any-return]

    def number(self, word: str) -> int:
        """Return a word's number, 1 for an unknown one."""
        return self._numbers.get(token(word), UNKNOWN)

    def numbers(self, texts: Sequence[str], length: int | None = None) -> Tensor:
        """Return (N, L) int64: the words' numbers, padded with 0 and cut at ``length`` (by default the longest text's)."""
        rows = [[self.number(word) for word in text.split()] for text in texts]
        width = length or max((len(row) for row in rows), default=0)
        padded = [row[:width] + [PAD] * (width - len(row)) for row in rows]
        return torch.tensor(padded, dtype=torch.int64).reshape(len(rows), width)

    def split(self, split: TextSplit, length: int) -> Split:
        """Return a text split as numbers (N, length), which ``fit`` trains a network of words on."""
        return Split(self.numbers(split.text, length), split.y, split.role, f"{split.name}, as words", split.indices)


__all__ = ["PAD", "UNKNOWN", "TextSplit", "Vocabulary", "decode", "encode", "token"]
