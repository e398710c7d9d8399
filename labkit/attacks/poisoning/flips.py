"""Label flips: the inputs stay as they are, some labels are falsified."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from labkit.attacks.poisoning.result import PoisonedData
from labkit.data.dataset import Split
from labkit.seeding import generator

Order = Literal["random", "nearest", "farthest", "around"]


def flip_labels(
    clean: Split, count: int, *, order: Order = "random", source: int | None = None, target: int | None = None,
    classes: int | None = None, margins: Tensor | None = None, around: Tensor | None = None, seed: int = 0,
) -> PoisonedData:  # fmt: skip
    """Falsify exactly ``count`` labels of ``clean`` (role "train"); every falsified label differs from the true one.

    ``source``: only rows of this class (default: any). ``target``: the label they get (default: one of the others at random).
    ``classes``: how many labels there are (default: the largest label seen plus one). ``order``, which rows go first: "random";
    "nearest" and "farthest" from the decision boundary by ``margins`` (N,), how clearly the attacker's own model is right about
    each row (negative: wrong); "around" the input ``around``, by L2 distance: one chosen victim's neighborhood. The same seed and a
    larger count flip the same rows and more. Xiao et al. 2015, arXiv 2206.00352, compare random, nearest and farthest flips.
    Raises ValueError for a count beyond the rows that may be flipped, and for margins or around missing, of a wrong length or not used.
    """
    number = int(clean.y.max()) + 1 if classes is None else classes
    if target is not None and not 0 <= target < number:
        raise ValueError(f"target {target} is none of the {number} labels 0 to {number - 1}")
    if source is not None and source == target:
        raise ValueError(f"source and target are both {source}: nothing would be falsified")
    free = torch.ones_like(clean.y, dtype=torch.bool) if source is None else clean.y == source
    if target is not None:
        free = free & (clean.y != target)
    rows = free.nonzero().squeeze(1)
    if not 0 <= count <= len(rows):
        what = f"of class {source} " if source is not None else ""
        raise ValueError(f"{count} labels to flip, but {clean.name!r} has {len(rows)} rows {what}that can get the new label")
    chosen = rows[_first(clean, rows, order, margins, around, seed)[:count]]
    if target is not None:
        y = torch.full_like(chosen, target)
    else:  # a step of 1 to K-1 around the circle of labels never ends at the true one
        steps = torch.randint(1, number, (len(clean),), generator=generator(seed, "flipped to")).to(chosen)[chosen]
        y = (clean.y[chosen] + steps) % number
    return PoisonedData.changing(clean, chosen, y=y)


def _first(clean: Split, rows: Tensor, order: str, margins: Tensor | None, around: Tensor | None, seed: int) -> Tensor:
    """Return positions within ``rows``, the first to be flipped first."""
    if order not in ("random", "nearest", "farthest", "around"):
        raise ValueError(f"order must be 'random', 'nearest', 'farthest' or 'around', got {order!r}")
    by_margin = order in ("nearest", "farthest")
    if (margins is not None) != by_margin or (around is not None) != (order == "around"):
        raise ValueError(f"order {order!r} with margins {margins is not None}, around {around is not None}: give margins for 'nearest' and "
                         "'farthest', around for 'around', and neither for 'random'")  # fmt: skip
    if margins is not None:
        if margins.shape != clean.y.shape:
            raise ValueError(f"margins must be one number for each of the {len(clean)} rows, got shape {tuple(margins.shape)}")
        return margins.to(rows.device)[rows].argsort(descending=order == "farthest", stable=True)
    if around is not None:
        if around.shape != clean.x.shape[1:]:
            raise ValueError(f"around must be one input of shape {tuple(clean.x.shape[1:])}, got {tuple(around.shape)}")
        distances = (clean.x[rows] - around.to(clean.x)).flatten(1).square().sum(1)
        return distances.argsort(stable=True)
    return torch.randperm(len(rows), generator=generator(seed, "flipped rows")).to(rows.device)
