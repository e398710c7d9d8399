"""A signal from labels alone: how much noise does the right answer survive?"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from labkit.seeding import normal_for, sample_keys


def noise_margin(
    answer: Callable[[Tensor], Tensor], x: Tensor, y: Tensor, *, sigma: float, copies: int = 32, seed: int = 0,
    bounds: tuple[float, float] = (0.0, 1.0),
) -> Tensor:  # fmt: skip
    """Return about how far each record lies from where the answer turns wrong, in units of sigma, float64 (..., N).

    ``answer``: inputs (N, ...) -> labels (..., N): an ``Endpoint`` that says labels, or several models at once. It is asked ``copies``
    times about each record with normal noise of ``sigma``, clamped to ``bounds``: ``copies`` queries a record. With a share s of right
    answers the distance is the normal quantile of s, exact for one straight boundary and no clamping. The same noise belongs to the same
    record whoever is asked. How well this attacks depends much on ``sigma``: try several before calling a
    model safe. Choquette-Choo et al. 2021, arXiv 2007.14321. Raises ValueError for sigma <= 0 or copies < 1.
    """
    if sigma <= 0 or copies < 1:
        raise ValueError(f"sigma must be positive and copies 1 or more, got {sigma} and {copies}")
    keys = sample_keys(x, seed)
    right = torch.zeros((), dtype=torch.float64, device=x.device)
    for copy in range(copies):
        noise = normal_for(keys, tuple(x.shape[1:]), "noise margin", copy).to(x)
        right = right + (answer((x + sigma * noise).clamp(*bounds)) == y).double()
    share: Tensor = (right + 0.5) / (copies + 1)  # never 0 or 1: the quantile stays finite
    margin: Tensor = torch.special.ndtri(share)
    return margin
