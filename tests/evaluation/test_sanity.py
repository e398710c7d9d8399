"""The sanity battery: each broken model trips the check made for it; honest models trip none."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from labkit.attacks.evasion import fgsm, pgd
from labkit.data.dataset import Split
from labkit.detectors import Tempered
from labkit.evaluation import accuracy, sanity, sanity_battery
from labkit.models import mlp, small_convnet
from labkit.threats import L2, Linf
from labkit.training import fit

TWICE, GRADIENTS, ONE_STEP = "the model answers twice alike", "gradients are there", "many steps beat one"
NOISE, MORE_STEPS, LARGER = "the attack does no worse than noise", "five times the steps change little", "a larger budget harms more"
NO_BOUND, OTHER_LOSS = "without a bound nothing survives", "another loss does no better"
ALL = [TWICE, GRADIENTS, ONE_STEP, NOISE, MORE_STEPS, LARGER, NO_BOUND, OTHER_LOSS]


def pictures(n=300, seed=0):
    """Images (1, 8, 8) with a bright stripe, its place among three is the class, under noise."""
    source = torch.Generator().manual_seed(seed)
    y = torch.arange(n) % 3
    x = 0.3 + 0.12 * torch.randn(n, 1, 8, 8, generator=source)
    for k in range(3):
        x[y == k, :, 1 + 2 * k : 3 + 2 * k] += 0.3
    return Split(x.clamp(0, 1), y, "train", "stripes")


@pytest.fixture(scope="module")
def trained():
    options = {"epochs": 6, "batch_size": 32, "learning_rate": 0.01, "cache": False, "device": "cpu"}
    models = {
        "convnet": fit(small_convnet(1, 3, 8, width=4), pictures(), **options).model,
        "mlp": fit(mlp(64, 3, (32,)), pictures(), **options).model,
    }
    return models


@pytest.fixture
def inputs():
    held_out = pictures(100, seed=1)
    return held_out.x, held_out.y


def failed(checks):
    return {check.name for check in checks if not check.passed}


@pytest.mark.parametrize("name", ["convnet", "mlp"])
@pytest.mark.parametrize("threat", [Linf(0.05), L2(0.5)], ids=["linf", "l2"])
def test_an_honest_undefended_model_passes_everything(trained, inputs, name, threat):
    model = trained[name]
    assert float(accuracy(model, *inputs)) > 0.95
    checks = sanity_battery(model, *inputs, threat)
    assert [check.name for check in checks] == ALL
    assert failed(checks) == set(), [f"{check.name}: {check.seen}" for check in checks if not check.passed]
    assert all(check.seen and check.meaning for check in checks)


def test_a_random_model(trained, inputs):
    class Noisy(nn.Module):
        """Adds fresh noise to its input at every call."""

        def __init__(self, inner):
            super().__init__()
            self.inner, self.source = inner, torch.Generator().manual_seed(0)

        def forward(self, x):
            return self.inner((x + 0.1 * torch.randn(x.shape, generator=self.source)).clamp(0, 1))

    assert TWICE in failed(sanity_battery(Noisy(trained["mlp"]), *inputs, Linf(0.05), steps=5))


def test_a_model_that_rounds_its_input(trained, inputs):
    """A step function has a zero gradient everywhere it has one; the attack stands still, and the model looks robust."""

    def stepped(x):
        return trained["mlp"](torch.floor(x * 8 + 0.5) / 8)

    seen = failed(sanity_battery(stepped, *inputs, Linf(0.1), steps=5))
    assert {GRADIENTS, NO_BOUND, LARGER} <= seen


def test_saturated_logits(trained, inputs):
    """A thousandfold logit: the cross-entropy's gradient is exactly zero in float32, the margin's is what it was."""
    loud = Tempered(trained["mlp"], 1e-3)
    assert accuracy(loud, *inputs) == accuracy(trained["mlp"], *inputs)
    seen = failed(sanity_battery(loud, *inputs, Linf(0.1), steps=10))
    assert {GRADIENTS, OTHER_LOSS} <= seen
    by_margin = [float(pgd(model, *inputs, Linf(0.1), steps=10, loss="margin").robust_accuracy) for model in (loud, trained["mlp"])]
    assert by_margin[0] == pytest.approx(by_margin[1], abs=0.02)


def test_gradients_that_point_the_wrong_way(trained, inputs):
    class Backwards(torch.autograd.Function):
        """The identity, with the gradient of its negative."""

        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, grad):
            return -grad

    seen = failed(sanity_battery(lambda x: trained["mlp"](Backwards.apply(x)), *inputs, Linf(0.5), steps=5))
    assert {NOISE, NO_BOUND} <= seen


def test_a_loss_surface_with_a_dip_at_the_clean_input(trained, inputs):
    """Near the clean inputs the model's answer is fixed by a lookup: one long step jumps out of it, small ones stay inside."""
    x, _ = inputs
    inner, known = trained["mlp"], x.flatten(1)

    def masked(z):
        distance, nearest = torch.cdist(z.flatten(1), known, p=torch.inf).min(1)
        inside = (distance < 0.06)[:, None]
        answer = inner(known[nearest].view_as(z)).detach()
        uphill = inner(z)
        # Inside the pocket the gradient leads back to the clean input.
        return torch.where(inside, answer * (1 - distance[:, None]).clamp(0, 1), uphill)

    seen = failed(sanity_battery(masked, *inputs, Linf(0.1), steps=20))
    assert seen & {ONE_STEP, NOISE, MORE_STEPS, LARGER, NO_BOUND, OTHER_LOSS, GRADIENTS}


