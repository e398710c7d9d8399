"""What an extraction hands back: the copy, what was asked and answered, and how good the copy is once that was measured."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

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
    int64: those inputs and its answers, in the order asked: what a detector at the service's door saw (``batches`` cuts it as it was sent).
    ``sizes``: how many points the substitute knew in each round. ``answers``: all that the service said, where it says more than labels,
    (Q, K). ``complete``: False when the service stopped answering before the attack had what it wanted; the copy is then the best that
    could be made of the answers that came. ``judgement``: what ``judged`` measured.
    """

    model: nn.Module
    queries: int
    x: Tensor
    labels: Tensor
    sizes: list[int] = field(default_factory=list)
    answers: Tensor | None = None
    complete: bool = True
    judgement: dict[str, Rate | float] = field(default_factory=dict)

    @property
    def metrics(self) -> dict[str, Rate | float]:
        """What ``judged`` measured; nothing before: how good a copy is shows on inputs that were never queried."""
        return dict(self.judgement)

    @property
    def costs(self) -> dict[str, float]:
        """The queries."""
        return {"queries": self.queries}

    def batches(self, size: int) -> tuple[Tensor, ...]:
        """Return the queries in the order asked, ``size`` at a time: a stream for a detector."""
        return torch.split(self.x, size)

    def fidelity(self, x: Tensor, labels: Tensor) -> Rate:
        """Return how often the copy answers as the oracle did (``labels``) on x (N, ...).

        Raises ValueError when an input of ``x`` is one of those the oracle was asked about: the copy was trained on those answers.
        """
        self._refuse_queried(x)
        return Rate(int((self._says(x).argmax(1) == labels).sum()), len(labels), "inputs never queried")

    def judged(self, x: Tensor, answers: Tensor, truth: Tensor | None = None) -> ExtractionResult:
        """Return the same result with ``metrics``: fidelity and, where ``truth`` (N,) is known, the accuracy of copy and victim.

        ``answers``: what the oracle says about x (N, ...), labels (N,) int64 or probabilities (N, K); with probabilities the mean total
        variation distance between its and the copy's joins the metrics: half the sum over classes of the absolute difference. Raises
        ValueError for inputs that were queried, for answers or truth of another length, and for another number of classes.
        """
        if len(answers) != len(x) or (truth is not None and len(truth) != len(x)):
            lengths = f"{len(x)} inputs, {len(answers)} answers" + ("" if truth is None else f", {len(truth)} true classes")
            raise ValueError(f"{lengths}: one answer for each input is needed")
        self._refuse_queried(x)
        said, of = self._says(x), "inputs never queried"
        labels = answers if answers.ndim == 1 else answers.argmax(1)
        found: dict[str, Rate | float] = {"fidelity": Rate(int((said.argmax(1) == labels).sum()), len(x), of)}
        if answers.ndim == 2:
            if said.shape != answers.shape:
                raise ValueError(f"the copy knows {said.shape[1]} classes, the answers have {answers.shape[1]}")
            found["total variation"] = float((said.softmax(1) - answers).abs().sum(1).mean()) / 2
        if truth is not None:
            found["accuracy"] = Rate(int((said.argmax(1) == truth).sum()), len(x), of)
            found["victim's accuracy"] = Rate(int((labels == truth).sum()), len(x), of)
        return replace(self, judgement=found)

    def _refuse_queried(self, x: Tensor) -> None:
        known = set(sample_keys(self.x, 0))
        if seen := sum(key in known for key in sample_keys(x, 0)):
            raise ValueError(f"{seen} of {len(x)} inputs were queried during the extraction; fidelity needs inputs that were not")

    def _says(self, x: Tensor) -> Tensor:
        with held_still(self.model), torch.no_grad():
            return torch.cat([self.model(part) for part in torch.split(x, 512)])
