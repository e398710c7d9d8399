"""What happened to every sample, kept compactly with a checksum, so that a stored number can be computed again."""

from __future__ import annotations

import base64
import hashlib
import math
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from labkit.rates import wilson
from labkit.reporting.intervals import Interval, bootstrap

Array = npt.NDArray[Any]
RESAMPLES = 500


def encode(outcomes: Any) -> dict[str, Any]:
    """Return per-sample outcomes in JSON form.

    ``outcomes``: booleans (N,), whose mean is the number; floats (N,), mean or median; or a mapping with ``scores`` (N,), higher
    = positive, ``labels`` (N,), booleans, and ``statistic`` "auroc" or "aupr"; or with ``values`` and ``statistic``.
    Scores keep their order only, which is all that those two need, and exactly; floats are rounded to 1/65535 of their range.
    Raises ValueError for NaN, emptiness or another form.
    """
    if isinstance(outcomes, Mapping):
        if "scores" in outcomes:
            return _encode_scores(outcomes)
        return _encode_values(_array(outcomes["values"]), str(outcomes.get("statistic", "mean")))
    array = _array(outcomes)
    if array.dtype == np.bool_:
        return {"form": "booleans", "statistic": "mean", "n": array.size, **_packed("bits", np.packbits(array))}
    if array.dtype.kind == "f":
        return _encode_values(array, "mean")
    raise ValueError(f"outcomes of type {array.dtype}: give booleans (did it happen?), floats, or scores with labels")


def value_of(encoded: Mapping[str, Any]) -> float:
    """Return the number that the outcomes give. Raises ValueError when a checksum does not fit."""
    parts = _decode(encoded)
    if encoded["form"] == "scores":
        return ranked(parts["ranks"], parts["labels"], str(encoded["statistic"]))
    return float(_mean_or_median(encoded)(parts["values"]))


def interval_of(encoded: Mapping[str, Any]) -> Interval:
    """Return the number's 95% interval: Wilson for booleans, else a bootstrap with seed 0, so that it is always the same."""
    parts = _decode(encoded)
    if encoded["form"] == "booleans":
        return wilson(int(parts["values"].sum()), int(encoded["n"]))
    if encoded["form"] == "values":
        return bootstrap(_mean_or_median(encoded), parts["values"], resamples=RESAMPLES)
    ranks, labels, n = parts["ranks"], parts["labels"], int(encoded["n"])
    order = np.argsort(ranks, kind="stable")  # sorted once: a resample is then only a set of weights
    ranks, labels = ranks[order], labels[order]

    def resampled(chosen: Array) -> float:
        return ranked(ranks, labels, str(encoded["statistic"]), np.bincount(chosen, minlength=n))

    return bootstrap(resampled, np.arange(n), resamples=RESAMPLES)


def slack_of(encoded: Mapping[str, Any]) -> float:
    """Return how much rounding may have moved the number: 0 for booleans and scores."""
    return (encoded["high"] - encoded["low"]) / 65535 if encoded["form"] == "values" else 0.0


def ranked(scores: Array, labels: Array, statistic: str, weights: Array | None = None) -> float:
    """Return AUROC, ties counted half, or AUPR as average precision, of scores (N,) for boolean labels (N,); NaN with one class only.

    AUROC = P(positive > negative) + P(equal) / 2; average precision = sum over thresholds of precision x gained recall.
    """
    if (np.diff(scores) < 0).any():
        order = np.argsort(scores, kind="stable")
        scores, labels = scores[order], labels[order]
        weights = None if weights is None else weights[order]
    weight = np.ones(len(scores)) if weights is None else weights.astype(float)
    starts = np.flatnonzero(np.concatenate([[True], np.diff(scores) != 0]))
    positive = np.add.reduceat(weight * labels, starts)
    negative = np.add.reduceat(weight * ~labels, starts)
    if positive.sum() == 0 or negative.sum() == 0:
        return math.nan
    if statistic == "auroc":
        below = np.cumsum(negative) - negative
        return float((positive * (below + negative / 2)).sum() / (positive.sum() * negative.sum()))
    caught = np.cumsum(positive[::-1])
    flagged = caught + np.cumsum(negative[::-1])
    precision = np.divide(caught, flagged, out=np.zeros_like(caught), where=flagged > 0)
    return float((precision * positive[::-1]).sum() / positive.sum())


