"""How a backdoor is judged: triggered inputs of other classes, clean accuracy beside them, and the answers without the trigger."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from labkit.attacks.backdoors.goals import Target, wishes
from labkit.attacks.backdoors.triggers import Trigger
from labkit.attacks.outcome import Outcome
from labkit.attacks.poisoning import PoisonedData
from labkit.attacks.views import Model, held_still
from labkit.data.dataset import Split
from labkit.device import model_device
from labkit.rates import Rate


@dataclass(frozen=True)
class BackdoorResult(Outcome):
    """What a model answers with and without the trigger, sample by sample.

    ``inputs`` (N, C, H, W), ``labels``, ``clean_answers`` (N,) int64: all samples of the split. ``rows``: (M,) int64, those on which
    there is something to win; ``triggered``: (M, C, H, W), they with the trigger; ``wished``, ``answers``: (M,) int64, what the attacker
    wants there and gets.
    ``poisoned``: the training set behind the model, if there is one. Raises ValueError when a sample of the wished class is among the M:
    it would be a success without any backdoor.
    """

    inputs: Tensor = field(repr=False)
    labels: Tensor
    clean_answers: Tensor
    rows: Tensor
    triggered: Tensor = field(repr=False)
    wished: Tensor
    answers: Tensor
    poisoned: PoisonedData | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        sizes = {len(self.rows), len(self.triggered), len(self.wished), len(self.answers)}
        if len(sizes) > 1 or not len(self.inputs) == len(self.labels) == len(self.clean_answers):
            raise ValueError(
                f"lengths differ: {len(self.rows)} rows, {len(self.triggered)} triggered inputs, {len(self.wished)} wishes, "
                f"{len(self.answers)} answers; {len(self.inputs)} inputs, {len(self.labels)} labels, {len(self.clean_answers)} answers"
            )
        if same := int((self.labels[self.rows] == self.wished).sum()):
            raise ValueError(
                f"{same} of {len(self.rows)} triggered inputs belong to the wished class already: their answers say nothing of the trigger"
            )

    @property
    def successes(self) -> Tensor:
        """(M,) bool: the wished answer was given."""
        return self.answers == self.wished

    @property
    def success(self) -> Rate:
        """Triggered inputs of other classes that get the wished answer."""
        return Rate(int(self.successes.sum()), len(self.rows), "triggered inputs of other classes")

    @property
    def without_trigger(self) -> Rate:
        """The same inputs without the trigger that get the wished answer all the same: mistakes, no backdoor."""
        hits = self.clean_answers[self.rows] == self.wished
        return Rate(int(hits.sum()), len(self.rows), "inputs of other classes, no trigger")

    @property
    def clean_accuracy(self) -> Rate:
        """Right answers on all samples without the trigger."""
        return Rate(int((self.clean_answers == self.labels).sum()), len(self.labels), "clean inputs")

    @property
    def still_right(self) -> Rate:
        """Triggered inputs that get their true label in spite of the trigger."""
        return Rate(int((self.answers == self.labels[self.rows]).sum()), len(self.rows), "triggered inputs of other classes")

    def again(self, model: Model, *, batch_size: int = 512) -> BackdoorResult:
        """Return what another model (a repaired one, one that was never poisoned) answers on the very same inputs."""
        clean_answers, answers = _answers(model, self.inputs, batch_size), _answers(model, self.triggered, batch_size)
        return replace(self, clean_answers=clean_answers, answers=answers)

    def by_class(self) -> dict[int, Rate]:
        """Return the success for each true class that has a triggered input: an average hides a class that resists."""
        labels = self.labels[self.rows]
        return {
            k: Rate(int(self.successes[labels == k].sum()), int((labels == k).sum()), f"triggered inputs of class {k}")
            for k in sorted(set(labels.tolist()))
        }

    @property
    def metrics(self) -> dict[str, Rate | float]:
        """Success, beside it the same inputs without the trigger, and clean accuracy."""
        return {"success": self.success, "without trigger": self.without_trigger, "clean accuracy": self.clean_accuracy}

    @property
    def costs(self) -> dict[str, float]:
        """What the poisoning took, if it is known."""
        return {} if self.poisoned is None else dict(self.poisoned.costs)


def evaluate_backdoor(
    model: Model, split: Split, trigger: Trigger, target: Target, *, source: int | Sequence[int] | None = None,
    poisoned: PoisonedData | None = None, batch_size: int = 512,
) -> BackdoorResult:  # fmt: skip
    """Return what ``model`` answers on a split, with and without the trigger; the model is left as it was.

    Inputs of the wished class, and outside ``source``, take part in clean accuracy only. Raises WrongRole for a split that was trained on
    (roles "train", "poisoned" and "shadow"), ValueError when no input of another class is left.
    """
    split.require("test", "validation", purpose="judging a backdoor")
    wished = wishes(split.y, target, source)
    rows = (wished >= 0).nonzero().squeeze(1)
    if not len(rows):
        raise ValueError(f"{split.name!r} holds no input of another class than its target {target} (source {source}): nothing to count")
    triggered = trigger.stamp(split.take(rows))
    clean_answers, answers = _answers(model, split.x, batch_size), _answers(model, triggered, batch_size)
    return BackdoorResult(split.x, split.y, clean_answers, rows, triggered, wished[rows], answers, poisoned)


def _answers(model: Model, x: Tensor, batch_size: int) -> Tensor:
    device = model_device(model, x)
    with held_still(model), torch.no_grad():
        return torch.cat([model(part.to(device)).argmax(1).to(x.device) for part in torch.split(x, batch_size)])


__all__ = ["BackdoorResult", "evaluate_backdoor"]
