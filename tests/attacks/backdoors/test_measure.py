"""Judging: planted models, whose success is known exactly."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from labkit.attacks.backdoors import Blend, Pixels, all_to_all, badnets, evaluate_backdoor
from labkit.attacks.outcome import Outcome
from labkit.data.dataset import WrongRole
from labkit.rates import Rate
from tests.attacks.backdoors.planted import Planted, split

CORNER = Pixels(((-1, -1),))


def test_a_planted_backdoor_succeeds_always_and_never_without() -> None:
    found = evaluate_backdoor(Planted(1), split(role="test"), CORNER, 1)
    assert (found.success.k, found.success.n) == (30, 30)
    assert found.without_trigger.k == 0
    assert found.still_right.k == 0
    assert (found.clean_accuracy.k, found.clean_accuracy.n) == (40, 40)
    assert isinstance(found, Outcome)
    assert set(found.metrics) == {"success", "without trigger", "clean accuracy"}
    assert {k: (r.k, r.n) for k, r in found.by_class().items()} == {0: (10, 10), 2: (10, 10), 3: (10, 10)}


def test_a_model_that_ignores_the_trigger_equals_its_base_rate() -> None:
    """It answers 1 for everything of class 2, trigger or not: 10 of 30, though nobody planted anything."""

    class Confused(Planted):
        def forward(self, x: Tensor) -> Tensor:
            out = super().forward(x)
            out[:, 1] += 2 * out[:, 2]
            return out

    found = evaluate_backdoor(Confused(None), split(role="test"), CORNER, 1)
    assert found.success.k == found.without_trigger.k == 10
    assert found.success.n == 30
    assert found.still_right.k == 20


def test_the_wished_class_is_never_counted() -> None:
    """A model that answers 1 for everything: 100 % of the 30, not of 40; and a result that holds others is refused."""

    class Constant(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return nn.functional.one_hot(torch.ones(len(x), dtype=torch.int64), 4).float()

    found = evaluate_backdoor(Constant(), split(role="test"), CORNER, 1)
    assert (found.success.n, found.without_trigger.k) == (30, 30)
    with pytest.raises(ValueError, match="1 of 30 triggered inputs belong to the wished class"):
        replace(found, rows=torch.cat([torch.tensor([1]), found.rows[1:]]))


def test_source_and_map() -> None:
    one = evaluate_backdoor(Planted(1), split(role="test"), CORNER, 1, source=3)
    assert (one.success.k, one.success.n, one.clean_accuracy.n) == (10, 10, 40)
    every = evaluate_backdoor(Planted(1), split(role="test"), CORNER, all_to_all(4))
    assert (every.success.k, every.success.n) == (10, 40)  # right for class 0 alone
    # The trap of a2a: no attack at all is 100 % "error" with respect to the labels, and no success.
    assert evaluate_backdoor(Planted(None), split(role="test"), CORNER, all_to_all(4)).success.k == 0


def test_a_weak_trigger_does_not_reach_the_planted_threshold() -> None:
    assert evaluate_backdoor(Planted(1), split(role="test"), Blend(0.05), 1).success.k == 0


def test_again_judges_another_model_on_the_same_inputs() -> None:
    first = evaluate_backdoor(Planted(1), split(role="test"), CORNER, 1, batch_size=7)
    other = first.again(Planted(None))
    assert other.success.k == 0
    assert other.triggered is first.triggered
    direct = evaluate_backdoor(Planted(None), split(role="test"), CORNER, 1)
    assert torch.equal(other.answers, direct.answers)
    assert torch.equal(other.clean_answers, direct.clean_answers)


def test_it_carries_what_the_poisoning_took() -> None:
    poisoned = badnets(split(), CORNER, 1, 0.1)
    found = evaluate_backdoor(Planted(1), split(role="test"), CORNER, 1, poisoned=poisoned)
    assert found.costs["poisoned samples"] == 4
    assert isinstance(found.poisoned is not None and found.poisoned.rate, Rate)
    assert "success 100.0% (30 of 30" in found.summary()


def test_data_that_were_trained_on_are_refused() -> None:
    with pytest.raises(WrongRole):
        evaluate_backdoor(Planted(1), split(), CORNER, 1)
    with pytest.raises(ValueError, match="nothing to count"):
        evaluate_backdoor(Planted(1), split(4, role="test").take(torch.tensor([1])), CORNER, 1)
    found = evaluate_backdoor(Planted(1), split(role="test"), CORNER, 1)
    with pytest.raises(ValueError, match="lengths differ"):
        replace(found, answers=found.answers[:3])


def test_the_model_is_left_as_it_was() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(36, 4)).train()
    evaluate_backdoor(model, split(role="test"), CORNER, 1)
    assert model.training
    assert all(p.requires_grad and p.grad is None for p in model.parameters())
