"""Extraction: learn what a model knows from its answers alone."""

from labkit.attacks.extraction.boundary import label_solving
from labkit.attacks.extraction.distillation import SoftLabels, distill
from labkit.attacks.extraction.equations import equation_solving
from labkit.attacks.extraction.inquiry import Inquiry
from labkit.attacks.extraction.jacobian import augment, substitute
from labkit.attacks.extraction.relu import relu_solving
from labkit.attacks.extraction.result import ExtractionResult
from labkit.attacks.extraction.together import Plan, distill_together

__all__ = [
    "ExtractionResult", "Inquiry", "Plan", "SoftLabels", "augment", "distill", "distill_together", "equation_solving", "label_solving",
    "relu_solving", "substitute",
]  # fmt: skip
