"""How the course states a result: recorded numbers, claims compared, figures with their data, progress."""

from __future__ import annotations

from labkit.progress import progress
from labkit.reporting.attackfigure import attack_figure
from labkit.reporting.charts import bar_chart, heatmap, histograms
from labkit.reporting.cited import cited
from labkit.reporting.comparing import compare
from labkit.reporting.context import Lab
from labkit.reporting.curves import curve
from labkit.reporting.dots import dot_grid
from labkit.reporting.formatting import percent
from labkit.reporting.geometry import allowed_sets
from labkit.reporting.images import image_row
from labkit.reporting.intervals import Rate, bootstrap, clopper_pearson, rate, wilson
from labkit.reporting.looks import PALETTE, style
from labkit.reporting.regions import decision_regions
from labkit.reporting.reproduced import store_reproduced
from labkit.reporting.results import record, say
from labkit.reporting.rocs import roc_curves
from labkit.reporting.scoring import scoreboard, write_scoreboard
from labkit.reporting.showing import show
from labkit.reporting.tables import table
from labkit.reporting.times import note_time, running_times

__all__ = [
    "PALETTE", "Lab", "Rate", "allowed_sets", "attack_figure", "bar_chart", "bootstrap", "cited", "clopper_pearson", "compare", "curve",
    "decision_regions", "dot_grid", "heatmap", "histograms", "image_row", "note_time", "percent", "progress", "rate", "record",
    "roc_curves", "running_times", "say", "scoreboard", "show", "store_reproduced", "style", "table", "wilson", "write_scoreboard",
]  # fmt: skip
