"""How to look for replacements: every way takes a ``Game`` and plays it until the goal is met, the budget or the questions are spent."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations, product
from math import prod
from typing import Literal

import torch

from labkit.attacks.discrete.game import Game, State
from labkit.models.text import TextClassifier
from labkit.seeding import generator

#: A search plays a game; it ends by returning, or by the exception that ``look`` raises when the game is over.
Search = Callable[[Game], None]
#: What a word is replaced by, to see how much the answer hangs on it: a word that no vocabulary holds.
BLANK = "\u2047"
MOST_STATES = 200_000


def greedy(game: Game) -> None:
    """Try every replacement at every place, keep the best, and again, while it helps: one word changed per round."""
    beam(game, width=1)


def beam(game: Game, width: int = 4) -> None:
    """Do the same with the ``width`` best states of each round instead of the best; ends when a round brings no improvement.

    Raises ValueError for a width below 1.
    """
    if width < 1:
        raise ValueError(f"width must be 1 or more, got {width}")
    kept, highest = [game.words], game.open()
    for _ in range(game.budget):
        near = list(dict.fromkeys(one for state in kept for one in game.moves(state)))
        scores = game.look(near)
        if not near or max(scores) <= highest:
            return
        order = sorted(range(len(near)), key=lambda i: -scores[i])[:width]
        kept, highest = [near[i] for i in order], scores[order[0]]


def by_importance(game: Game, rank: Literal["delete", "blank", "random"] = "delete") -> None:
    """Rank the words once by how much the answer hangs on each, then replace them in that order, each by its best neighbor if it helps.

    ``rank``: ask about the text without the word (Jin et al. 2020, TextFooler, arXiv 1907.11932), or with an unknown word in its place
    (as Gao et al. 2018, DeepWordBug, arXiv 1801.04354, replace it), or take a random order, which asks nothing. Far fewer questions than
    ``greedy``: one for each word and one for each neighbor of the words that are reached. Raises ValueError for another ranking.
    """
    if rank not in ("delete", "blank", "random"):
        raise ValueError(f"rank must be 'delete', 'blank' or 'random', got {rank!r}")
    state, score = game.words, game.open()
    places = game.free(state)
    if rank == "random":
        order = torch.randperm(len(places), generator=generator(game.seed, "random order")).tolist()
    else:
        put = [] if rank == "delete" else [BLANK]
        probes = [" ".join([*state[:i], *put, *state[i + 1 :]]) for i in places]
        gain = game.score(game.ask(probes)).tolist() if probes else []
        order = sorted(range(len(places)), key=lambda i: -gain[i])
    for i in order:
        near = game.moves(state, [places[i]])
        scores = game.look(near)
        if near and max(scores) > score:
            score = max(scores)
            state = near[scores.index(score)]


def by_gradient(game: Game, reader: TextClassifier, tries: int = 5) -> None:
    """Estimate the gain of every replacement from one gradient, try the most promising, and again (Ebrahimi et al. 2018, HotFlip,
    arXiv 1712.06751): the change of a word's vector times the slope of the loss there.

    ``reader``: the model whose gradient is used, as a rule the one under attack. A replacement that in truth does not help is left, and
    the next best tried, at most ``tries`` for each gradient. Exact where the loss is linear in the vectors, a guess elsewhere.
    """
    state, score = game.words, game.open()
    sign = -1.0 if game.goal.targeted else 1.0
    while True:
        near = game.moves(state)
        if not near:
            return
        text = " ".join(state)
        (logits,) = game.ask([text])  # known already
        others = logits.clone()
        others[game.y] = -torch.inf
        weights = torch.zeros_like(logits)
        weights[int(others.argmax())], weights[game.y] = sign, -sign  # the margin's slope in the logits
        slopes = reader.slopes(text, weights).cpu()
        game.gradients += 1
        first = torch.tensor([0, *(len(word.split()) for word in state)]).cumsum(0)
        places = [next(i for i, (new, old) in enumerate(zip(one, state, strict=True)) if new != old) for one in near]
        change = reader.vectors([one[i] for one, i in zip(near, places, strict=True)]).cpu()
        change = change - reader.vectors([state[i] for i in places]).cpu()
        gain = (change * slopes[first[places]]).sum(1)
        for best in gain.argsort(descending=True).tolist()[:tries]:
            (found,) = game.look([near[best]])
            if found > score:
                state, score = near[best], found
                break
        else:
            return


def at_random(game: Game, tries: int = 100) -> None:
    """Ask about ``tries`` random allowed texts that spend the whole budget: what an attacker without any idea reaches."""
    game.open()
    source = generator(game.seed, "random texts")
    places = game.free(game.words)
    for _ in range(tries if places else 0):
        chosen = torch.randperm(len(places), generator=source)[: game.budget].tolist()
        state = list(game.words)
        for i in (places[k] for k in chosen):
            state[i] = game.choices[i][int(torch.randint(len(game.choices[i]), (), generator=source))]
        if game.acceptable(tuple(state)):
            game.look([tuple(state)])


def exhaustive(game: Game) -> None:
    """Ask about every allowed text, those with fewer changes first: the truth, where it can be afforded.

    Raises ValueError where there are more than 200,000 of them.
    """
    game.open()
    places = game.free(game.words)
    for changes in range(1, game.budget + 1):
        sets = list(combinations(places, changes))
        if (count := sum(prod(len(game.choices[i]) for i in chosen) for chosen in sets)) > MOST_STATES:
            raise ValueError(f"{count:,} texts with {changes} changes: too many to try them all; allow fewer words or neighbors")
        states: list[State] = []
        for chosen in sets:
            for ways in product(*(game.choices[i] for i in chosen)):
                put = dict(zip(chosen, ways, strict=True))
                states.append(tuple(put.get(i, word) for i, word in enumerate(game.words)))
        game.look([state for state in states if game.acceptable(state)])


__all__ = ["BLANK", "Search", "at_random", "beam", "by_gradient", "by_importance", "exhaustive", "greedy"]
