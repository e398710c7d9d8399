"""What an attack on the training set hands over: what the victim will train on, and which of it is not as it was."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from labkit.attacks.outcome import Outcome
from labkit.data.dataset import Split
from labkit.rates import Rate
from labkit.threats import Threat


@dataclass(frozen=True)
class PoisonedData(Outcome):
    """A training set after an attack, with the attacker's own list of what was changed; the victim sees ``data`` alone.

    ``data``: what the victim trains on; its role is "poisoned", so that a clean baseline, which requires role "train", refuses it.
    ``poisoned``: (N,) bool, rows that were changed or added. ``original_x``, ``original_y``: the N inputs and labels before the attack; for
    an added row, the input it was made from and that input's true label. ``added``: (N,) bool, rows that the clean set does not have (their
    ``data.indices`` are -1). ``threat``: how far an input was allowed to move from its original, if that was limited.
    ``measured``: what was achieved on victims, once there are any (see ``with_metrics``). ``spent``: what crafting took. ``trace``: how
    crafting went, by name, as the attack's docstring says.
    Raises ValueError for another role, for lengths that differ, and for an unmarked row that is not its original.
    """

    data: Split
    poisoned: Tensor
    original_x: Tensor
    original_y: Tensor
    added: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.bool))
    threat: Threat | None = None
    measured: Mapping[str, Rate | float] = field(default_factory=dict)
    spent: Mapping[str, float] = field(default_factory=dict)
    trace: Mapping[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        size = len(self.data)
        if self.data.role != "poisoned":
            raise ValueError(
                f"{self.data.name!r} has role {self.data.role!r}; a poisoned training set has role 'poisoned', so that nobody takes it "
                "for a clean one: use .as_role('poisoned')"
            )
        if self.added.numel() == 0:
            object.__setattr__(self, "added", torch.zeros(size, dtype=torch.bool, device=self.poisoned.device))
        for name in ("poisoned", "added"):
            mask = getattr(self, name)
            if mask.dtype != torch.bool or mask.shape != (size,):
                raise ValueError(f"{name} must be {size} booleans, one for each row; got {mask.dtype} of shape {tuple(mask.shape)}")
        if self.original_x.shape != self.data.x.shape or self.original_y.shape != self.data.y.shape:
            raise ValueError(
                f"the originals have shapes {tuple(self.original_x.shape)} and {tuple(self.original_y.shape)}, the data "
                f"{tuple(self.data.x.shape)} and {tuple(self.data.y.shape)}: one original is needed for every row"
            )
        if bool((self.added & ~self.poisoned).any()):
            raise ValueError("a row that was added is poisoned: mark it in both masks")
        unmarked = (self.changed_x | self.changed_y) & ~self.poisoned
        if bool(unmarked.any()):
            raise ValueError(f"{int(unmarked.sum())} rows differ from their originals but are not marked as poisoned")
        moved = self.changed_x
        if self.threat is not None and bool(moved.any()):
            allowed = self.threat.contains(self.data.x[moved], self.original_x[moved])
            if not bool(allowed.all()):
                raise ValueError(f"{int((~allowed).sum())} of {len(allowed)} changed inputs are not within {self.threat}")

    def __len__(self) -> int:
        return len(self.data)

    @classmethod
    def changing(
        cls, clean: Split, rows: Tensor, *, x: Tensor | None = None, y: Tensor | None = None, threat: Threat | None = None,
        spent: Mapping[str, float] | None = None, trace: Mapping[str, Tensor] | None = None,
    ) -> PoisonedData:  # fmt: skip
        """Return ``clean`` with new inputs ``x`` (P, ...) and new labels ``y`` (P,) in ``rows`` (P,), int64 positions without repeats.

        Raises WrongRole unless ``clean`` has role "train", ValueError for rows that repeat or lie outside, and for lengths that differ.
        """
        clean.require("train", purpose="poisoning")
        rows = rows.to(clean.y.device)
        if rows.numel() and (int(rows.min()) < 0 or int(rows.max()) >= len(clean)):
            raise ValueError(f"rows from {int(rows.min())} to {int(rows.max())} are asked for; {clean.name!r} has {len(clean)}")
        if again := len(rows) - len(set(rows.tolist())):
            raise ValueError(f"{again} of {len(rows)} rows are named twice")
        new_x, new_y = clean.x.clone(), clean.y.clone()
        for name, values, into in (("x", x, new_x), ("y", y, new_y)):
            if values is not None:
                if len(values) != len(rows):
                    raise ValueError(f"{len(rows)} rows, but {len(values)} new {name}")
                into[rows] = values.detach().to(into)
        poisoned = torch.zeros(len(clean), dtype=torch.bool, device=clean.y.device)
        poisoned[rows] = True
        data = replace(clean, x=new_x, y=new_y, role="poisoned", name=f"{clean.name}, poisoned")
        return cls(data, poisoned, clean.x, clean.y, threat=threat, spent=dict(spent or {}), trace=dict(trace or {}))

    @classmethod
    def adding(
        cls, clean: Split, x: Tensor, y: Tensor, *, base_x: Tensor | None = None, base_y: Tensor | None = None,
        threat: Threat | None = None, spent: Mapping[str, float] | None = None, trace: Mapping[str, Tensor] | None = None,
    ) -> PoisonedData:  # fmt: skip
        """Return ``clean`` followed by the rows ``x`` (P, ...) with the labels ``y`` (P,) that the attacker gives them.

        ``base_x``, ``base_y``: the inputs the rows were made from and their true labels; by default the rows themselves.
        Raises WrongRole unless ``clean`` has role "train", ValueError for lengths or shapes that differ.
        """
        clean.require("train", purpose="poisoning")
        base_x, base_y = x if base_x is None else base_x, y if base_y is None else base_y
        if not len(x) == len(y) == len(base_x) == len(base_y):
            raise ValueError(f"{len(x)} inputs, {len(y)} labels, {len(base_x)} originals and {len(base_y)} true labels: one for each row")
        if x.shape[1:] != clean.x.shape[1:]:
            raise ValueError(f"rows of shape {tuple(x.shape[1:])} cannot join {clean.name!r}, whose inputs are {tuple(clean.x.shape[1:])}")
        new = torch.full((len(y),), -1, dtype=torch.int64, device=clean.indices.device)
        data = Split(
            torch.cat([clean.x, x.detach().to(clean.x)]), torch.cat([clean.y, y.to(clean.y)]), "poisoned", f"{clean.name}, poisoned",
            torch.cat([clean.indices, new]),
        )  # fmt: skip
        added = torch.arange(len(data), device=clean.y.device) >= len(clean)
        return cls(
            data, added, torch.cat([clean.x, base_x.to(clean.x)]), torch.cat([clean.y, base_y.to(clean.y)]), added, threat, {},
            dict(spent or {}), dict(trace or {}),
        )  # fmt: skip

    @property
    def changed_x(self) -> Tensor:
        """(N,) bool: the input is not the original one."""
        return (self.data.x != self.original_x).flatten(1).any(1) if len(self) else self.poisoned

    @property
    def changed_y(self) -> Tensor:
        """(N,) bool: the label is not the true one. All False for a clean-label attack."""
        return self.data.y != self.original_y

    @property
    def rows(self) -> Tensor:
        """(P,) int64: the positions of the poisoned rows in ``data``."""
        return self.poisoned.nonzero().squeeze(1)

    @property
    def clean(self) -> Split:
        """The training set before the attack, role "train": for baselines, and for judging a cleaner. The victim never sees it."""
        keep = ~self.added
        return Split(
            self.original_x[keep], self.original_y[keep], "train", self.data.name.removesuffix(", poisoned"), self.data.indices[keep]
        )

    @property
    def rate(self) -> Rate:
        """The poisoned share of what the victim trains on."""
        return Rate(int(self.poisoned.sum()), len(self), "training samples")

    def with_metrics(self, measured: Mapping[str, Rate | float]) -> PoisonedData:
        """Return the same data with what it did to victims: success, accuracy, by name."""
        return replace(self, measured={**self.measured, **measured})

    @property
    def metrics(self) -> dict[str, Rate | float]:
        """What was measured on victims; nothing until ``with_metrics``: poisoned data achieve nothing before somebody trains on them."""
        return dict(self.measured)

    @property
    def costs(self) -> dict[str, float]:
        """The poisoned samples, their share of the training set, and what crafting them took."""
        return {"poisoned samples": float(self.poisoned.sum()), "share of the training set": float(self.rate), **self.spent}
