"""Where to run: the device is chosen once, can be overridden, and is never assumed to be a GPU."""

from __future__ import annotations

import os
import platform
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psutil
import torch


def device(override: str | torch.device | None = None) -> torch.device:
    """Return where to run: ``override``, else ``LABKIT_DEVICE``, else CUDA, MPS or the CPU, in that order.

    Raises ValueError when the device asked for is not on this machine.
    """
    wanted = override or os.environ.get("LABKIT_DEVICE")
    if wanted is None:
        if torch.cuda.is_available():
            return torch.device("cuda")
        if torch.backends.mps.is_available():
            return torch.device("mps")
        return torch.device("cpu")
    try:
        chosen = torch.device(wanted)
        torch.empty(0, device=chosen)
    except Exception as error:
        raise ValueError(f"device {str(wanted)!r} is not available on this machine ({error}); try LABKIT_DEVICE=cpu") from error
    return chosen


def model_device(model: Callable[..., Any], x: torch.Tensor) -> torch.device:
    """Return the device of a model's first parameter or buffer, or of ``x`` if the model has none."""
    if isinstance(model, torch.nn.Module):
        for tensor in (*model.parameters(), *model.buffers()):
            return tensor.device
    return x.device


def describe(chosen: torch.device | None = None) -> str:
    """Return one line about the machine: device, threads, memory, versions."""
    chosen = chosen or device()
    memory = psutil.virtual_memory().total / 2**30
    name = torch.cuda.get_device_name(chosen) if chosen.type == "cuda" else (platform.processor() or platform.machine())
    return f"{chosen.type} ({name}), {torch.get_num_threads()} threads, {memory:.0f} GiB memory, torch {torch.__version__}"


@dataclass
class Meter:
    """What a block of code cost. ``seconds`` of wall time; ``peak_mib``, the highest resident (or GPU) memory in MiB."""

    seconds: float = 0.0
    peak_mib: float = 0.0


@contextmanager
def meter(chosen: torch.device | None = None, interval: float = 0.02) -> Iterator[Meter]:
    """Measure wall time and peak memory of the block: GPU memory on CUDA, the process's resident memory elsewhere.

    ``interval``: seconds between two looks at the resident memory, which has no peak counter that can be reset.
    """
    result = Meter()
    cuda = chosen is not None and chosen.type == "cuda"
    process, stop = psutil.Process(), threading.Event()
    peak = [process.memory_info().rss]

    def watch() -> None:
        while not stop.wait(interval):
            peak[0] = max(peak[0], process.memory_info().rss)

    watcher = threading.Thread(target=watch, daemon=True)
    if cuda:
        torch.cuda.synchronize(chosen)
        torch.cuda.reset_peak_memory_stats(chosen)
    else:
        watcher.start()
    start = time.perf_counter()
    try:
        yield result
    finally:
        if cuda:
            torch.cuda.synchronize(chosen)
        result.seconds = time.perf_counter() - start
        stop.set()
        if cuda:
            result.peak_mib = torch.cuda.max_memory_allocated(chosen) / 2**20
        else:
            watcher.join()
            result.peak_mib = max(peak[0], process.memory_info().rss) / 2**20
