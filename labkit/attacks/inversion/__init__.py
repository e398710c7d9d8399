"""Inversion: from a model, its answers or its gradients back to what it was trained on."""

from labkit.attacks.inversion.attributes import AttributeResult, confusion_of, from_prior, impute, infer_attribute
from labkit.attacks.inversion.by_labels import invert_by_labels
from labkit.attacks.inversion.descent import invert, invert_by_queries
from labkit.attacks.inversion.dlg import LeakResult, deep_leakage, psnr
from labkit.attacks.inversion.judging import Identified, identify, likeness, nearest_mean
from labkit.attacks.inversion.leaks import (
    clipped,
    input_of_linear,
    label_from_bias,
    label_from_weight,
    labels_present,
    noised,
    shared_gradient,
)
from labkit.attacks.inversion.priors import Eigenfaces, Pixels, Prior, smooth, total_variation
from labkit.attacks.inversion.result import InversionResult

__all__ = [
    "AttributeResult", "Eigenfaces", "Identified", "InversionResult", "LeakResult", "Pixels", "Prior", "clipped", "confusion_of",
    "deep_leakage", "from_prior", "identify", "impute", "infer_attribute", "input_of_linear", "invert", "invert_by_labels",
    "invert_by_queries", "label_from_bias", "label_from_weight", "labels_present", "likeness", "nearest_mean", "noised", "psnr",
    "shared_gradient", "smooth", "total_variation",
]  # fmt: skip
