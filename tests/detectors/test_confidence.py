"""Confidence scores against their formulas in float64; temperature and calibration against known answers."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from labkit.detectors import (
    Energy,
    Entropy,
    MaxLogit,
    MaxSoftmax,
    Tempered,
    TopTwoMargin,
    TwoSided,
    calibration,
    fit_temperature,
)


def identity(x):
    return x


def probabilities(logits):
    wide = logits.double()
    powers = (wide - wide.amax(1, keepdim=True)).exp()
    return powers / powers.sum(1, keepdim=True)


def max_softmax(logits):
    wide = logits.double()
    lead = (wide - wide.amax(1, keepdim=True)).exp().sort(1).values  # the largest is 1 and comes last
    return lead[:, :-1].sum(1) / lead.sum(1)


def entropy(logits):
    p = probabilities(logits)
    return torch.special.entr(p).sum(1)


def energy(temperature):
    return lambda logits: -temperature * torch.logsumexp(logits.double() / temperature, 1)


SCORES = {
    "max softmax": (MaxSoftmax(identity), max_softmax),
    "entropy": (Entropy(identity), entropy),
    "energy": (Energy(identity), energy(1.0)),
    "energy at 3": (Energy(identity, 3.0), energy(3.0)),
    "max logit": (MaxLogit(identity), lambda logits: -logits.double().amax(1)),
    "margin": (TopTwoMargin(identity), lambda logits: logits.double().topk(2, 1).values @ torch.tensor([-1.0, 1.0]).double()),
}
each = pytest.mark.parametrize("name", SCORES)


def drawn(seed=0, n=64, classes=10, scale=5.0):
    return torch.randn(n, classes, generator=torch.Generator().manual_seed(seed)) * scale


@each
@given(st.integers(0, 10**6), st.integers(2, 20), st.floats(0.01, 30))
def test_formula(name, seed, classes, scale):
    detector, formula = SCORES[name]
    logits = drawn(seed, 16, classes, scale)
    torch.testing.assert_close(detector.score(logits).double(), formula(logits), rtol=1e-4, atol=1e-6)


@each
def test_huge_logits_give_finite_scores_and_gradients(name):
    detector, formula = SCORES[name]
    for scale in (1e4, -1e4):
        logits = (drawn(1, classes=5, scale=1.0) * 10 + scale * torch.tensor([1.0, 0.0, -1.0, 0.5, 0.25])).requires_grad_(True)
        value = detector.score(logits)
        torch.testing.assert_close(value.double(), formula(logits), rtol=1e-4, atol=1e-6)
        (grad,) = torch.autograd.grad(value.sum(), logits)
        assert bool(grad.isfinite().all())


@pytest.mark.parametrize("lead", [5.0, 12.0, 20.0, 40.0, 80.0])
def test_confident_answers_stay_apart(lead):
    """In float32 one minus the largest probability is 0 from a lead of 17 on; the score is not."""
    logits = torch.tensor([[lead, 0.0, -1.0], [lead + 0.5, 0.0, -1.0]], requires_grad=True)
    score = MaxSoftmax(identity).score(logits)
    torch.testing.assert_close(score.double(), max_softmax(logits), rtol=1e-5, atol=0.0)
    assert score[0] > score[1]
    assert bool((torch.autograd.grad(score.sum(), logits)[0][:, 0] < 0).all())


@each
@pytest.mark.parametrize("constant", [3.0, -250.0])
def test_adding_a_constant_to_the_logits(name, constant):
    """Softmax cannot see a shift, so neither can scores of it; energy and the largest logit can, and follow it exactly."""
    detector, _ = SCORES[name]
    logits = drawn(2).double()
    moved = 0.0 if name in ("max softmax", "entropy", "margin") else -constant
    torch.testing.assert_close(detector.score(logits + constant), detector.score(logits) + moved, rtol=1e-9, atol=1e-9)


@each
def test_gradients_are_right(name):
    detector, _ = SCORES[name]
    net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 5)).double()
    with torch.no_grad():
        for i, p in enumerate(net.parameters()):
            p.copy_(torch.randn(p.shape, generator=torch.Generator().manual_seed(i), dtype=torch.float64))
    through = type(detector)(net, detector.temperature) if isinstance(detector, Energy) else type(detector)(net)
    x = torch.randn(3, 4, generator=torch.Generator().manual_seed(9), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: through.score(v), (x,))


@each
def test_unsure_is_more_suspicious_than_sure(name):
    detector, _ = SCORES[name]
    sure, less, unsure = detector.score(torch.tensor([[9.0, 0.0, 0.0], [3.0, 0.0, 0.0], [0.0, 0.0, 0.0]]))
    assert sure < less < unsure


@each
def test_nothing_to_fit(name):
    detector, _ = SCORES[name]
    assert detector.fit(drawn()) is detector


def test_known_values():
    uniform, certain = torch.zeros(1, 4), torch.tensor([[100.0, 0.0, 0.0, 0.0]])
    assert float(MaxSoftmax(identity).score(uniform)) == pytest.approx(0.75)
    assert float(Entropy(identity).score(uniform)) == pytest.approx(math.log(4))
    assert 0 <= float(Entropy(identity).score(certain)) < 1e-30
    assert float(Energy(identity).score(uniform)) == pytest.approx(-math.log(4))
    assert float(TopTwoMargin(identity).score(certain)) == -100.0
    assert float(TopTwoMargin(identity).score(uniform)) == 0.0


@pytest.mark.parametrize("wrong", [0.0, -1.0])
def test_temperatures_must_be_positive(wrong):
    with pytest.raises(ValueError, match=str(wrong)):
        Energy(identity, wrong)
    with pytest.raises(ValueError, match=str(wrong)):
        Tempered(identity, wrong)


def test_tempered_divides_the_logits_and_says_by_what():
    layer = nn.Linear(3, 2)
    x = torch.ones(1, 3)
    torch.testing.assert_close(Tempered(layer, 4.0)(x), layer(x) / 4)
    assert repr(Tempered(layer, 4.0)) != repr(Tempered(layer, 5.0)), "a model's text is part of a training's cache key"


def test_two_sided_before_fit():
    with pytest.raises(RuntimeError, match="fit"):
        TwoSided(MaxLogit(identity)).score(drawn())


def test_two_sided_finds_too_sure_and_too_unsure():
    normal = drawn(3, 201)
    detector = TwoSided(MaxLogit(identity))
    assert detector.fit(normal) is detector
    inner = -normal.amax(1)
    spread = (inner - inner.median()).abs().median()
    torch.testing.assert_close(detector.score(normal), (inner - inner.median()).abs() / spread)
    assert float(detector.score(normal).median()) == pytest.approx(1.0)
    odd = detector.score(torch.stack([torch.full((10,), 1e3), torch.full((10,), -1e3)]))
    assert bool((odd > detector.score(normal).max()).all())


def test_two_sided_survives_normal_inputs_that_are_all_alike():
    detector = TwoSided(MaxLogit(identity)).fit(torch.zeros(5, 3))
    score = detector.score(torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]]))
    assert bool(score.isfinite().all())
    assert score[1] > score[0]


def test_fitting_keeps_no_graph():
    layer = nn.Linear(4, 3)
    detector = TwoSided(MaxLogit(layer)).fit(torch.rand(9, 4))
    assert not detector.median_.requires_grad
    x = torch.rand(2, 4, requires_grad=True)
    assert torch.autograd.grad(detector.score(x).sum(), x)[0].abs().sum() > 0


@pytest.mark.parametrize("temperature", [0.25, 1.0, 2.5, 10.0])
def test_a_known_temperature_is_recovered(temperature):
    """Labels drawn from softmax(z); a model that reports z * T is calibrated by exactly that T."""
    source = torch.Generator().manual_seed(0)
    honest = torch.randn(20_000, 5, generator=source, dtype=torch.float64) * 2
    y = torch.multinomial(honest.softmax(1), 1, generator=source).squeeze(1)
    found = fit_temperature(honest * temperature, y)
    assert found == pytest.approx(temperature, rel=0.04)
    # The optimum itself, by its own equation: the derivative of the cost by 1/T is zero there.
    inverse = torch.tensor(1 / found, dtype=torch.float64, requires_grad=True)
    cost = nn.functional.cross_entropy(honest * temperature * inverse, y)
    assert abs(float(torch.autograd.grad(cost, inverse)[0])) * inverse < 1e-4


def test_a_temperature_needs_data():
    with pytest.raises(ValueError, match="0"):
        fit_temperature(torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64))


def rows(confidence):
    """Two-class logits with this much confidence in class 0."""
    p = torch.tensor(confidence, dtype=torch.float64)
    return torch.stack([p.log(), (1 - p).log()], 1)


def test_calibration_toy_by_hand():
    # Bins of width 1/4: (0.5, 0.75] holds 0.6 (right), 0.7 (wrong); (0.75, 1] holds 0.8, 0.9 (right, right).
    error, confidence, accuracy, count = calibration(rows([0.6, 0.7, 0.8, 0.9]), torch.tensor([0, 1, 0, 0]), bins=4)
    assert count.tolist() == [0, 0, 2, 2]
    assert confidence[2:].tolist() == pytest.approx([0.65, 0.85])
    assert accuracy[2:].tolist() == [0.5, 1.0]
    assert bool(confidence[:2].isnan().all())
    assert bool(accuracy[:2].isnan().all())
    assert error == pytest.approx((2 * 0.15 + 2 * 0.15) / 4)


def test_calibration_counts_certain_answers():
    logits = torch.tensor([[1e4, 0.0], [1e4, 0.0], [0.0, 1e4], [1e4, 0.0]])
    error, confidence, accuracy, count = calibration(logits, torch.tensor([0, 0, 0, 0]), bins=15)
    assert int(count[-1]) == 4
    assert int(count.sum()) == 4
    assert float(confidence[-1]) == 1.0
    assert float(accuracy[-1]) == 0.75
    assert error == pytest.approx(0.25)


def test_honest_probabilities_are_calibrated_and_sharpened_ones_are_not():
    source = torch.Generator().manual_seed(1)
    logits = torch.randn(50_000, 5, generator=source, dtype=torch.float64) * 2
    y = torch.multinomial(logits.softmax(1), 1, generator=source).squeeze(1)
    assert calibration(logits, y)[0] < 0.01
    assert calibration(logits * 4, y)[0] > 0.1
