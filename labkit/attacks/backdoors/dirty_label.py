"""BadNets: put the trigger on some training samples and write the wished label under them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from labkit.attacks.backdoors.goals import Target, wishes
from labkit.attacks.backdoors.triggers import Trigger
from labkit.attacks.poisoning import PoisonedData
from labkit.data.dataset import Split
from labkit.seeding import generator


def badnets(
    clean: Split, trigger: Trigger, target: Target, rate: float, *, source: int | Sequence[int] | None = None, add: bool = False,
    seed: int = 0,
) -> PoisonedData:  # fmt: skip
    """Return a training set in which round(rate N) samples carry the trigger and the wished label.

    ``target``: one class for all, or a map from class to class (``all_to_all``); ``source``: trigger samples of these classes only.
    ``add``: put triggered copies beside the N samples, as the paper does; otherwise they take the place of the clean ones, as most later
    work does. Which samples are chosen depends on ``seed`` alone, and a larger rate chooses the same and more.
    With ``Blend`` as the trigger this is Chen et al. 2017 (arXiv 1712.05526). Gu et al. 2017, arXiv 1708.06733.
    Raises WrongRole unless ``clean`` has role "train", ValueError for a rate outside [0, 1] or one that asks for more samples than there
    are of other classes than their target.
    """
    clean.require("train", purpose="poisoning")
    wished = wishes(clean.y, target, source)
    rows = choose((wished >= 0).nonzero().squeeze(1), rate, len(clean), seed)
    chosen = clean.take(rows)
    x, y = trigger.stamp(chosen), wished[rows]
    if add:
        return PoisonedData.adding(clean, x, y, base_x=chosen.x, base_y=chosen.y)
    return PoisonedData.changing(clean, rows, x=x, y=y)


def choose(candidates: Tensor, rate: float, total: int, seed: int) -> Tensor:
    """Return round(rate * total) of the ``candidates`` (int64 rows), sorted; a larger rate returns the same and more."""
    if not 0 <= rate <= 1:
        raise ValueError(f"rate is a share of the training set, in [0, 1], got {rate}: divide by 100?")
    count = round(rate * total)
    if count > len(candidates):
        raise ValueError(
            f"rate {rate:g} asks for {count} of {total} samples, but only {len(candidates)} qualify (other classes than their target, "
            "inside the source): lower the rate"
        )
    order = torch.randperm(len(candidates), generator=generator(seed, "backdoor", "choice"))
    return candidates[order[:count].to(candidates.device)].sort().values


__all__ = ["badnets", "choose"]
