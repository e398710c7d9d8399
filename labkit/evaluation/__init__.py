"""Evaluation: accuracy with denominators and intervals, worst cases, curves, and checks that catch broken evaluations."""

from labkit.evaluation.accuracy import (
    Attack,
    Evaluation,
    accuracy,
    evaluate,
    logits_of,
    robustness_curve,
)
from labkit.evaluation.gallery import EXHIBITS, Exhibit, Material
from labkit.evaluation.generated import Coverage, coverage, nearest
from labkit.evaluation.indicators import attack_indicators
from labkit.evaluation.metrics import agnosticism, attack_prevention_rate, robustness_score
from labkit.evaluation.sanity import Check, sanity_battery

__all__ = [
    "EXHIBITS", "Attack", "Check", "Coverage", "Evaluation", "Exhibit", "Material", "accuracy", "agnosticism", "attack_indicators",
    "attack_prevention_rate", "coverage", "evaluate", "logits_of", "nearest", "robustness_curve", "robustness_score", "sanity_battery",
]  # fmt: skip
