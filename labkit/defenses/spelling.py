"""A fix before a reader of texts: look-alike letters put back, and unknown words replaced by the known word one slip away."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from labkit.attacks.discrete.neighbors import plain
from labkit.data.text import UNKNOWN, Vocabulary, token


class Speller:
    """Corrects texts by a vocabulary.

    Look-alike letters become plain ones. A word that the vocabulary does not know becomes the most frequent word of it that one swap,
    one letter less, more or other makes of it, if there is one; two neighboring unknown words that together are a known word are joined.
    Known words, words shorter than ``shortest`` letters and words that hold anything but letters are left alone. Look-alikes are put
    back by the table that ``look_alikes`` writes them with: that such an attack fails says nothing about other signs.
    """

    def __init__(self, vocabulary: Vocabulary, *, shortest: int = 4) -> None:
        self.vocabulary, self.shortest = vocabulary, shortest
        self._near: dict[str, list[int]] = {}
        for number in range(UNKNOWN + 1, len(vocabulary)):
            for form in {vocabulary.words[number], *_shorter(vocabulary.words[number])}:
                self._near.setdefault(form, []).append(number)  # in the order of frequency
        self._known: dict[str, str] = {}

    def __call__(self, text: str) -> str:
        """Return the text corrected."""
        words = plain(text).split()
        out: list[str] = []
        i = 0
        while i < len(words):
            if i + 1 < len(words) and words[i + 1] and self._joined(words[i], words[i + 1]):
                out.append(words[i] + words[i + 1])
                i += 2
                continue
            out.append(self.word(words[i]))
            i += 1
        return " ".join(out)

    def word(self, word: str) -> str:
        """Return the word itself if it is known or short, else the known word one slip away, else the word."""
        if word not in self._known:
            self._known[word] = self._corrected(word)
        return self._known[word]

    def _joined(self, first: str, second: str) -> bool:
        return (first not in self.vocabulary or second not in self.vocabulary) and first + second in self.vocabulary

    def _corrected(self, word: str) -> str:
        core = token(word)
        if word in self.vocabulary or len(core) < self.shortest or not core.isalpha():
            return word
        numbers = {number for form in (core, *_shorter(core)) for number in self._near.get(form, ())}
        fitting = [
            n for n in sorted(numbers) if len(self.vocabulary.words[n]) >= self.shortest and one_slip(core, self.vocabulary.words[n])
        ]
        return self.vocabulary.words[fitting[0]] if fitting else word


def _shorter(word: str) -> list[str]:
    return [word[:i] + word[i + 1 :] for i in range(len(word))]


def one_slip(a: str, b: str) -> bool:
    """Return whether one swap of neighbors, one letter less, more or other turns ``a`` into ``b``, or nothing has to."""
    if abs(len(a) - len(b)) > 1:
        return False
    start = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    rest, other = a[start:], b[start:]
    swapped = len(rest) == len(other) > 1 and rest[1] + rest[0] + rest[2:] == other
    return rest == other or swapped or rest[1:] == other[1:] or rest[1:] == other or rest == other[1:]


class Corrected(nn.Module):
    """A reader of texts behind a corrector: what comes in is corrected, then read."""

    def __init__(self, corrector: Callable[[str], str], reader: Callable[[Sequence[str]], Tensor]) -> None:
        super().__init__()
        self.corrector, self.reader = corrector, reader

    def forward(self, texts: Sequence[str]) -> Tensor:
        """Return the reader's logits (B, classes) on the corrected texts."""
        return self.reader([self.corrector(text) for text in texts])


__all__ = ["Corrected", "Speller", "one_slip"]
