"""Chat models: the course's own small one, a folder on this machine, and any OpenAI-compatible endpoint."""

from __future__ import annotations

import os

from labkit.data.dialogue import Message
from labkit.models.chat.http import ChatError, HttpChat
from labkit.models.chat.local import LocalChat
from labkit.models.chat.protocol import ChatModel, as_turns, replies
from labkit.models.chat.small import SmallChat


def chat_from_environment() -> ChatModel | None:
    """Return the model that the reader named, else None: ``LABKIT_CHAT`` is a folder or a URL, ``LABKIT_CHAT_MODEL`` a URL's model.

    Raises ValueError for a URL without a model, and what the adapters raise.
    """
    if not (where := os.environ.get("LABKIT_CHAT", "").strip()):
        return None
    if not where.startswith(("http://", "https://")):
        return LocalChat(where)
    if not (model := os.environ.get("LABKIT_CHAT_MODEL", "").strip()):
        raise ValueError("LABKIT_CHAT is an address; LABKIT_CHAT_MODEL must name the model to ask there")
    return HttpChat(where, model)


__all__ = [
    "ChatError", "ChatModel", "HttpChat", "LocalChat", "Message", "SmallChat", "as_turns", "chat_from_environment", "replies",
]  # fmt: skip
