"""Read and write named tensors as safetensors, which hold numbers and nothing that runs.

Bare machines may lack the safetensors library; the format is simple enough that reading and writing it here takes a few lines:
eight bytes of length, a JSON header, then the raw numbers.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import torch
from torch import Tensor

from labkit.files import write_bytes

_KINDS = {
    "F32": torch.float32, "F64": torch.float64, "F16": torch.float16, "BF16": torch.bfloat16,
    "I64": torch.int64, "I32": torch.int32, "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip
_NAMES = {kind: name for name, kind in _KINDS.items()}


class Damaged(ValueError):
    """A file of tensors cannot be read."""


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors and the metadata of a safetensors file. Raises FileNotFoundError, or Damaged with the reason."""
    raw = path.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    if len(raw) < 8 or length > len(raw) - 8:
        raise Damaged(f"{path} is no safetensors file, or truncated: {len(raw)} bytes, a header of {length} announced")
    try:
        header = json.loads(raw[8 : 8 + length])
        metadata: dict[str, str] = dict(header.pop("__metadata__", {}))
        body, tensors, used = memoryview(raw)[8 + length :], {}, 0
        for name, entry in header.items():
            begin, end = entry["data_offsets"]
            kind, shape = _KINDS[entry["dtype"]], entry["shape"]
            if not 0 <= begin <= end or end - begin != math.prod(shape) * kind.itemsize or min(shape, default=0) < 0:
                raise Damaged(f"{path} has a damaged header: {name!r} of shape {shape} in bytes {begin} to {end}")
            if end > len(body):
                raise Damaged(f"{path} is truncated: {len(body)} bytes of numbers, {end} announced")
            numbers = torch.frombuffer(bytearray(body[begin:end]), dtype=kind) if end > begin else torch.empty(0, dtype=kind)
            tensors[name] = numbers.reshape(shape)
            used += end - begin
    except (KeyError, TypeError, AttributeError, ValueError, RuntimeError) as error:
        raise error if isinstance(error, Damaged) else Damaged(f"{path} has a damaged header: {error!r}") from error
    if used != len(body):
        raise Damaged(f"{path} holds {len(body)} bytes of numbers, but its header accounts for {used}")
    return tensors, metadata


def write_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write named tensors as a safetensors file, atomically.

    Raises TypeError for a kind of number the format lacks, ValueError for the one name that the format keeps for itself.
    """
    if "__metadata__" in tensors:
        raise ValueError("a tensor cannot be called '__metadata__': the format keeps that name for itself")
    header: dict[str, object] = {"__metadata__": metadata} if metadata else {}
    blocks, offset = [], 0
    for name, tensor in tensors.items():
        if tensor.dtype not in _NAMES:
            raise TypeError(f"tensor {name!r} is {tensor.dtype}; safetensors files here hold {', '.join(map(str, _NAMES))}")
        block = tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes() if tensor.numel() else b""
        header[name] = {"dtype": _NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [offset, offset + len(block)]}
        blocks.append(block)
        offset += len(block)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    write_bytes(path, len(text).to_bytes(8, "little") + text + b"".join(blocks))
