"""What a language model reads: words as numbers, and who said what, written into one row of words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

Part = Literal["system", "user", "document", "assistant"]
PARTS: tuple[Part, ...] = ("system", "user", "document", "assistant")
PAD, END = "<pad>", "<end>"
_RESERVED = re.compile(r"<[a-z]+>")


@dataclass(frozen=True)
class Message:
    """One part of a conversation. ``document``: text that somebody else wrote, and that the model works on for the user."""

    part: Part
    text: str

    def __post_init__(self) -> None:
        if self.part not in PARTS:
            raise ValueError(f"a message's part is one of {', '.join(PARTS)}, got {self.part!r}")


class Vocabulary:
    """Words and their numbers. Words in angle brackets are *reserved*: a program writes them, and text should not."""

    def __init__(self, words: Iterable[str]) -> None:
        self.words = tuple(words)
        self.numbers = {word: number for number, word in enumerate(self.words)}
        if len(self.numbers) != len(self.words):
            raise ValueError("a word stands twice in the vocabulary")
        self.reserved = frozenset(n for w, n in self.numbers.items() if _RESERVED.fullmatch(w))

    def __len__(self) -> int:
        return len(self.words)

    def encode(self, text: str, *, parse_reserved: bool = False) -> list[int]:
        """Return the numbers of a text's words. A reserved word in it is left out, or, carelessly, taken for what it says.

        Raises ValueError for a word that is not in the vocabulary.
        """
        found = []
        for word in re.findall(r"\n|[^\s]+", text):
            if word not in self.numbers:
                raise ValueError(f"the word {word!r} is not one of the {len(self)} that this model knows")
            if parse_reserved or self.numbers[word] not in self.reserved:
                found.append(self.numbers[word])
        return found

    def decode(self, numbers: Iterable[int]) -> str:
        """Return the words with a blank between any two."""
        return " ".join(self.words[number] for number in numbers)


@dataclass(frozen=True)
class Template:
    """How a conversation becomes one row of words: a head before each part, and perhaps a wrapping of the documents.

    ``heads``: the word before each part, in the order of ``PARTS``. ``parse_reserved``: whether reserved words that somebody typed count
    as real; the careful default leaves them out. ``wrap``: "plain"; "quoted" puts quotation marks around documents; "marked" puts
    a mark before each of a document's words (the delimiters and the datamarking of Hines et al. 2024, arXiv 2403.14720).
    """

    heads: tuple[str, str, str, str]
    parse_reserved: bool = False
    wrap: Literal["plain", "quoted", "marked"] = "plain"
    quote: str = '"'
    mark: str = "^"

    def __post_init__(self) -> None:
        if self.wrap not in ("plain", "quoted", "marked"):
            raise ValueError(f"wrap must be 'plain', 'quoted' or 'marked', got {self.wrap!r}")

    def having(self, **changes: object) -> Template:
        """Return the same template with some settings changed."""
        return replace(self, **changes)  # type: ignore[arg-type]

    def head(self, part: Part) -> str:
        """Return the word that opens a part."""
        return self.heads[PARTS.index(part)]

    def encode(self, messages: Sequence[Message], vocabulary: Vocabulary) -> list[int]:
        """Return the whole prompt as numbers; it ends with the assistant's head, so that the reply comes next."""
        return [*self.encode_with_replies(messages, vocabulary)[0], vocabulary.numbers[self.head("assistant")]]

    def encode_with_replies(self, messages: Sequence[Message], vocabulary: Vocabulary) -> tuple[list[int], list[int]]:
        """Return a conversation as numbers, and 1 for each that the assistant says: the words of its parts and the ``<end>`` of each."""
        row: list[int] = []
        spoken: list[int] = []
        for message in messages:
            words = vocabulary.encode(message.text, parse_reserved=self.parse_reserved)
            if message.part == "document":
                words = self._wrapped(words, vocabulary)
            elif message.part == "assistant":
                words = [*words, vocabulary.numbers[END]]
            row += [vocabulary.numbers[self.head(message.part)], *words]
            spoken += [0, *[int(message.part == "assistant")] * len(words)]
        return row, spoken

    def _wrapped(self, words: list[int], vocabulary: Vocabulary) -> list[int]:
        if self.wrap == "quoted":
            return [vocabulary.numbers[self.quote], *words, vocabulary.numbers[self.quote]]
        if self.wrap == "marked":
            return [number for word in words for number in (vocabulary.numbers[self.mark], word)]
        return words


#: Heads that are ordinary words: whoever writes a document can write them too.
TYPED = Template(("system:", "user:", "document:", "assistant:"))
#: Heads that no text contains once reserved words have been left out (Chen et al. 2025, StruQ, arXiv 2402.06363).
STRUCTURED = Template(("<system>", "<user>", "<document>", "<assistant>"))

__all__ = ["END", "PAD", "PARTS", "STRUCTURED", "TYPED", "Message", "Part", "Template", "Vocabulary"]
