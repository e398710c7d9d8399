"""How the course states a result: recorded numbers, claims compared, figures with their data, progress."""

from __future__ import annotations

from labkit.reporting.progressbar import progress
from labkit.reporting.context import Lab
from labkit.reporting.formatting import percent
from labkit.reporting.intervals import Rate, bootstrap, clopper_pearson, rate, wilson
from labkit.reporting.results import record, say

__all__ = ["Lab", "Rate", "bootstrap", "clopper_pearson", "percent", "progress", "rate", "record", "say", "wilson"]
