"""What the results of all attack families have in common: what was achieved, out of how many, and what it cost."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

from labkit.rates import Rate


class Outcome(ABC):
    """The base of every result. An evasion, a poisoned training set, a stolen model and a guessed membership share no tensors, but each
    can say what it achieved (``metrics``) and what that took (``costs``); tables of several families are made of these two.
    """

    @property
    @abstractmethod
    def metrics(self) -> Mapping[str, Rate | float]:
        """What was achieved, by name: a ``Rate`` wherever something is counted, else a number; nan for what could not be measured."""

    @property
    @abstractmethod
    def costs(self) -> Mapping[str, float]:
        """What it took, by unit in the plural: forwards, backwards, queries, trainings, poisoned samples."""

    def summary(self) -> str:
        """Return one line: the metrics, then the costs."""
        achieved = "; ".join(f"{name} {value if isinstance(value, Rate) else f'{value:.4g}'}" for name, value in self.metrics.items())
        spent = ", ".join(f"{value:,.10g} {unit}" for unit, value in self.costs.items())
        return f"{achieved} [{spent}]" if spent else achieved
