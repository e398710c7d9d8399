"""How the course states a result: recorded numbers, claims compared, figures with their data, progress."""

from __future__ import annotations

from labkit.reporting.attackfigure import attack_figure
from labkit.reporting.charts import bar_chart, heatmap, histograms
from labkit.reporting.context import Lab
from labkit.reporting.curves import curve
from labkit.reporting.formatting import percent
from labkit.reporting.images import image_row
from labkit.reporting.intervals import Rate, bootstrap, clopper_pearson, rate, wilson
from labkit.reporting.looks import PALETTE, style
from labkit.reporting.progressbar import progress
from labkit.reporting.results import record, say
from labkit.reporting.showing import show
from labkit.reporting.tables import table

__all__ = [
    "PALETTE", "Lab", "Rate", "attack_figure", "bar_chart", "bootstrap", "clopper_pearson", "curve", "heatmap", "histograms",
    "image_row", "percent", "progress", "rate", "record", "say", "show", "style", "table", "wilson",
]  # fmt: skip
