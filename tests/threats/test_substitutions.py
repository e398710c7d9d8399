from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.data.text import encode
from labkit.threats import Substitutions

TABLE = {"a": ("b", "c d"), "b": ("a", "a a"), "c": ("d",), "d": ()}


def near(word: str) -> tuple[str, ...]:
    return TABLE.get(word, ())


texts = st.lists(st.sampled_from("abcd"), min_size=1, max_size=6)


@given(texts, st.data())
@settings(max_examples=60, deadline=None)
def test_the_distance_is_never_more_than_what_was_done(words: list[str], data: st.DataObject) -> None:
    new = [data.draw(st.sampled_from((word, *near(word)))) for word in words]
    done = sum(a != b for a, b in zip(new, words, strict=True))
    threat, x, x_adv = Substitutions(near), [" ".join(words)], [" ".join(new)]
    distance = float(threat.distance(x_adv, x))
    assert 0 <= distance <= done
    assert (distance == 0) == (x_adv == x)
    assert bool(Substitutions(near, words=done).contains(x_adv, x))
    assert not bool(Substitutions(near, words=int(distance) - 1).contains(x_adv, x)) if distance else True
    assert torch.equal(threat.distance(encode(x_adv), encode(x)), threat.distance(x_adv, x)), "bytes and strings are the same texts"


def test_what_is_not_allowed_is_infinitely_far() -> None:
    threat = Substitutions(near)
    found = threat.distance(["a b", "c d b", "d", "a b a", "c"], ["a b", "a b", "c", "a b", "d"])
    assert found.tolist() == [0, 1, 1, math.inf, math.inf]
    assert threat.contains(["c"], ["d"]).tolist() == [False]
    kept = Substitutions(near, fixed=lambda word: word == "a")
    assert kept.distance(["b b", "a a"], ["a b", "a b"]).tolist() == [math.inf, 1]
    assert kept.allowed("a") == ()


@pytest.mark.parametrize(("options", "budgets"), [
    ({"words": 2}, [1, 2, 2]), ({"share": 0.25}, [1, 1, 2]), ({"share": 0.0}, [0, 0, 0]), ({"share": 1.0}, [1, 4, 8]), ({}, [1, 4, 8]),
])  # fmt: skip
def test_budgets(options: dict[str, float], budgets: list[int]) -> None:
    threat = Substitutions(near, **options)
    assert [threat.budget(" ".join("a" * n)) for n in (1, 4, 8)] == budgets


def test_bad_budgets_are_explained() -> None:
    with pytest.raises(ValueError, match="not both; got words=1 and share"):
        Substitutions(near, words=1, share=0.5)
    with pytest.raises(ValueError, match="words must be 0 or more, got -1"):
        Substitutions(near, words=-1)
    with pytest.raises(ValueError, match=r"between 0 and 1; got 30"):
        Substitutions(near, share=30)
    assert str(Substitutions(near, words=1)) == "Substitutions(at most 1 word)"
    assert "30%" in str(Substitutions(near, share=0.3))
