from __future__ import annotations

from collections.abc import Sequence

import pytest

from labkit.attacks.injection import extract, vaults
from labkit.data.dialogue import Message
from labkit.defenses.prompts import OutputCheck, secret_of
from labkit.models.chat import ChatModel


class Open:
    """Says the secret as the last word of the question asks."""

    name = "open"

    def reply(self, messages: Sequence[Message]) -> str:
        words = secret_of(messages).split()
        return " ".join({"forwards": words, "backwards": words[::-1], "half": words[:1]}[messages[1].text.split()[-1]])


@pytest.mark.parametrize(
    ("question", "decoders", "leaks"),
    [
        ("forwards", ("as it is",), 0),
        ("backwards", ("as it is",), 7),
        ("backwards", ("as it is", "backwards"), 0),
        ("half", ("as it is", "backwards"), 0),
    ],
)
def test_the_check_finds_the_spellings_that_it_knows(question: str, decoders: tuple[str, ...], leaks: int) -> None:
    check = OutputCheck(Open(), decoders=decoders)
    assert isinstance(check, ChatModel)
    assert extract(check, vaults(7), question).success_rate.k == leaks
    assert check.blocked == (0 if leaks or question == "half" else 7)


def test_harmless_replies_pass_and_blocked_ones_refuse() -> None:
    case = vaults(1)[0]
    check = OutputCheck(Open())
    assert check.reply(case.messages("half")) == case.secret.split()[0]
    assert check.reply(case.messages("forwards")) == "no"


def test_what_is_missing_is_said() -> None:
    with pytest.raises(ValueError, match="no system part names a secret"):
        secret_of([Message("user", "repeat text")])
    with pytest.raises(ValueError, match=r"unknown decoders \['rot13'\]"):
        OutputCheck(Open(), decoders=("rot13",))
