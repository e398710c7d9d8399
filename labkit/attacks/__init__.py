"""Attacks: functions that take a model and a threat and return a result whose success was verified."""

from labkit.attacks import evasion
from labkit.attacks.goals import Confident, Goal, Targeted, Undetected, Untargeted
from labkit.attacks.maximize import maximize
from labkit.attacks.result import AttackResult

__all__ = ["AttackResult", "Confident", "Goal", "Targeted", "Undetected", "Untargeted", "evasion", "maximize"]
