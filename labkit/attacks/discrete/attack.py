"""``replace_words``: an attack on texts put together from four parts, as Morris et al. 2020 (TextAttack, arXiv 2005.05909) take it apart.

The *goal* is one of ``labkit.attacks.goals``; the allowed *neighbors* and the budget are the threat; *constraints* refuse states that it
would allow; a *search* decides what is asked in which order. The parts know nothing of each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor

from labkit.attacks.discrete.game import Constraint, Game, Over, TextModel
from labkit.attacks.discrete.result import SubstitutionResult
from labkit.attacks.discrete.searches import Search, greedy
from labkit.attacks.goals import Goal, Targeted, Untargeted
from labkit.attacks.views import held_still
from labkit.progress import progress as show_progress
from labkit.seeding import derive
from labkit.threats.substitutions import Substitutions


def replace_words(
    model: TextModel, texts: Sequence[str], y: Tensor, threat: Substitutions, *, search: Search = greedy, target: Tensor | None = None,
    goal: Goal | None = None, constraints: Sequence[Constraint] = (), queries: int | None = None, keep_logs: bool = False,
    seed: int = 0, progress: bool = False,
) -> SubstitutionResult:  # fmt: skip
    """Replace words of ``texts`` within ``threat`` until the model's answer turns, and verify the outcome.

    ``model``: texts -> logits (B, K). ``y`` (B,) int64: the true labels; ``target``: the wanted ones instead of any other. ``search``: a
    function of a ``Game``; set its options with functools.partial. ``constraints``: called with the original's words and the new ones.
    ``queries``: the most different texts that the model may be asked about for each text. Success is judged by one fresh answer on the
    final text, and threat and constraints are checked again on it, whatever the search did.
    Raises TypeError for a threat of another kind or labels that are not int64, ValueError for other lengths or a target that is the label.

    Notes: a text that was asked before is not asked again and costs nothing; ``repeats`` counts such questions, which TextAttack counts
    as queries. What one text's search learns is not used for another's. A text whose goal is met already costs one query.
    """
    if not isinstance(threat, Substitutions):
        raise TypeError(f"threat must be Substitutions, got {type(threat).__name__}: {threat!r}")
    if isinstance(texts, str):
        raise TypeError("texts must be a list of texts, not one text; put it in brackets")
    aims = _labels(y, texts, "y")
    if target is not None:
        aims = _labels(target, texts, "target")
        if same := int((target == y).sum()):
            raise ValueError(f"{same} of {len(y)} targets equal the true label: a target must be another class")
    wanted: Goal = goal or (Targeted() if target is not None else Untargeted())
    if wanted.targeted != (target is not None):
        raise ValueError(f"the goal {wanted} {'needs target=, the wanted labels' if wanted.targeted else 'takes no target='}")
    games: list[Game] = []
    already = []
    rows = list(zip(texts, aims, strict=True))
    with held_still(model):  # type: ignore[arg-type]  # a model of texts is a model
        for text, aim in show_progress(rows, "attacking") if progress else rows:
            game = Game(model, text, aim, threat, wanted, constraints=constraints, limit=queries, keep=keep_logs,
                        seed=derive(seed, text))  # fmt: skip
            with suppress(Over):
                search(game)
            games.append(game)
            already.append(game.met and game.best == game.words)
        found = [" ".join(game.best) for game in games]
        _recheck(games, found, list(texts), threat)
        with torch.no_grad():
            answers = [model([text]).detach().cpu()[0] for text in found]
    met = [bool(game._met([text], logits[None])) for game, text, logits in zip(games, found, answers, strict=True)]
    name = getattr(search, "__name__", None) or getattr(getattr(search, "func", None), "__name__", "search")
    meta: dict[str, Any] = {"attack": f"replace_words, {name}", "targeted": wanted.targeted, "seed": seed, "limit": queries}

    def counts(values: list[int]) -> Tensor:
        return torch.tensor(values, dtype=torch.int64)

    return SubstitutionResult(
        list(texts), found, y, torch.tensor(met, dtype=torch.bool), torch.tensor(already, dtype=torch.bool),
        counts([int(logits.argmax()) for logits in answers]), counts([len(game.changed(game.best)) for game in games]),
        counts([len(game.words) for game in games]), counts([game.queries for game in games]), counts([game.repeats for game in games]),
        counts([game.gradients for game in games]), threat, [game.log for game in games if game.log is not None], meta,
    )  # fmt: skip


def _labels(y: Tensor, texts: Sequence[str], name: str) -> list[int]:
    if not isinstance(y, Tensor) or y.dtype != torch.int64:
        raise TypeError(f"{name} must be an int64 tensor of class numbers, got {getattr(y, 'dtype', type(y).__name__)}")
    if y.shape != (len(texts),):
        raise ValueError(f"{name} must have shape ({len(texts)},), one label per text, got {tuple(y.shape)}")
    return [int(label) for label in y]


def _recheck(games: list[Game], found: list[str], texts: list[str], threat: Substitutions) -> None:
    inside = threat.contains(found, texts)
    for game, text, allowed in zip(games, found, inside.tolist(), strict=True):
        if not allowed or not game.acceptable(game.best):
            raise RuntimeError(f"the result {text!r} is not allowed by {threat} or a constraint: an error in the search, please report it")


__all__ = ["replace_words"]
