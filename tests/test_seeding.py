"""Seeding: streams that do not meet, keys that belong to contents, a world left alone."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from scipy import stats

from labkit.seeding import derive, generator, normal_for, numpy_generator, sample_keys, uniform_for

X = torch.rand(6, 3, 4, generator=torch.Generator().manual_seed(0))


def test_derived_seeds_differ_by_seed_and_by_name() -> None:
    seeds = [derive(seed, *names) for seed in range(20) for names in ((), ("a",), ("b",), ("a", "b"), ("b", "a"), ("a", 1), ("a", 2))]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert derive(1, "start") == derive(1, "start")


def test_the_stream_of_a_seed_never_changes() -> None:
    """Stored results depend on these numbers: a change here is a change of every random start."""
    assert derive(0, "a") == 7606779636460171844  # the first half of SHA-256 of "0/a", halved
    assert generator(0, "a").initial_seed() == derive(0, "a")


def test_streams_are_independent() -> None:
    streams = torch.stack([torch.rand(4000, generator=generator(seed, name)) for seed in (0, 1) for name in ("order", "start")])
    correlation = torch.corrcoef(streams) - torch.eye(4)
    assert float(correlation.abs().max()) < 4.5 / 4000**0.5
    keys = sample_keys(X[:1], 0)
    draws = torch.cat(
        [uniform_for(keys, (4000,), stream) for stream in (0, 1, "a", "b")] + [uniform_for([keys[0] + i], (4000,), 0) for i in (1, 2)]
    )
    assert float((torch.corrcoef(draws) - torch.eye(6)).abs().max()) < 4.5 / 4000**0.5


def test_generators_repeat() -> None:
    assert torch.equal(torch.rand(5, generator=generator(3, "x")), torch.rand(5, generator=generator(3, "x")))
    assert torch.equal(torch.rand(5, generator=generator(3)), torch.rand(5, generator=torch.Generator().manual_seed(3)))
    assert numpy_generator(3, "x").random(5).tolist() == numpy_generator(3, "x").random(5).tolist()
    assert numpy_generator(3, "x").random() != numpy_generator(3, "y").random()
    assert numpy_generator(3).random() == np.random.default_rng(3).random()


def test_keys_belong_to_contents_not_to_places() -> None:
    keys = sample_keys(X, 5)
    assert len(set(keys)) == 6
    order = [4, 0, 0, 2]
    assert sample_keys(X[order], 5) == [keys[i] for i in order]
    assert sample_keys(X.transpose(1, 2).contiguous().transpose(1, 2), 5) == keys  # another order in memory
    assert sample_keys(X.double(), 5) == keys
    assert sample_keys(X.clone().requires_grad_(True), 5) == keys
    assert not set(sample_keys(X, 6)) & set(keys)
    assert not set(sample_keys(X, 5, "other purpose")) & set(keys)
    changed = X.clone()
    changed[2, 1, 1] += 1e-6
    assert [a == b for a, b in zip(sample_keys(changed, 5), keys, strict=True)] == [i != 2 for i in range(6)]
    assert sample_keys(X[:0], 5) == []
    assert all(0 <= key < 2**63 for key in keys)


@pytest.mark.parametrize(("draw", "law"), [(uniform_for, stats.uniform.cdf), (normal_for, stats.norm.cdf)])
def test_draws_follow_their_law_within_a_sample_and_across_samples(draw: type, law: object) -> None:
    keys = sample_keys(torch.arange(1500.0)[:, None], 0)
    numbers = draw(keys, (2, 3), "s")
    assert numbers.shape == (1500, 2, 3)
    assert numbers.dtype == torch.float32
    assert stats.kstest(numbers[:, 1, 2].numpy(), law).pvalue > 1e-4
    assert stats.kstest(numbers.flatten().numpy(), law).pvalue > 1e-4
    assert torch.equal(draw(keys[7:9], (2, 3), "s"), numbers[7:9])
    assert draw([], (2, 3), "s").shape == (0, 2, 3)
    assert draw(keys[:1], (2,), "s", dtype=torch.float64).dtype == torch.float64


def test_the_world_is_left_alone() -> None:
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # type: ignore[index, union-attr]
    normal_for(sample_keys(X, 0), (3,), 1)
    torch.rand(3, generator=generator(0, "a"))
    numpy_generator(0).random()
    assert torch.equal(torch.get_rng_state(), before[0])
    assert bool((np.random.get_state()[1] == before[1]).all())  # type: ignore[index]
    assert random.getstate() == before[2]
