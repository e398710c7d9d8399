"""Detectors of unusual inputs, tested where the answer is known: closed forms, scikit-learn, finite differences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from labkit.data import load
from labkit.detectors import ALARM, Alarm, AnyOf, Autoencoder, Centroid, IsolationForest, Mahalanobis, OneClassSVM, auroc, threshold_at_fpr

SOURCE = torch.Generator().manual_seed(4)
X = torch.randn(300, 4, generator=SOURCE, dtype=torch.float64) @ torch.diag(torch.tensor([1.0, 2, 0.5, 0.1], dtype=torch.float64)) + 1
BUILDERS: dict[str, Callable[[], Any]] = {
    "centroid": Centroid, "mahalanobis": Mahalanobis, "trimmed": lambda: Mahalanobis(trim=0.1), "svm": lambda: OneClassSVM(0.1),
    "forest": lambda: IsolationForest(20), "autoencoder": lambda: Autoencoder(2, 8, epochs=3),
    "any of": lambda: AnyOf([Mahalanobis(), OneClassSVM(0.1)]),
}  # fmt: skip
EACH = pytest.mark.parametrize("name", BUILDERS)
UNIT = (X - X.amin(0)) / (X.amax(0) - X.amin(0))


@EACH
def test_the_shared_battery(name: str) -> None:
    detector = BUILDERS[name]().fit(UNIT[:200])
    scores = detector.score(UNIT[200:])
    assert scores.shape == (100,)
    assert scores.dtype == UNIT.dtype
    assert torch.allclose(scores[7:9], detector.score(UNIT[207:209])), "a score depends on its neighbors"
    assert detector.score(UNIT[:0]).shape == (0,)
    odd = UNIT[200:].clone()
    odd[:, 3] = 1 - odd[:, 0] * 0.2  # off the cloud in two fields at once
    odd[:, 1] = 1.0
    assert auroc(scores, detector.score(odd)) > 0.6
    again = BUILDERS[name]().fit(UNIT[:200]).score(UNIT[200:])
    assert torch.equal(again, scores), "not reproducible"
    assert detector.score(UNIT[:3].float()).dtype == torch.float32


@pytest.mark.parametrize("name", [name for name in BUILDERS if name not in ("forest", "autoencoder")])
def test_the_gradient_is_that_of_the_score(name: str) -> None:
    detector = BUILDERS[name]().fit(UNIT[:200])
    leaf = UNIT[200:204].clone().requires_grad_(True)
    (grad,) = torch.autograd.grad(detector.score(leaf).sum(), leaf)
    for column in range(4):
        step = torch.zeros(4, dtype=torch.float64)
        step[column] = 1e-6
        secant = (detector.score(UNIT[200:204] + step) - detector.score(UNIT[200:204] - step)) / 2e-6
        assert torch.allclose(grad[:, column], secant, rtol=1e-4, atol=1e-5)


def test_mahalanobis_in_closed_form() -> None:
    plain = Mahalanobis(shrinkage=0.0).fit(X)
    covariance = torch.from_numpy(np.cov(X.numpy().T, bias=True))
    centered = X[:5] - X.mean(0)
    assert torch.allclose(plain.score(X[:5]), (centered @ covariance.inverse() * centered).sum(1))
    assert float(plain.score(X).mean()) == pytest.approx(4), "the mean squared distance is the number of fields"
    # Along one field the score is a parabola; its lowest point, the most normal value of that field given the others, is known.
    inverse = covariance.inverse()
    x, j = X[0] + 3, 1
    rest = [0, 2, 3]
    best = float(X.mean(0)[j] - inverse[j, rest] @ (x - X.mean(0))[rest] / inverse[j, j])
    line = x.repeat(2001, 1)
    line[:, j] = best + torch.linspace(-1, 1, 2001, dtype=torch.float64)
    assert int(plain.score(line).argmin()) == 1000
    shrunk = Mahalanobis(shrinkage=0.3).fit(X)
    level = float(covariance.diagonal().mean())
    expected = 0.7 * covariance + 0.3 * level * torch.eye(4, dtype=torch.float64)
    assert torch.allclose(shrunk.score(X[:5]), (centered @ expected.inverse() * centered).sum(1))


def test_ledoit_and_wolf_as_in_scikit_learn() -> None:
    from sklearn.covariance import LedoitWolf

    x = load("flows").train.x[:400]
    theirs, ours = LedoitWolf().fit(x.numpy().astype(np.float64)), Mahalanobis().fit(x)
    assert ours.shrinkage_ == pytest.approx(theirs.shrinkage_, rel=1e-6)
    assert np.allclose(ours.score(x.double()).numpy(), theirs.mahalanobis(x.numpy().astype(np.float64)), rtol=1e-6)


def test_trimming_keeps_a_few_far_inputs_from_pulling() -> None:
    polluted = torch.cat([X, X[:15] * 0 + torch.tensor([30.0, -40, 20, 10], dtype=torch.float64)])
    far = polluted[-1:]
    assert float(Mahalanobis(trim=0.1).fit(polluted).score(far)) > 20 * float(Mahalanobis().fit(polluted).score(far))


def test_the_svm_scores_as_scikit_learn_does() -> None:
    from sklearn.svm import OneClassSVM as Solver

    x = load("flows").train.x[:600].double()
    for gamma in (None, 0.5, 4.0):
        ours = OneClassSVM(0.05, gamma).fit(x[:400])
        theirs = Solver(nu=0.05, gamma="scale" if gamma is None else gamma).fit(x[:400].numpy())
        assert np.abs(ours.score(x).numpy() + theirs.decision_function(x.numpy())).max() < 1e-6
    few = OneClassSVM(0.05, most=100).fit(x[:400])
    assert len(few.support_) <= 100
    flagged = float((OneClassSVM(0.05, 0.5).fit(x[:400]).score(x[:400]) > 1e-6).double().mean())
    assert flagged <= 0.05 + 1e-9, "nu bounds the share of training inputs outside"


def test_the_forest_is_scikit_learns() -> None:
    from sklearn.ensemble import IsolationForest as Forest

    theirs = Forest(n_estimators=30, max_samples=64, random_state=3).fit(X.float().numpy())
    assert np.allclose(IsolationForest(30, 64, seed=3).fit(X).score(X[:9]).numpy(), -theirs.score_samples(X[:9].float().numpy()))
    crowded = torch.cat([X[:40].round(), X[:3].repeat(20, 1)])  # leaves with one input, with two, and with many that no cut separates
    theirs = Forest(n_estimators=20, max_samples=90, random_state=1).fit(crowded.float().numpy())
    ours = IsolationForest(20, 90, seed=1).fit(crowded)
    assert {1, 2} < {int(n) for tree in theirs.estimators_ for n in tree.tree_.n_node_samples[tree.tree_.children_left < 0]}
    assert np.allclose(ours.score(X).numpy(), -theirs.score_samples(X.float().numpy()), rtol=1e-12)


def test_the_autoencoder_scores_its_own_error() -> None:
    with torch.no_grad():  # whoever fits under no_grad means the scores
        detector = Autoencoder(2, 8, epochs=2).fit(UNIT[:190])
    wide = UNIT[:5].float()
    assert torch.allclose(detector.score(wide), (detector.model_(wide) - wide).square().mean(1))


def test_an_alarm_sounds_exactly_above_the_threshold() -> None:
    detector = Centroid().fit(X)
    threshold = float(detector.score(X[5:6]))
    alarm = Alarm(detector, threshold, scale=0.3)
    answers = alarm(X).argmax(1)
    assert torch.equal(answers == ALARM, detector.score(X) > threshold)
    assert int(answers[5]) != ALARM, "at the threshold there is silence"
    leaf = X[:2].clone().requires_grad_(True)
    assert alarm(leaf)[:, 1].sum().requires_grad
    assert float((alarm(X) - Alarm(detector, threshold)(X) / 0.3).abs().max()) < 1e-9


def test_several_as_one_take_the_largest_scaled_score() -> None:
    parts = [Mahalanobis().fit(X[:150]), Centroid().fit(X[:150])]
    both = AnyOf(parts).calibrate(X[150:])
    scaled = []
    for part in parts:
        held = part.score(X[150:])
        scaled.append((part.score(X) - held.quantile(0.5)) / (held.quantile(0.99) - held.quantile(0.5)))
    assert torch.allclose(both.score(X), torch.stack(scaled).amax(0))
    assert threshold_at_fpr(both.score(X[150:]), 0.05) > 0.5


def test_mistakes_are_named() -> None:
    with pytest.raises(ValueError, match="no inverse"):
        Mahalanobis(shrinkage=0.0).fit(torch.cat([X, X[:, :1]], 1))
    for build, words in [
        (lambda: Mahalanobis(shrinkage=2.0), "shrinkage must lie"), (lambda: Mahalanobis(trim=0.6), "trim must lie"),
        (lambda: OneClassSVM(0.0), "nu in"), (lambda: IsolationForest(0), "trees must be"), (lambda: Autoencoder(0), "middle and hidden"),
        (lambda: AnyOf([]), "at least one"), (lambda: Alarm(Centroid(), 0.0, 0.0), "scale must be above 0"),
        (lambda: Mahalanobis().fit(X[:1]), "at least 2 normal inputs needed, got 1"), (lambda: Centroid().fit(X[0]), "batch dimension"),
        (lambda: Centroid().fit(X * torch.nan), "finite"),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match=words):
            build()
    with pytest.raises(TypeError, match="floating-point"):
        Centroid().fit(X.long())
