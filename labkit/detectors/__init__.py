"""Detectors: scores of suspicion, thresholds with a false-alarm budget, and honest reports."""

from labkit.detectors.base import DetectionReport, Detector, auroc, average_precision, detection_report, threshold_at_fpr
from labkit.detectors.confidence import (
    ConfidenceDetector,
    Energy,
    Entropy,
    MaxLogit,
    MaxSoftmax,
    Tempered,
    TopTwoMargin,
    TwoSided,
    calibration,
    fit_temperature,
)

__all__ = [
    "ConfidenceDetector", "DetectionReport", "Detector", "Energy", "Entropy", "MaxLogit", "MaxSoftmax", "Tempered", "TopTwoMargin",
    "TwoSided", "auroc", "average_precision", "calibration", "detection_report", "fit_temperature", "threshold_at_fpr",
]  # fmt: skip
