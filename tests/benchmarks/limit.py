"""What the benchmarks measure against: the time of the forward and input-only backward passes that an attack cannot do without."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from labkit.models import small_convnet

Work = Callable[[], object]


def problem(size: int, seed: int = 0) -> tuple[nn.Module, Tensor, Tensor]:
    """Return the course's small network, untrained, with random inputs that it reads as labeled."""
    model = small_convnet(seed=seed).eval().requires_grad_(False)
    x = torch.rand(size, 3, 32, 32, generator=torch.Generator().manual_seed(seed))
    return model, x, model(x).argmax(1)


def passes(model: nn.Module, x: Tensor, y: Tensor, steps: int) -> None:
    """Do ``steps`` forward and input-only backward passes in chunks of 128, and one forward pass: the limit."""
    for chunk, labels in zip(x.split(128), y.split(128), strict=True):
        for _ in range(steps):
            leaf = chunk.detach().requires_grad_(True)
            loss = nn.functional.cross_entropy(model(leaf), labels, reduction="sum")
            torch.autograd.grad(loss, leaf)
        with torch.no_grad():
            model(chunk)


def ratios(work: Work, limit: Work, rounds: int = 7) -> list[float]:
    """Return the time of ``work`` over the time of ``limit``, round by round, the two in turn, after one round of warm-up.

    Process time of all threads: less disturbed than wall time by what else runs on the machine.
    """

    def seconds(what: Work) -> float:
        begin = time.process_time()
        what()
        return time.process_time() - begin

    seconds(work), seconds(limit)
    return [seconds(work) / seconds(limit) for _ in range(rounds)]


def spread(values: list[float]) -> str:
    """Return median, smallest and largest of some ratios."""
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"
