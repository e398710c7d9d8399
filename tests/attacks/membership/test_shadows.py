from __future__ import annotations

import logging

import pytest
import torch
from torch import nn

from labkit.attacks.membership import ShadowRecipe, balanced_members, train_shadows
from labkit.files import cache_dir
from labkit.models.layers import seeded
from labkit.models.networks import mlp


def pool(records=30, features=5, dtype=torch.float64):
    source = torch.Generator().manual_seed(0)
    x = torch.rand(records, features, generator=source, dtype=dtype)
    return x, (3 * x[:, 0]).long().clamp_max(2)


def small(seed):
    return mlp(5, 3, (8,), seed=seed).double()


@seeded
def convnet():
    return nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.Tanh(), nn.Flatten(), nn.Linear(48, 3)).double()


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("batch", [4, 64])
def test_together_is_one_by_one(optimizer, batch):
    x, y = pool()
    setting = {"epochs": 6, "batch_size": batch, "optimizer": optimizer, "weight_decay": 1e-3, "seed": 3, "device": "cpu", "cache": False}
    members = balanced_members(4, 30, 1)
    both = train_shadows(small, x, y, members, together=True, **setting)
    alone = train_shadows(small, x, y, members, together=False, **setting)
    for name, tensor in both.weights.items():
        assert torch.allclose(tensor, alone.weights[name], rtol=0, atol=1e-6)
        assert not torch.allclose(tensor[0], tensor[1], atol=1e-2)  # they are not one model four times
    assert torch.allclose(both.logits(x), alone.logits(x), rtol=0, atol=1e-6)


def test_convolutions_together_are_one_by_one():
    x, y = pool(20, 16)
    setting = {"epochs": 3, "batch_size": 8, "device": "cpu", "cache": False}
    images, members = x.view(20, 1, 4, 4), balanced_members(2, 20)
    both, alone = (train_shadows(lambda seed: convnet(seed=seed), images, y, members, together=how, **setting) for how in (True, False))
    assert torch.allclose(both.logits(images), alone.logits(images), rtol=0, atol=1e-6)


def test_a_model_learns_its_own_records_only():
    """Change a record that only the first model has: only the first model changes."""
    x, y = pool()
    members = balanced_members(2, 30)
    mine = int(members[0].nonzero()[0])
    other = x.clone()
    other[mine] = 0.9
    setting = {"epochs": 2, "device": "cpu", "cache": False}
    before, after = (train_shadows(small, inputs, y, members, **setting).logits(x) for inputs in (x, other))
    assert not torch.allclose(before[0], after[0])
    assert torch.equal(before[1], after[1])


def test_a_snapshot_is_a_shorter_training():
    x, y = pool()
    members = balanced_members(4, 30)
    long = train_shadows(small, x, y, members, epochs=5, keep=(2, 4), device="cpu", cache=False)
    short = train_shadows(small, x, y, members, epochs=2, device="cpu", cache=False)
    assert torch.equal(long.at(2).logits(x), short.logits(x))
    assert torch.equal(long.at(5).logits(x), long.logits(x))
    with pytest.raises(ValueError, match=r"after epoch 3, only after \[2, 4, 5\]"):
        long.at(3)


def test_the_first_of_them():
    x, y = pool()
    shadows = train_shadows(small, x, y, balanced_members(6, 30), epochs=3, keep=(1,), device="cpu", cache=False)
    few = shadows.first(2)
    assert len(few) == 2
    assert torch.equal(few.members, shadows.members[:2])
    assert torch.allclose(few.logits(x), shadows.logits(x)[:2])
    assert torch.allclose(few.at(1).logits(x), shadows.at(1).logits(x)[:2])
    assert not torch.allclose(few.at(1).logits(x), few.logits(x))
    for count in (0, 7):
        with pytest.raises(ValueError, match=f"the first {count} of 6 models"):
            shadows.first(count)


def test_one_of_them_as_a_model():
    x, y = pool()
    shadows = train_shadows(small, x, y, balanced_members(4, 30), epochs=2, device="cpu", cache=False)
    assert torch.allclose(shadows.model(2)(x), shadows.logits(x, batch=7)[2])
    assert not shadows.model(2).training
    assert len(shadows) == 4


def test_the_cache_gives_back_the_same(monkeypatch, tmp_path, caplog):
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path))
    x, y = pool(dtype=torch.float32)
    members = balanced_members(4, 30)

    def build(seed):
        return mlp(5, 3, (8,), seed=seed)

    first = train_shadows(build, x, y, members, epochs=3, keep=(1,), device="cpu")
    again = train_shadows(build, x, y, members, epochs=3, keep=(1,), device="cpu")
    assert (first.loaded, again.loaded) == (False, True)
    assert torch.equal(first.logits(x), again.logits(x))
    assert torch.equal(first.at(1).logits(x), again.at(1).logits(x))
    assert again.seconds == first.seconds
    assert not train_shadows(build, x, y, members, epochs=3, keep=(1,), device="cpu", seed=1).loaded
    assert not train_shadows(build, x, y, ~members, epochs=3, keep=(1,), device="cpu").loaded
    assert not train_shadows(build, x, y, members, epochs=3, keep=(1,), device="cpu", weight_decay=0.1).loaded
    (path, *_) = sorted(cache_dir("models").glob("shadows-*.safetensors"))
    for stored in cache_dir("models").glob("shadows-*.safetensors"):
        stored.write_bytes(stored.read_bytes()[:-9])
    with caplog.at_level(logging.WARNING):
        mended = train_shadows(build, x, y, members, epochs=3, keep=(1,), device="cpu")
    assert not mended.loaded
    assert "damaged" in caplog.text
    assert torch.equal(mended.logits(x), first.logits(x))
    assert path.exists() or path.with_suffix(".damaged").exists()


def test_the_global_random_state_is_left_alone():
    x, y = pool()
    torch.manual_seed(5)
    before = torch.get_rng_state()
    train_shadows(small, x, y, balanced_members(2, 30), epochs=1, device="cpu", cache=False)
    assert torch.equal(torch.get_rng_state(), before)


def test_bad_input_is_named():
    x, y = pool()
    members = balanced_members(2, 30)
    uneven = members.clone()
    uneven[0, int((~members[0]).nonzero()[0])] = True
    with pytest.raises(ValueError, match=r"equally many records, at least one; the rows of members hold \[15, 16\]"):
        train_shadows(small, x, y, uneven, cache=False)
    with pytest.raises(ValueError, match="Dropout draws numbers"):
        train_shadows(lambda seed: nn.Sequential(nn.Dropout(), nn.Linear(5, 3)), x, y, members, cache=False)
    with pytest.raises(ValueError, match="BatchNorm1d draws numbers"):
        train_shadows(lambda seed: nn.Sequential(nn.BatchNorm1d(5), nn.Linear(5, 3)), x, y, members, cache=False)
    with pytest.raises(ValueError, match=r"between 1 and 3, got \[4\]"):
        train_shadows(small, x, y, members, epochs=3, keep=(4,), cache=False)
    with pytest.raises(ValueError, match=r"members \(M, N\) bool"):
        train_shadows(small, x[:10], y, members, cache=False)
    with pytest.raises(ValueError, match="'adam' or 'sgd', got 'lion'"):
        ShadowRecipe(optimizer="lion")
