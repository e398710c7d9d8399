"""Models on disk: facts kept, damage moved aside, and a refused file leaves the model as it was."""

import json
import logging

import pytest
import torch
from torch import nn

from labkit.models import small_convnet
from labkit.tensors import read_tensors, write_tensors
from labkit.training import store


def net(seed=0):
    return small_convnet(1, 3, 8, width=2, seed=seed)


def weights_of(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def equal(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_a_model_comes_back_with_its_facts(tmp_path):
    model, other = net(0), net(1)
    model.train()
    model(torch.rand(4, 1, 8, 8))  # running statistics move
    store.save(tmp_path / "m", model, {"seconds": 1.25, "history": [{"loss": 0.5}]})
    assert store.load(tmp_path / "m", other) == {"seconds": 1.25, "history": [{"loss": 0.5}]}
    assert equal(weights_of(model), weights_of(other))


def test_nothing_there(tmp_path):
    assert store.load(tmp_path / "m", net()) is None
    assert store.load_checkpoint(tmp_path / "c") is None


def damage(kind, path):
    weights, _ = read_tensors(path)
    raw = bytearray(path.read_bytes())
    match kind:
        case "truncated":
            path.write_bytes(raw[:-10])
        case "empty":
            path.write_bytes(b"")
        case "text":
            path.write_text("<html>the disk quota page</html>")
        case "one bit":
            raw[-6] ^= 1
            path.write_bytes(raw)
        case "no facts":
            write_tensors(path, weights)
        case "facts that are no JSON":
            write_tensors(path, weights, {"facts": "{"})
        case "a tensor missing":
            write_tensors(path, dict(list(weights.items())[:-1]), {"facts": "{}"})
        case "a tensor too many":
            write_tensors(path, weights | {"more": torch.zeros(1)}, {"facts": "{}"})
        case "another shape":
            last = list(weights)[-1]
            write_tensors(path, weights | {last: torch.zeros(99)}, {"facts": "{}"})


KINDS = [
    "truncated", "empty", "text", "one bit", "no facts", "facts that are no JSON", "a tensor missing", "a tensor too many", "another shape",
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_model_is_moved_aside_and_the_model_in_memory_is_untouched(tmp_path, caplog, kind):
    path, model = tmp_path / "m.safetensors", net(1)
    store.save(path, net(0), {"seconds": 1.0})
    damage(kind, path)
    bytes_there, before = path.read_bytes(), weights_of(model)
    with caplog.at_level(logging.WARNING):
        assert store.load(path, model) is None
    assert equal(weights_of(model), before), "training would start from half-loaded weights, under a key that says otherwise"
    assert not path.exists()
    assert (tmp_path / "m.damaged").read_bytes() == bytes_there, "never deleted"
    assert "m.safetensors is damaged" in caplog.text


def test_files_written_before_the_content_was_noted_still_load(tmp_path):
    model = net(0)
    write_tensors(tmp_path / "m", model.state_dict(), {"facts": json.dumps({"seconds": 2})})
    other = net(1)
    assert store.load(tmp_path / "m", other) == {"seconds": 2}
    assert equal(weights_of(model), weights_of(other))


def test_checkpoints_come_back(tmp_path):
    layer = nn.Linear(2, 2)
    content = {"model": layer.state_dict(), "history": [{"loss": 1.0}], "epoch": 3, "memory": {"delta": torch.ones(2)}}
    store.save_checkpoint(tmp_path / "c", content)
    found = store.load_checkpoint(tmp_path / "c")
    assert found["epoch"] == 3
    assert torch.equal(found["model"]["weight"], layer.weight)
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


def test_a_damaged_checkpoint_is_reported_and_not_used(tmp_path, caplog):
    store.save_checkpoint(tmp_path / "c", {"epoch": 3, "x": torch.ones(1000)})
    (tmp_path / "c").write_bytes((tmp_path / "c").read_bytes()[:500])
    with caplog.at_level(logging.WARNING):
        assert store.load_checkpoint(tmp_path / "c") is None
    assert "damaged" in caplog.text


def test_a_checkpoint_never_runs_code(tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    torch.save({"x": Trap()}, tmp_path / "c")
    assert store.load_checkpoint(tmp_path / "c") is None
    assert not (tmp_path / "sprung").exists()
