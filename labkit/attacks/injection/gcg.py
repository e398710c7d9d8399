"""Greedy coordinate gradient: search for a suffix, word by word, that makes a model begin its reply as the attacker wishes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, one_hot

from labkit.attacks.injection.case import Case
from labkit.attacks.injection.secrets import Vault
from labkit.attacks.injection.texts import Attack, naive
from labkit.attacks.outcome import Outcome
from labkit.attacks.views import held_still
from labkit.data.dialogue import END, Vocabulary
from labkit.models.chat.small import SmallChat
from labkit.models.transformer import Past, Transformer, for_many
from labkit.progress import progress
from labkit.rates import Rate
from labkit.seeding import generator


@dataclass(frozen=True)
class Problem:
    """One prompt that a suffix shall work on. ``prompt``: from a suffix's text to the whole prompt; ``target``: the wished reply."""

    prompt: Callable[[str], list[int]]
    target: list[int]


def problem(chat: SmallChat, case: Case, attack: Attack = naive) -> Problem:
    """Return the problem of a suffix after an attack's text in a case's document; the wished reply is the canary, and no more."""
    text = attack(case.document, case.instruction)
    numbers = chat.vocabulary
    return Problem(lambda suffix: chat.prompt(case.messages(f"{text} {suffix}")), [*numbers.encode(case.canary), numbers.numbers[END]])


def leak_problem(chat: SmallChat, vault: Vault, question: str) -> Problem:
    """Return the problem of a suffix after a question of the user's; the wished reply is the vault's secret.

    The attacker knows the secrets of vaults of his own, and hopes that one suffix opens others too.
    """
    numbers = chat.vocabulary
    return Problem(
        lambda suffix: chat.prompt(vault.messages(f"{question} {suffix}")), [*numbers.encode(vault.secret), numbers.numbers[END]]
    )


@dataclass(frozen=True)
class SuffixResult(Outcome):
    """The best suffix found.

    ``suffix``: its text. ``loss``: mean cross-entropy of the target's words, over the problems, computed from that text. ``solved``: per
    problem, whether the model's likeliest reply is the target. ``trace``: the best loss after each step; ``spent``: forwards until then, a
    backward counted as two.
    ``rejected``: candidates that did not survive being written out and read again. ``forwards``, ``backwards``: single prompts passed
    through the model.
    """

    suffix: str
    loss: float
    solved: list[bool]
    trace: list[float]
    spent: list[int]
    rejected: int
    forwards: int
    backwards: int
    threat: str = field(default="21_prompt_injection")

    @property
    def metrics(self) -> dict[str, Rate | float]:
        """How many of the prompts it was made for the suffix works on, and its loss there."""
        return {"solved": Rate(sum(self.solved), len(self.solved), "prompts it was made for"), "loss": self.loss}

    @property
    def costs(self) -> dict[str, float]:
        """Forwards and backwards."""
        return {"forwards": float(self.forwards), "backwards": float(self.backwards)}


@dataclass
class _Row:
    """A problem with the suffix's places: the words before them never change, so they are read once."""

    model: Transformer
    words: Tensor  # (T,) prompt with some suffix, then the target
    slots: Tensor  # (L,)
    target: Tensor
    past: Past | None

    def filled(self, suffixes: Tensor) -> Tensor:
        rows = self.words.repeat(len(suffixes), 1)
        rows[:, self.slots] = suffixes
        return rows

    def losses(self, suffixes: Tensor) -> tuple[Tensor, Tensor]:
        """Return the target's loss (B,) for suffixes (B, L), and whether the target is the likeliest reply (B,)."""
        cut = int(self.slots[0])
        rows, past = self.filled(suffixes), self.past
        if past is not None:
            rows, past = rows[:, cut:], for_many(past, len(rows))
        scores = self.model.extend(rows, past)[0][:, -len(self.target) - 1 : -1]
        wished = self.target.expand(len(suffixes), -1)
        losses = cross_entropy(scores.transpose(1, 2), wished, reduction="none").mean(1)
        return losses, (scores.argmax(2) == wished).all(1)

    def gradient(self, suffix: Tensor) -> Tensor:
        """Return d loss / d one-hot at each place of the suffix, (L, words)."""
        hot = one_hot(self.filled(suffix[None]), self.model.words).to(next(self.model.parameters()).dtype).requires_grad_(True)
        scores = self.model(hot)[0, -len(self.target) - 1 : -1]
        (grad,) = torch.autograd.grad(cross_entropy(scores, self.target), hot)
        return grad[0, self.slots]


