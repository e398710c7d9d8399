"""Attacks on anomaly detectors: records that pass as normal, and training windows that learn to let one pass."""

from labkit.attacks.anomaly.by_gradient import evade_by_gradient
from labkit.attacks.anomaly.by_queries import evade_at_random, evade_by_queries
from labkit.attacks.anomaly.guards import DailyMean, Fence
from labkit.attacks.anomaly.poisoned_window import PoisonedWindow, boiling_frog, predicted_shift
from labkit.attacks.anomaly.raise_yield import raise_yield
from labkit.attacks.anomaly.spare import spare

__all__ = [
    "DailyMean",
    "Fence",
    "PoisonedWindow",
    "boiling_frog",
    "evade_at_random",
    "evade_by_gradient",
    "evade_by_queries",
    "predicted_shift",
    "raise_yield",
    "spare",
]
