"""Trained models on disk: safetensors where it is installed, torch's own format with ``weights_only`` elsewhere."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import torch
from torch import nn

from labkit.files import atomic_path

log = logging.getLogger(__name__)


def save(path: Path, model: nn.Module, facts: dict[str, Any]) -> None:
    """Write a model's weights and JSON-able ``facts`` about it, atomically."""
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    with atomic_path(path) as temporary:
        try:
            from safetensors.torch import save_file
        except ImportError:
            torch.save({"weights": weights, "facts": json.dumps(facts)}, temporary)
        else:
            save_file(weights, temporary, metadata={"facts": json.dumps(facts)})


def load(path: Path, model: nn.Module) -> dict[str, Any] | None:
    """Load weights into ``model`` and return the facts; None when there is nothing usable.

    A damaged file is reported and moved aside, never trusted and never deleted.
    """
    if not path.exists():
        return None
    try:
        weights, facts = _read(path)
        model.load_state_dict(weights)
    except Exception as error:
        aside = path.with_suffix(".damaged")
        path.replace(aside)
        log.warning("the cached model %s is damaged (%s); moved to %s, training again", path.name, error, aside.name)
        return None
    return facts


def _read(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    with open(path, "rb") as file:
        zipped = file.read(2) == b"PK"  # torch's own format is a zip archive
    if zipped:
        content = torch.load(path, map_location="cpu", weights_only=True)
        return content["weights"], json.loads(content["facts"])
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, json.loads(file.metadata()["facts"])  # noqa: SIM118


def load_weights(path: Path) -> dict[str, torch.Tensor]:
    """Read the tensors of a safetensors file, such as published weights. Raises FileNotFoundError."""
    if not path.exists():
        raise FileNotFoundError(f"no weights at {path}")
    try:
        from safetensors.torch import load_file
    except ImportError:
        return _read_plainly(path)
    tensors: dict[str, torch.Tensor] = load_file(path)
    return tensors


def _read_plainly(path: Path) -> dict[str, torch.Tensor]:
    """Read a safetensors file of float32 tensors without the library: a length, a JSON header, then raw numbers."""
    raw = path.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header, body = json.loads(raw[8 : 8 + length]), bytearray(raw[8 + length :])
    kinds = {"F32": torch.float32, "F64": torch.float64, "I64": torch.int64}
    result = {}
    for name, entry in header.items():
        if name != "__metadata__":
            begin, end = entry["data_offsets"]
            result[name] = torch.frombuffer(body[begin:end], dtype=kinds[entry["dtype"]]).reshape(entry["shape"])
    return result


def save_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Write the state of an unfinished training, atomically."""
    with atomic_path(path) as temporary:
        torch.save(content, temporary)


def load_checkpoint(path: Path) -> dict[str, Any] | None:
    """Read the state of an unfinished training; None when there is none, or when it is damaged (which is reported)."""
    if not path.exists():
        return None
    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        log.warning("the checkpoint %s is damaged (%s); starting over", path.name, error)
        return None
    return content
