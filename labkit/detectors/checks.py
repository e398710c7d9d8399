"""What every detector of single inputs checks before it learns or scores."""

from __future__ import annotations

import torch
from torch import Tensor


def rows(x: Tensor, least: int = 0) -> Tensor:
    """Return inputs (N, ...) as rows (N, D) float64. Raises TypeError or ValueError for other kinds, nan, fewer than ``least`` inputs."""
    if not isinstance(x, Tensor) or not x.is_floating_point():
        raise TypeError(f"inputs must be a floating-point tensor, got {x.dtype if isinstance(x, Tensor) else type(x).__name__}")
    if x.ndim < 2:
        raise ValueError(f"inputs need a batch dimension: shape (N, ...), got {tuple(x.shape)}; use x[None] for a single input")
    if len(x) < least:
        raise ValueError(f"at least {least} normal input{'s' if least > 1 else ''} needed, got {len(x)}")
    if least and not bool(torch.isfinite(x).all()):
        raise ValueError("inputs to learn from must be finite; nan or inf seen")
    return x.flatten(1).double()


__all__ = ["rows"]
