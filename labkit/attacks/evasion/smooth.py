"""PGD whose change is smooth by construction: for signals that a body or a machine makes, where jitter gives an attack away."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import conv1d

from labkit.attacks.engine import Search, attack

#: Sizes (samples) and widths (standard deviations, samples) of the bell curves of Han et al. 2020.
KERNELS = ((5, 1.0), (7, 3.0), (11, 5.0), (15, 7.0), (19, 10.0))


def smoothed(x: Tensor, kernels: tuple[tuple[int, float], ...] = KERNELS) -> Tensor:
    """Return signals (B, C, T) averaged over several bell curves, each of sum one; zeros beyond the ends. Linear and its own transpose."""
    longest = max(size for size, _ in kernels)
    mean = torch.zeros(longest, dtype=x.dtype, device=x.device)
    for size, width in kernels:
        if size % 2 == 0:
            raise ValueError(f"a kernel needs a middle: its size must be odd, got {size}")
        place = torch.arange(size, dtype=x.dtype, device=x.device) - size // 2
        bell = torch.exp(-0.5 * (place / width).square())
        pad = (longest - size) // 2
        mean[pad : pad + size] += bell / bell.sum() / len(kernels)
    flat = x.reshape(-1, 1, x.shape[-1])
    return conv1d(flat, mean.view(1, 1, -1), padding=longest // 2).view_as(x)


@attack(norms=("linf",))
def smooth_pgd(
    search: Search, *, steps: int = 40, step_size: float | None = None, kernels: tuple[tuple[int, float], ...] = KERNELS
) -> None:
    """Climb ``theta`` in ``x + smoothed(theta)``, ``theta`` within eps at every sample, so that the change cannot jump.

    ``kernels``: sizes and widths of the bell curves, in samples. Since they sum to one, the change stays within eps too. For signals
    (B, C, T). Han et al. 2020, Nature Medicine 26 (arXiv 1905.05163). Raises ValueError for inputs of another shape or steps below 1.

    Notes: it starts at the clean signal; the paper starts at the result of PGD. An input leaves as soon as it meets the goal.
    """
    if search.x.ndim != 3:
        raise ValueError(f"smooth_pgd is for signals (B, C, T), got inputs of shape {tuple(search.x.shape)}")
    if steps < 1:
        raise ValueError(f"steps must be 1 or more, got {steps}")
    eps = search.threat.eps
    size = search.threat.default_step(steps, search.x.shape) if step_size is None else step_size
    x_adv = search.start(random=False)
    theta = torch.zeros_like(x_adv)
    for _ in range(steps):
        x_adv, grad, theta = search.gradient(x_adv, theta)
        if not len(search):
            return
        theta = (theta + size * smoothed(grad, kernels).sign()).clamp(-eps, eps)
        x_adv = search.region.project_(search.x + smoothed(theta, kernels))
    search.finish(x_adv)


__all__ = ["KERNELS", "smooth_pgd", "smoothed"]
