"""Evasion: change an input at test time so that the model answers wrongly."""

from labkit.attacks.evasion.mi_fgsm import mi_fgsm
from labkit.attacks.evasion.pgd import bim, fgsm, pgd

__all__ = ["bim", "fgsm", "mi_fgsm", "pgd"]
