from __future__ import annotations

import pytest
import torch

from labkit.attacks.membership import MembershipResult, balanced_members, leave_out, rmia

D = torch.float64


def drawn(models, records, gap=0.0, seed=0):
    source = torch.Generator().manual_seed(seed)
    members = balanced_members(models, records, seed)
    center = torch.randn(records, generator=source, dtype=D) - 3
    noise = 0.5 * torch.randn(models, records, generator=source, dtype=D)
    return torch.minimum(center + gap * members + noise, torch.tensor(-1e-6, dtype=D)), members


@pytest.mark.parametrize("online", [True, False])
@pytest.mark.parametrize("gamma", [1.0, 2.0])
def test_it_is_the_papers_formula(online, gamma):
    shadows, members = drawn(4, 12)
    signal, a = drawn(2, 12, seed=3)[0][0], 0.3
    reference = []
    for i in range(12):
        outside = shadows[~members[:, i], i].exp().mean()
        inside = shadows[members[:, i], i].exp().mean()
        reference.append((inside + outside) / 2 if online else ((1 + a) * outside + 1 - a) / 2)
    ratio = [float(signal[i].exp() / reference[i]) for i in range(12)]
    population = torch.tensor([0, 3, 5, 7])
    beaten = [sum(ratio[i] / ratio[z] >= gamma * (1 - 1e-12) for z in population.tolist()) / 4 for i in range(12)]
    found = rmia(signal, shadows, members, population=population, gamma=gamma, online=online, a=a)
    assert found.tolist() == pytest.approx(beaten)


def test_for_one_target_it_ranks_the_ratios():
    shadows, members = drawn(2, 300, gap=1.0)
    signal, truth = drawn(2, 300, gap=1.0)
    score = rmia(signal[0], shadows, members)
    ratio = signal[0] - ((shadows[0].exp() + shadows[1].exp()) / 2).log()
    assert MembershipResult(score, truth[0]).auc == pytest.approx(MembershipResult(ratio, truth[0]).auc)
    assert score.max() == 1.0


def test_one_reference_model_is_enough_offline():
    signal, truth = drawn(2, 2000, gap=1.0)
    reference = drawn(2, 2000)[0][:1]
    score = rmia(signal[:1], reference, torch.zeros(1, 2000, dtype=torch.bool), online=False, a=1.0)
    blind = MembershipResult(signal[0], truth[0]).auc
    assert MembershipResult(score[0], truth[0]).auc > blind + 0.03


def test_where_membership_means_nothing_nothing_is_found():
    signals, members = drawn(6, 6000, seed=2)
    assert leave_out(rmia, signals, members).auc == pytest.approx(0.5, abs=0.01)


def test_bad_input_is_named():
    shadows, members = drawn(2, 10)
    with pytest.raises(ValueError, match="10 of 10 records have no reference model trained with them"):
        rmia(shadows[0], shadows, torch.zeros_like(members))
    with pytest.raises(ValueError, match="gamma must be positive and a between 0 and 1, got 0"):
        rmia(shadows[0], shadows, members, gamma=0.0)
    with pytest.raises(ValueError, match="the same N records"):
        rmia(shadows[0], shadows[:, :4], members)
