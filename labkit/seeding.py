"""Own random generators: labkit never reads or changes the global random state."""

from __future__ import annotations

import hashlib

import numpy as np
import torch


def derive(seed: int, *names: str | int) -> int:
    """Return a 63-bit seed for a named purpose, so that two uses of one seed are never the same stream."""
    text = "/".join(str(part) for part in (seed, *names))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *names: str | int, device: torch.device | str = "cpu") -> torch.Generator:
    """Return a torch generator for ``seed`` and a purpose. The same arguments always give the same stream."""
    return torch.Generator(device=device).manual_seed(derive(seed, *names) if names else seed)


def numpy_generator(seed: int, *names: str | int) -> np.random.Generator:
    """Return a NumPy generator for ``seed`` and a purpose."""
    return np.random.default_rng(derive(seed, *names) if names else seed)
