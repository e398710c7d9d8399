"""Holds ``sitecustomize``: the folder stands on ``PYTHONPATH`` where the network is refused (see `labkit.course.network`)."""
