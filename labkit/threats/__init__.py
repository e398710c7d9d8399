"""What an attacker may change: norm balls (``Linf``, ``L2``, ``L1``, ``L0``), patches, turns and shifts, and records, on one base."""

from labkit.threats.balls import L0, L1, L2, Ball, Linf, Region
from labkit.threats.base import Threat
from labkit.threats.card import ThreatModelCard
from labkit.threats.loudness import Loudness
from labkit.threats.patch import Patch
from labkit.threats.records import Records
from labkit.threats.spatial import Spatial
from labkit.threats.substitutions import Substitutions

__all__ = [
    "L0", "L1", "L2", "Ball", "Linf", "Loudness", "Patch", "Records", "Region", "Spatial", "Substitutions", "Threat", "ThreatModelCard",
]  # fmt: skip