def _encode_scores(outcomes: Mapping[str, Any]) -> dict[str, Any]:
    scores, labels, statistic = _array(outcomes["scores"]), _array(outcomes["labels"]), outcomes.get("statistic", "auroc")
    if statistic not in ("auroc", "aupr"):
        raise ValueError(f"statistic {statistic!r}: scores with labels give 'auroc' or 'aupr'")
    if labels.dtype != np.bool_ or labels.shape != scores.shape:
        raise ValueError(f"labels of type {labels.dtype} and shape {labels.shape} for scores {scores.shape}: one boolean per score")
    _finite(scores)
    ranks = np.unique(scores, return_inverse=True)[1].reshape(-1)
    ranks = ranks.astype("<u2" if ranks.max() < 65536 else "<u4")
    head = {"form": "scores", "statistic": statistic, "n": scores.size, "type": ranks.dtype.str}
    return {**head, **_packed("ranks", ranks), **_packed("bits", np.packbits(labels))}


def _encode_values(values: Array, statistic: str) -> dict[str, Any]:
    if statistic not in ("mean", "median"):
        raise ValueError(f"statistic {statistic!r}: values give 'mean' or 'median'")
    values = values.astype(float)
    _finite(values)
    low, high = float(values.min()), float(values.max())
    steps = np.rint((values - low) / ((high - low) or 1.0) * 65535).astype("<u2")
    return {"form": "values", "statistic": statistic, "n": values.size, "low": low, "high": high, **_packed("steps", steps)}


def _decode(encoded: Mapping[str, Any]) -> dict[str, Array]:
    n = int(encoded["n"])
    if encoded["form"] == "booleans":
        return {"values": _bits(encoded, n)}
    if encoded["form"] == "values":
        steps = np.frombuffer(_unpacked(encoded, "steps"), "<u2")
        return {"values": encoded["low"] + steps / 65535 * (encoded["high"] - encoded["low"])}
    return {"ranks": np.frombuffer(_unpacked(encoded, "ranks"), encoded["type"]).astype(np.int64), "labels": _bits(encoded, n)}


def _bits(encoded: Mapping[str, Any], n: int) -> Array:
    return np.unpackbits(np.frombuffer(_unpacked(encoded, "bits"), np.uint8), count=n).astype(bool)


def _packed(name: str, array: Array) -> dict[str, str]:
    raw = array.tobytes()
    return {name: base64.b64encode(zlib.compress(raw, 9)).decode("ascii"), f"{name}_sha256": hashlib.sha256(raw).hexdigest()}


def _unpacked(encoded: Mapping[str, Any], name: str) -> bytes:
    raw = zlib.decompress(base64.b64decode(encoded[name]))
    if hashlib.sha256(raw).hexdigest() != encoded[f"{name}_sha256"]:
        raise ValueError(f"the stored outcomes ({name}) do not fit their checksum: the file was changed by hand or damaged")
    return raw


def _mean_or_median(encoded: Mapping[str, Any]) -> Any:
    return np.median if encoded["statistic"] == "median" else np.mean


def _array(values: Any) -> Array:
    array = np.asarray(values.detach().cpu().numpy() if hasattr(values, "detach") else values).reshape(-1)
    if array.size == 0:
        raise ValueError("no outcomes: there is nothing to compute a number from")
    return array


def _finite(values: Array) -> None:
    if not np.isfinite(values).all():
        raise ValueError(f"{int((~np.isfinite(values)).sum())} of {values.size} outcomes are not finite; a number cannot rest on them")
