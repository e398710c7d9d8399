from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from labkit.attacks.injection import ENGLISH, combined, run_injections, table_cases, unchanged
from labkit.data.prompts import table_questions
from labkit.models.chat import ChatError, ChatModel, HttpChat, Message, chat_from_environment, replies

KEY = "sk-test-0123456789"
TALK = (Message("system", "be brief"), Message("user", "summarize"), Message("document", "a note"), Message("assistant", "ok"))


class Server:
    """A real server on the loopback that gives prepared answers, one after the other, and keeps what it was asked."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, Any, dict[str, str]]] = []
        self.asked: list[tuple[str, dict[str, str], Any]] = []
        self.delay = 0.0
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                owner.asked.append((self.path, dict(self.headers), json.loads(body)))
                time.sleep(owner.delay)
                code, content, headers = owner.answers.pop(0) if len(owner.answers) > 1 else owner.answers[0]
                data = content if isinstance(content, bytes) else json.dumps(content).encode()
                self.send_response(code)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST

            def log_message(self, *_: Any) -> None:
                return

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http.server_address[1]}/v1"

    def says(self, *texts: str) -> None:
        self.answers += [(200, {"choices": [{"message": {"role": "assistant", "content": text}}]}, {}) for text in texts]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LABKIT_CHAT_KEY", KEY)
    one = Server()
    yield one
    one.http.shutdown()
    one.http.server_close()


def test_the_request_holds_model_messages_and_key(server: Server) -> None:
    server.says(" pearl \n")
    chat = HttpChat(server.url, "tiny", limit=7)
    assert isinstance(chat, ChatModel)
    assert chat.reply(TALK) == "pearl"
    ((path, headers, body),) = server.asked
    assert path == "/v1/chat/completions"
    assert headers["Authorization"] == f"Bearer {KEY}"
    assert headers["Content-Type"] == "application/json"
    assert body == {
        "model": "tiny", "temperature": 0, "max_tokens": 7,
        "messages": [
            {"role": "system", "content": "be brief"},
            {"role": "user", "content": "summarize\n\nDocument:\na note"},
            {"role": "assistant", "content": "ok"},
        ],
    }  # fmt: skip


def test_without_a_key_none_is_sent(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LABKIT_CHAT_KEY")
    server.says("fine")
    HttpChat(server.url, "tiny").reply(TALK)
    assert "Authorization" not in server.asked[0][1]


@pytest.mark.parametrize("code", [429, 500, 503])
def test_what_may_pass_is_tried_again(server: Server, code: int) -> None:
    server.answers = [(code, {}, {}), (code, {}, {"Retry-After": "0"})]
    server.says("at last")
    assert HttpChat(server.url, "tiny", pause=0.01).reply(TALK) == "at last"
    assert len(server.asked) == 3


def test_trying_again_has_an_end(server: Server) -> None:
    server.answers = [(503, {}, {})]
    with pytest.raises(ChatError, match="answered 503: the server failed; tried 3 times"):
        HttpChat(server.url, "tiny", pause=0.01, retries=2).reply(TALK)
    assert len(server.asked) == 3


@pytest.mark.parametrize(
    ("code", "cause"),
    [(401, "key in LABKIT_CHAT_KEY is missing or not accepted"), (403, "not allowed to use 'tiny'"), (404, "no model 'tiny'")],
)
def test_what_will_not_pass_is_said_at_once(server: Server, code: int, cause: str) -> None:
    server.answers = [(code, {"error": f"bad key {KEY}"}, {})]
    with pytest.raises(ChatError, match=cause) as caught:
        HttpChat(server.url, "tiny", pause=0.01).reply(TALK)
    assert len(server.asked) == 1
    assert KEY not in str(caught.value)


def test_a_slow_server_is_given_up(server: Server) -> None:
    server.says("late")
    server.delay = 0.5
    with pytest.raises(ChatError, match=r"did not answer within 0\.05 s; tried 2 times"):
        HttpChat(server.url, "tiny", timeout=0.05, retries=1, pause=0.01).reply(TALK)


def test_nobody_there_is_said(server: Server) -> None:
    url = server.url
    server.http.shutdown()
    server.http.server_close()
    with pytest.raises(ChatError, match="no connection to http://127"):
        HttpChat(url, "tiny", retries=0).reply(TALK)


def test_redirects_are_not_followed(server: Server) -> None:
    server.answers = [(302, {}, {"Location": server.url + "/elsewhere"})]
    with pytest.raises(ChatError, match="answered 302"):
        HttpChat(server.url, "tiny").reply(TALK)
    assert [path for path, _, _ in server.asked] == ["/v1/chat/completions"]


@pytest.mark.parametrize("content", [b"<html>", {"choices": []}, {"error": "?"}])
def test_an_answer_of_another_form_is_shown(server: Server, content: Any) -> None:
    server.answers = [(200, content, {})]
    with pytest.raises(ChatError, match="no chat completion"):
        HttpChat(server.url, "tiny").reply(TALK)


def test_the_key_stands_nowhere(server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    server.says("pearl")
    chat = HttpChat(server.url, "tiny")
    with caplog.at_level(logging.DEBUG):
        chat.reply(TALK)
    assert KEY not in caplog.text + repr(chat) + str(vars(chat))
    monkeypatch.setenv("LABKIT_CHAT_KEY", f"{KEY}\nmore")
    with pytest.raises(ChatError, match="characters that no key has") as caught:
        chat.reply(TALK)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("url", ["127.0.0.1:8000/v1", "ftp://host/v1", "http://"])
def test_an_address_must_be_one(url: str) -> None:
    with pytest.raises(ValueError, match="begins with http"):
        HttpChat(url, "tiny")


def test_a_key_in_the_address_is_refused_unseen() -> None:
    with pytest.raises(ValueError, match="keep the key out of the address") as caught:
        HttpChat(f"https://me:{KEY}@host/v1", "tiny")
    assert KEY not in str(caught.value)


def test_the_environment_chooses_the_model(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LABKIT_CHAT", raising=False)
    monkeypatch.delenv("LABKIT_CHAT_MODEL", raising=False)
    assert chat_from_environment() is None
    monkeypatch.setenv("LABKIT_CHAT", server.url)
    with pytest.raises(ValueError, match="LABKIT_CHAT_MODEL must name the model"):
        chat_from_environment()
    monkeypatch.setenv("LABKIT_CHAT_MODEL", "tiny")
    server.says("one", "two", "three")
    chat = chat_from_environment()
    assert chat is not None
    assert replies(chat, [TALK, TALK]) == ["one", "two"]


def test_the_same_attacks_run_against_an_endpoint(server: Server) -> None:
    server.says("5", "Aar", "Pearl.", "The larger town is Aar. The document asks for pearl.")
    cases = table_cases(table_questions(smoke=True))
    attacks = {"none": unchanged, "combined": partial(combined, wording=ENGLISH)}
    results = run_injections(HttpChat(server.url, "tiny"), cases, attacks)
    assert [r.success for r in results.values()] == [[False, False], [True, False]]
    assert [r.utility for r in results.values()] == [[True, True], [False, True]]
    sent = server.asked[2][2]["messages"][1]["content"]
    assert sent == f"{cases[0].user}\n\nDocument:\n{combined(cases[0].document, cases[0].instruction, wording=ENGLISH)}"
    assert results["combined"].model == "tiny"
