"""Objectives: the plain loss, the update, and a description that tells any two settings apart."""

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from labkit.defenses import Adversarial, Free, Trades
from labkit.models import mlp
from labkit.threats import L1, L2, Linf
from labkit.training import Natural, Objective, StepState


def batch(n=16, features=6, classes=3):
    source = torch.Generator().manual_seed(0)
    return torch.rand(n, features, generator=source), torch.randint(0, classes, (n,), generator=source)


def test_natural_is_the_mean_cross_entropy():
    model, (x, y) = mlp(6, 3, (8,)), batch()
    by_hand = -model(x).log_softmax(1)[torch.arange(16), y].mean()
    torch.testing.assert_close(Natural().loss(model, x, y, StepState()), by_hand)


def test_smoothing_mixes_with_the_uniform_distribution():
    model, (x, y) = mlp(6, 3, (8,)), batch()
    log_p = model(x).log_softmax(1)
    target = 0.7 * nn.functional.one_hot(y, 3) + 0.3 / 3
    torch.testing.assert_close(Natural(0.3).loss(model, x, y, StepState()), -(target * log_p).sum(1).mean())


def test_a_step_is_one_update_with_this_batchs_gradient_only():
    model, (x, y) = mlp(6, 3, (8,)), batch()
    for p in model.parameters():  # what someone left behind must not count
        p.grad = torch.full_like(p, 1e6)
    before = [p.detach().clone() for p in model.parameters()]
    gradients = torch.autograd.grad(cross_entropy(model(x), y), list(model.parameters()))
    value = Natural().step(model, torch.optim.SGD(model.parameters(), 0.1), x, y, StepState())
    assert value == pytest.approx(float(cross_entropy_at(before, x, y)))
    for p, old, gradient in zip(model.parameters(), before, gradients, strict=True):
        torch.testing.assert_close(p.detach(), old - 0.1 * gradient)


def cross_entropy_at(weights, x, y):
    hidden = (x @ weights[0].T + weights[1]).relu()
    return cross_entropy(hidden @ weights[2].T + weights[3], y)


def test_a_recipe_is_json_and_names_the_settings():
    import json

    assert Natural(0.25).recipe() == {"objective": "Natural", "smoothing": "0.25"}
    told = json.loads(json.dumps(Trades(Linf(0.1), beta=3.0).recipe()))
    assert (told["objective"], told["beta"]) == ("Trades", "3.0")


@dataclass(frozen=True)
class Holding(Objective):
    """An objective with anything in it."""

    thing: Any = None

    def loss(self, model, x, y, state):
        return model(x).sum()


half = torch.tensor([1.0, 0.0])
DIFFERENT = [
    Natural(), Natural(0.1), Adversarial(Linf(0.1)), Trades(Linf(0.1)), Free(Linf(0.1)),
    Adversarial(Linf(0.1), steps=8), Adversarial(Linf(0.1), mode="train"), Adversarial(Linf(0.1), precision="bfloat16"),
    Adversarial(Linf(0.1), clean=0.5), Adversarial(Linf(0.1), random_start=False), Adversarial(Linf(0.1), step_size=0.1),
    Adversarial(L2(0.1)), Adversarial(Linf(0.100001)), Adversarial(Linf(8 / 255)), Adversarial(Linf(8 / 255 + 1e-9)),
    Adversarial(Linf(0.1, low=-1.0)), Adversarial(Linf(0.1, high=2.0)), Adversarial(Linf(0.1, mask=half)),
    Adversarial(Linf(0.1, mask=1 - half)), Adversarial(L1(0.1)), Adversarial(L1(0.1, sparsity=0.05)),
    Holding(nn.Linear(2, 2)), Holding(nn.Linear(2, 2)), Holding(torch.zeros(2)), Holding(torch.ones(2)),
]  # fmt: skip


def test_no_two_settings_share_a_recipe():
    """A threat's short name leaves out its box, its mask and late digits: a cache that went by it would hand out the wrong model."""
    told = [str(aim.recipe()) for aim in DIFFERENT]
    assert len(set(told)) == len(told), [text for text in told if told.count(text) > 1]


def test_equal_settings_share_a_recipe():
    layer = nn.Linear(2, 2)
    twin = nn.Linear(2, 2)
    twin.load_state_dict(layer.state_dict())
    assert Holding(layer).recipe() == Holding(twin).recipe()
    assert Adversarial(Linf(0.1, mask=half)).recipe() == Adversarial(Linf(0.1, mask=half.clone())).recipe()
