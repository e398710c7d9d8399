"""Data sets: the catalogue (``load``, ``names``, ``card``), splits that know their role, and clear errors."""

from labkit.data.catalogue import card, load, names
from labkit.data.dataset import Dataset, Role, Split, WrongRole
from labkit.data.errors import DataCorrupt, DataMissing, DataTruncated, DownloadFailed

__all__ = [
    "DataCorrupt", "DataMissing", "DataTruncated", "Dataset", "DownloadFailed", "Role", "Split", "WrongRole", "card", "load", "names",
]  # fmt: skip
