"""The metric itself: the truth gets rank 1, one image for everybody gets chance, and light does not matter."""

from __future__ import annotations

import pytest
import torch

from labkit.attacks.inversion import identify, likeness, nearest_mean
from labkit.data.dataset import Split
from labkit.rates import Rate
from labkit.seeding import generator

PEOPLE, SHAPE = 12, (1, 6, 6)


def gallery(each: int = 3, noise: float = 0.02) -> Split:
    source = generator(0, "gallery")
    means = torch.rand(PEOPLE, *SHAPE, generator=source)
    y = torch.arange(PEOPLE * each) % PEOPLE
    return Split(means[y] + noise * torch.randn(len(y), *SHAPE, generator=source), y, "test", "gallery")


def test_the_truth_is_named_first() -> None:
    held, y = gallery(), torch.arange(PEOPLE)
    truth = torch.stack([held.x[held.y == k].mean(0) for k in range(PEOPLE)])
    found = identify(nearest_mean(held, PEOPLE), truth, y)
    assert found.rank.tolist() == [1.0] * PEOPLE
    assert found.within(1) == Rate(PEOPLE, PEOPLE, "people")
    assert torch.allclose(likeness(truth, y, held, PEOPLE), torch.ones(PEOPLE, dtype=torch.float64))


def test_one_image_for_everybody_gets_exactly_chance() -> None:
    held, y = gallery(), torch.arange(PEOPLE)
    average = held.x.mean(0, keepdim=True).expand(PEOPLE, *SHAPE)
    found = identify(nearest_mean(held, PEOPLE), average, y)
    assert found.mean_rank == (PEOPLE + 1) / 2
    assert found.within(1).k == 1
    assert float(likeness(average, y, held, PEOPLE).abs().max()) < 1e-6


def test_a_judge_that_knows_nothing_puts_everybody_in_the_middle() -> None:
    found = identify(lambda x: torch.zeros(len(x), PEOPLE), torch.rand(5, *SHAPE), torch.arange(5))
    assert found.rank.tolist() == [(PEOPLE + 1) / 2] * 5
    assert found.within(1).k == 0


def test_light_does_not_matter_and_the_wrong_person_does() -> None:
    held, y = gallery(), torch.arange(PEOPLE)
    truth = torch.stack([held.x[held.y == k].mean(0) for k in range(PEOPLE)])
    judge = nearest_mean(held, PEOPLE)
    assert identify(judge, 0.3 * truth + 0.2, y).within(1).k == PEOPLE
    assert identify(judge, truth.roll(1, 0), y).within(1).k == 0
    assert bool((likeness(2 * truth - held.x.mean(0), y, held, PEOPLE) > 0.99).all())  # a caricature is as like


def test_ranks_are_counted_by_hand() -> None:
    scores = torch.tensor([[3.0, 2.0, 1.0], [1.0, 1.0, 5.0], [0.0, 4.0, 4.0]])
    found = identify(lambda x: scores, torch.zeros(3, 1), torch.tensor([1, 0, 0]))
    assert found.rank.tolist() == [2.0, 2.5, 3.0]
    assert found.within(2) == Rate(1, 3, "people")


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="counts"):
        nearest_mean(gallery(), PEOPLE + 1)
    with pytest.raises(ValueError, match="knows people 0 to 2"):
        identify(lambda x: torch.zeros(len(x), 3), torch.zeros(1, 1), torch.tensor([3]))
    with pytest.raises(ValueError, match="finite scores"):
        identify(lambda x: torch.full((len(x), 3), torch.nan), torch.zeros(1, 1), torch.tensor([0]))
