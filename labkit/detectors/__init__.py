"""Detectors: scores of suspicion, thresholds with a false-alarm budget, and honest reports."""

from labkit.detectors.alarm import ALARM, SILENT, Alarm, AnyOf
from labkit.detectors.autoencoder import Autoencoder
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
from labkit.detectors.forest import IsolationForest
from labkit.detectors.mahalanobis import Centroid, Mahalanobis
from labkit.detectors.one_class import OneClassSVM

__all__ = [
    "ALARM", "SILENT", "Alarm", "AnyOf", "Autoencoder", "Centroid", "ConfidenceDetector", "DetectionReport", "Detector", "Energy",
    "Entropy", "IsolationForest", "Mahalanobis", "MaxLogit", "MaxSoftmax", "OneClassSVM", "Tempered", "TopTwoMargin", "TwoSided", "auroc",
    "average_precision", "calibration", "detection_report", "fit_temperature", "threshold_at_fpr",
]  # fmt: skip
