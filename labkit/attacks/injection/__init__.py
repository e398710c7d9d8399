"""Prompt injection: texts that make a language model serve somebody else than its user. Goals are canaries, never harm."""

from labkit.attacks.injection.case import Case, assistant_cases, table_cases
from labkit.attacks.injection.gcg import Problem, SuffixResult, gcg, leak_problem, problem
from labkit.attacks.injection.judge import LABELLED, Labelled, alone, not_refused, precision_recall, written
from labkit.attacks.injection.result import InjectionResult
from labkit.attacks.injection.run import run_injections
from labkit.attacks.injection.secrets import Vault, exposure, extract, leaked, vaults, wrong_secret
from labkit.attacks.injection.texts import (
    ENGLISH,
    RESERVED,
    SMALL,
    Attack,
    Wording,
    combined,
    escape,
    fake_completion,
    ignore,
    many_shot,
    naive,
    placed,
    suffixed,
    unchanged,
    unordered,
)

__all__ = [
    "ENGLISH", "LABELLED", "RESERVED", "SMALL", "Attack", "Case", "InjectionResult", "Labelled", "Problem", "SuffixResult",
    "Vault", "Wording", "alone", "assistant_cases", "combined", "escape", "exposure", "extract", "fake_completion", "gcg",
    "ignore", "leak_problem", "leaked", "many_shot", "naive", "not_refused", "placed", "precision_recall", "problem",
    "run_injections", "suffixed", "table_cases", "unchanged", "unordered", "vaults", "written", "wrong_secret",
]  # fmt: skip
