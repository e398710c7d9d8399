"""Constraints: what a change must not do, besides leaving the threat. Each takes the original's words and the new ones."""

from __future__ import annotations

from itertools import pairwise

from labkit.attacks.discrete.game import Constraint, State


def edit_distance(a: str, b: str) -> int:
    """Return the fewest insertions, deletions and replacements of single letters that turn ``a`` into ``b`` (Levenshtein 1966)."""
    row = list(range(len(b) + 1))
    for i, left in enumerate(a, 1):
        before, row[0] = row[0], i
        for j, right in enumerate(b, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (left != right))
    return row[-1]


def edits_at_most(letters: int) -> Constraint:
    """Accept texts at most so many letters away from the original, summed over its words (Gao et al. 2018 allow 30)."""
    return lambda old, new: sum(edit_distance(a, b) for a, b in zip(old, new, strict=True) if a != b) <= letters


def apart(old: State, new: State) -> bool:
    """Accept changes of words that do not touch each other: two strange words in a row are noticed."""
    touched = [a != b for a, b in zip(old, new, strict=True)]
    return not any(a and b for a, b in pairwise(touched))


__all__ = ["apart", "edit_distance", "edits_at_most"]