def with_attack(monkeypatch, change):
    """Let the battery run a broken attack: ``change(threat, options)`` gives what the real one is called with."""

    def broken(model, x, y, threat, **options):
        return pgd(model, x, y, *change(threat, options)[:1], **change(threat, options)[1])

    monkeypatch.setattr(sanity, "pgd", broken)


def test_an_attack_that_ignores_its_budget(trained, inputs, monkeypatch):
    with_attack(monkeypatch, lambda threat, options: (replace(threat, eps=0.03), options))
    seen = failed(sanity_battery(trained["mlp"], *inputs, Linf(0.1)))
    assert {LARGER, NO_BOUND} <= seen


def test_an_attack_with_too_few_and_too_small_steps(trained, inputs, monkeypatch):
    with_attack(monkeypatch, lambda threat, options: (threat, {**options, "step_size": 0.002}))
    seen = failed(sanity_battery(trained["mlp"], *inputs, Linf(0.2), steps=10))
    assert {MORE_STEPS, ONE_STEP} <= seen


def test_an_attack_whose_steps_overshoot_into_nothing(trained, inputs, monkeypatch):
    """An attack that returns its input: noise does better than it."""
    with_attack(monkeypatch, lambda threat, options: (replace(threat, eps=0.0), options))
    monkeypatch.setattr(sanity, "fgsm", lambda model, x, y, threat: fgsm(model, x, y, threat))
    seen = failed(sanity_battery(trained["mlp"], *inputs, Linf(0.4), steps=5))
    assert {NOISE, ONE_STEP, LARGER, NO_BOUND} <= seen


def test_an_attacker_who_may_change_everything_is_not_held_by_a_mask(trained, inputs):
    """With a mask over a corner an honest model survives any change there: that is no sign of a broken attack."""
    mask = torch.zeros(1, 8, 8)
    mask[:, 2:5] = 1
    checks = {check.name: check for check in sanity_battery(trained["mlp"], *inputs, Linf(0.2, mask=mask))}
    assert checks[NO_BOUND].passed, checks[NO_BOUND].seen


# Each check by its own numbers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("check", "passing", "failing"),
    [
        (sanity._one_step, [(0.5, 0.5), (0.5, 0.1), (0.5, 0.52)], [(0.5, 0.53)]),
        (sanity._noise, [(0.9, 0.1), (0.5, 0.5)], [(0.5, 0.6)]),
        (sanity._more_steps, [(0.5, 0.5), (0.5, 0.49)], [(0.5, 0.4)]),
        (sanity._larger_budget, [(0.5, 0.4, 0.9), (0.0, 0.0, 0.9), (0.01, 0.01, 0.9)], [(0.5, 0.5, 0.9), (0.5, 0.6, 0.9)]),
        (sanity._no_bound, [(0.0,), (0.02,)], [(0.05,), (1.0,)]),
        (sanity._other_loss, [(0.5, 0.5), (0.5, 0.49), (0.5, 0.8)], [(0.5, 0.4)]),
    ],
)
def test_the_line_between_pass_and_fail(check, passing, failing):
    assert all(check(*numbers).passed for numbers in passing)
    assert not any(check(*numbers).passed for numbers in failing)


def test_zero_gradients_are_counted_among_the_inputs_that_were_attacked():
    zero, already = torch.tensor([True, True, False, False]), torch.tensor([True, False, False, False])
    check = sanity._gradients(zero, already)
    assert not check.passed
    assert "1 of 3 inputs" in check.seen
    assert sanity._gradients(zero, torch.tensor([True, True, False, False])).passed
