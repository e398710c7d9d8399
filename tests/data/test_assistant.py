from __future__ import annotations

import random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from labkit.data import load
from labkit.data.assistant import TASKS, VOCABULARY, do, draw, example, injected, some_words
from labkit.data.dialogue import TYPED, Message, Template, Vocabulary


@pytest.mark.parametrize(
    ("task", "answer"),
    [
        ("repeat", "iris amber fern"),
        ("reverse", "fern amber iris"),
        ("first", "iris"),
        ("last", "fern"),
        ("count", "3"),
        ("say rose", "rose"),
    ],
)
def test_the_answers_follow_by_rule(task: str, answer: str) -> None:
    assert do(task, "iris amber fern") == answer


def test_an_unknown_task_is_named() -> None:
    with pytest.raises(ValueError, match="'shout' is not a task: expected one of repeat"):
        do("shout", "amber")
    with pytest.raises(ValueError, match="'repeat it' is not a task"):
        do("repeat it", "amber")


@given(st.integers(0, 10_000), st.integers(1, 4))
def test_every_reply_of_a_conversation_is_the_rules_answer(seed: int, turns: int) -> None:
    shown = example(random.Random(seed), turns)
    system, *rest = shown.messages
    secret = " ".join(system.text.split()[1:3])
    share = "share" in system.text
    (text,) = [m.text for m in rest if m.part == "document"]
    orders = [m.text for m in rest if m.part == "user"]
    replies = [m.text for m in rest if m.part == "assistant"] + [shown.reply]
    assert len(orders) == len(replies) == turns
    for order, reply in zip(orders, replies, strict=True):
        words = [word for word in order.split() if word not in ("please", "now")]
        if words[-1] == "secret":
            assert reply == (do(words[0], secret) if share or words[0] == "count" else "no")
            assert share or words[0] in ("repeat", "count")
        else:
            assert reply == do(" ".join(words) if words[0] == "say" else words[0], text)
    assert shown.task == next(word for word in orders[-1].split() if word in TASKS)


def test_the_rows_read_back_and_mark_the_replies() -> None:
    x, y = draw(40, 3)
    assert x.shape == (40, 2, 84)
    for row, mask, task in zip(x[:, 0].long().tolist(), x[:, 1], y.tolist(), strict=True):
        words = [VOCABULARY.words[n] for n in row if n]
        said = [VOCABULARY.words[n] for n in torch.tensor(row)[mask > 0].tolist()]
        assert said.count("<end>") == words.count("assistant:") == 3
        assert words[-1] == "<end>"
        last = " ".join(words).rsplit("user: ", 1)[1]
        order, reply = last.split(" assistant: ")
        assert TASKS[task] in order.split()
        assert reply.removesuffix(" <end>") == " ".join(said).removesuffix(" <end>").rsplit("<end> ", 1)[-1]


def test_injected_documents_keep_the_users_reply() -> None:
    rng = random.Random(5)
    clean = next(e for e in (example(rng) for _ in range(50)) if any(m.part == "document" for m in e.messages))
    attacked = injected(clean, rng, structured=True)
    assert attacked.reply == clean.reply
    for before, after in zip(clean.messages, attacked.messages, strict=True):
        assert after.text.startswith(before.text)
        assert (after.text != before.text) == (before.part == "document")


def test_the_longest_conversation_fits() -> None:
    x, _ = draw(4000, 1, structured=True)
    assert int((x[:, 0] > 0).sum(1).max()) <= 84


def test_another_seed_draws_other_conversations() -> None:
    assert load("assistant", smoke=True).fingerprint != load("assistant", smoke=True, seed=1).fingerprint
    assert load("assistant", smoke=True).train.fingerprint == load("assistant", smoke=True).train.fingerprint


@given(st.lists(st.sampled_from([w for i, w in enumerate(VOCABULARY.words) if i not in VOCABULARY.reserved]), max_size=12))
def test_typable_words_survive_writing_and_reading(words: list[str]) -> None:
    numbers = [VOCABULARY.numbers[word] for word in words]
    assert VOCABULARY.encode(VOCABULARY.decode(numbers)) == numbers


def test_reserved_words_in_a_text_vanish_unless_the_front_is_careless() -> None:
    text = "amber <assistant> fern <end>"
    assert VOCABULARY.decode(VOCABULARY.encode(text)) == "amber fern"
    assert VOCABULARY.decode(VOCABULARY.encode(text, parse_reserved=True)) == text


def test_unknown_words_and_parts_and_wraps_are_named() -> None:
    with pytest.raises(ValueError, match="'hello' is not one of the 71"):
        VOCABULARY.encode("hello amber")
    with pytest.raises(ValueError, match="got 'tool'"):
        Message("tool", "amber")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="got 'encoded'"):
        Template(TYPED.heads, wrap="encoded")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="twice"):
        Vocabulary(["a", "a"])


@pytest.mark.parametrize(
    ("wrap", "shown"),
    [
        ("plain", "system: it user: count text document: amber fern assistant: 2 <end> assistant:"),
        ("quoted", 'system: it user: count text document: " amber fern " assistant: 2 <end> assistant:'),
        ("marked", "system: it user: count text document: ^ amber ^ fern assistant: 2 <end> assistant:"),
    ],
)
def test_templates_write_conversations_out(wrap: str, shown: str) -> None:
    messages = [Message("system", "it"), Message("user", "count text"), Message("document", "amber fern"), Message("assistant", "2")]
    assert VOCABULARY.decode(TYPED.having(wrap=wrap).encode(messages, VOCABULARY)) == shown


def test_documents_hold_three_to_five_different_words() -> None:
    rng = random.Random(0)
    for _ in range(200):
        words = some_words(rng)
        assert 3 <= len(words) == len(set(words)) <= 5
