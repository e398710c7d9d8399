from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.attacks.membership.roc import rank


def roc_of(scores, members):
    return rank(torch.tensor(scores, dtype=torch.float64), torch.tensor(members)).roc()


def test_a_curve_counted_by_hand():
    roc = roc_of([4, 3, 3, 2, 2, 1], [True, True, False, False, True, False])
    assert roc.thresholds.tolist() == [math.inf, 4, 3, 2, 1]
    assert roc.true.tolist() == [0, 1, 2, 3, 3]
    assert roc.false.tolist() == [0, 0, 1, 2, 3]
    # Nine pairs: the member at 4 beats all three, the one at 3 ties with one and beats two, the one at 2 ties with one and beats one.
    assert roc.auc == pytest.approx((3 + 2.5 + 1.5) / 9)
    assert roc.advantage == pytest.approx(1 / 3)
    assert roc.balanced_accuracy == pytest.approx(2 / 3)


def test_tpr_takes_whole_ties_and_interpolates_nothing():
    # 1,000 non-members: five above all else; then 10 of them tied with 30 of the 100 members; the rest below.
    scores = torch.cat([torch.full((5,), 9.0), torch.full((10,), 8.0), torch.zeros(985), torch.full((30,), 8.0), torch.full((70,), -1.0)])
    members = torch.arange(1100) >= 1000
    roc = rank(scores, members).roc()
    assert roc.tpr_at(0.005) == 0.0
    assert roc.tpr_at(0.0149) == 0.0  # the tie cannot be split
    assert roc.tpr_at(0.015) == pytest.approx(0.3)
    assert roc.tpr_at(1.0) == 1.0


@pytest.mark.parametrize(("count", "fpr", "allowed"), [(5000, 0.001, True), (4999, 0.001, False), (500, 0.01, True), (499, 0.01, False)])
def test_few_non_members_state_no_low_rate(count, fpr, allowed):
    roc = rank(torch.arange(count + 10.0), torch.arange(count + 10) >= count).roc()
    if allowed:
        assert roc.tpr_at(fpr) == 1.0
    else:
        with pytest.raises(ValueError, match=rf"{count:,} scores of non-members are too few .* {round(5 / fpr):,} are needed"):
            roc.tpr_at(fpr)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(-4, 4), st.booleans()), min_size=2, max_size=30))
def test_auc_is_the_share_of_pairs_in_the_right_order(pairs):
    inside = [score for score, member in pairs if member]
    outside = [score for score, member in pairs if not member]
    if not inside or not outside:
        with pytest.raises(ValueError, match="needs members and non-members"):
            roc_of(*zip(*pairs, strict=True))
        return
    roc = roc_of([score for score, _ in pairs], [member for _, member in pairs])
    right = sum((a > b) + (a == b) / 2 for a in inside for b in outside)
    assert roc.auc == pytest.approx(right / (len(inside) * len(outside)))
    best = max(sum(a >= t for a in inside) / len(inside) - sum(b >= t for b in outside) / len(outside) for t in range(-4, 6))
    assert roc.advantage == pytest.approx(best)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(-3, 3), st.booleans(), st.integers(0, 3)), min_size=4, max_size=15))
def test_weights_count_a_score_several_times(triples):
    members = torch.tensor([member for _, member, _ in triples])
    weights = torch.tensor([weight for *_, weight in triples])
    if not (weights * members).sum() or not (weights * ~members).sum():
        return
    scores = torch.tensor([float(score) for score, *_ in triples])
    repeated = torch.arange(len(triples)).repeat_interleave(weights)
    ranking = rank(scores, members)
    assert ranking.roc(weights[ranking.order]).auc == pytest.approx(rank(scores[repeated], members[repeated]).roc().auc)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="2 of 3 scores are NaN"):
        roc_of([math.nan, 1.0, math.nan], [True, False, True])
    with pytest.raises(ValueError, match=r"members \(N,\) of booleans"):
        rank(torch.zeros(3), torch.ones(3))
    with pytest.raises(ValueError, match=r"1 % is 0\.01"):
        roc_of([1.0, 0.0], [True, False]).tpr_at(1.5)


def test_infinite_scores_are_ranked():
    assert roc_of([math.inf, 0.0, -math.inf], [True, True, False]).auc == 1.0
