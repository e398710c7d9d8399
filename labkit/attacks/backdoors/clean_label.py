"""Clean-label backdoors: every label stays true; the trigger becomes the easiest thing to learn."""

from __future__ import annotations

import torch

from labkit.attacks.backdoors.dirty_label import choose
from labkit.attacks.backdoors.triggers import Trigger
from labkit.attacks.maximize import maximize
from labkit.attacks.poisoning import PoisonedData
from labkit.attacks.views import Model, held_still
from labkit.data.dataset import Split
from labkit.device import model_device
from labkit.threats import Ball


def clean_label(
    clean: Split, trigger: Trigger, target: int, rate: float, *, model: Model | None = None, threat: Ball | None = None, steps: int = 20,
    seed: int = 0,
) -> PoisonedData:  # fmt: skip
    """Return a training set in which round(rate N) samples *of the target class* carry the trigger, all with their true label.

    Without a ``model`` the trigger alone is put on them (Barni et al. 2019, arXiv 1902.11237, with ``Sinusoid``). With the attacker's
    own ``model`` and a ``threat``, all ``steps`` of PGD first make the samples hard to recognize within the threat, so that a victim has
    to rely on the trigger (Turner et al. 2019, arXiv 1912.02771). Raises WrongRole unless ``clean`` has role "train", ValueError when only
    one of model and threat is given, and for a rate that asks for more samples than the target class has.

    Notes: the papers count the share of the target class; ``rate`` is the share of the whole training set, as everywhere here. The
    threat bounds the change before the trigger is put on.
    """
    clean.require("train", purpose="poisoning")
    if (model is None) != (threat is None):
        raise ValueError("a model to make samples hard for and a threat to stay within belong together: give both or neither")
    rows = choose((clean.y == target).nonzero().squeeze(1), rate, len(clean), seed)
    chosen = clean.take(rows)
    if model is None or threat is None or not len(rows):
        return PoisonedData.changing(clean, rows, x=trigger.stamp(chosen))
    device = model_device(model, chosen.x)
    parts = zip(torch.split(chosen.x.to(device), 512), torch.split(chosen.y.to(device), 512), strict=True)
    with held_still(model):
        hard = torch.cat([maximize(model, x, y, threat, steps=steps, seed=seed, stream="clean label") for x, y in parts])
    spent = {"forwards": float(steps * len(rows)), "backwards": float(steps * len(rows))}
    return PoisonedData.changing(clean, rows, x=trigger.apply(hard.to(clean.x)), spent=spent)


__all__ = ["clean_label"]
