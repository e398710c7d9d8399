"""A data set whose splits know their role, so that a split used for the wrong purpose is an error, not a number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor

from labkit.files import fingerprint

Role = Literal["train", "validation", "test", "poisoned", "queried", "shadow"]


class WrongRole(ValueError):
    """A split was used for a purpose that its role forbids."""


@dataclass(frozen=True)
class Split:
    """Inputs and labels with a role.

    ``x``: (N, ...) float32, inside the data set's bounds. ``y``: (N,) int64. ``indices``: (N,) int64, each sample's
    number in the split it was first loaded as, which survives ``subset`` and ``where``.
    """

    x: Tensor
    y: Tensor
    role: Role
    name: str
    indices: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64))

    def __post_init__(self) -> None:
        if len(self.x) != len(self.y):
            raise ValueError(f"split {self.name!r} has {len(self.x)} inputs but {len(self.y)} labels")
        if self.indices.numel() == 0 and len(self.y):
            object.__setattr__(self, "indices", torch.arange(len(self.y)))

    def __len__(self) -> int:
        return len(self.y)

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits of the content: two splits with the same numbers and role have the same one."""
        return fingerprint(self.x, self.y, self.role)

    def take(self, index: Tensor) -> Split:
        """Return the samples at ``index`` (int64 positions or a boolean mask), with their original indices."""
        return replace(self, x=self.x[index], y=self.y[index], indices=self.indices[index])

    def subset(self, n: int) -> Split:
        """Return ``n`` samples at a constant stride over the whole split; never "the first n" (see the style notes).

        Raises ValueError when ``n`` is not between 1 and the length of the split.
        """
        if not 1 <= n <= len(self):
            raise ValueError(f"asked for {n} of the {len(self)} samples of {self.name!r}")
        return self.take(torch.arange(n) * len(self) // n)

    def to(self, device: torch.device | str) -> Split:
        """Return the same split with its tensors on ``device``."""
        return replace(self, x=self.x.to(device), y=self.y.to(device))

    def as_role(self, role: Role) -> Split:
        """Return the same samples under another role, as an attacker's change of the data does."""
        return replace(self, role=role)

    def require(self, *roles: Role, purpose: str) -> Split:
        """Return the split if its role is one of ``roles``; else raise WrongRole that says what is wrong."""
        if self.role not in roles:
            raise WrongRole(f"{purpose} needs a split with role {' or '.join(roles)}; {self.name!r} has role {self.role!r}")
        return self


@dataclass(frozen=True)
class Dataset:
    """Train and test splits with their card: class names, value bounds, licence, citation, and where they came from."""

    name: str
    train: Split
    test: Split
    classes: tuple[str, ...]
    bounds: tuple[float, float] = (0.0, 1.0)
    licence: str = ""
    citation: str = ""
    description: str = ""
    features: Sequence[str] = ()

    def to(self, device: torch.device | str) -> Dataset:
        """Return the same data set with both splits on ``device``."""
        return replace(self, train=self.train.to(device), test=self.test.to(device))

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits of all the content."""
        return fingerprint(self.train.fingerprint, self.test.fingerprint)

    def __repr__(self) -> str:
        shape = "x".join(str(size) for size in self.train.x.shape[1:])
        counts = f"{len(self.train)} train, {len(self.test)} test, {len(self.classes)} classes"
        return f"<{self.name}: {counts}, inputs {shape} in {self.bounds}>"
