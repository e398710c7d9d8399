"""A sticker on the traffic sign itself as a trigger: turned, lit and worn with the sign, as a person on the road could place it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from labkit.attacks.backdoors.triggers import Color, Trigger
from labkit.data.dataset import Split
from labkit.data.signs import CLASSES
from labkit.data.signs.stickers import Spot, photograph
from labkit.seeding import numpy_generator

YELLOW = (1.0, 0.85, 0.0)
BELOW_THE_WORD = Spot(x=0.0, y=0.62, half_width=0.2, half_height=0.2)


@dataclass(frozen=True)
class OnSign(Trigger):
    """A one-colored sticker on a ``spot`` of the sign's face, for the data set ``signs`` of ``data_seed`` only; about 2 ms a sign.

    Each sample is photographed again, from the same place in the same light, with the sticker on the sign; pose, wear, blur and noise
    are the sample's own. ``jitter``: each sample's sticker is off by up to that much in both directions, as ``jitter_seed`` and the
    sample's number decide: nobody glues twice at the same place. Gu et al. 2017, arXiv 1708.06733, section 5 (a yellow square).
    """

    spot: Spot = BELOW_THE_WORD
    color: Color = YELLOW
    data_seed: int = 0
    jitter: float = 0.0
    jitter_seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.jitter <= 1:
            raise ValueError(f"jitter is a distance on the face, which spans [-1, 1]: 0 to 1, got {self.jitter}")

    def moved(self, x: float = 0.0, y: float = 0.0, *, scale: float = 1.0) -> OnSign:
        """Return the sticker elsewhere on the face (which spans [-1, 1]), and ``scale`` times as large: what another hand would do."""
        spot = self.spot
        return replace(self, spot=replace(spot, x=spot.x + x, y=spot.y + y, half_width=spot.half_width * scale,
                                          half_height=spot.half_height * scale))  # fmt: skip

    def paint(self, x: Tensor) -> Tensor:
        """Raise TypeError: pixels alone do not say where the sign is."""
        raise TypeError("a sticker on the sign needs the samples' numbers, not only their pixels: use stamp(split)")

    def stamp(self, split: Split) -> Tensor:
        """Return the photographs of the split's signs with the sticker on them, (N, 3, 32, 32).

        Raises ValueError unless the split holds unchanged pictures of ``signs`` of ``data_seed``: the first one is photographed
        again without the sticker, and compared.
        """
        part = "test" if split.role == "test" else "train"
        if not split.name.startswith("signs ") or split.x.shape[1:] != (3, 32, 32):
            raise ValueError(f"a sticker on the sign is for the data set 'signs', not for {split.name!r} of shape {tuple(split.x.shape)}")
        out = torch.empty_like(split.x)
        if not len(split):
            return out
        colors = self.color if isinstance(self.color, tuple) else (self.color,) * 3
        paper = torch.tensor(colors, dtype=torch.float32).view(3, 1, 1)
        for label in sorted(set(split.y.tolist())):
            rows = (split.y == label).nonzero().squeeze(1)
            numbers = split.indices[rows].tolist()
            if min(numbers) < 0:
                raise ValueError(f"{split.name!r} holds samples that were added (number -1): they are in no camera's roll")
            again = photograph(CLASSES[label], part, numbers[:1], seed=self.data_seed).to(split.x)
            if not torch.allclose(again[0], split.x[rows[0]], atol=1e-6):
                raise ValueError(
                    f"sample {numbers[0]} of {split.name!r} is not the picture that signs of seed {self.data_seed} holds: "
                    "another data_seed, a relabeled sample, or pixels that were changed already?"
                )
            groups = [numbers] if self.jitter == 0 else [[number] for number in numbers]
            taken = [
                photograph(CLASSES[label], part, group, seed=self.data_seed, sticker=paper, spot=self._spot(part, group[0]))
                for group in groups
            ]
            out[rows] = torch.cat(taken).to(out)
        return out

    def _spot(self, part: str, number: int) -> Spot:
        if self.jitter == 0:
            return self.spot
        off = numpy_generator(self.jitter_seed, "glued by hand", part, number).uniform(-self.jitter, self.jitter, 2)
        return replace(self.spot, x=self.spot.x + float(off[0]), y=self.spot.y + float(off[1]))


__all__ = ["YELLOW", "OnSign"]
