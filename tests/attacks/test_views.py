"""Holding models still, and finding the model behind a view."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from labkit.attacks.views import held_still, original
from tests.attacks.evasion.suite import mixed_model, world_untouched


def test_inside_everything_is_still_and_after_it_all_is_as_it_was() -> None:
    model = mixed_model()
    with world_untouched(model), held_still(model, model, abs):
        assert not any(module.training for module in model.modules())
        assert not any(p.requires_grad for p in model.parameters())
    modes = [module.training for module in model.modules()]
    assert True in modes
    assert False in modes
    with world_untouched(model), pytest.raises(KeyError), held_still(model):
        raise KeyError


def test_shared_modules_come_back_too() -> None:
    one = mixed_model()
    two = nn.Sequential(one, nn.Identity())
    with world_untouched(one, two), held_still(two, one):
        assert not two[0].training


class View(nn.Module):
    def __init__(self, inner: object) -> None:
        super().__init__()
        self.original = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def test_original_is_followed_to_the_end() -> None:
    model = nn.Linear(2, 2)
    assert original(model) is model
    assert original(View(View(model))) is model
    assert original(abs) is abs
