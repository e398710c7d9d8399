"""Exercises: a stub, a check that answers each typical mistake with its own hint, three hints, and a folded solution.

``framework`` says what an exercise is, ``probe`` what checks are written with, ``show`` what chapters call; one module for
each chapter (``ch10`` and so on) holds its exercises in a tuple called EXERCISES.
"""

from labkit.course.exercises.framework import Exercise, Mistake, Outcome, UnknownExercise, every_exercise, get
from labkit.course.exercises.show import check, exercise, hint, solution

__all__ = ["Exercise", "Mistake", "Outcome", "UnknownExercise", "check", "every_exercise", "exercise", "get", "hint", "solution"]
