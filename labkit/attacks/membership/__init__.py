"""Membership inference: was this record in the training set?"""

from labkit.attacks.membership.design import Attack, balanced_members, leave_out
from labkit.attacks.membership.label_only import noise_margin
from labkit.attacks.membership.lira import lira
from labkit.attacks.membership.result import MembershipResult
from labkit.attacks.membership.rmia import rmia
from labkit.attacks.membership.roc import Roc
from labkit.attacks.membership.shadows import Shadows, train_shadows
from labkit.attacks.membership.shokri import shadow_attack
from labkit.attacks.membership.signals import correct, log_probability, logit_score
from labkit.attacks.membership.together import ShadowRecipe

__all__ = [
    "Attack", "MembershipResult", "Roc", "ShadowRecipe", "Shadows", "balanced_members", "correct", "leave_out", "lira", "log_probability",
    "logit_score", "noise_margin", "rmia", "shadow_attack", "train_shadows",
]  # fmt: skip
