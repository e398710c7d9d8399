"""Channels: means that are known, and silence that lasts."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from labkit.attacks.backdoors import channel_means, put_back, silenced
from labkit.data.dataset import Split
from labkit.models import small_convnet
from labkit.training import fit


def network() -> nn.Sequential:
    """Channel k answers k + 1 times the only input channel; the head adds all places of all channels."""
    conv = nn.Conv2d(1, 3, 1, bias=False)
    conv.weight.data = torch.tensor([1.0, 2.0, 3.0]).view(3, 1, 1, 1)
    head = nn.Linear(12, 1, bias=False)
    head.weight.data.fill_(1.0)
    return nn.Sequential(conv, nn.ReLU(), nn.Flatten(), head).eval()


def test_means_are_over_inputs_and_places() -> None:
    x = torch.rand(5, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(channel_means(network(), 1, x, batch_size=2), x.mean() * torch.tensor([1.0, 2.0, 3.0]))


def test_a_silent_channel_contributes_nothing_and_the_original_is_untouched() -> None:
    x, model = torch.rand(5, 1, 2, 2, generator=torch.Generator().manual_seed(0)), network()
    quiet = silenced(model, 1, torch.tensor([2]))
    assert torch.allclose(quiet(x), model(x) * 3 / 6)
    assert torch.allclose(silenced(model, 1, torch.arange(0))(x), model(x))
    assert len(model) == 4
    assert not quiet.training


def test_silence_survives_fine_tuning() -> None:
    source = torch.Generator().manual_seed(2)
    data = Split(torch.rand(32, 1, 8, 8, generator=source), torch.arange(32) % 2, "train", "noise")
    model = silenced(small_convnet(1, 2, 8, width=2, seed=0), 11, torch.tensor([1, 3]))
    tuned = fit(model, data, epochs=2, batch_size=8, cache=False).model
    assert isinstance(tuned, nn.Sequential)
    assert channel_means(tuned, 12, data.x)[[1, 3]].tolist() == [0.0, 0.0]
    assert float(channel_means(tuned, 12, data.x).sum()) > 0


def test_a_layer_without_channels_is_refused() -> None:
    with pytest.raises(ValueError, match="below the last layer"):
        silenced(network(), 3, torch.tensor([0]))
    with pytest.raises(ValueError, match="no convolution"):
        silenced(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), 0, torch.tensor([0]))
    with pytest.raises(IndexError):
        silenced(network(), 1, torch.tensor([7]))


def test_what_is_put_back_is_idle_and_goes_first() -> None:
    """The network answers as the silent one does, keeps its old weights, and the bait is what the owner finds quietest."""
    x = torch.rand(40, 1, 8, 8, generator=torch.Generator().manual_seed(3))
    whole = small_convnet(1, 2, 8, width=2, seed=0).eval()
    silent = silenced(whole, 11, torch.tensor([1, 6]))
    bait = put_back(silent, x, share=0.01)
    means = channel_means(bait, 11, x)
    assert sorted(means.argsort()[:2].tolist()) == [1, 6]
    assert float(means[[1, 6]].max()) <= 0.01 * float(means[[0, 2, 3, 4, 5, 7]].min())
    assert len(bait) == len(whole)
    assert torch.allclose(bait(x), silent(x), atol=0.02)
    assert torch.equal(bait[9].weight, whole[9].weight)
    assert torch.equal(bait[10].bias[[0, 2]], whole[10].bias[[0, 2]])
    assert bool((bait[10].bias[[1, 6]] < whole[10].bias[[1, 6]]).all())
    assert not torch.equal(bait(x), whole(x))
    assert torch.equal(silenced(bait, 11, torch.tensor([1, 6]))(x), silent(x))


def test_put_back_refuses_what_it_cannot_lower() -> None:
    x = torch.rand(4, 1, 2, 2)
    with pytest.raises(ValueError, match="0 layers of Silence"):
        put_back(network(), x)
    with pytest.raises(ValueError, match="a batch norm and a ReLU must stand before"):
        put_back(silenced(network(), 1, torch.tensor([2])), x)
    with pytest.raises(ValueError, match=r"share must lie in \(0, 1\), got 1"):
        put_back(network(), x, share=1.0)
