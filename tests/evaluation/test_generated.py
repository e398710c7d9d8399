"""Coverage of samples, where it can be counted by hand."""

from __future__ import annotations

import pytest
import torch

from labkit.evaluation import coverage, nearest


def heap(n, center, seed=0):
    return center + 0.01 * torch.rand(n, 2, generator=torch.Generator().manual_seed(seed))


def test_a_set_covers_itself() -> None:
    some = heap(20, 0.5)
    assert [rate.value for rate in coverage(some, some)] == [1.0, 1.0]


def test_sets_far_apart_share_nothing() -> None:
    assert [rate.k for rate in coverage(heap(20, 0.0), heap(20, 5.0))] == [0, 0]


def test_one_good_sample_repeated_is_precise_and_covers_nothing_else() -> None:
    real = torch.cat([heap(10, 0.0, 1), heap(10, 5.0, 2)])
    both = coverage(real, real[:1].repeat(8, 1))
    assert (both.precision.k, both.precision.n) == (8, 8)
    assert (both.recall.k, both.recall.n) == (1, 20)  # balls of radius 0 hold that sample only


def test_inventions_cost_precision_and_not_recall() -> None:
    real = heap(30, 0.0)
    both = coverage(real, torch.cat([real, torch.tensor([[3.0, 3.0], [-4.0, 2.0]])]))
    assert both.precision.k == 30
    assert both.recall.k == 30


def test_counted_by_hand_on_a_line() -> None:
    real, made = torch.tensor([[0.0], [1.0], [2.0], [10.0]]), torch.tensor([[2.5], [30.0], [31.0]])
    # real radii for k = 1: 1, 1, 1, 8, so 2.5 lies among them, 30 and 31 do not; radii of the made ones: 27.5, 1, 1
    both = coverage(real, made, k=1)
    assert both.precision.k == 1
    assert both.recall.k == 4


def test_the_nearest_of_equal_samples_is_at_zero() -> None:
    x = torch.rand(6, 1, 3, 3, generator=torch.Generator().manual_seed(3))
    distance, index = nearest(x, x.flip(0))
    assert torch.equal(distance, torch.zeros(6, dtype=torch.float64))
    assert index.tolist() == [5, 4, 3, 2, 1, 0]


@pytest.mark.parametrize("k", [0, 5])
def test_too_few_samples_are_named(k) -> None:
    with pytest.raises(ValueError, match=f"the {k}-th neighbor"):
        coverage(heap(5, 0.0), heap(9, 0.0), k=k)


def test_different_shapes_are_named() -> None:
    with pytest.raises(ValueError, match=r"\(2,\).*\(3,\)"):
        coverage(torch.rand(9, 2), torch.rand(9, 3))
