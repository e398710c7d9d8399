"""One question about each record that still has something to try, and about no other."""

from __future__ import annotations

from torch import Tensor

from labkit.attacks.views import Model
from labkit.detectors.alarm import ALARM


def silent(judge: Model, trial: Tensor, asked: Tensor, spent: Tensor) -> Tensor:
    """Return which of the records ``asked`` about, (N,) bool, raise no alarm; each question is added to ``spent`` (N,)."""
    passed = asked.clone()
    if bool(asked.any()):
        answer = judge(trial[asked]).argmax(1)
        spent += asked
        passed[asked] = answer != ALARM
    return passed
