"""Attacks on texts: a goal, neighbors, constraints and a search, put together by ``replace_words``."""

from labkit.attacks.discrete.attack import replace_words
from labkit.attacks.discrete.constraints import apart, edit_distance, edits_at_most
from labkit.attacks.discrete.game import Constraint, Game, Over, State
from labkit.attacks.discrete.neighbors import (
    HOMOGLYPHS,
    NUMERALS,
    UNSEEN,
    deletions,
    either,
    look_alikes,
    numerals,
    plain,
    slips,
    spaces,
    swaps,
    table,
    twice,
    typos,
    unseen_blanks,
)  # fmt: skip
from labkit.attacks.discrete.result import SubstitutionResult
from labkit.attacks.discrete.searches import Search, at_random, beam, by_gradient, by_importance, exhaustive, genetic, greedy
from labkit.attacks.discrete.synonyms import SYNONYMS, synonyms

__all__ = [
    "HOMOGLYPHS", "NUMERALS", "SYNONYMS", "UNSEEN", "Constraint", "Game", "Over", "Search", "State", "SubstitutionResult", "apart",
    "at_random", "beam", "by_gradient", "by_importance", "deletions", "edit_distance", "edits_at_most", "either", "exhaustive", "genetic",
    "greedy", "look_alikes", "numerals", "plain", "replace_words", "slips", "spaces", "swaps", "synonyms", "table", "twice", "typos",
    "unseen_blanks",
]  # fmt: skip
