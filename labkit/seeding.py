"""Own random generators: labkit never reads or changes the global random state."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor


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


def sample_keys(x: Tensor, seed: int, *names: str | int) -> list[int]:
    """Return one 63-bit key per sample (B of them) from its content, ``seed`` and a purpose.

    Equal samples get equal keys wherever they stand in whatever batch, so that a random start belongs to the sample and
    not to the batch it comes in.
    """
    rows = x.detach().flatten(1).to("cpu", torch.float32).contiguous().numpy()
    salt = derive(seed, *names).to_bytes(8, "big")
    return [int.from_bytes(hashlib.blake2b(row.tobytes(), key=salt, digest_size=8).digest(), "big") >> 1 for row in rows]


def uniform_for(keys: list[int], shape: tuple[int, ...], *stream: str | int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return uniform numbers in [0, 1) on the CPU, shape (B, *shape), that depend on each sample's key and ``stream`` only."""
    return _draw(torch.rand, keys, shape, stream, dtype)


def normal_for(keys: list[int], shape: tuple[int, ...], *stream: str | int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return standard normal numbers on the CPU, shape (B, *shape), per sample as ``uniform_for``."""
    return _draw(torch.randn, keys, shape, stream, dtype)


def _draw(law: Callable[..., Tensor], keys: list[int], shape: tuple[int, ...], stream: tuple[str | int, ...], dtype: torch.dtype) -> Tensor:
    salt, source = derive(0, *stream), torch.Generator()
    if not keys:
        return torch.empty(0, *shape, dtype=dtype)
    return torch.stack([law(shape, generator=source.manual_seed((key ^ salt) & (2**63 - 1)), dtype=dtype) for key in keys])
