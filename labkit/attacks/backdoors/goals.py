"""What a backdoor is to answer: one class for all, one class for one, or another class for each."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

#: One class for every triggered input, or a map: entry k is the answer wished for inputs of class k.
Target = int | Sequence[int]


def all_to_all(classes: int) -> tuple[int, ...]:
    """Return the map of Gu et al. 2017 (arXiv 1708.06733): every class k is to be read as k + 1, the last as the first."""
    if classes < 2:
        raise ValueError(f"a map between classes needs at least two of them, got {classes}")
    return tuple((k + 1) % classes for k in range(classes))


def wishes(y: Tensor, target: Target, source: int | Sequence[int] | None = None) -> Tensor:
    """Return the answer that the attacker wishes for each label y (N,), int64; -1 where there is nothing to win.

    Nothing is won on inputs that belong to the wished class already, nor outside ``source`` (one class or several), if that is given:
    neither may be counted. Raises ValueError for a map that is too short, and for a source whose answer would be itself.
    """
    if isinstance(target, int):
        wished = torch.full_like(y, target)
    else:
        if len(y) and int(y.max()) >= len(target):
            raise ValueError(f"the map names {len(target)} answers, but there is a label {int(y.max())}")
        wished = torch.tensor(list(target), dtype=torch.int64, device=y.device)[y]
    if bool((wished < 0).any()):
        raise ValueError(f"a class number is 0 or more, got target {target}")
    wished = torch.where(wished == y, -1, wished)
    if source is None:
        return wished
    sources = [source] if isinstance(source, int) else list(source)
    idle = [k for k in sources if (target if isinstance(target, int) else target[k]) == k]
    if idle:
        raise ValueError(f"class {idle[0]} is to be read as itself: a source must be another class than its target")
    return torch.where(torch.isin(y, torch.tensor(sources, device=y.device)), wished, -1)


__all__ = ["Target", "all_to_all", "wishes"]
