"""Normalization, and builders that leave the world's random state alone."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from labkit.models import Normalize, mlp
from labkit.models.layers import seeded


def test_normalize_by_hand() -> None:
    x = torch.tensor([0.5, 1.0]).view(1, 2, 1, 1).expand(3, 2, 4, 5)
    out = Normalize([0.25, 0.5], [0.5, 0.25])(x)
    assert out.shape == (3, 2, 4, 5)
    assert out[0, :, 0, 0].tolist() == [0.5, 2.0]
    assert not list(Normalize([0.5], [0.5]).parameters())  # moves with the model, is saved with it, and is not trained
    assert set(Normalize([0.5], [0.5]).state_dict()) == {"mean", "std"}


@pytest.mark.parametrize("std", [[0.0, 1.0], [-1.0, 1.0]])
def test_wrong_deviation(std: list[float]) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        Normalize([0.0, 0.0], std)


def test_seeds_decide_the_weights_and_nothing_else_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise AssertionError("a GPU's generator was seeded")

    monkeypatch.setattr(torch.cuda, "manual_seed_all", refuse)
    before = torch.get_rng_state()
    one, same, other = mlp(3, 2, seed=1), mlp(3, 2, seed=1), mlp(3, 2, seed=2)  # type: ignore[call-arg]
    torch.rand(1, generator=torch.Generator())
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), same.parameters(), strict=True))
    assert not torch.equal(one[1].weight, other[1].weight)
    with torch.random.fork_rng(devices=[]):
        torch.rand(5)
        again = mlp(3, 2, seed=1)  # type: ignore[call-arg]
    assert torch.equal(again[1].weight, one[1].weight)


def test_a_builder_that_fails_gives_the_state_back() -> None:
    @seeded
    def broken() -> nn.Module:
        torch.rand(3)
        raise KeyError

    before = torch.get_rng_state()
    with pytest.raises(KeyError):
        broken()
    assert torch.equal(torch.get_rng_state(), before)
