"""Intervals against independent forms: SciPy, the defining equations, and their coverage in simulation."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, binomtest

from labkit.reporting.intervals import Rate, bootstrap, clopper_pearson, rate, wilson

counts = st.integers(1, 3000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(counts, st.sampled_from([0.8, 0.95, 0.99]))
@settings(max_examples=60, deadline=None)
def test_both_agree_with_scipy(pair, level):
    successes, n = pair
    test = binomtest(successes, n)
    for ours, method in ((wilson, "wilson"), (clopper_pearson, "exact")):
        theirs = test.proportion_ci(level, method=method)
        assert ours(successes, n, level) == pytest.approx((theirs.low, theirs.high), abs=1e-9)


@given(counts)
@settings(max_examples=60, deadline=None)
def test_wilson_solves_its_own_equation_and_contains_the_rate(pair):
    successes, n = pair
    p, z = successes / n, 1.959963984540054
    low, high = wilson(successes, n)
    assert 0 <= low <= p <= high <= 1
    for edge in (low, high):  # (p - edge)^2 = z^2 edge (1 - edge) / n
        assert (p - edge) ** 2 == pytest.approx(z * z * edge * (1 - edge) / n, abs=1e-12)


@pytest.mark.parametrize("p", [0.01, 0.1, 0.5, 0.93])
@pytest.mark.parametrize("n", [50, 400])
def test_exact_coverage(p, n):
    # No simulation: the coverage is a sum over all counts.
    chance = binom.pmf(np.arange(n + 1), n, p)
    covered = {name: sum(chance[k] for k in range(n + 1) if f(k, n)[0] <= p <= f(k, n)[1])
               for name, f in (("wilson", wilson), ("exact", clopper_pearson))}  # fmt: skip
    assert covered["exact"] >= 0.95
    assert 0.90 < covered["wilson"] <= covered["exact"] + 0.06


def test_bootstrap_of_a_mean_is_close_to_the_normal_interval():
    x = np.random.default_rng(0).normal(3, 2, 400)
    low, high = bootstrap(np.mean, x, seed=1)
    half = 1.96 * x.std(ddof=1) / 20
    assert (low, high) == pytest.approx((x.mean() - half, x.mean() + half), abs=0.03)


def test_bootstrap_covers():
    random = np.random.default_rng(5)
    hits = 0
    for trial in range(200):
        low, high = bootstrap(np.mean, random.exponential(1.0, 80), resamples=200, seed=trial)
        hits += low <= 1.0 <= high
    assert 174 <= hits <= 198  # 95% of 200 is 190; three standard deviations and the small-sample loss of the percentile form


def test_bootstrap_keeps_pairs_together_and_the_global_state_untouched():
    x = np.arange(50)
    before = np.random.get_state()[1].copy()
    assert bootstrap(lambda a, b: float(np.abs(a - b).max()), x, x.copy(), resamples=50) == (0.0, 0.0)
    assert (np.random.get_state()[1] == before).all()
    assert bootstrap(np.mean, x, seed=2) == bootstrap(np.mean, x, seed=2) != bootstrap(np.mean, x, seed=3)


def test_bootstrap_leaves_out_resamples_without_an_answer():
    def needs_both(y):
        return float(y.mean()) if 0 < y.mean() < 1 else float("nan")

    low, high = bootstrap(needs_both, np.array([0, 1, 1]), resamples=100)
    assert 0 < low <= high < 1
    with pytest.raises(ValueError, match="one class only"):
        bootstrap(needs_both, np.zeros(3), resamples=10)


@pytest.mark.parametrize(("successes", "n"), [(-1, 5), (6, 5)])
@pytest.mark.parametrize("interval", [wilson, clopper_pearson])
def test_impossible_counts_are_refused(interval, successes, n):
    with pytest.raises(ValueError, match="is not a rate"):
        interval(successes, n)


def test_unequal_samples_are_refused():
    with pytest.raises(ValueError, match=r"\[3, 4\]"):
        bootstrap(lambda a, b: 0.0, np.zeros(3), np.zeros(4))


def test_rate_counts_booleans_only():
    assert rate(torch.tensor([True, False])) == Rate(1, 2) == rate([True, False])
    with pytest.raises(TypeError, match="float"):
        rate([0.3, 0.7])
    with pytest.raises(ValueError, match="no cases"):
        rate(torch.zeros(0, dtype=torch.bool))
