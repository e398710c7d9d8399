"""Defenses, by the way they act: objectives for training first; wrappers, guards, filters and repairs join them."""

from labkit.defenses.adversarial import Adversarial, Free, Trades

__all__ = ["Adversarial", "Free", "Trades"]
