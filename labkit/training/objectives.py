"""What one step of training does. An objective is a frozen dataclass, so that a recipe can be hashed for the cache."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from labkit.files import fingerprint


@dataclass
class StepState:
    """What a step may want to know and may keep between steps. ``step`` counts from 0; ``memory`` survives a resume."""

    epoch: int = 0
    step: int = 0
    total_steps: int = 0
    seed: int = 0
    memory: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Objective(ABC):
    """A loss for one batch. ``fit`` does the rest of the step (zero, backward, update) unless ``step`` is overridden."""

    #: Part of the cache key: raise it when the same settings would train a different model.
    version: ClassVar[int] = 1

    @abstractmethod
    def loss(self, model: nn.Module, x: Tensor, y: Tensor, state: StepState) -> Tensor:
        """Return the scalar to minimize on a batch x (B, ...), y (B,)."""

    def step(self, model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor, state: StepState) -> float:
        """Do one update of the weights and return the loss."""
        value = self.loss(model, x, y, state)
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(value)
        optimizer.step()
        return float(value.detach())

    def recipe(self) -> dict[str, Any]:
        """Return name and settings, JSON-able, for the cache key and for the reader.

        Settings left at their defaults are left out, so that an option that joins later does not make old models unknown.
        """
        settings = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        defaults = {f.name: f.default for f in dataclasses.fields(self)}
        changed = {name: _text(value) for name, value in settings.items() if _text(value) != _text(defaults[name])}
        return {"objective": type(self).__name__, **changed}


def _text(value: Any) -> str:
    """Return a setting's text with everything that matters in it: a threat's ``str`` leaves out its box, its mask and late digits."""
    if isinstance(value, Tensor):
        return fingerprint(value)
    if isinstance(value, nn.Module):
        return f"{value!r} {fingerprint(*value.state_dict().values())}"
    if dataclasses.is_dataclass(value):
        return f"{type(value).__name__}({', '.join(f'{f.name}={_text(getattr(value, f.name))}' for f in dataclasses.fields(value))})"
    return str(value)


@dataclass(frozen=True)
class Natural(Objective):
    """Cross-entropy on the data as it is; ``smoothing`` mixes the labels with the uniform distribution."""

    smoothing: float = 0.0

    def loss(self, model: nn.Module, x: Tensor, y: Tensor, state: StepState) -> Tensor:
        """Return the mean cross-entropy."""
        return cross_entropy(model(x), y, label_smoothing=self.smoothing)
