"""One text under attack: what may be tried, what was asked, and what is the best so far."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from labkit.attacks.goals import Goal
from labkit.attacks.losses import margin
from labkit.data.text import encode
from labkit.threats.substitutions import Substitutions

TextModel = Callable[[Sequence[str]], Tensor]
#: The words of a text, each perhaps replaced by something that holds blanks itself.
State = tuple[str, ...]
#: Says of the original's words and the new ones whether the change is acceptable.
Constraint = Callable[[State, State], bool]


class Over(Exception):
    """The search is over: the goal is met, or no more questions may be asked."""


class Game:
    """What a search is given: ``look`` at states, which judges them and remembers the best, and ``ask`` about anything else.

    ``queries``: texts that the model answered. A text that was asked before is answered from memory and counted in ``repeats`` instead.
    ``log``: the texts in the order they were asked, if wanted. ``seed``: of this text's own random numbers.
    """

    def __init__(
        self, model: TextModel, text: str, y: int, threat: Substitutions, goal: Goal, *,
        constraints: Sequence[Constraint] = (), limit: int | None = None, keep: bool = False, seed: int = 0,
    ) -> None:  # fmt: skip
        self.model, self.threat, self.goal, self.y, self.seed = model, threat, goal, y, seed
        self.words: State = tuple(text.split())
        self.budget = threat.budget(text)
        self.choices = [threat.allowed(word) for word in self.words]
        self.constraints, self.limit = constraints, limit
        self.queries = self.repeats = self.gradients = 0
        self.log: list[str] | None = [] if keep else None
        self._memory: dict[str, Tensor] = {}
        self.best, self.met = self.words, False
        self.best_score = float("nan")
        self.answer = -1

    def changed(self, state: State) -> list[int]:
        """Return the places where a state differs from the original."""
        return [i for i, (new, old) in enumerate(zip(state, self.words, strict=True)) if new != old]

    def free(self, state: State) -> list[int]:
        """Return the places that may still be changed in a state: none once the budget is spent. Nothing is changed twice."""
        touched = self.changed(state)
        return [] if len(touched) >= self.budget else [i for i, ways in enumerate(self.choices) if ways and i not in touched]

    def moves(self, state: State, places: Sequence[int] | None = None) -> list[State]:
        """Return every acceptable state that is one replacement away, at the given places or at all free ones."""
        there = self.free(state)
        chosen = there if places is None else [i for i in places if i in there]
        near = [(*state[:i], way, *state[i + 1 :]) for i in chosen for way in self.choices[i]]
        return [one for one in near if self.acceptable(one)]

    def acceptable(self, state: State) -> bool:
        """Return whether all constraints accept a state."""
        return all(accepts(self.words, state) for accepts in self.constraints)

    def _affordable(self, texts: Sequence[str]) -> int:
        """Return how many of the texts, from the first on, can be answered from memory and within the limit."""
        left = float("inf") if self.limit is None else self.limit - self.queries
        new: set[str] = set()
        for count, text in enumerate(texts):
            if text not in self._memory and text not in new:
                if len(new) >= left:
                    return count
                new.add(text)
        return len(texts)

    def ask(self, texts: Sequence[str]) -> Tensor:
        """Return logits (N, K). Raises Over where the limit does not allow it all; what it allows is asked and paid for."""
        allowed = texts[: self._affordable(texts)]
        new = [text for text in dict.fromkeys(allowed) if text not in self._memory]
        if new:
            with torch.no_grad():
                answers = self.model(new).detach().cpu()
            if answers.ndim != 2 or len(answers) != len(new):
                raise ValueError(f"the model must return logits of shape ({len(new)}, classes), got {tuple(answers.shape)}")
            self.queries += len(new)
            self._memory.update(zip(new, answers, strict=True))
            if self.log is not None:
                self.log += new
        self.repeats += len(allowed) - len(new)
        if len(allowed) < len(texts):
            raise Over
        return torch.stack([self._memory[text] for text in texts])

    def score(self, logits: Tensor) -> Tensor:
        """Return what the attacker climbs, (N,): the margin of the wrong answers, or that of the wanted one."""
        y = torch.full((len(logits),), self.y)
        value = margin(logits.double(), y)
        return -value if self.goal.targeted else value

    def open(self) -> float:
        """Ask about the text as it is and return its score. Raises Over if the goal is met already."""
        return self.look([self.words])[0]

    def look(self, states: Sequence[State]) -> list[float]:
        """Return the scores of acceptable states within the budget. Raises Over if one of them meets the goal: the highest that does."""
        if not states:
            return []
        texts = [" ".join(state) for state in states]
        if not (count := self._affordable(texts)):
            raise Over
        logits = self.ask(texts[:count])
        scores, met = self.score(logits), self._met(texts[:count], logits)
        ranked = scores.masked_fill(~met, -torch.inf) if bool(met.any()) else scores
        first = int(ranked.nan_to_num(nan=-torch.inf).argmax())
        if bool(met.any()) or not float(scores[first]) <= self.best_score:  # also where nothing was known before (nan)
            self.best, self.best_score, self.answer = states[first], float(scores[first]), int(logits[first].argmax())
        if bool(met.any()):
            self.met = True
        if self.met or count < len(texts):
            raise Over
        return [float(score) for score in scores]

    def _met(self, texts: Sequence[str], logits: Tensor) -> Tensor:
        met = self.goal.met(encode(texts), logits, torch.full((len(texts),), self.y))
        return met & ~logits.isnan().any(1)


__all__ = ["Constraint", "Game", "Over", "State", "TextModel"]
