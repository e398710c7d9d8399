from __future__ import annotations

import math

import pytest
import torch
from scipy.stats import norm

from labkit.attacks.membership import MembershipResult, balanced_members, leave_out, lira

D = torch.float64


def toy(models, records, *, gap=1.0, inside=1.0, outside=1.0, seed=0):
    """Signals of a design: each record has its own center; members' are ``gap`` higher. Returns signals and members."""
    source = torch.Generator().manual_seed(seed)
    members = balanced_members(models, records, seed)
    center = 5 * torch.randn(records, generator=source, dtype=D)
    noise = torch.randn(models, records, generator=source, dtype=D)
    return center + torch.where(members, gap + inside * noise, outside * noise), members


@pytest.mark.parametrize("variance", ["each", "global"])
def test_it_reaches_the_best_possible_curve(variance):
    """Two unit normals ``gap`` apart: no attack is better than the likelihood ratio, whose AUC is Phi(gap / sqrt 2)."""
    shadows, members = toy(400, 200, gap=1.5)
    signal, truth = toy(40, 200, gap=1.5)  # the same centers: the same seed draws them first
    result = MembershipResult.of(lira(signal, shadows, members, variance=variance), truth)
    best = norm.cdf(1.5 / math.sqrt(2))
    assert result.auc == pytest.approx(best, abs=0.012)
    plain = MembershipResult.of(signal, truth)  # one threshold for all records cannot know their centers
    assert plain.auc < best - 0.2
    offline = MembershipResult.of(lira(signal, shadows, members, online=False, variance=variance), truth)
    assert offline.auc == pytest.approx(best, abs=0.012)  # with equal variances the ratio grows with the signal


def test_with_unequal_variances_the_ratio_beats_the_one_sided_score():
    """Members at the same center but narrower: only |signal| tells; the ratio is quadratic and sees it, the offline score cannot."""
    shadows, members = toy(400, 200, gap=0.0, inside=0.3)
    signal, truth = toy(40, 200, gap=0.0, inside=0.3)
    assert MembershipResult.of(lira(signal, shadows, members), truth).auc > 0.75
    assert MembershipResult.of(lira(signal, shadows, members, online=False), truth).auc == pytest.approx(0.5, abs=0.03)


def by_hand(signal, shadows, members, variance):
    inside = [shadows[members[:, i], i] for i in range(shadows.shape[1])]
    outside = [shadows[~members[:, i], i] for i in range(shadows.shape[1])]
    spreads = [[math.sqrt(one.var().item()) for one in group] for group in (inside, outside)]
    if variance == "global":
        spreads = [[math.sqrt(sum(s * s for s in group) / len(group))] * len(group) for group in spreads]
    middle = [[one.quantile(0.5).item() for one in group] for group in (inside, outside)]
    return [
        norm.logpdf(s, middle[0][i], spreads[0][i]) - norm.logpdf(s, middle[1][i], spreads[1][i]) for i, s in enumerate(signal.tolist())
    ]


@pytest.mark.parametrize("variance", ["each", "global"])
def test_both_branches_take_their_own_variance(variance):
    """The authors' fixed-variance code takes the spread of the members for both laws; here the two differ tenfold."""
    shadows, members = toy(12, 30, gap=1.0, inside=0.2, outside=2.0, seed=1)
    signal = toy(2, 30, seed=2)[0][0]
    found = lira(signal, shadows, members, variance=variance)
    assert found.tolist() == pytest.approx(by_hand(signal, shadows, members, variance))
    swapped = lira(signal, shadows, ~members, variance=variance)
    assert torch.allclose(swapped, -found)  # who is in and who is out is all that tells the two apart


@pytest.mark.parametrize("variance", ["each", "global"])
@pytest.mark.parametrize("online", [True, False])
@pytest.mark.parametrize("models", [8, 10])
def test_where_membership_means_nothing_nothing_is_found(variance, online, models):
    """Few shadows, every record in exactly half: any dependence on how many there are, odd or even, would show here."""
    signals, members = toy(models, 8000, gap=0.0, seed=5)
    result = leave_out(lambda t, s, m: lira(t, s, m, online=online, variance=variance), signals, members)
    assert result.auc == pytest.approx(0.5, abs=0.008)
    assert result.tpr_at(0.01) == pytest.approx(0.01, abs=0.003)


def test_answers_do_not_depend_on_the_order_of_records_or_shadows():
    shadows, members = toy(8, 20)
    signal = toy(2, 20, seed=4)[0][0]
    rows, columns = torch.randperm(8, generator=torch.Generator().manual_seed(1)), torch.arange(19, -1, -1)
    found = lira(signal, shadows, members)
    assert torch.allclose(lira(signal, shadows[rows], members[rows]), found)
    assert torch.allclose(lira(signal[columns], shadows[:, columns], members[:, columns]), found[columns])


def test_equal_answers_do_not_divide_by_zero():
    members = balanced_members(8, 10)
    score = lira(torch.ones(10), members.double(), members)
    assert bool(score.isfinite().all())
    assert bool((score > 0).all())


def test_bad_input_is_named():
    shadows, members = toy(8, 20)
    with pytest.raises(ValueError, match="20 of 20 records have fewer than two shadow models trained with them"):
        lira(shadows[0], shadows, torch.zeros_like(members))
    lira(shadows[0], shadows, torch.zeros_like(members), online=False)  # offline needs none
    with pytest.raises(ValueError, match="the same N records"):
        lira(shadows[0, :5], shadows, members)
    with pytest.raises(ValueError, match="1 of the target's signals are not finite"):
        lira(torch.cat([torch.tensor([torch.inf]), shadows[0, 1:]]), shadows, members)
    with pytest.raises(ValueError, match="'each' or 'global', got 'fixed'"):
        lira(shadows[0], shadows, members, variance="fixed")
