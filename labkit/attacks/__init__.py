"""Attacks: functions that take a model and a threat and return a result whose success was verified."""

from labkit.attacks import evasion
from labkit.attacks.bpda import NonDifferentiable, bpda
from labkit.attacks.eot import Randomized, eot, expected_cross_entropy, share_met
from labkit.attacks.goals import Confident, Goal, Targeted, Undetected, Untargeted
from labkit.attacks.joint import JointEvaluation, JointResult, SeenBefore
from labkit.attacks.maximize import maximize
from labkit.attacks.outcome import Outcome
from labkit.attacks.result import AttackResult

__all__ = [
    "AttackResult",
    "Confident",
    "Goal",
    "JointEvaluation",
    "JointResult",
    "NonDifferentiable",
    "Outcome",
    "Randomized",
    "SeenBefore",
    "Targeted",
    "Undetected",
    "Untargeted",
    "bpda",
    "eot",
    "evasion",
    "expected_cross_entropy",
    "maximize",
    "share_met",
]
