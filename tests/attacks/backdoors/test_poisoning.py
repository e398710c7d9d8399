"""Poisoned sets: how many, which, with what label; the rest is as it was."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.attacks.backdoors import Pixels, Sinusoid, all_to_all, badnets, clean_label
from labkit.data.dataset import WrongRole
from labkit.models import mlp
from labkit.threats import Linf
from tests.attacks.backdoors.planted import split

CORNER = Pixels(((-1, -1),))


@given(rate=st.floats(0, 0.7), seed=st.integers(0, 50), add=st.booleans())
@settings(max_examples=20, deadline=None)
def test_as_many_as_the_rate_says_from_other_classes(rate: float, seed: int, add: bool) -> None:
    clean = split()
    found = badnets(clean, CORNER, 1, rate, add=add, seed=seed)
    rows = found.rows
    assert len(rows) == round(rate * 40)
    assert len(found) == 40 + (len(rows) if add else 0)
    assert bool((found.data.y[rows] == 1).all())
    assert not bool((found.original_y[rows] == 1).any())
    assert torch.equal(found.data.x[rows], CORNER(found.original_x[rows]))
    rest = ~found.poisoned
    assert torch.equal(found.data.x[rest], found.original_x[rest])
    assert torch.equal(found.data.y[rest], found.original_y[rest])
    assert torch.equal(found.clean.x, clean.x)
    assert torch.equal(found.clean.y, clean.y)
    assert found.clean.role == "train"
    assert found.data.role == "poisoned"
    assert not bool((found.changed_x ^ found.poisoned).any())


def test_a_larger_rate_chooses_the_same_and_more() -> None:
    small, large = (set(badnets(split(), CORNER, 0, rate, seed=3).rows.tolist()) for rate in (0.1, 0.3))
    assert small < large
    assert small != set(badnets(split(), CORNER, 0, 0.1, seed=4).rows.tolist())


def test_one_class_for_one_and_all_to_all() -> None:
    one = badnets(split(), CORNER, 3, 0.2, source=2)
    assert set(one.original_y[one.rows].tolist()) == {2}
    assert set(one.data.y[one.rows].tolist()) == {3}
    every = badnets(split(), CORNER, all_to_all(4), 1.0)
    assert torch.equal(every.data.y, (every.original_y + 1) % 4)


def test_the_choice_leaves_the_global_state_alone() -> None:
    state = torch.get_rng_state()
    badnets(split(), CORNER, 0, 0.2)
    clean_label(split(), CORNER, 0, 0.1, model=mlp(36, 4, (8,)), threat=Linf(0.1), steps=2)
    assert torch.equal(state, torch.get_rng_state())


def test_clean_labels_stay_true() -> None:
    wave = Sinusoid(0.1, 2.0)
    found = clean_label(split(), wave, 2, 0.15)
    rows = found.rows
    assert len(rows) == 6
    assert set(found.original_y[rows].tolist()) == {2}
    assert not bool(found.changed_y.any())
    assert torch.equal(found.data.x[rows], wave(found.original_x[rows]))
    assert set(found.costs) == {"poisoned samples", "share of the training set"}


def test_hard_samples_lose_confidence_within_the_threat() -> None:
    """Below the trigger the change is in the ball, and the model that was used finds the label less likely on every one of them."""
    model, clean, threat = mlp(36, 4, (16,), seed=5), split(), Linf(0.1)
    found = clean_label(clean, CORNER, 2, 0.2, model=model, threat=threat, steps=10)
    x, before = found.data.x[found.rows].clone(), found.original_x[found.rows]
    assert bool((x[..., -1, -1] == 1).all())
    x[..., -1, -1] = before[..., -1, -1]
    assert float((x - before).abs().max()) <= 0.1 + 1e-6
    assert float((x - before).abs().max()) > 0.05
    with torch.no_grad():
        harder = model(x).log_softmax(1)[:, 2] < model(before).log_softmax(1)[:, 2]
    assert bool(harder.all())
    assert found.costs["backwards"] == 10 * 8
    assert all(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize(
    ("attempt", "words"),
    [
        (lambda: badnets(split(), CORNER, 0, 5), "divide by 100"),
        (lambda: badnets(split(), CORNER, 0, 0.9), "only 30 qualify"),
        (lambda: badnets(split(), CORNER, 0, 0.5, source=1), "only 10 qualify"),
        (lambda: clean_label(split(), CORNER, 0, 0.5), "only 10 qualify"),
        (lambda: clean_label(split(), CORNER, 0, 0.1, threat=Linf(0.1)), "belong together"),
    ],
)
def test_what_cannot_be_is_refused(attempt: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        attempt()  # type: ignore[operator]


def test_only_training_data_can_be_poisoned() -> None:
    with pytest.raises(WrongRole):
        badnets(split(role="test"), CORNER, 0, 0.1)
    with pytest.raises(WrongRole):
        clean_label(badnets(split(), CORNER, 0, 0.1).data, CORNER, 0, 0.1)
