"""What may stand in a word's place: words of like meaning, slips of the finger, letters that look alike. All are functions of a word."""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence

from labkit.threats.substitutions import Neighbors

#: Latin letters and the Cyrillic or Greek ones that most typefaces draw alike. A map onto others: ``plain`` goes back.
HOMOGLYPHS = {
    "a": "\u0430", "c": "\u0441", "e": "\u0435", "i": "\u0456", "j": "\u0458", "o": "\u043e", "p": "\u0440", "s": "\u0455", "x": "\u0445",
    "y": "\u0443", "A": "\u0410", "B": "\u0412", "C": "\u0421", "E": "\u0415", "H": "\u041d", "I": "\u0406", "K": "\u041a", "M": "\u041c",
    "N": "\u039d", "O": "\u041e", "P": "\u0420", "S": "\u0405", "T": "\u0422", "X": "\u0425", "Y": "\u04ae", "v": "\u03bd",
}  # fmt: skip
#: Letters and the digits that are read for them.
NUMERALS = {
    "o": "0",
    "O": "0",
    "i": "1",
    "l": "1",
    "I": "1",
    "e": "3",
    "E": "3",
    "a": "4",
    "A": "4",
    "s": "5",
    "S": "5",
    "t": "7",
    "B": "8",
}
#: A blank of no width: it is drawn as nothing.
UNSEEN = "\u200b"
_BACK = {foreign: letter for letter, foreign in HOMOGLYPHS.items()}
_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")


def plain(text: str) -> str:
    """Return ``text`` with every look-alike letter put back."""
    return "".join(_BACK.get(letter, letter) for letter in text)


def table(words: Mapping[str, Sequence[str]]) -> Neighbors:
    """Return neighbors by a table, in the writing of the word: capitals, shouting and the marks at its edges are kept."""
    known = {key.lower(): tuple(values) for key, values in words.items()}

    def neighbors(word: str) -> tuple[str, ...]:
        core = word.strip(string.punctuation)
        if not core or core.lower() not in known:
            return ()
        start = word.index(core)
        return tuple(word[:start] + _written_like(one, core) + word[start + len(core) :] for one in known[core.lower()])

    return neighbors


def _written_like(word: str, model: str) -> str:
    if len(model) > 1 and model.isupper():
        return word.upper()
    return word[:1].upper() + word[1:] if model[:1].isupper() else word


def swaps(word: str) -> tuple[str, ...]:
    """Return the word with two neighboring letters swapped, the first and the last staying: people read such words with ease."""
    return tuple(dict.fromkeys(word[:i] + word[i + 1] + word[i] + word[i + 2 :] for i in range(1, len(word) - 2) if word[i] != word[i + 1]))


def deletions(word: str) -> tuple[str, ...]:
    """Return the word with one inner letter left out."""
    return tuple(dict.fromkeys(word[:i] + word[i + 1 :] for i in range(1, len(word) - 1))) if len(word) > 2 else ()


def slips(word: str) -> tuple[str, ...]:
    """Return the word with one inner letter replaced by a neighbor on the keyboard."""
    found = []
    for i in range(1, len(word) - 1):
        for row in _ROWS:
            if (at := row.find(word[i])) >= 0:
                found += [word[:i] + row[k] + word[i + 1 :] for k in (at - 1, at + 1) if 0 <= k < len(row)]
    return tuple(found)


def spaces(word: str) -> tuple[str, ...]:
    """Return the word in two parts, a blank between them."""
    return tuple(word[:i] + " " + word[i:] for i in range(1, len(word)))


def look_alikes(word: str) -> tuple[str, ...]:
    """Return the word with one letter replaced by a foreign one that looks the same."""
    return tuple(word[:i] + HOMOGLYPHS[c] + word[i + 1 :] for i, c in enumerate(word) if c in HOMOGLYPHS)


def numerals(word: str) -> tuple[str, ...]:
    """Return the word with one letter replaced by a digit that is read for it: o by 0, e by 3."""
    return tuple(word[:i] + NUMERALS[c] + word[i + 1 :] for i, c in enumerate(word) if c in NUMERALS)


def unseen_blanks(word: str) -> tuple[str, ...]:
    """Return the word with a blank of no width at one place inside: it looks the same, and no blank is where words are split."""
    return tuple(word[:i] + UNSEEN + word[i:] for i in range(1, len(word)))


def twice(first: Neighbors) -> Neighbors:
    """Return the neighbors of the neighbors: two edits of the same kind."""
    return lambda word: tuple(dict.fromkeys(two for one in first(word) for two in first(one) if two != word))


def either(*kinds: Neighbors) -> Neighbors:
    """Return neighbors of any of several kinds."""
    return lambda word: tuple(dict.fromkeys(one for kind in kinds for one in kind(word)))


def typos(word: str) -> tuple[str, ...]:
    """Return all one-letter edits of this module that a person could have made: swaps, deletions, slips and spaces.

    The kinds of edit of Gao et al. 2018 (DeepWordBug, arXiv 1801.04354).
    """
    return either(swaps, deletions, slips, spaces)(word)


__all__ = [
    "HOMOGLYPHS", "NUMERALS", "UNSEEN", "deletions", "either", "look_alikes", "numerals", "plain", "slips", "spaces", "swaps", "table",
    "twice", "typos", "unseen_blanks",
]  # fmt: skip
