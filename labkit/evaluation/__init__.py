"""Evaluation: accuracy with denominators and intervals, worst cases, curves, and checks that catch broken evaluations."""

from labkit.evaluation.accuracy import Attack, Evaluation, accuracy, evaluate, logits_of, robustness_curve
from labkit.evaluation.sanity import Check, sanity_battery

__all__ = ["Attack", "Check", "Evaluation", "accuracy", "evaluate", "logits_of", "robustness_curve", "sanity_battery"]
