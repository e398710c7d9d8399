"""Poisoning: change what a model learns from, and let its owner do the rest."""

from labkit.attacks.poisoning.collision import collide, feature_collision
from labkit.attacks.poisoning.flips import flip_labels
from labkit.attacks.poisoning.matching import alignment, gradient_matching
from labkit.attacks.poisoning.result import PoisonedData
from labkit.attacks.poisoning.svm import Svm, fit_svm, poison_gradient
from labkit.attacks.poisoning.svm_ascent import poison_svm

__all__ = [
    "PoisonedData", "Svm", "alignment", "collide", "feature_collision", "fit_svm", "flip_labels", "gradient_matching", "poison_gradient",
    "poison_svm",
]  # fmt: skip
