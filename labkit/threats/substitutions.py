"""``Substitutions``: at most so many words of a text may be replaced, each by one of its allowed neighbors."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from labkit.data.text import decode
from labkit.threats.base import Threat

#: What may stand in a word's place: words, or several words with blanks between them. The word itself need not be among them.
Neighbors = Callable[[str], tuple[str, ...]]
#: Texts as strings, or as bytes (B, L) the way ``labkit.data.text.encode`` writes them.
Texts = Sequence[str] | Tensor


@dataclass(frozen=True)
class Substitutions(Threat):
    """At most ``words`` words, or at most the ``share`` of a text's words (rounded down, yet at least one), may change.

    ``neighbors``: the allowed replacements of a word. ``fixed``: words that must stay, such as the address that a spammer wants visited.
    A word is what stands between blanks. Without ``words`` and ``share`` there is no budget. Raises ValueError for both, or for a
    negative budget.
    """

    neighbors: Neighbors
    words: int | None = None
    share: float | None = None
    fixed: Callable[[str], bool] | None = None

    def __post_init__(self) -> None:
        if self.words is not None and self.share is not None:
            raise ValueError(f"give words or share, not both; got words={self.words} and share={self.share}")
        if self.words is not None and self.words < 0:
            raise ValueError(f"words must be 0 or more, got {self.words}")
        if self.share is not None and not 0 <= self.share <= 1:
            raise ValueError(f"share is a part of the words, between 0 and 1; got {self.share}")

    def __str__(self) -> str:
        if self.words is not None:
            return f"Substitutions(at most {self.words} word{'' if self.words == 1 else 's'})"
        return "Substitutions(no budget)" if self.share is None else f"Substitutions(at most {self.share:.0%} of the words)"

    def budget(self, text: str) -> int:
        """Return how many words of this text may change."""
        count = len(text.split())
        if self.words is not None:
            return min(self.words, count)
        return count if self.share is None else min(count, max(1, math.floor(self.share * count + 1e-9))) if self.share else 0

    def allowed(self, word: str) -> tuple[str, ...]:
        """Return what may stand in this word's place: the neighbors that differ from it, each once; none for a fixed word."""
        if self.fixed is not None and self.fixed(word):
            return ()
        return tuple(dict.fromkeys(one for one in self.neighbors(word) if one.split() and one != word))

    def distance(self, x_adv: Texts, x: Texts) -> Tensor:
        """Return how many words were replaced, (B,) float64: the fewest that explain the change; inf where nothing allowed does.

        Judged on the texts alone, whatever an attack says that it did: a neighbor of two words is found where it stands.
        """
        pairs = zip(_read(x_adv), _read(x), strict=True)
        return torch.tensor([self._replaced(new.split(), old.split()) for new, old in pairs], dtype=torch.float64)

    def contains(self, x_adv: Texts, x: Texts) -> Tensor:
        """Return (B,) bool: does each text differ from its original by allowed replacements, and by no more than the budget?"""
        budget = torch.tensor([self.budget(text) for text in _read(x)], dtype=torch.float64)
        return self.distance(x_adv, x) <= budget

    def _replaced(self, new: list[str], old: list[str]) -> float:
        @cache
        def ways(word: str) -> tuple[list[str], ...]:
            return tuple(one.split() for one in self.allowed(word))

        best = [0.0] + [math.inf] * len(new)  # best[j]: the fewest replacements that turn the old words so far into new[:j]
        for word in old:
            after = [math.inf] * (len(new) + 1)
            for j, cost in enumerate(best):
                if cost == math.inf:
                    continue
                if j < len(new) and new[j] == word:
                    after[j + 1] = min(after[j + 1], cost)
                for way in ways(word):
                    if new[j : j + len(way)] == way:
                        after[j + len(way)] = min(after[j + len(way)], cost + 1)
            best = after
        return best[len(new)]


def _read(texts: Texts) -> Sequence[str]:
    return decode(texts) if isinstance(texts, Tensor) else texts


__all__ = ["Neighbors", "Substitutions", "Texts"]
