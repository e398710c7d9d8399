"""The course's look: one style sheet, one palette that color-blind readers can tell apart, one color per role."""

from __future__ import annotations

from pathlib import Path

import matplotlib.style

STYLE_SHEET = Path(__file__).with_name("labkit.mplstyle")

# Okabe and Ito 2008, Color universal design: blue, vermillion, green, purple, orange, sky blue; gray for baselines.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#555555")
CLEAN, ATTACKED, DEFENDED, BASELINE = PALETTE[0], PALETTE[1], PALETTE[2], PALETTE[6]
MARKERS = ("o", "s", "^", "D", "v", "P", "X")  # shape says the same as color, for those who see none


def style() -> None:
    """Apply the course's style sheet to matplotlib; `begin` does it for every chapter."""
    matplotlib.style.use(STYLE_SHEET)
