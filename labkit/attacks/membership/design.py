"""Who is in whose training set: balanced designs, and attacking every model of one with the others as shadows."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from labkit.attacks.membership.result import MembershipResult
from labkit.progress import progress
from labkit.seeding import generator

#: Scores targets (T, N, ...) with shadows (S, N, ...) and who they were trained with (S, N) bool -> (T, N).
Attack = Callable[[Tensor, Tensor, Tensor], Tensor]


def balanced_members(models: int, records: int, seed: int = 0) -> Tensor:
    """Return a membership matrix (models, records) bool: each model has half of the records, each record is in half of the models.

    Models 2k and 2k + 1 are complementary: what one has, the other lacks. Held out together they leave a design that is as balanced as
    before. Raises ValueError for odd numbers.
    """
    if models < 2 or records < 2 or models % 2 or records % 2:
        raise ValueError(f"halves need even numbers of models and records, 2 or more; got {models} models and {records} records")
    members = torch.zeros(models, records, dtype=torch.bool)
    for pair in range(models // 2):
        order = torch.randperm(records, generator=generator(seed, "membership", pair))
        members[2 * pair, order[: records // 2]] = True
        members[2 * pair + 1, order[records // 2 :]] = True
    return members


def leave_out(attack: Attack, answers: Tensor, members: Tensor, *, folds: int | None = None, queries: int = 1) -> MembershipResult:
    """Attack every model of a design with the others as its shadow models, and pool the scores.

    ``answers``: (M, N, ...), what each model says of each record: signals, or logits, whatever ``attack`` takes. ``members``: (M, N)
    bool. ``attack``: targets (T, N, ...), shadows (S, N, ...), their members (S, N) -> scores (T, N). ``folds``: the models are held out
    in so many groups of neighbors, by default in pairs (M // 2). ``queries``: asked of a target for each score.

    Pooled scores are not independent: all about one model share its training. The intervals of the result draw targets again, two
    complementary neighbors at a time; that the targets share shadow models they cannot see. Raises ValueError for folds that do not divide
    the models, and for a leak: in a design in which every record is in equally many models, holding out *one* leaves a record that it
    had in fewer of the others, so that counting shadow models gives the truth.
    """
    models = len(members)
    if answers.shape[:2] != members.shape:
        raise ValueError(f"answers {tuple(answers.shape)} and members {tuple(members.shape)} are not about the same models and records")
    folds = models // 2 if folds is None else folds
    if not 2 <= folds <= models or models % folds:
        raise ValueError(f"{models} models cannot be held out in {folds} equal groups; 2 or more groups that divide {models} are needed")
    size, scores = models // folds, []
    groups = [torch.arange(models) // size == fold for fold in range(folds)]
    for held in groups:  # all of them, before anything is scored
        for target in members[held]:
            _no_leak(target, members[~held].sum(0))
    for held in progress(groups, "models attacked"):
        scores.append(attack(answers[held], answers[~held], members[~held]))
    units = torch.arange(models) // min(size, 2)
    return MembershipResult.of(torch.cat(scores), members, units=units, queries=queries, trainings=models - size)


def _no_leak(target: Tensor, counts: Tensor) -> None:
    """Raise ValueError when the number of shadow models that have a record says whether the target has it."""
    inside, outside = set(counts[target].tolist()), set(counts[~target].tolist())
    if inside and outside and not inside & outside:
        raise ValueError(
            f"the shadow models give the truth away: records that the target had are in {sorted(inside)} of them, the others in "
            f"{sorted(outside)}. Hold out complementary models together (folds = models // 2 in a design of balanced_members)"
        )
