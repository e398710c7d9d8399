"""A cache of its own for every test, the CPU, and toy problems that train in milliseconds."""

import sys

import pytest
import torch

from labkit.data.dataset import Split
from labkit.training import fit


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("LABKIT_DEVICE", "cpu")
    return tmp_path / "cache" / "models"


@pytest.fixture(autouse=True)
def every_epoch_is_kept(monkeypatch):
    """Trainings of milliseconds would leave no checkpoint to resume from."""
    monkeypatch.setattr(sys.modules[fit.__module__], "CHECKPOINT_SECONDS", 0.0)


def blobs(n=120, seed=0, role="train"):
    """Three well separated classes in the unit square."""
    source = torch.Generator().manual_seed(seed)
    y = torch.arange(n) % 3
    centers = torch.tensor([[0.2, 0.2], [0.8, 0.2], [0.5, 0.8]])
    return Split((centers[y] + 0.05 * torch.randn(n, 2, generator=source)).clamp(0, 1), y, role, "blobs")


def pictures(n=40, seed=0, size=8):
    """Random images (1, size, size), labelled by whether the upper half is brighter than the lower."""
    x = torch.rand(n, 1, size, size, generator=torch.Generator().manual_seed(seed))
    return Split(x, (x[:, :, : size // 2].sum((1, 2, 3)) > x[:, :, size // 2 :].sum((1, 2, 3))).long(), "train", "pictures")
