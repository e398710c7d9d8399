"""What an extraction hands back: the copy, and what it took."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from labkit.attacks.outcome import Outcome
from labkit.attacks.views import held_still
from labkit.rates import Rate
from labkit.seeding import sample_keys


@dataclass(frozen=True)
class ExtractionResult(Outcome):
    """A substitute and its cost.

    ``model``: the copy, in evaluation mode. ``queries``: how many inputs the oracle was asked about. ``x`` (Q, ...) and ``labels`` (Q,)
    int64: those inputs and its answers, in the order asked. ``sizes``: how many points the substitute knew in each round.
    """

    model: nn.Module
    queries: int
    x: Tensor
    labels: Tensor
    sizes: list[int] = field(default_factory=list)

    @property
    def metrics(self) -> dict[str, Rate | float]:
        """Nothing yet: how good a copy is shows on inputs that were never queried, which ``fidelity`` takes."""
        return {}

    @property
    def costs(self) -> dict[str, float]:
        """The queries."""
        return {"queries": self.queries}

    def fidelity(self, x: Tensor, labels: Tensor) -> Rate:
        """Return how often the copy answers as the oracle did (``labels``) on x (N, ...).

        Raises ValueError when an input of ``x`` is one of those the oracle was asked about: the copy was trained on those answers.
        """
        known = set(sample_keys(self.x, 0))
        if seen := sum(key in known for key in sample_keys(x, 0)):
            raise ValueError(f"{seen} of {len(x)} inputs were queried during the extraction; fidelity needs inputs that were not")
        with held_still(self.model), torch.no_grad():
            answer = torch.cat([self.model(part).argmax(1) for part in torch.split(x, 512)])
        return Rate(int((answer == labels).sum()), len(labels), "inputs never queried")
