"""Shokri's attack: a classifier for each class learns to tell shadow models' answers about their own records from others."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from labkit.data.dataset import Split
from labkit.models.networks import mlp
from labkit.seeding import derive
from labkit.training import fit


def shadow_attack(
    target: Tensor, shadows: Tensor, members: Tensor, y: Tensor, *, shadow_y: Tensor | None = None, hidden: int = 64, epochs: int = 20,
    seed: int = 0, cache: bool = True,
) -> Tensor:  # fmt: skip
    """Return the attack models' log-odds of membership, float64 (T, N): positive means "member".

    ``target``: the target models' logits or log-probabilities (T, N, K); ``y``: (N,) the records' labels. ``shadows``: (S, R, K), the
    shadow models' about records of the attacker, whose labels are ``shadow_y`` (R,), the same records by default; ``members``: (S, R)
    bool, which of them each was trained with. Each class has an attack model of its own: a network with one hidden layer that takes the
    probabilities of all classes. Shokri et al. 2017, arXiv 1610.05820, section V. Raises ValueError for shapes that do
    not fit, and for a class of which the attacker has no members or no non-members.

    Notes: members and non-members weigh alike in the training of an attack model, however many there are of each.
    """
    labels = y if shadow_y is None else shadow_y
    if target.ndim != 3 or shadows.ndim != 3 or target.shape[1] != len(y) or shadows.shape[:2] != members.shape:
        raise ValueError(
            f"target (T, N, K) goes with y (N,), shadows (S, R, K) with members (S, R); got {tuple(target.shape)}, {tuple(y.shape)}, "
            f"{tuple(shadows.shape)}, {tuple(members.shape)}"
        )
    if shadows.shape[1] != len(labels) or shadows.shape[2] != target.shape[2]:
        raise ValueError(f"the shadows answer on {shadows.shape[1]} records in {shadows.shape[2]} classes; {len(labels)} labels were given")
    scores = torch.full(target.shape[:2], torch.nan, dtype=torch.float64)
    for label in torch.unique(y).tolist():
        chosen = labels == label
        answers, inside = shadows[:, chosen].softmax(-1).flatten(0, 1).float(), members[:, chosen].flatten()
        if not bool(inside.any()) or bool(inside.all()):
            raise ValueError(
                f"class {label}: the shadow models have {int(inside.sum())} members among {len(inside)} answers; both are needed"
            )
        attacker = _attacker(answers, inside, hidden, epochs, derive(seed, "shokri", int(label)), cache)
        mine = (y == label).nonzero().squeeze(1)
        with torch.no_grad():
            out = attacker(target[:, mine].softmax(-1).float().flatten(0, 1)).double()
        scores[:, mine] = (out[:, 1] - out[:, 0]).view(len(target), -1)
    return scores


def _attacker(answers: Tensor, inside: Tensor, hidden: int, epochs: int, seed: int, cache: bool) -> Any:
    """Return a trained network: probabilities (B, K) -> logits of (non-member, member)."""
    groups = [inside.nonzero().squeeze(1), (~inside).nonzero().squeeze(1)]
    most = max(len(group) for group in groups)
    rows = torch.cat([group.repeat(-(-most // len(group)))[:most] for group in groups])  # the rarer kind is repeated
    known = Split(answers[rows].cpu(), inside[rows].long().cpu(), "shadow", "answers of shadow models")
    net = mlp(answers.shape[1], 2, (hidden,), seed=seed)
    done = fit(net, known, epochs=epochs, learning_rate=5e-3, seed=seed, device="cpu", cache=cache, label="attack model")
    return done.model
