"""Where to run: the device is chosen once, can be overridden, and is never assumed to be a GPU."""

from __future__ import annotations

import os
import platform
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

_default: torch.device | None = None


def device(override: str | torch.device | None = None) -> torch.device:
    """Return where to run: ``override``, else ``LABKIT_DEVICE``, else what ``use`` chose, else CUDA where there is one, else the CPU.

    A Mac's MPS is taken only when asked for: it lacks float64, in which labkit measures distances and keeps eps exact.

    Raises ValueError when the device asked for is not on this machine.
    """
    wanted = override or os.environ.get("LABKIT_DEVICE") or None
    if wanted is None:
        return _default or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(wanted)
        torch.empty(0, device=chosen)
    except Exception as error:
        raise ValueError(f"device {str(wanted)!r} is not available on this machine ({error}); try LABKIT_DEVICE=cpu") from error
    return chosen


def use(chosen: torch.device) -> None:
    """Make ``chosen`` this process's device wherever none is named; a chapter does so once, at its beginning."""
    global _default
    _default = chosen


def model_device(model: Callable[..., Any], x: torch.Tensor) -> torch.device:
    """Return the device of a model's first parameter or buffer, or of ``x`` if the model has none."""
    if isinstance(model, torch.nn.Module):
        for tensor in (*model.parameters(), *model.buffers()):
            return tensor.device
    return x.device


def describe(chosen: torch.device | None = None) -> str:
    """Return one line about the machine: device, threads, memory, versions."""
    chosen = chosen or device()
    try:
        import psutil
    except ImportError:  # a plain run
        memory = "unknown"
    else:
        memory = f"{psutil.virtual_memory().total / 2**30:.0f} GiB"
    name = torch.cuda.get_device_name(chosen) if chosen.type == "cuda" else (platform.processor() or platform.machine())
    return f"{chosen.type} ({name}), {torch.get_num_threads()} threads, {memory} memory, torch {torch.__version__}"


def _resident_counter() -> Callable[[], int]:
    """Return a function that says how many bytes of memory this process holds."""
    try:
        import psutil
    except ImportError:  # a plain run: the highest value of the whole process so far is the best there is, and on Windows nothing
        try:
            import resource
        except ImportError:
            return lambda: 0
        unit = 1 if sys.platform == "darwin" else 1024
        return lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    process = psutil.Process()
    return lambda: int(process.memory_info().rss)


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
    resident, stop = _resident_counter(), threading.Event()
    peak = [resident()]

    def watch() -> None:
        while not stop.wait(interval):
            peak[0] = max(peak[0], resident())

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
            result.peak_mib = max(peak[0], resident()) / 2**20
