"""A language model behind an OpenAI-compatible HTTP endpoint: a server of your own, or a service that you may test."""

from __future__ import annotations

import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from labkit.data.dialogue import Message
from labkit.models.chat.protocol import as_turns


class ChatError(RuntimeError):
    """The endpoint gave no reply; the text says why and what to do."""


class _Stay(urllib.request.HTTPRedirectHandler):
    """Follow no redirect: the key in the header would go to whoever the answer names."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


class HttpChat:
    """``POST url/chat/completions`` at temperature 0. ``url`` ends before that, as in "http://127.0.0.1:8000/v1".

    ``key_from``: the environment variable that holds the API key, read for each request, never kept, shown or logged; without it none
    is sent. ``timeout``: seconds for one try. ``retries``: how often a 429, a 5xx or a broken connection is tried again, after ``pause``
    seconds, doubled each time (or what the server asks for, at most a minute). Raises ValueError for an address that is not http or
    https, or that holds a password; ChatError for anything else that goes wrong.
    """

    def __init__(
        self, url: str, model: str, *, key_from: str = "LABKIT_CHAT_KEY", limit: int = 128, timeout: float = 60.0, retries: int = 3,
        pause: float = 1.0,
    ) -> None:  # fmt: skip
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("the address of a chat endpoint begins with http:// or https:// and a host, such as http://127.0.0.1:8000/v1")
        if parts.username or parts.password or parts.query:
            raise ValueError(f"keep the key out of the address: put it into the environment variable {key_from}")
        self.url, self.model, self.name = url.rstrip("/"), model, model
        self.key_from, self.limit, self.timeout, self.retries, self.pause = key_from, limit, timeout, retries, pause
        self._open = urllib.request.build_opener(_Stay).open

    def reply(self, messages: Sequence[Message]) -> str:
        """Return the model's reply. Raises ChatError, which names the cause and never the key."""
        body = {"model": self.model, "messages": as_turns(messages), "temperature": 0, "max_tokens": self.limit}
        answer = self._ask(json.dumps(body).encode())
        try:
            text = json.loads(answer)["choices"][0]["message"]["content"]
        except (ValueError, KeyError, IndexError, TypeError) as error:
            odd = f"{self.url} answered something that is no chat completion ({type(error).__name__})"
            raise ChatError(f"{odd}: {answer[:200]!r}") from None
        return str(text or "").strip()

    def _ask(self, body: bytes) -> bytes:
        request = urllib.request.Request(f"{self.url}/chat/completions", body, self._headers(), method="POST")
        for attempt in range(self.retries + 1):
            try:
                with self._open(request, timeout=self.timeout) as answer:
                    return bytes(answer.read())
            except urllib.error.HTTPError as error:
                why, asked = self._refused(error), error.headers.get("Retry-After", "")
                if error.code != 429 and error.code < 500:
                    raise ChatError(why) from None
                wait = float(asked) if asked.isdigit() else self.pause * 2**attempt
            except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
                reason = getattr(error, "reason", error)
                slow = isinstance(reason, TimeoutError)
                why = f"{self.url} did not answer within {self.timeout:g} s" if slow else f"no connection to {self.url}: {reason}"
                wait = self.pause * 2**attempt
            if attempt < self.retries:
                time.sleep(min(wait, 60.0))
        raise ChatError(f"{why}; tried {self.retries + 1} times")

    def _headers(self) -> dict[str, str]:
        headers = {"Content-Type": "application/json"}
        if key := os.environ.get(self.key_from, "").strip():
            if not (key.isascii() and key.isprintable()):
                raise ChatError(f"the key in {self.key_from} holds characters that no key has: was more than the key copied?")
            headers["Authorization"] = f"Bearer {key}"
        return headers

    def _refused(self, error: urllib.error.HTTPError) -> str:
        said = {
            401: f"the key in {self.key_from} is missing or not accepted",
            403: f"the key in {self.key_from} is not allowed to use {self.model!r}",
            404: f"there is no such path or no model {self.model!r}; does the address end before /chat/completions?",
            429: "too many requests",
        }
        cause = said.get(error.code, "the server failed" if error.code >= 500 else "it refused the request")
        return f"{self.url} answered {error.code}: {cause}"

    def __repr__(self) -> str:
        return f"HttpChat({self.url!r}, {self.model!r})"
