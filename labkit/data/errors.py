"""What can be wrong with a data set on disk, said so that the reader knows the remedy."""

from __future__ import annotations


class DataMissing(FileNotFoundError):
    """A data set of a paper is not on this machine, and nothing is downloaded unasked."""


class DataCorrupt(RuntimeError):
    """A file is there, but its content is not what was published."""


class DataTruncated(DataCorrupt):
    """A file ends too early, as after an interrupted copy or download."""


class DownloadFailed(RuntimeError):
    """A download was asked for and did not succeed; what had arrived is kept for the next attempt."""
