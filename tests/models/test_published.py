"""Published weights: found in either place, refused when they are not what was published, never invented."""

import os
from pathlib import Path

import pytest
import torch

from labkit.models import WeightsNotFound, advertorch_lenet5, published_lenet5
from labkit.tensors import read_tensors, write_tensors

NAMES = {"0": "conv1", "3": "conv2", "7": "linear1", "9": "linear2"}
GIVEN = Path(os.environ["LABKIT_DATA"]) / "authors" if "LABKIT_DATA" in os.environ else None


def foreign_weights():
    """Right names and shapes, other numbers."""
    state = advertorch_lenet5(seed=5).state_dict()
    return {f"{NAMES[name.split('.')[0]]}.{name.split('.')[1]}": tensor for name, tensor in state.items()}


@pytest.fixture
def places(tmp_path, monkeypatch):
    monkeypatch.setenv("LABKIT_DATA", str(tmp_path))
    ours = tmp_path / "authors" / "advertorch_mnist_lenet5_clntrained.safetensors"
    theirs = tmp_path / "advertorch" / "mnist_lenet5_clntrained.pt"
    ours.parent.mkdir()
    theirs.parent.mkdir()
    return ours, theirs


def test_missing_weights_name_both_places(places):
    ours, theirs = places
    with pytest.raises(WeightsNotFound) as caught:
        published_lenet5("clntrained")
    assert str(ours) in str(caught.value)
    assert str(theirs) in str(caught.value)
    assert isinstance(caught.value, FileNotFoundError)


def test_unknown_name():
    with pytest.raises(ValueError, match="'robust'"):
        published_lenet5("robust")


def test_other_numbers_under_this_name(places):
    write_tensors(places[0], foreign_weights())
    with pytest.raises(ValueError, match="SHA-256"):
        published_lenet5("clntrained")


def test_other_numbers_in_the_authors_format(places):
    torch.save(foreign_weights(), places[1])
    with pytest.raises(ValueError, match=r"mnist_lenet5_clntrained\.pt"):
        published_lenet5("clntrained")


def test_another_network_in_the_authors_format(places):
    torch.save({"fc.weight": torch.zeros(2, 2)}, places[1])
    with pytest.raises(ValueError, match=r"mnist_lenet5_clntrained\.pt"):
        published_lenet5("clntrained")


@pytest.mark.skipif(
    GIVEN is None or not (GIVEN / "advertorch_mnist_lenet5_advtrained.safetensors").exists(),
    reason="the published weights are not in LABKIT_DATA (see the data chapter of the README)",
)
@pytest.mark.parametrize("which", ["clntrained", "advtrained"])
def test_the_real_weights(which, tmp_path, monkeypatch):
    model = published_lenet5(which)
    assert not model.training
    x = torch.rand(4, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits = model(x)
    weights, _ = read_tensors(GIVEN / f"advertorch_mnist_lenet5_{which}.safetensors")
    hidden = torch.nn.functional.conv2d(x, weights["conv1.weight"], weights["conv1.bias"], padding=1).relu()
    hidden = torch.nn.functional.max_pool2d(hidden, 2)
    hidden = torch.nn.functional.conv2d(hidden, weights["conv2.weight"], weights["conv2.bias"], padding=1).relu()
    hidden = torch.nn.functional.max_pool2d(hidden, 2).flatten(1)
    hidden = (hidden @ weights["linear1.weight"].T + weights["linear1.bias"]).relu()
    torch.testing.assert_close(logits, hidden @ weights["linear2.weight"].T + weights["linear2.bias"], rtol=1e-4, atol=1e-4)
    # The same numbers as the authors' own file would hold them are accepted from the other place too.
    other = tmp_path / "advertorch" / f"mnist_lenet5_{which}.pt"
    other.parent.mkdir()
    torch.save(weights, other)
    monkeypatch.setenv("LABKIT_DATA", str(tmp_path))
    with torch.no_grad():
        assert torch.equal(published_lenet5(which)(x), logits)
