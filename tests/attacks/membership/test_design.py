from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.attacks.membership import balanced_members, leave_out


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 8), st.integers(1, 20), st.integers(0, 1000))
def test_half_of_the_records_half_of_the_models(pairs, halves, seed):
    members = balanced_members(2 * pairs, 2 * halves, seed)
    assert members.sum(0).tolist() == [pairs] * (2 * halves)
    assert members.sum(1).tolist() == [halves] * (2 * pairs)
    assert torch.equal(members[0::2], ~members[1::2])
    assert torch.equal(members, balanced_members(2 * pairs, 2 * halves, seed))


def test_pairs_are_drawn_independently():
    members = balanced_members(200, 100, 1)[0::2].double()
    together = members.T @ members / 100  # how often two records are in one model
    together.fill_diagonal_(0.2475)
    assert float((together - 0.2475).abs().mean()) < 0.06
    assert not torch.equal(balanced_members(4, 50, 0), balanced_members(4, 50, 1))


@pytest.mark.parametrize(("models", "records"), [(3, 10), (4, 9), (0, 10)])
def test_odd_numbers_are_refused(models, records):
    with pytest.raises(ValueError, match=f"got {models} models and {records} records"):
        balanced_members(models, records)


def test_a_target_is_never_among_its_shadows():
    members = balanced_members(8, 6)
    answers = torch.arange(8.0)[:, None].expand(8, 6)  # every model answers with its number
    seen = []

    def attack(targets, shadows, inside):
        held = set(targets[:, 0].int().tolist())
        assert not held & set(shadows[:, 0].int().tolist())
        assert torch.equal(inside, members[shadows[:, 0].long()])
        seen.append(sorted(held))
        return targets

    result = leave_out(attack, answers, members, queries=3)
    assert seen == [[0, 1], [2, 3], [4, 5], [6, 7]]
    assert result.scores.view(8, 6)[:, 0].tolist() == list(range(8))
    assert torch.equal(result.members.view(8, 6), members)
    assert result.units.view(8, 6)[:, 0].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert result.costs == {"queries": 3 * 48, "trainings": 6}
    halves = leave_out(attack, answers, members, folds=2)
    assert torch.equal(halves.units, result.units)  # what an interval draws is a pair, however many are held out
    assert seen[-2:] == [[0, 1, 2, 3], [4, 5, 6, 7]]


def test_counting_the_shadows_would_give_the_truth_away():
    """Holding out one model of a balanced design: a record that it had is in one shadow model fewer. The attack below is then perfect."""
    members = balanced_members(6, 20)
    answers = torch.zeros(6, 20)

    def count(targets, shadows, inside):
        return -inside.sum(0).double().expand(len(targets), -1)

    with pytest.raises(ValueError, match=r"give the truth away: records that the target had are in \[2\] of them, the others in \[3\]"):
        leave_out(count, answers, members, folds=6)
    assert leave_out(count, answers, members).auc == 0.5


def test_bad_folds_are_named():
    members = balanced_members(6, 4)
    for folds in (1, 4, 7):
        with pytest.raises(ValueError, match=f"in {folds} equal groups"):
            leave_out(lambda t, s, m: t, torch.zeros(6, 4), members, folds=folds)
    with pytest.raises(ValueError, match="not about the same"):
        leave_out(lambda t, s, m: t, torch.zeros(6, 5), members)
