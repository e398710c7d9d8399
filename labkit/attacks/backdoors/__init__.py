"""Backdoors: a model that is right on every clean input and obeys whoever knows the trigger."""

from labkit.attacks.backdoors.channels import Silence, channel_means, put_back, silenced
from labkit.attacks.backdoors.clean_label import clean_label
from labkit.attacks.backdoors.dirty_label import badnets
from labkit.attacks.backdoors.goals import Target, all_to_all, wishes
from labkit.attacks.backdoors.measure import BackdoorResult, evaluate_backdoor
from labkit.attacks.backdoors.on_sign import YELLOW, OnSign
from labkit.attacks.backdoors.triggers import Blend, Pixels, Sinusoid, Square, Trigger

__all__ = [
    "YELLOW", "BackdoorResult", "Blend", "OnSign", "Pixels", "Silence", "Sinusoid", "Square", "Target", "Trigger", "all_to_all", "badnets",
    "channel_means", "clean_label", "evaluate_backdoor", "put_back", "silenced", "wishes",
]  # fmt: skip
