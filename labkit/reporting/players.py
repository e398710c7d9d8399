"""Sounds that can be heard in the notebook: small WAV files inside the page, and a line of text where there is no page."""

from __future__ import annotations

import base64
import html
import io
import wave
from collections.abc import Mapping
from typing import Any

import numpy as np

from labkit.reporting.emit import emit
from labkit.reporting.images import array


def players(sounds: Mapping[str, Any], rate: int) -> None:
    """Show a player for each sound, side by side under its name. ``sounds``: name to samples in [-1, 1], any shape, at ``rate`` a second.

    Raises ValueError for samples outside [-1, 1]: a player would clip them, and what is heard would not be what was attacked.
    """
    cells, spoken = [], []
    for name, sound in sounds.items():
        samples = np.asarray(array(sound), dtype=float).ravel()
        if len(samples) and np.abs(samples).max() > 1 + 1e-6:
            raise ValueError(f"{name!r} has samples up to {np.abs(samples).max():.3g}; a sound lies in [-1, 1]: scale it and say so")
        seconds = len(samples) / rate
        data = base64.b64encode(wav(samples, rate)).decode("ascii")
        cells.append(
            f'<div style="display:inline-block;margin:2px 14px 2px 0"><div>{html.escape(name)}</div><audio controls preload="none" '
            f'style="width:220px;height:32px" aria-label="{html.escape(name)}" src="data:audio/wav;base64,{data}"></audio></div>'
        )
        spoken.append(f"[sound] {name} ({seconds:.2g} s)")
    emit({"text/html": "".join(cells), "text/plain": "\n".join(spoken)})


def wav(samples: np.ndarray[Any, np.dtype[np.float64]], rate: int) -> bytes:
    """Return samples in [-1, 1] as a WAV file: one channel, 16 bits."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((samples.clip(-1, 1) * 32_767).round().astype("<i2").tobytes())
    return buffer.getvalue()
