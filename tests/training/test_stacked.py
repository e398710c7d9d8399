"""Networks trained as one end where each ends alone: a plain loop is the known answer."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from labkit.models import mlp
from labkit.seeding import generator
from labkit.training.stacked import Stacked

OPTIMIZERS = {"adam": lambda numbers: torch.optim.Adam(numbers, 0.02), "sgd": lambda numbers: torch.optim.SGD(numbers, 0.1, 0.9)}


def networks() -> list[nn.Module]:
    return [mlp(4, 3, (6,), seed=seed).double() for seed in range(3)]


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("name", list(OPTIMIZERS))
def test_each_network_goes_its_own_way(name: str, soft: bool) -> None:
    source = generator(0, "stacked")
    x = torch.rand(5, 3, 8, 4, generator=source, dtype=torch.float64)
    y = torch.rand(5, 3, 8, 3, generator=source, dtype=torch.float64).softmax(3)
    if not soft:
        y = y.argmax(3)
    stacked = Stacked(networks(), torch.device("cpu"))
    optimizer = OPTIMIZERS[name](list(stacked.weights.values()))
    sums = [float(stacked.step(optimizer, x[step], y[step])) for step in range(5)]
    expected = [0.0] * 5
    for number, alone in enumerate(networks()):
        own = OPTIMIZERS[name](list(alone.parameters()))
        for step in range(5):
            loss = cross_entropy(alone(x[step, number]), y[step, number])
            expected[step] += loss.item()
            own.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            own.step()
        for key, parameter in alone.named_parameters():
            torch.testing.assert_close(stacked.weights[key][number], parameter, rtol=1e-9, atol=1e-12)
    assert sums == pytest.approx(expected)


def test_the_networks_handed_in_keep_their_weights() -> None:
    models = networks()
    before = [parameter.clone() for model in models for parameter in model.parameters()]
    stacked = Stacked(models, torch.device("cpu"))
    stacked.step(torch.optim.SGD(list(stacked.weights.values()), 0.5), torch.rand(3, 4, 4).double(), torch.zeros(3, 4, dtype=torch.int64))
    assert all(bool((a == b).all()) for a, b in zip(before, (p for model in models for p in model.parameters()), strict=True))
    assert not torch.equal(stacked.weights["1.weight"][0].detach(), before[0])
