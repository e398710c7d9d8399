"""What a chat model is to this course: parts of a conversation in, a reply out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from labkit.data.dialogue import Message
from labkit.progress import progress


@runtime_checkable
class ChatModel(Protocol):
    """Anything that replies. ``name`` stands in tables. A model may also have ``replies``, which takes many conversations at once."""

    name: str

    def reply(self, messages: Sequence[Message]) -> str:
        """Return what the assistant says next."""


def replies(model: ChatModel, conversations: Sequence[Sequence[Message]]) -> list[str]:
    """Return a reply to each conversation: all at once where the model can, else one after the other, with progress."""
    if callable(together := getattr(model, "replies", None)):
        return list(together(conversations))
    return [model.reply(messages) for messages in progress(conversations, f"asking {model.name}", total=len(conversations))]


def as_turns(messages: Sequence[Message]) -> list[dict[str, str]]:
    """Return the conversation in the roles that large models know: system, user, assistant. A document joins the user's turn beside it.

    Services have no role for text that a third person wrote. That is the root of the matter: the document reaches the
    model in the voice of the user.
    """
    turns: list[dict[str, str]] = []
    for message in messages:
        role = "user" if message.part == "document" else message.part
        text = f"Document:\n{message.text}" if message.part == "document" else message.text
        if turns and turns[-1]["role"] == role == "user":
            turns[-1]["content"] += f"\n\n{text}"
        else:
            turns.append({"role": role, "content": text})
    return turns
