"""Training: ``fit`` with objectives, cached by content, resumable."""

from labkit.training.fit import Recipe, Trained, fit
from labkit.training.game import Game
from labkit.training.objectives import Natural, Objective, StepState

__all__ = ["Game", "Natural", "Objective", "Recipe", "StepState", "Trained", "fit"]
