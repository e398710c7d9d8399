"""Trained models and checkpoints on disk."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from labkit.files import atomic_path, fingerprint
from labkit.tensors import read_tensors, write_tensors

log = logging.getLogger(__name__)


def save(path: Path, model: nn.Module, facts: dict[str, Any]) -> None:
    """Write a model's weights and JSON-able ``facts`` about it, atomically."""
    weights = model.state_dict()
    write_tensors(path, weights, {"facts": json.dumps(facts), "content": _content(weights)})


def _content(weights: dict[str, Tensor]) -> str:
    return fingerprint(*[part for name, tensor in sorted(weights.items()) for part in (name, tensor)])


def load(path: Path, model: nn.Module) -> dict[str, Any] | None:
    """Load weights into ``model`` and return the facts; None when there is nothing usable.

    A damaged file is reported and moved aside: never trusted, never deleted.
    """
    if not path.exists():
        return None
    try:
        weights, metadata = read_tensors(path)
        facts: dict[str, Any] = json.loads(metadata["facts"])
        if metadata.get("content", found := _content(weights)) != found:
            raise ValueError("its numbers are not those that were written")
        # All is compared before anything is loaded: the training that follows a refusal must begin with untouched weights.
        if (expected := _shapes(model.state_dict())) != (seen := _shapes(weights)):
            odd = sorted({name for name, _ in expected.items() ^ seen.items()})
            raise ValueError(f"other tensors than the model's: {', '.join(odd)}")
        model.load_state_dict(weights)
    except (ValueError, KeyError, RuntimeError) as error:
        aside = path.with_suffix(".damaged")
        path.replace(aside)
        log.warning("the cached model %s is damaged (%s); moved to %s, training again", path.name, error, aside.name)
        return None
    return facts


def _shapes(weights: dict[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in weights.items()}


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
