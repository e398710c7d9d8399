"""Attribute inference on tables where the answer is known: the model is the field, or has nothing to do with it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from labkit.attacks.inversion import AttributeResult, confusion_of, from_prior, impute, infer_attribute
from labkit.endpoint import Endpoint
from labkit.rates import Rate
from labkit.seeding import generator


def table(count: int = 400, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Records (N, 3): the sensitive bit, an unrelated number, a copy of the bit that is wrong in a tenth."""
    source = generator(seed, "table")
    bit = (torch.rand(count, generator=source) < 0.4).long()
    copy = torch.where(torch.rand(count, generator=source) < 0.1, 1 - bit, bit)
    return torch.stack([bit.float(), torch.rand(count, generator=source), copy.float()], 1), bit


def fill(x: Tensor, value: int) -> Tensor:
    x = x.clone()
    x[:, 0] = value
    return x


def by(column: int, sharpness: float = 8.0) -> object:
    def model(x: Tensor) -> Tensor:
        logit = sharpness * (x[:, column] - 0.5)
        return torch.stack([-logit, logit], 1)

    return model


HALF = torch.tensor([0.5, 0.5])


def hidden(x: Tensor) -> Tensor:
    """What the attacker knows: the sensitive field is overwritten."""
    x = x.clone()
    x[:, 0] = torch.nan
    return x


def test_a_model_that_is_the_field_tells_it_all() -> None:
    x, bit = table()
    found = infer_attribute(by(0), hidden(x), bit, fill, torch.tensor([0.6, 0.4]), truth=bit)  # type: ignore[arg-type]
    assert found.metrics["guessed right"] == Rate(400, 400, "records")
    assert found.costs == {"queries": 800}
    labels = infer_attribute(by(0), hidden(x), bit, fill, HALF, confusion=confusion_of(by(0), x, bit, 2), truth=bit)  # type: ignore[arg-type]
    assert labels.metrics["guessed right"] == Rate(400, 400, "records")


def test_a_model_that_ignores_the_field_adds_nothing() -> None:
    x, bit = table()
    y = (x[:, 1] > 0.5).long()
    for prior in (torch.tensor([0.6, 0.4]), impute(x[:, 1:], bit, x[:, 1:], 2)):
        found = infer_attribute(by(1), hidden(x), y, fill, prior, truth=bit)  # type: ignore[arg-type]
        without = from_prior(prior, len(x), truth=bit)
        assert torch.equal(found.guess, without.guess)
        assert found.advantage(without) == (0.0, (0.0, 0.0))


def test_the_posterior_is_bayes() -> None:
    x, _ = table(5)
    prior = torch.tensor([0.7, 0.3], dtype=torch.float64)
    found = infer_attribute(by(0, 1.0), hidden(x), torch.ones(5, dtype=torch.int64), fill, prior)  # type: ignore[arg-type]
    p = torch.tensor([-1.0, 1.0], dtype=torch.float64).sigmoid()  # p(y = 1) with the bit 0 and 1: logits -1/2, 1/2 against each other
    assert torch.allclose(found.posterior, (p * prior / (p * prior).sum()).expand(5, 2), atol=1e-6)


def test_imputation_finds_what_the_other_fields_tell() -> None:
    (x, bit), (other, theirs) = table(), table(seed=1)
    guesses = from_prior(impute(other[:, 1:], theirs, x[:, 1:], 2), len(x), truth=bit)
    assert 0.85 < float(guesses.metrics["guessed right"]) < 0.95
    few = impute(other[:, 1:], theirs * 2, x[:, 1:], 3)
    assert bool((few[:, 1] == 0).all())
    assert torch.allclose(few.sum(1), torch.ones(len(x), dtype=torch.float64))
    with pytest.raises(ValueError, match=r"only the value \[0\]"):
        impute(other[:, 1:], theirs * 0, x[:, 1:], 2)


def test_categories_are_written_as_indicators() -> None:
    source = generator(3, "kinds")
    kind = torch.randint(0, 3, (300, 1), generator=source)
    field = torch.tensor([0, 1, 0])[kind[:, 0]]  # the middle category: no straight line in its number tells
    as_number = from_prior(impute(kind.float(), field, kind.float(), 2), 300, truth=field)
    as_kind = from_prior(impute(kind.float(), field, kind.float(), 2, categorical=(0,)), 300, truth=field)
    assert int(as_kind.right.sum()) == 300 > int(as_number.right.sum())


def test_queries_are_those_of_the_service() -> None:
    x, bit = table(50)
    service = Endpoint(by(0))  # type: ignore[arg-type]
    found = infer_attribute(service.as_model(), hidden(x), bit, fill, HALF, truth=bit)
    assert service.queries == found.queries == 100
    assert int(found.right.sum()) == 50


def test_an_advantage_compares_the_same_people() -> None:
    truth = torch.tensor([0, 1, 1, 0] * 50)
    right, wrong = (AttributeResult(torch.nn.functional.one_hot(g, 2).double(), 0, truth) for g in (truth, 1 - truth))
    gain, (low, high) = right.advantage(wrong)
    assert (gain, low, high) == (1.0, 1.0, 1.0)
    members = right.on(torch.arange(10))
    assert members.metrics["guessed right"] == Rate(10, 10, "records")
    with pytest.raises(ValueError, match="same records"):
        right.advantage(members)
    with pytest.raises(ValueError, match="takes the truth"):
        _ = AttributeResult(right.posterior, 0).right


def test_what_is_no_prior_is_refused() -> None:
    x, bit = table(4)
    with pytest.raises(ValueError, match="sum to"):
        infer_attribute(by(0), x, bit, fill, torch.tensor([0.5, 0.6]))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"prior must be \(V,\)"):
        infer_attribute(by(0), x, bit, fill, torch.full((3, 2), 0.5))  # type: ignore[arg-type]


def test_answers_that_are_impossible_leave_the_prior() -> None:
    x, bit = table(3)
    never = torch.tensor([[1.0, 0.0], [1.0, 0.0]], dtype=torch.float64)
    found = infer_attribute(by(0), hidden(x), bit, fill, torch.tensor([0.3, 0.7]), confusion=never * 0)  # type: ignore[arg-type]
    assert torch.allclose(found.posterior, torch.tensor([0.3, 0.7], dtype=torch.float64).expand(3, 2), atol=1e-6)
