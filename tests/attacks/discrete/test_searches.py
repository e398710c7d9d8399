"""Where the truth is known: on a bag of words the best replacements add up, so greedy is brute force."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labkit.attacks.discrete import (
    Game,
    Over,
    apart,
    at_random,
    beam,
    by_gradient,
    by_importance,
    exhaustive,
    genetic,
    greedy,
    replace_words,
)
from labkit.attacks.goals import Untargeted
from labkit.models.text import TextClassifier
from labkit.threats import Substitutions

from .conftest import WORDS


class Never(Untargeted):
    """A goal that is never met: the search goes on until the best is found."""

    def met(self, x_adv: torch.Tensor, logits: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return torch.zeros(len(logits), dtype=torch.bool)


def next_two(word: str) -> tuple[str, ...]:
    """Two neighbors of each of the ten words."""
    at = WORDS.index(word)
    return WORDS[(at + 1) % 10], WORDS[(at + 3) % 10]


def play(model: object, text: str, words: int, search: object, y: int = 0) -> Game:
    game = Game(model, text, y, Substitutions(next_two, words=words), Never())
    try:
        search(game)
    except Over:
        pytest.fail("nothing ends this game early")
    return game


texts = st.lists(st.sampled_from(WORDS), min_size=1, max_size=6).map(" ".join)


@given(texts, st.integers(0, 3), st.integers(0, 1))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_greedy_is_brute_force_on_a_bag_of_words(linear: TextClassifier, text: str, words: int, y: int) -> None:
    weight = linear.network.embed.weight.detach()
    number = linear.vocabulary.number
    gain = [max(0.0, *(float((weight[number(n)] - weight[number(w)]) @ torch.tensor([-1.0, 1.0], dtype=torch.float64)) * (1 - 2 * y)
                       for n in next_two(w))) for w in text.split()]  # fmt: skip
    known = sum(sorted(gain)[::-1][:words])
    for search in (greedy, partial(beam, width=3), exhaustive, partial(by_gradient, reader=linear)):
        game = play(linear, text, words, search, y)
        first = float(game.score(linear([text]).detach())[0])
        assert game.best_score - first == pytest.approx(known, abs=1e-9), search
        assert len(game.changed(game.best)) <= words


@given(texts)
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_search_beats_brute_force_and_none_leaves_the_threat(curved: TextClassifier, text: str) -> None:
    truth = play(curved, text, 2, exhaustive).best_score
    for search in (greedy, partial(beam, width=4), by_importance, partial(by_gradient, reader=curved), partial(at_random, tries=20),
                   partial(genetic, population=6, generations=4)):  # fmt: skip
        game = play(curved, text, 2, search)
        assert game.best_score <= truth + 1e-12
        assert bool(game.threat.contains([" ".join(game.best)], [text]).all())
    assert play(curved, text, 2, partial(beam, width=1)).best == play(curved, text, 2, greedy).best


def test_a_wide_beam_is_brute_force_where_pairs_count() -> None:
    """Two changes that help only together: greedy gives up, a beam does not see it either, brute force does."""

    def together(texts: list[str]) -> torch.Tensor:
        both = torch.tensor([float("beta" in t.split() and "delta" in t.split()) for t in texts])
        return torch.stack([1 - 2 * both, torch.zeros(len(texts))], 1)

    threat = Substitutions(lambda word: {"alpha": ("beta",), "gamma": ("delta",)}.get(word, ()), words=2)
    y = torch.tensor([0])
    assert not replace_words(together, ["alpha gamma"], y, threat, search=greedy).success.any()
    found = replace_words(together, ["alpha gamma"], y, threat, search=exhaustive)
    assert found.texts_adv == ["beta delta"]
    assert found.changed.tolist() == [2]
    bred = replace_words(together, ["alpha gamma"], y, threat, search=partial(genetic, population=4, generations=6))
    assert bred.texts_adv == ["beta delta"], "it keeps changes that do not help yet"


def chain(texts: list[str]) -> torch.Tensor:
    """Three good words win; one or two of them lose a little, where each of two decoys gains a little."""
    good, decoys = (torch.tensor([float(t.count(sign)) for t in texts]) for sign in "+-")
    return torch.stack([torch.where(good == 3, -1.0, 1 + 0.1 * good - 0.1 * decoys), torch.zeros(len(texts))], 1)


def test_breeding_crosses_a_valley_that_greedy_and_beam_do_not() -> None:
    """The winner is known by brute force: three words of five, and every way to it leads through worse texts."""
    text, threat = "a b c d e", Substitutions(lambda word: (word + ("+" if word in "ace" else "-"),), words=3)
    truth = replace_words(chain, [text], torch.tensor([0]), threat, search=exhaustive)
    assert truth.texts_adv == ["a+ b c+ d e+"]
    for search in (greedy, partial(beam, width=4), by_importance):
        assert not replace_words(chain, [text], torch.tensor([0]), threat, search=search).success.any()
    bred = [replace_words(chain, [text], torch.tensor([0]), threat, search=partial(genetic, population=12), seed=seed) for seed in range(5)]
    assert [one.texts_adv for one in bred] == [truth.texts_adv] * 5


def test_breeding_stays_within_the_budget_and_the_constraints_in_every_question() -> None:
    seen: list[list[str]] = []

    def model(texts: list[str]) -> torch.Tensor:
        seen.extend(t.split() for t in texts)
        return torch.stack([torch.ones(len(texts)), torch.tensor([t.count("+") / 10 for t in texts])], 1)

    threat = Substitutions(lambda word: (word + "+", word + "++"), words=2)
    old = ("a", "b", "c", "d", "e", "f")
    game = Game(model, " ".join(old), 0, threat, Never(), constraints=[apart])
    genetic(game, population=8, generations=8)
    assert max(sum(new != was for new, was in zip(words, old, strict=True)) for words in seen) == 2
    assert all(apart(old, tuple(words)) for words in seen)
    assert game.best_score == pytest.approx(-0.6)
    still = Game(model, "a", 0, Substitutions(lambda word: (), words=2), Never())
    genetic(still)
    assert still.queries == 1, "nothing may change: there is nothing to breed"
    for options in ({"population": 1}, {"generations": 0}):
        with pytest.raises(ValueError, match="a population of 2 or more and 1 generation or more are needed"):
            genetic(still, **options)


def test_importance_asks_once_per_word_and_once_per_neighbor(linear: TextClassifier) -> None:
    text = "alpha beta gamma delta"
    assert play(linear, text, 2, partial(by_importance, rank="random")).queries <= 1 + 4 * 2
    game = Game(linear, text, 0, Substitutions(next_two, words=0), Never())
    by_importance(game)
    assert game.queries == 1, "without a budget there is nothing to rank"
    game = Game(linear, text, 0, Substitutions(lambda word: (), words=4), Never())
    by_importance(game)
    assert game.queries == 1
    with pytest.raises(ValueError, match="rank must be"):
        by_importance(game, rank="loud")
    with pytest.raises(ValueError, match="width must be 1 or more, got 0"):
        beam(game, width=0)


def test_deletion_ranks_by_what_the_word_carries(linear: TextClassifier) -> None:
    """On a bag of words leaving a word out costs its own weight: the first word replaced is the one that carries most for the label."""
    weight = linear.network.embed.weight.detach()
    carried = {word: float(weight[linear.vocabulary.number(word)] @ torch.tensor([1.0, -1.0], dtype=torch.float64)) for word in WORDS}
    game = Game(linear, " ".join(WORDS), 0, Substitutions(lambda word: ("unheard",), words=1), Never(), keep=True)
    by_importance(game)
    heaviest = max(carried, key=lambda word: carried[word])
    assert game.log is not None
    assert game.log[11] == " ".join("unheard" if word == heaviest else word for word in WORDS)


def test_brute_force_refuses_what_it_cannot_do(linear: TextClassifier) -> None:
    many = Substitutions(lambda word: tuple(f"w{i}" for i in range(400)), words=2)
    with pytest.raises(ValueError, match="too many to try them all"):
        exhaustive(Game(linear, "alpha beta gamma", 0, many, Never()))
