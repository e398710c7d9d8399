"""Defenses around a chat model that need no training: a check of what it says."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from labkit.attacks.injection.judge import written
from labkit.attacks.injection.secrets import DECODERS
from labkit.data.assistant import REFUSAL
from labkit.data.dialogue import Message
from labkit.models.chat.protocol import ChatModel, replies


def secret_of(messages: Sequence[Message]) -> str:
    """Return the two words that follow "secret" in a system part of the small language. Raises ValueError when there are none."""
    words = next((m.text.split() for m in messages if m.part == "system"), [])
    if "secret" not in words:
        raise ValueError("no system part names a secret: say how to find it, OutputCheck(model, secret=...)")
    at = words.index("secret")
    return " ".join(words[at + 1 : at + 3])


class OutputCheck:
    """A chat model whose replies are read before they are sent: one that holds the secret becomes a refusal.

    ``secret``: from a conversation to the words to look for. ``decoders``: names in ``labkit.attacks.injection.secrets.DECODERS``, the
    spellings in which the check recognizes it; whatever is not on that list passes. ``blocked``: how many replies were held back.
    Raises ValueError for an unknown decoder.
    """

    def __init__(
        self, model: ChatModel, *, secret: Callable[[Sequence[Message]], str] = secret_of, decoders: Sequence[str] = ("as it is",),
        refusal: str = REFUSAL,
    ) -> None:  # fmt: skip
        if unknown := set(decoders) - set(DECODERS):
            raise ValueError(f"unknown decoders {sorted(unknown)}; there are {', '.join(map(repr, DECODERS))}")
        self.model, self.secret, self.decoders, self.refusal = model, secret, tuple(decoders), refusal
        self.name, self.blocked = f"{model.name}, output checked", 0

    def reply(self, messages: Sequence[Message]) -> str:
        """Return the model's reply, or the refusal."""
        return self.replies([messages])[0]

    def replies(self, conversations: Sequence[Sequence[Message]]) -> list[str]:
        """Return a reply, or the refusal, to each conversation."""
        return [self._checked(said, messages) for said, messages in zip(replies(self.model, conversations), conversations, strict=True)]

    def _checked(self, said: str, messages: Sequence[Message]) -> str:
        held = any(written(self.secret(messages), DECODERS[name](said)) for name in self.decoders)
        self.blocked += held
        return self.refusal if held else said


__all__ = ["OutputCheck", "secret_of"]
