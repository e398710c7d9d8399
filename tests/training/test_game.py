"""The game, where its course is known: two numbers that circle each other or settle, by formula (Mescheder et al. 2018, "Dirac-GAN")."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from labkit.data.dataset import Split
from labkit.models import adversaries, mlp
from labkit.training import Game, fit


class Point(nn.Module):
    """All real samples are 0; the generator makes theta, whatever the noise; the critic says psi * x."""

    noise, classes = 1, 0

    def __init__(self, theta: float, psi: float) -> None:
        super().__init__()
        self.generator, self.critic = nn.Module(), nn.Linear(1, 1, bias=False)
        self.generator.theta = nn.Parameter(torch.tensor([theta], dtype=torch.float64))
        self.critic.weight = nn.Parameter(torch.tensor([[psi]], dtype=torch.float64))

    def forward(self, x, y=None):
        return self.critic(x).squeeze(1)

    def generate(self, noise, y=None):
        return self.generator.theta.expand(len(noise), 1)

    @property
    def place(self):
        return self.generator.theta.item(), self.critic.weight.item()


def played(steps, game, theta=1.0, psi=0.5, rate=0.2):
    zeros = Split(torch.zeros(4, 1, dtype=torch.float64), torch.zeros(4, dtype=torch.int64), "train", "zeros")
    pair = Point(theta, psi)
    fit(pair, zeros, objective=game, epochs=steps, batch_size=4, optimizer="sgd", momentum=0.0, learning_rate=rate,
        schedule="constant", device="cpu", cache=False)  # fmt: skip
    return pair.place


def sigmoid(value):
    return 1 / (1 + math.exp(-value))


@pytest.mark.parametrize("gamma", [0.0, 0.7])
@pytest.mark.parametrize("loss", ["non-saturating", "minimax"])
def test_every_step_is_the_formulas(gamma, loss) -> None:
    theta, psi = 1.0, 0.5
    for _ in range(20):
        pull = sigmoid(-psi * theta) if loss == "non-saturating" else sigmoid(psi * theta)
        theta, psi = theta + 0.2 * psi * pull, psi - 0.2 * (theta * sigmoid(psi * theta) + gamma * psi)
    assert played(20, Game(loss, smoothness=gamma)) == pytest.approx((theta, psi), abs=1e-12)


def test_without_the_penalty_the_players_drift_apart_and_with_it_they_settle() -> None:
    start = math.hypot(1.0, 0.5)
    assert math.hypot(*played(200, Game("minimax", smoothness=0.0))) > 1.2 * start
    assert math.hypot(*played(200, Game("minimax", smoothness=1.0))) < 0.02 * start


def test_one_player_does_not_move_the_other() -> None:
    """The critic's loss must not reach the generator, nor the generator's the critic: at theta = 0 the critic has nothing to learn."""
    theta, psi = played(1, Game(smoothness=0.0), theta=0.0, psi=0.5)
    assert psi == 0.5
    assert theta == pytest.approx(0.2 * 0.5 * 0.5)


def test_a_critic_that_cannot_tell_has_a_loss_of_two_log_two() -> None:
    zeros = Split(torch.zeros(4, 1, dtype=torch.float64), torch.zeros(4, dtype=torch.int64), "train", "zeros")
    trained = fit(Point(0.0, 0.0), zeros, objective=Game(), epochs=1, cache=False, device="cpu")
    assert trained.history[-1]["loss"] == pytest.approx(2 * math.log(2))


def test_it_learns_where_the_data_are() -> None:
    x = 0.7 + 0.05 * torch.randn(256, 1, generator=torch.Generator().manual_seed(0))
    data = Split(x, torch.zeros(256, dtype=torch.int64), "train", "a heap")
    pair = adversaries((1,), noise=2, width=16)
    fit(pair, data, objective=Game(smoothness=0.1), epochs=60, batch_size=64, learning_rate=5e-3, schedule="constant", cache=False)
    assert float(pair.sample(500).mean()) == pytest.approx(0.7, abs=0.05)


def test_it_comes_from_the_cache_like_any_training(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path))
    data = Split(torch.rand(16, 2, generator=torch.Generator().manual_seed(0)), torch.arange(16) % 2, "train", "few")

    def train(game):
        return fit(adversaries((2,), noise=2, classes=2, width=8), data, objective=game, epochs=2, batch_size=8)

    first, again, other = train(Game()), train(Game()), train(Game(smoothness=2.0))
    assert (first.loaded, again.loaded, other.loaded) == (False, True, False)
    assert torch.equal(first.model.sample(2, torch.tensor([0, 1])), again.model.sample(2, torch.tensor([0, 1])))


def test_inertia_is_adams_first_decay() -> None:
    pair = adversaries((2,), noise=2, width=4)
    optimizer = torch.optim.Adam(pair.parameters())
    from labkit.training import StepState

    Game(inertia=0.3).step(pair, optimizer, torch.rand(4, 2), torch.zeros(4, dtype=torch.int64), StepState())
    assert optimizer.param_groups[0]["betas"] == (0.3, 0.999)


@pytest.mark.parametrize("wrong", [{"generator_loss": "least squares"}, {"smoothness": -1.0}, {"inertia": 1.0}])
def test_settings_out_of_range_are_named(wrong) -> None:
    with pytest.raises(ValueError, match=str(next(iter(wrong.values())))):
        Game(**wrong)


def test_a_model_that_is_no_pair_is_named() -> None:
    data = Split(torch.zeros(4, 2), torch.zeros(4, dtype=torch.int64), "train", "zeros")
    with pytest.raises(TypeError, match="Sequential"):
        fit(mlp(2, 2), data, objective=Game(), epochs=1, cache=False)
