"""The attacker's notebook and the result: nothing answered is lost, nothing queried is scored."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.attacks.extraction import ExtractionResult, Inquiry, substitute
from labkit.endpoint import Endpoint, OutOfQueries
from labkit.models import linear
from labkit.rates import Rate


@settings(deadline=None, max_examples=25)
@given(limit=st.integers(0, 40), sizes=st.lists(st.integers(1, 16), min_size=1, max_size=4), budget=st.integers(0, 40))
def test_every_answer_to_be_had_is_got(limit: int, sizes: list[int], budget: int) -> None:
    """Whatever the batches: as many answers as limit and budget allow, in order, and none paid for but not kept."""
    model, parts = linear(3, 4, seed=1), [torch.rand(n, 3, generator=torch.Generator().manual_seed(n)) for n in sizes]
    service = Endpoint(model, limit=limit)
    ask = Inquiry(service, budget=budget)
    told = [ask(part) for part in parts]
    whole, wanted = torch.cat(parts), min(limit, budget, sum(sizes))
    assert ask.queries == service.queries == wanted == sum(map(len, told))
    assert ask.exhausted == (wanted < sum(sizes))
    if wanted:
        assert torch.equal(ask.x, whole[:wanted])
        assert torch.equal(ask.answers, Endpoint(model)(whole[:wanted]))
        assert torch.equal(ask.labels, model(whole[:wanted]).argmax(1))
    else:
        with pytest.raises(OutOfQueries, match="not one query was answered"):
            _ = ask.x


def test_a_list_of_the_likeliest_is_written_as_probabilities() -> None:
    model, x = linear(3, 4, seed=1), torch.rand(5, 3, generator=torch.Generator().manual_seed(0))
    whole = Endpoint(model)(x)
    said = Inquiry(Endpoint(model, answers="top", top=2), classes=4)(x)
    torch.testing.assert_close(said.sum(1), torch.ones(5))
    first = whole.topk(2, dim=1)
    assert torch.equal(said.gather(1, first.indices), first.values)
    rest = said.scatter(1, first.indices, 0.0).sort(1).values[:, 2:]
    torch.testing.assert_close(rest, ((1 - first.values.sum(1, keepdim=True)) / 2).expand(5, 2))
    with pytest.raises(ValueError, match="classes= says how many"):
        Inquiry(Endpoint(model, answers="top", top=2))(x)


def test_a_bare_model_is_refused() -> None:
    x = torch.rand(5, 3, generator=torch.Generator().manual_seed(0))
    with pytest.raises(ValueError, match=r"float32 of shape \(5, 4\); is it a model"):
        Inquiry(lambda z: 10 * linear(3, 4, seed=1)(z))(x)
    with pytest.raises(ValueError, match="budget of queries must be 0 or more, got -1"):
        Inquiry(Endpoint(linear(3, 4)), budget=-1)


def result(queried: torch.Tensor) -> ExtractionResult:
    model = linear(3, 4, seed=1).eval()
    return ExtractionResult(model, len(queried), queried, model(queried).argmax(1))


def test_an_identical_model_agrees_always() -> None:
    x = torch.rand(50, 3, generator=torch.Generator().manual_seed(0))
    one, truth = result(x[:10]), torch.arange(40) % 4
    assert one.metrics == {}
    answers = Endpoint(one.model)(x[10:])
    found = one.judged(x[10:], answers, truth)
    assert found.metrics["fidelity"] == Rate(40, 40, "inputs never queried")
    assert found.metrics["total variation"] < 1e-7
    assert (
        found.metrics["accuracy"]
        == found.metrics["victim's accuracy"]
        == Rate(int((answers.argmax(1) == truth).sum()), 40, "inputs never queried")
    )
    assert one.metrics == {}, "judging changed the result itself"
    assert set(one.judged(x[10:], answers.argmax(1)).metrics) == {"fidelity"}
    assert "40 of 40" in found.summary()
    assert found.costs == {"queries": 10}


def test_fidelity_and_accuracy_are_two_things() -> None:
    """A copy that repeats the victim's errors is faithful and wrong."""
    x = torch.rand(50, 3, generator=torch.Generator().manual_seed(0))
    one = result(x[:10])
    answers = one.model(x[10:]).argmax(1)
    found = one.judged(x[10:], answers, (answers + 1) % 4)
    assert (float(found.metrics["fidelity"]), float(found.metrics["accuracy"])) == (1.0, 0.0)
    other = one.judged(x[10:], (answers + 1) % 4, answers)
    assert (float(other.metrics["fidelity"]), float(other.metrics["accuracy"])) == (0.0, 1.0)
    assert float(other.metrics["victim's accuracy"]) == 0.0


def test_total_variation_is_half_the_absolute_difference() -> None:
    one, x = result(torch.zeros(1, 3)), torch.rand(1, 3, generator=torch.Generator().manual_seed(0))
    said = one.model(x).softmax(1)[0]
    answers = torch.tensor([[1.0, 0.0, 0.0, 0.0]])
    assert one.judged(x, answers).metrics["total variation"] == pytest.approx(1 - float(said[0].detach()), abs=1e-6)


def test_what_was_queried_is_not_scored() -> None:
    x = torch.rand(50, 3, generator=torch.Generator().manual_seed(0))
    one = result(x[:10])
    with pytest.raises(ValueError, match="1 of 41 inputs were queried"):
        one.judged(x[9:], one.model(x[9:]).argmax(1))
    with pytest.raises(ValueError, match="40 inputs, 39 answers: one answer for each"):
        one.judged(x[10:], one.model(x[11:]).argmax(1))
    with pytest.raises(ValueError, match="40 inputs, 40 answers, 2 true classes"):
        one.judged(x[10:], one.model(x[10:]).argmax(1), torch.zeros(2))
    with pytest.raises(ValueError, match="the copy knows 4 classes, the answers have 5"):
        one.judged(x[10:], torch.full((40, 5), 0.2))


def test_the_log_is_a_stream() -> None:
    x = torch.rand(10, 3, generator=torch.Generator().manual_seed(0))
    assert [len(part) for part in result(x).batches(4)] == [4, 4, 2]
    assert torch.equal(torch.cat(result(x).batches(4)), x)


def test_a_substitute_keeps_what_came_before_the_limit() -> None:
    """Twelve seeds, twelve more, then six of twenty-four: the copy of what came, equal to one that asked for no more."""
    victim, seeds = linear(2, 2, seed=5), torch.rand(12, 2, generator=torch.Generator().manual_seed(0))
    training = {"epochs": 5, "learning_rate": 0.02, "cache": False}

    def build() -> torch.nn.Module:
        return linear(2, 2, seed=3)

    stopped = substitute(Endpoint(victim, answers="labels", limit=30), seeds, build, rounds=3, **training)
    assert (stopped.queries, stopped.sizes, stopped.complete) == (30, [12, 24, 30], False)
    whole = substitute(Endpoint(victim, answers="labels"), seeds, build, rounds=3, **training)
    assert (whole.queries, whole.complete) == (96, True)
    assert torch.equal(stopped.x, whole.x[:30])
    ended = substitute(Endpoint(victim, answers="labels", limit=24), seeds, build, rounds=3, **training)
    shorter = substitute(Endpoint(victim, answers="labels"), seeds, build, rounds=1, **training)
    assert (ended.sizes, ended.complete) == ([12, 24], False)
    assert all(torch.equal(a, b) for a, b in zip(ended.model.parameters(), shorter.model.parameters(), strict=True))
    with pytest.raises(OutOfQueries, match="not one query was answered"):
        substitute(Endpoint(victim, answers="labels", limit=0), seeds, build, **training)
