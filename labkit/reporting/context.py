"""Which chapter is running, in which profile: what `begin` sets and `record`, `compare` and the figures read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import torch

T = TypeVar("T")

PROFILES = ("quick", "paper", "smoke")
_SAME_AS_PAPER = object()


@dataclass(frozen=True)
class Lab:
    """One run of one chapter: its name, its profile ("quick", "paper" or "smoke"), its seed and its device.

    Raises ValueError for any other profile.
    """

    chapter: str
    profile: str
    seed: int
    device: torch.device | str

    def __post_init__(self) -> None:
        if self.profile not in PROFILES:
            raise ValueError(f"unknown profile {self.profile!r}; the profiles are 'quick', 'paper' and 'smoke'")

    def pick(self, *, quick: T, paper: T, smoke: T | object = _SAME_AS_PAPER) -> T:
        """Return the value for this run's profile; ``smoke`` falls back to ``paper``, whose code it walks."""
        if self.profile == "quick":
            return quick
        if self.profile == "smoke" and smoke is not _SAME_AS_PAPER:
            return smoke  # type: ignore[return-value]  # only the marker above is not a T
        return paper


_current: Lab | None = None


def set(lab: Lab | None) -> None:
    """Make ``lab`` the chapter that is running in this process; None forgets it."""
    global _current
    _current = lab


def get() -> Lab | None:
    """Return the chapter that is running in this process, or None outside a chapter."""
    return _current
