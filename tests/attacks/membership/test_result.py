from __future__ import annotations

import math

import pytest
import torch

from labkit.attacks.membership import MembershipResult


def noisy(models, records, shift, seed=0):
    """Scores whose mean for members varies from model to model by ``shift``."""
    source = torch.Generator().manual_seed(seed)
    members = torch.arange(records).expand(models, records) % 2 == 0
    gain = 0.5 + shift * torch.randn(models, 1, generator=source, dtype=torch.float64)
    return torch.randn(models, records, generator=source, dtype=torch.float64) + gain * members, members


def test_the_numbers_of_a_small_result():
    result = MembershipResult(torch.tensor([3.0, 2.0, 1.0, 0.0]), torch.tensor([True, False, True, False]), queries=4, trainings=7)
    assert result.auc == pytest.approx(0.75)
    assert (result.precision(1.0).k, result.precision(1.0).n) == (2, 3)
    assert (result.recall(2.5).k, result.recall(2.5).n) == (1, 2)
    assert result.costs == {"queries": 4, "trainings": 7}
    assert math.isnan(result.metrics["TPR at 1 % FPR"])
    assert "AUC 0.75" in result.summary()
    assert result.threat.name == "20_membership_inference"


def test_pooling_keeps_who_is_who():
    result = MembershipResult.of(torch.arange(6.0).view(2, 3), torch.tensor([[True, False, True], [False, True, False]]), queries=5)
    assert result.targets.tolist() == [0, 0, 0, 1, 1, 1]
    assert result.records.tolist() == [0, 1, 2, 0, 1, 2]
    assert result.queries == 30
    assert result.exposure().tolist() == [-3.0, 3.0, -3.0]


def test_metrics_state_low_rates_where_they_may():
    scores, members = noisy(20, 1000, 0.0)
    metrics = MembershipResult.of(scores, members).metrics
    assert 0.0 < metrics["TPR at 0.1 % FPR"] < metrics["TPR at 1 % FPR"] < 0.2


def test_the_interval_draws_models_and_not_records():
    """Where models differ, an interval over records would miss that; over models it is as wide as the models are apart."""
    wide, narrow = (MembershipResult.of(*noisy(30, 400, shift)).interval(lambda roc: roc.auc) for shift in (0.5, 0.0))
    assert wide[1] - wide[0] > 3 * (narrow[1] - narrow[0])
    apart = torch.tensor([MembershipResult(s, m).auc for s, m in zip(*noisy(30, 400, 0.5), strict=True)])
    assert wide[1] - wide[0] == pytest.approx(2 * 1.96 * float(apart.std()) / math.sqrt(30), rel=0.3)


def test_the_interval_covers_about_as_often_as_it_says():
    """True AUC of two unit normals half a deviation apart: Phi(0.5 / sqrt 2)."""
    truth = float(torch.special.ndtr(torch.tensor(0.5 / math.sqrt(2))))
    hits = 0
    for seed in range(40):
        low, high = MembershipResult.of(*noisy(16, 60, 0.0, seed)).interval(lambda roc: roc.auc, resamples=120)
        hits += low <= truth <= high
    assert hits >= 32


def test_one_model_has_no_interval():
    scores, members = noisy(1, 50, 0.0)
    with pytest.raises(ValueError, match="two target models or more, and these scores are about 1"):
        MembershipResult.of(scores, members).interval(lambda roc: roc.auc)
    two = MembershipResult.of(*noisy(2, 50, 0.0), units=torch.zeros(2, dtype=torch.int64))
    with pytest.raises(ValueError, match="are about 1"):
        two.interval(lambda roc: roc.auc)


def test_the_same_seed_gives_the_same_interval():
    result = MembershipResult.of(*noisy(6, 40, 0.2))
    assert result.interval(lambda roc: roc.auc, seed=3) == result.interval(lambda roc: roc.auc, seed=3)


def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match="3 scores but 2 targets"):
        MembershipResult(torch.arange(3.0), torch.tensor([True, False, True]), targets=torch.zeros(2, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"\(targets, records\)"):
        MembershipResult.of(torch.zeros(3), torch.ones(3, dtype=torch.bool))
