"""What a generator gives away, where it is known: one that remembers everything, and one that knows nothing."""

from __future__ import annotations

import pytest
import torch

from labkit.attacks.membership import MembershipResult
from labkit.attacks.membership.generators import by_critic, by_distance

DRAWS = torch.Generator().manual_seed(0)
POOL = torch.rand(60, 1, 3, 3, generator=DRAWS)
INSIDE = torch.arange(60) < 30


def test_a_generator_that_repeats_its_training_set_gives_away_everyone() -> None:
    assert MembershipResult(by_distance(POOL[:30], POOL), INSIDE).auc == pytest.approx(1)


def test_samples_that_know_nothing_tell_about_nothing() -> None:
    aucs = []
    for seed in range(40):
        samples = torch.rand(200, 1, 3, 3, generator=torch.Generator().manual_seed(100 + seed))
        aucs.append(MembershipResult(by_distance(samples, POOL), INSIDE[torch.randperm(60, generator=DRAWS)]).auc)
    assert sum(aucs) / len(aucs) == pytest.approx(0.5, abs=0.05)


def test_a_critic_that_counts_members_as_real_is_read_the_right_way_round() -> None:
    def critic(x):
        return torch.isclose(x.flatten(1)[:, None], POOL[:30].flatten(1)[None]).all(2).any(1).double() - 0.5

    assert MembershipResult(by_critic(critic, POOL), INSIDE).auc == pytest.approx(1)


def test_samples_of_another_shape_are_named() -> None:
    with pytest.raises(ValueError, match=r"\(4, 2\).*\(60, 1, 3, 3\)"):
        by_distance(torch.rand(4, 2), POOL)