def gcg(
    model: Transformer, vocabulary: Vocabulary, problems: Sequence[Problem], *, length: int = 8, steps: int = 40, batch: int = 64,
    topk: int = 16, buffer: int = 1, guided: bool = True, allowed: Sequence[int] | None = None, initial: str | None = None,
    budget: int | None = None, patient: bool = False, seed: int = 0,
) -> SuffixResult:  # fmt: skip
    """Return a suffix of ``length`` words that lowers the target's mean loss over the problems.

    In each step: the gradient of the loss with respect to the one-hot rows of the suffix names the ``topk`` most promising words for
    each place; ``batch`` random ones of these single swaps are tried; the best goes into a buffer of the ``buffer`` best suffixes so far,
    from whose best the next step starts. ``buffer=0`` moves to the best swap even when it is worse, as in the paper; the best
    suffix seen is returned all the same. ``guided=False`` is
    random search: the same, with words drawn without a gradient. ``allowed``: the words to use, all but the reserved ones by default.
    ``initial``: the first suffix's text. ``budget``: stop before more forwards than this, a backward
    counted as two. The search also stops when all problems are solved, unless it is ``patient``. Zou et al. 2023, arXiv
    2307.15043, algorithms 1 and 2. Raises ValueError for no problems, an initial suffix of another length, and prompts that do not keep the
    suffix's words apart.

    Notes: swaps are drawn without repetition (the paper may try one twice); with ``topk`` = all words and ``batch`` = all swaps the step
    is exact. A candidate counts only if its text, read again by the same front, gives the very prompt that was scored; the loss reported
    is computed from that text. All problems count from the start (algorithm 2 adds them one by one).
    """
    if not problems:
        raise ValueError("no problem was given: a suffix needs at least one prompt to work on")
    words = [n for n in range(len(vocabulary)) if n not in vocabulary.reserved] if allowed is None else list(allowed)
    start = vocabulary.encode(" ".join(["."] * length) if initial is None else initial, parse_reserved=True)
    if len(start) != length:
        raise ValueError(f"the initial suffix {initial!r} has {len(start)} words, length says {length}")
    device, source = next(model.parameters()).device, generator(seed, "suffix")
    choices, current = torch.tensor(words, device=device), torch.tensor(start, device=device)
    forwards = backwards = rejected = 0
    trace: list[float] = []
    spent: list[int] = []
    with held_still(model):
        rows = [_row(model, vocabulary, p, start, words, device) for p in problems]
        found = [_scored(rows, current)]  # the initial suffix is a suffix: it is scored before anything may replace it
        forwards, top = len(rows), found[0]
        for _ in progress(range(steps), "searching a suffix"):
            cost = len(rows) * (1 + batch + (3 if guided else 0))
            if (all(top[2]) and not patient) or (budget is not None and forwards + 2 * backwards + cost > budget):
                break
            pool = choices.expand(length, -1)
            if guided:
                grad = sum(row.gradient(found[0][1]) for row in rows)
                forwards, backwards = forwards + len(rows), backwards + len(rows)
                assert isinstance(grad, Tensor)
                pool = choices[(-grad[:, choices]).topk(min(topk, len(words)), dim=1).indices]
            candidates = _swaps(found[0][1], pool, batch, source)
            with torch.no_grad():
                losses = torch.stack([row.losses(candidates)[0] for row in rows]).mean(0)
            forwards += len(rows) * len(candidates)
            for i in losses.argsort().tolist():
                if not _survives(vocabulary, problems, rows, candidates[i]):
                    rejected += 1
                    continue
                if buffer == 0 or len(found) < buffer or float(losses[i]) < found[-1][0]:
                    one = _scored(rows, candidates[i])
                    forwards += len(rows)
                    found = [one] if buffer == 0 else sorted([*found, one], key=lambda f: f[0])[:buffer]
                    top = min(top, one, key=lambda f: f[0])
                break
            trace.append(top[0])
            spent.append(forwards + 2 * backwards)
    loss, best, solved = top
    return SuffixResult(vocabulary.decode(best.tolist()), loss, solved, trace, spent, rejected, forwards, backwards)


def _row(model: Transformer, vocabulary: Vocabulary, which: Problem, suffix: list[int], words: list[int], device: torch.device) -> _Row:
    """Find where the suffix stands in the prompt: the places in which prompts with two different fillings differ."""
    one, two = (which.prompt(vocabulary.decode([word] * len(suffix))) for word in _typable(vocabulary, words))
    slots = [i for i, (a, b) in enumerate(zip(one, two, strict=False)) if a != b]
    if len(one) != len(two) or len(slots) != len(suffix):
        raise ValueError(f"a suffix of {len(suffix)} words shows in {len(slots)} places of the prompt: the front must keep its words apart")
    row = torch.tensor([*one, *which.target], device=device)
    with torch.no_grad():
        past = model.extend(row[None, : slots[0]], None)[1] if slots[0] else None
    return _Row(model, row, torch.tensor(slots, device=device), torch.tensor(which.target, device=device), past)


def _typable(vocabulary: Vocabulary, words: list[int]) -> list[int]:
    plain = [word for word in words if vocabulary.encode(vocabulary.words[word]) == [word]][:2]
    if len(plain) < 2:
        raise ValueError("fewer than two of the allowed words survive being written out and read again")
    return plain


def _scored(rows: Sequence[_Row], suffix: Tensor) -> tuple[float, Tensor, list[bool]]:
    with torch.no_grad():
        each = [row.losses(suffix[None]) for row in rows]
    return math.fsum(float(loss) for loss, _ in each) / len(rows), suffix, [bool(hit) for _, hit in each]


def _swaps(current: Tensor, pool: Tensor, batch: int, source: torch.Generator) -> Tensor:
    """Return at most ``batch`` different suffixes with one word of ``current`` (L,) replaced by one of its place's pool (L, K)."""
    place = torch.arange(len(current), device=pool.device)[:, None].expand_as(pool)
    new = pool != current[:, None]
    places, words = place[new], pool[new]
    chosen = torch.randperm(len(places), generator=source)[:batch].to(pool.device)
    rows = current.repeat(len(chosen), 1)
    rows[torch.arange(len(chosen), device=pool.device), places[chosen]] = words[chosen]
    return rows


def _survives(vocabulary: Vocabulary, problems: Sequence[Problem], rows: Sequence[_Row], suffix: Tensor) -> bool:
    """Say whether the suffix, written out and read again by every problem's front, gives the prompt that was scored."""
    text = vocabulary.decode(suffix.tolist())
    return all(
        which.prompt(text) == row.filled(suffix[None])[0, : len(row.words) - len(row.target)].tolist()
        for which, row in zip(problems, rows, strict=True)
    )


__all__ = ["Problem", "SuffixResult", "gcg", "leak_problem", "problem"]
