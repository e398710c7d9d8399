"""Whether a reconstruction shows the person: a judge who never saw the attack says, and so does a distance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from labkit.attacks.views import held_still
from labkit.data.dataset import Split
from labkit.rates import Rate

Judge = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Identified:
    """What a judge made of T reconstructions. ``rank`` (T,) float: the true person's place in the judge's list, 1 is first;
    ties count as the middle of their places. ``people``: how many the judge knows.
    """

    rank: Tensor
    people: int

    def within(self, k: int = 1) -> Rate:
        """Return how many were named among the judge's first ``k``. Guessing gives k of ``people``."""
        return Rate(int((self.rank <= k).sum()), len(self.rank), "people")

    @property
    def mean_rank(self) -> float:
        """The mean place; guessing gives (people + 1) / 2."""
        return float(self.rank.mean())


def identify(judge: Judge, x: Tensor, y: Tensor) -> Identified:
    """Ask ``judge``, images (T, ...) -> scores (T, K), higher is likelier, who is on the reconstructions x of people y (T,).

    The judge should be another model than the attacked one, trained on other pictures of the same people: the attacked model itself
    is convinced by construction. Raises ValueError for scores that are not finite or do not cover y.
    """
    with held_still(judge), torch.no_grad():
        scores = judge(x).double()
    if scores.ndim != 2 or len(scores) != len(y) or not bool(torch.isfinite(scores).all()):
        raise ValueError(f"the judge must return finite scores (T, people) for {len(y)} images, got shape {tuple(scores.shape)}")
    if not 0 <= int(y.min()) <= int(y.max()) < scores.shape[1]:
        raise ValueError(f"the judge knows people 0 to {scores.shape[1] - 1}, asked about {int(y.min())} to {int(y.max())}")
    own = scores.gather(1, y.to(scores.device)[:, None])
    ahead, equal = (scores > own).sum(1), (scores == own).sum(1)
    return Identified(ahead + (1 + equal) / 2.0, scores.shape[1])


def nearest_mean(gallery: Split, classes: int) -> Judge:
    """Return a judge without any training: minus the distance to each person's mean picture, brightness and contrast set aside.

    ``gallery``: held-out pictures of the people 0 to ``classes`` - 1. Raises ValueError when one of them has none.
    """
    means = _standard(_means(gallery, classes))

    def judge(x: Tensor) -> Tensor:
        return -torch.cdist(_standard(x), means.to(x.device))

    return judge


def likeness(x: Tensor, y: Tensor, gallery: Split, classes: int) -> Tensor:
    """Return, (T,), the correlation of each reconstruction with what sets its person apart from the average of all people.

    Both images have the mean of all people's mean pictures subtracted; 1 is the person's mean picture, 0 tells nothing beyond
    public knowledge, and the average face itself gets 0 by definition. ``gallery`` as in ``nearest_mean``.
    """
    means = _means(gallery, classes)
    average = means.mean(0)
    mine, true = x.flatten(1).to(means) - average, means[y.to(means.device)] - average
    mine, true = mine - mine.mean(1, keepdim=True), true - true.mean(1, keepdim=True)
    length = mine.norm(dim=1) * true.norm(dim=1)
    small = mine.norm(dim=1) < 1e-6 * average.norm()  # the average face, up to rounding
    return torch.where(small, 0.0, (mine * true).sum(1) / length.clamp_min(1e-30))


def _means(gallery: Split, classes: int) -> Tensor:
    counts = torch.bincount(gallery.y, minlength=classes)
    if bool((counts[:classes] == 0).any()) or len(counts) > classes:
        raise ValueError(f"the gallery needs pictures of every one of {classes} people, got counts {counts.tolist()}")
    flat = gallery.x.flatten(1).double()
    return torch.zeros(classes, flat.shape[1], dtype=flat.dtype, device=flat.device).index_add_(0, gallery.y, flat) / counts[:, None]


def _standard(x: Tensor) -> Tensor:
    flat = x.flatten(1).double()
    flat = flat - flat.mean(1, keepdim=True)
    unit: Tensor = flat / flat.norm(dim=1, keepdim=True).clamp_min(1e-12)
    return unit


__all__ = ["Identified", "Judge", "identify", "likeness", "nearest_mean"]
