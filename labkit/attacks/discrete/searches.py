"""How to look for replacements: every way takes a ``Game`` and plays it until the goal is met, the budget or the questions are spent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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


def genetic(game: Game, population: int = 60, generations: int = 20) -> None:
    """Breed texts (Alzantot et al. 2018, arXiv 1804.07998): parents drawn by fitness, each word from either parent, one more word replaced.

    The word is drawn in proportion to the number of its neighbors, and the best of these is taken even where it does not help: so the
    search passes through texts that ``greedy`` refuses. The fittest text of a generation stays. Raises ValueError for a population
    below 2 or no generation.

    Notes: the fitness is the sigmoid of the margin, which with two classes is the probability that the paper takes. Where a child
    holds more replacements than the budget, those too many, drawn at random, are taken back, and one more where no room is left for a
    new one. A child that a constraint refuses is replaced by its first parent.
    """
    if population < 2 or generations < 1:
        raise ValueError(f"a population of 2 or more and 1 generation or more are needed, got {population} and {generations}")
    game.open()
    if not game.free(game.words):
        return
    source = generator(game.seed, "genetic")
    people, scores = _mutated(game, [game.words] * population, source)
    for _ in range(generations - 1):
        fitness = torch.tensor(scores, dtype=torch.float64).sigmoid().nan_to_num() + 1e-9
        parents = fitness.multinomial(2 * (population - 1), replacement=True, generator=source).view(-1, 2).tolist()
        fittest = int(fitness.argmax())
        children, after = _mutated(game, [_crossed(game, people[a], people[b], source) for a, b in parents], source)
        people, scores = [people[fittest], *children], [scores[fittest], *after]


def _crossed(game: Game, first: State, second: State, source: torch.Generator) -> State:
    """Return each word from one of two texts, within the budget."""
    coins = torch.rand(len(first), generator=source).tolist()
    child = tuple(a if coin < 0.5 else b for a, b, coin in zip(first, second, coins, strict=True))
    child = _taken_back(game, child, len(game.changed(child)) - game.budget, source)
    return child if game.acceptable(child) else first


def _taken_back(game: Game, state: State, count: int, source: torch.Generator) -> State:
    """Return a text with ``count`` of its replacements taken back, drawn at random."""
    touched = game.changed(state)
    back = {touched[k] for k in torch.randperm(len(touched), generator=source)[: max(count, 0)].tolist()}
    return tuple(old if i in back else new for i, (new, old) in enumerate(zip(state, game.words, strict=True)))


def _mutated(game: Game, states: Sequence[State], source: torch.Generator) -> tuple[list[State], list[float]]:
    """Return the texts with one more word replaced in each, and their scores; all candidates are asked about together."""
    groups: list[list[State]] = []
    for state in states:
        fewer = _taken_back(game, state, len(game.changed(state)) - game.budget + 1, source)
        room = game.free(fewer)
        weights = torch.tensor([float(len(game.choices[i])) for i in room])
        near = game.moves(fewer, [room[int(weights.multinomial(1, generator=source))]]) if room else []
        groups.append(near or [state])
    scores = iter(game.look([one for group in groups for one in group]))
    best = [max(((next(scores), one) for one in group), key=lambda pair: pair[0]) for group in groups]
    return [one for _, one in best], [score for score, _ in best]


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


__all__ = ["BLANK", "Search", "at_random", "beam", "by_gradient", "by_importance", "exhaustive", "genetic", "greedy"]
