"""What an attacker may change: norm balls (``Linf``, ``L2``, ``L1``, ``L0``) on a base that other kinds of change share."""

from labkit.threats.balls import L0, L1, L2, Ball, Linf, Region
from labkit.threats.base import Threat

__all__ = ["L0", "L1", "L2", "Ball", "Linf", "Region", "Threat"]
