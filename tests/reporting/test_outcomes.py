"""Outcomes survive storing: numbers equal to scikit-learn's, exact where promised, damage noticed."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from labkit.rates import wilson
from labkit.reporting.outcomes import encode, interval_of, ranked, slack_of, value_of


@given(st.lists(st.booleans(), min_size=1, max_size=200))
def test_booleans_come_back_exactly(flags):
    encoded = json.loads(json.dumps(encode(np.array(flags))))
    assert value_of(encoded) == np.mean(flags)
    assert interval_of(encoded) == wilson(sum(flags), len(flags))


@given(st.lists(st.floats(-1e3, 1e3, width=32), min_size=1, max_size=100))
@settings(deadline=None)
def test_values_come_back_within_the_stated_slack(values):
    for statistic, function in (("mean", np.mean), ("median", np.median)):
        encoded = encode({"values": np.array(values), "statistic": statistic})
        assert abs(value_of(encoded) - function(values)) <= slack_of(encoded) + 1e-9


@given(st.lists(st.tuples(st.integers(-5, 5), st.booleans(), st.integers(0, 3)), min_size=2, max_size=60))
@settings(max_examples=80, deadline=None)
def test_auroc_and_aupr_equal_scikit_learns_with_ties_and_weights(rows):
    scores, labels, weights = (np.array(column) for column in zip(*rows, strict=True))
    if len(set(labels[weights > 0])) < 2:
        assert np.isnan(ranked(scores, labels, "auroc", weights))
        return
    assert ranked(scores, labels, "auroc", weights) == pytest.approx(roc_auc_score(labels, scores, sample_weight=weights))
    assert ranked(scores, labels, "aupr", weights) == pytest.approx(average_precision_score(labels, scores, sample_weight=weights))


def test_scores_keep_the_order_of_values_that_differ_in_the_last_bit():
    scores = torch.tensor([1.0, 1.0 - 1e-7, 1.0 - 2e-7], dtype=torch.float64)
    labels = torch.tensor([True, False, True])
    assert value_of(encode({"scores": scores, "labels": labels})) == 0.5


def test_score_intervals_repeat_and_cover_the_value():
    random = np.random.default_rng(0)
    labels = random.random(400) < 0.3
    encoded = encode({"scores": random.normal(size=400) + labels, "labels": labels})
    low, high = interval_of(encoded)
    assert (low, high) == interval_of(encoded)
    assert low < value_of(encoded) < high
    assert 0.03 < high - low < 0.15


def test_ten_thousand_outcomes_stay_small():
    random = np.random.default_rng(0)
    assert len(json.dumps(encode(random.random(10_000) < 0.5))) < 2_500
    assert len(json.dumps(encode(random.random(10_000)))) < 28_000
    assert len(json.dumps(encode({"scores": random.random(20_000), "labels": random.random(20_000) < 0.5}))) < 60_000


@pytest.mark.parametrize(("form", "other", "key"), [
    (np.array([True, False, True]), np.array([True, True, True]), "bits"),
    (np.array([0.5, 0.25, 0.3]), np.array([0.5, 0.25, 0.4]), "steps"),
    ({"scores": np.array([1.0, 2.0]), "labels": np.array([True, False])},
     {"scores": np.array([2.0, 1.0]), "labels": np.array([True, False])}, "ranks"),
])  # fmt: skip
def test_changed_data_are_noticed(form, other, key):
    encoded = encode(form)
    encoded[key] = encode(other)[key]
    with pytest.raises(ValueError, match="do not fit their checksum"):
        value_of(encoded)


@pytest.mark.parametrize(("outcomes", "message"), [
    (np.array([1, 2]), "int64"), (np.array([], dtype=bool), "no outcomes"), (np.array([0.5, np.nan]), "1 of 2 outcomes are not finite"),
    ({"scores": np.array([1.0]), "labels": np.array([1])}, "one boolean per score"),
    ({"scores": np.array([1.0]), "labels": np.array([True]), "statistic": "f1"}, "'f1'"),
    ({"values": np.array([1.0]), "statistic": "mode"}, "'mode'"),
])  # fmt: skip
def test_what_cannot_be_stored_is_refused(outcomes, message):
    with pytest.raises(ValueError, match=message):
        encode(outcomes)
