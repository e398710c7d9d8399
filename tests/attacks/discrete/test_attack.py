from __future__ import annotations

from functools import partial

import pytest
import torch

from labkit.attacks.discrete import apart, at_random, beam, by_gradient, by_importance, edits_at_most, genetic, greedy, replace_words
from labkit.models.text import TextClassifier
from labkit.threats import L2, Substitutions

from .conftest import WORDS
from .test_searches import next_two

TEXTS = ["alpha beta gamma delta", "eta theta iota", "kappa alpha kappa", "zeta", "beta gamma zeta eta iota kappa"]
SEARCHES = [greedy, partial(beam, width=3), by_importance, partial(by_importance, rank="blank"), partial(at_random, tries=15),
            partial(genetic, population=5, generations=4)]  # fmt: skip


@pytest.mark.parametrize("search", SEARCHES)
def test_the_counter_counts_what_the_model_answered(linear: TextClassifier, counting: type, search: object) -> None:
    y = linear(TEXTS).argmax(1)
    model = counting(linear)
    result = replace_words(model, TEXTS, y, Substitutions(next_two, words=2), search=search, keep_logs=True)
    assert len(model.asked) == int(result.queries.sum()) + len(TEXTS), "one verifying answer for each text"
    assert [len(log) for log in result.logs] == result.queries.tolist()
    assert all(len(set(log)) == len(log) for log in result.logs), "no text was asked twice"
    again = replace_words(linear, TEXTS, y, Substitutions(next_two, words=2), search=search)
    assert again.texts_adv == result.texts_adv
    alone = [replace_words(linear, [t], y[i : i + 1], Substitutions(next_two, words=2), search=search) for i, t in enumerate(TEXTS)]
    assert [one.texts_adv[0] for one in alone] == result.texts_adv, "a result must not depend on its neighbors"
    assert [int(one.queries) for one in alone] == result.queries.tolist()


@pytest.mark.parametrize("limit", [1, 2, 3, 7])
@pytest.mark.parametrize("search", SEARCHES)
def test_a_limit_is_kept_and_what_was_found_stays(linear: TextClassifier, search: object, limit: int) -> None:
    y = linear(TEXTS).argmax(1)
    result = replace_words(linear, TEXTS, y, Substitutions(next_two, words=2), search=search, queries=limit)
    assert int(result.queries.max()) <= limit
    free = replace_words(linear, TEXTS, y, Substitutions(next_two, words=2), search=search)
    assert not bool((result.success & ~free.success).any())
    if limit == 1:
        assert result.texts_adv == TEXTS


def test_success_is_verified_and_what_was_met_before_is_left_alone(linear: TextClassifier) -> None:
    right = linear(TEXTS).argmax(1)
    y = torch.where(torch.arange(5) == 1, 1 - right, right)
    result = replace_words(linear, TEXTS, y, Substitutions(next_two))
    assert result.already.tolist() == [False, True, False, False, False]
    assert result.texts_adv[1] == TEXTS[1]
    assert int(result.queries[1]) == 1
    answers = linear(result.texts_adv).argmax(1)
    assert torch.equal(result.success, answers != y)
    assert torch.equal(result.prediction, answers)
    assert torch.equal(result.changed.double(), result.threat.distance(result.texts_adv, TEXTS))
    assert bool(result.success.sum() > result.already.sum()), "the trial shows nothing if nothing is turned"


def test_a_target_is_reached_or_not(linear: TextClassifier) -> None:
    y = linear(TEXTS).argmax(1)
    wanted = replace_words(linear, TEXTS, y, Substitutions(next_two), target=1 - y)
    other = replace_words(linear, TEXTS, y, Substitutions(next_two))
    assert torch.equal(wanted.success, other.success), "with two classes, wrong is the other one"
    with pytest.raises(ValueError, match="does not measure accuracy"):
        _ = wanted.accuracy_after


def test_constraints_are_obeyed_and_checked_again(linear: TextClassifier) -> None:
    text, y = [" ".join(WORDS)], torch.tensor([int(linear([" ".join(WORDS)]).argmax())])
    result = replace_words(linear, text, y, Substitutions(next_two), constraints=[apart], search=greedy)
    assert apart(tuple(text[0].split()), tuple(result.texts_adv[0].split()))
    tight = replace_words(linear, text, y, Substitutions(next_two), constraints=[edits_at_most(0)])
    assert tight.texts_adv == text

    def cheat(game: object) -> None:
        game.best = ("something", *game.words[1:])  # type: ignore[attr-defined]

    with pytest.raises(RuntimeError, match="not allowed by"):
        replace_words(linear, text, y, Substitutions(next_two), search=cheat)


def test_gradients_are_counted_and_save_queries(linear: TextClassifier) -> None:
    y = linear(TEXTS).argmax(1)
    hot = replace_words(linear, TEXTS, y, Substitutions(next_two, words=3), search=partial(by_gradient, reader=linear))
    asked = replace_words(linear, TEXTS, y, Substitutions(next_two, words=3), search=greedy)
    assert torch.equal(hot.success, asked.success)
    assert int(hot.gradients.sum()) > 0 == int(asked.gradients.sum())
    assert int(hot.queries.sum()) < int(asked.queries.sum())


def test_bad_input_is_explained(linear: TextClassifier) -> None:
    threat, y = Substitutions(next_two), torch.tensor([0])
    with pytest.raises(TypeError, match="threat must be Substitutions, got L2"):
        replace_words(linear, ["alpha"], y, L2(1.0))
    with pytest.raises(TypeError, match="put it in brackets"):
        replace_words(linear, "alpha", y, threat)
    with pytest.raises(TypeError, match="y must be an int64 tensor"):
        replace_words(linear, ["alpha"], y.double(), threat)
    with pytest.raises(ValueError, match=r"one label per text, got \(1,\)"):
        replace_words(linear, ["alpha", "beta"], y, threat)
    with pytest.raises(ValueError, match="1 of 1 targets equal the true label"):
        replace_words(linear, ["alpha"], y, threat, target=y)
    with pytest.raises(ValueError, match="logits of shape"):
        replace_words(lambda texts: torch.zeros(len(texts)), ["alpha"], y, threat)
