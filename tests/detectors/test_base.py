"""Thresholds, ranking measures and reports of detectors, against definitions, scikit-learn and hand-made attack results."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from labkit.attacks import AttackResult
from labkit.detectors import auroc, average_precision, detection_report, threshold_at_fpr
from labkit.threats import Linf

# Few distinct values, so that ties are the rule and not the exception.
score = st.one_of(st.integers(-3, 3).map(float), st.floats(-1e6, 1e6, width=32))
scores = st.lists(score, min_size=1, max_size=40)


def flagged(values, threshold):
    return int((values > threshold).sum())


@given(scores, st.floats(0, 1), st.sampled_from([torch.float32, torch.float64]))
def test_the_threshold_keeps_its_promise_and_is_the_smallest_that_does(values, fpr, kind):
    normal = torch.tensor(values, dtype=kind)
    threshold = threshold_at_fpr(normal, fpr)
    assert flagged(normal, threshold) <= fpr * len(normal) + 1e-6
    lower = normal[normal < threshold]
    if len(lower):
        assert flagged(normal, float(lower.max())) > fpr * len(normal) - 1e-6
    assert flagged(normal, threshold) == len(normal) or bool((normal == threshold).any())


def test_thresholds_by_hand():
    normal = torch.tensor([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
    assert flagged(normal, threshold_at_fpr(normal, 0.0)) == 0
    assert threshold_at_fpr(normal, 0.0) == 1.0
    assert threshold_at_fpr(normal, 0.1) == pytest.approx(0.9)
    assert threshold_at_fpr(normal, 0.3) == pytest.approx(0.7)  # 0.3 * 10 is 2.9999... in floating point
    assert threshold_at_fpr(normal, 0.19) == pytest.approx(0.9)
    assert threshold_at_fpr(torch.tensor([1.0, 1.0, 1.0, 2.0]), 0.5) == 1.0  # the tie cannot be split


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_fpr_one_flags_everything_also_in_single_precision(kind):
    normal = torch.tensor([0.3, 0.1, 0.2], dtype=kind)
    assert flagged(normal, threshold_at_fpr(normal, 1.0)) == 3


@pytest.mark.parametrize(
    ("normal", "fpr", "message"),
    [
        ([], 0.1, "at least one"), ([1.0], -0.1, r"-0\.1"), ([1.0], 5, "got 5"),
        ([math.nan], 0.1, "finite"), ([math.inf, 1.0], 0.1, "finite"),
    ],
)  # fmt: skip
def test_thresholds_refuse(normal, fpr, message):
    with pytest.raises(ValueError, match=message):
        threshold_at_fpr(torch.tensor(normal), fpr)


@given(scores, scores)
def test_ranking_measures_equal_scikit_learn_ties_included(normal, attacked):
    labels = [0] * len(normal) + [1] * len(attacked)
    ours = torch.tensor(normal, dtype=torch.float64), torch.tensor(attacked, dtype=torch.float64)
    assert auroc(*ours) == pytest.approx(roc_auc_score(labels, normal + attacked), abs=1e-12)
    assert average_precision(*ours) == pytest.approx(average_precision_score(labels, normal + attacked), abs=1e-12)


def test_auroc_by_hand():
    assert auroc(torch.tensor([0.0, 1.0]), torch.tensor([2.0, 3.0])) == 1.0
    assert auroc(torch.tensor([2.0, 3.0]), torch.tensor([0.0, 1.0])) == 0.0
    assert auroc(torch.zeros(5), torch.zeros(7)) == 0.5
    assert auroc(torch.tensor([0.0, 2.0]), torch.tensor([1.0])) == 0.5
    assert auroc(torch.tensor([0.0]), torch.tensor([math.inf])) == 1.0


@pytest.mark.parametrize("measure", [auroc, average_precision])
def test_ranking_measures_refuse_empty_sides_and_nan(measure):
    some = torch.ones(2)
    for normal, attacked in ((some, some[:0]), (some[:0], some)):
        with pytest.raises(ValueError, match="0 "):
            measure(normal, attacked)
    for normal, attacked in ((some * math.nan, some), (some, some * math.nan)):
        with pytest.raises(ValueError, match="nan"):
            measure(normal, attacked)


class FirstFeature:
    """A detector whose score is the input's first value."""

    def __init__(self):
        self.sizes = []

    def fit(self, x, y=None):
        return self

    def score(self, x):
        self.sizes.append(len(x))
        return x[:, 0]


def hand_made(score, success, already):
    n = len(score)
    x_adv = torch.tensor(score)[:, None]
    zeros = torch.zeros(n, dtype=torch.int64)
    return AttackResult(torch.zeros_like(x_adv), zeros, x_adv, torch.tensor(success), torch.tensor(already), torch.zeros(n).double(), zeros,
                        zeros, zeros, Linf(1.0))  # fmt: skip


def test_a_report_counts_what_it_says():
    #                    turned, flagged | turned, silent | failed, flagged | wrong before, flagged | wrong before, silent
    result = hand_made([0.9, 0.8, 0.2, 0.95, 0.99, 0.1], [True, True, True, False, True, True], [False, False, False, False, True, True])
    normal = torch.tensor([[0.0], [0.3], [0.7], [0.1]])
    report = detection_report(FirstFeature(), normal, result, 0.5)
    assert (report.detected.k, report.detected.n, report.detected.of) == (2, 3, "successful attacks")
    assert (report.false_alarms.k, report.false_alarms.n) == (1, 4)
    assert (report.fooled_undetected.k, report.fooled_undetected.n) == (2, 6)  # the one turned in silence, and the one wrong before
    # 0.9 and 0.8 lie above all four normal scores, 0.2 above two of them: (4 + 4 + 2) / 12.
    assert report.auroc == pytest.approx(10 / 12)
    assert report.threshold == 0.5
    for part in ("0.833", "2 of 3", "1 of 4", "2 of 6"):
        assert part in str(report)


def test_the_threshold_itself_is_not_flagged():
    report = detection_report(FirstFeature(), torch.tensor([[0.5]]), hand_made([0.5], [True], [False]), 0.5)
    assert (report.detected.k, report.false_alarms.k, report.fooled_undetected.k) == (0, 0, 1)


def test_no_success_means_no_auroc_and_no_denominator():
    report = detection_report(FirstFeature(), torch.zeros(2, 1), hand_made([0.9, 0.9], [False, True], [False, True]), 0.5)
    assert math.isnan(report.auroc)
    assert report.detected.n == 0
    assert (report.fooled_undetected.k, report.fooled_undetected.n) == (0, 2)


def test_a_large_set_is_scored_in_batches():
    detector = FirstFeature()
    n = 1500
    detection_report(detector, torch.zeros(n, 1), hand_made([0.9] * n, [True] * n, [False] * n), 0.5)
    assert sum(detector.sizes) == 2 * n
    assert max(detector.sizes) < n
