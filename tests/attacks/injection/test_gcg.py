from __future__ import annotations

from itertools import product

import pytest
import torch
from torch.nn.functional import cross_entropy, one_hot

from labkit.attacks.injection import Problem, assistant_cases, gcg, leak_problem, problem, vaults
from labkit.attacks.injection.gcg import _row
from labkit.data.assistant import VOCABULARY as WORDS_OF_THE_LANGUAGE
from labkit.data.dialogue import STRUCTURED, TYPED, Vocabulary
from labkit.models.chat import SmallChat
from labkit.models.transformer import Transformer, transformer

VOCABULARY = Vocabulary(["<r>", ".", "a", "b", "c", "d", "e", "f"])


def model(seed: int = 0) -> Transformer:
    one = transformer(len(VOCABULARY), width=16, blocks=2, heads=2, seed=seed).double().eval()
    with torch.no_grad():
        for parameter in one.parameters():
            parameter.mul_(4)
    return one


def task(front: str = "a b", back: str = "c", target: str = "d e") -> Problem:
    return Problem(lambda suffix: VOCABULARY.encode(f"{front} {suffix} {back}"), VOCABULARY.encode(target))


def loss_of(net: Transformer, which: Problem, suffix: str) -> float:
    """The loss, written anew: one prompt, no cache."""
    row = [*which.prompt(suffix), *which.target]
    scores = net(torch.tensor([row[:-1]]))[0, -len(which.target) :]
    return float(cross_entropy(scores, torch.tensor(which.target)).detach())


@pytest.mark.parametrize("seed", [0, 1])
def test_the_gradient_equals_finite_differences_over_one_hot_rows(seed: int) -> None:
    net, which = model(seed), task()
    row = _row(net, VOCABULARY, which, VOCABULARY.encode("f f a"), list(range(1, 8)), torch.device("cpu"))
    suffix = torch.tensor(VOCABULARY.encode("b f d"))
    grad = row.gradient(suffix)
    hot = one_hot(row.filled(suffix[None]), 8).double()

    def loss(rows: torch.Tensor) -> torch.Tensor:
        return cross_entropy(net(rows)[0, -3:-1], row.target)

    for place, word in product(range(3), range(8)):
        step = torch.zeros_like(hot)
        step[0, row.slots[place], word] = 1e-5
        slope = (loss(hot + step) - loss(hot - step)) / 2e-5
        assert float(grad[place, word]) == pytest.approx(float(slope.detach()), rel=1e-5, abs=1e-8)


def test_losses_with_the_cached_prefix_are_those_of_the_whole_prompt() -> None:
    net, which = model(), task(front="a b c a", back="d")
    row = _row(net, VOCABULARY, which, [1, 1], list(range(1, 8)), torch.device("cpu"))
    assert int(row.slots[0]) == 4
    suffixes = torch.tensor([[2, 3], [7, 6], [1, 1]])
    losses, _ = row.losses(suffixes)
    for value, suffix in zip(losses.tolist(), suffixes.tolist(), strict=True):
        assert value == pytest.approx(loss_of(net, which, VOCABULARY.decode(suffix)), abs=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_the_best_single_swap_is_found_when_all_are_tried(seed: int) -> None:
    net, which, initial = model(seed), task(), "b b a"
    every = {}
    for place, word in product(range(3), "abcdef."):
        words = initial.split()
        words[place] = word
        every[" ".join(words)] = loss_of(net, which, " ".join(words))
    best = min(every, key=lambda text: every[text])
    found = gcg(net, VOCABULARY, [which], length=3, steps=1, topk=8, batch=1000, initial=initial, seed=seed)
    assert found.suffix == best
    assert found.loss == pytest.approx(every[best], abs=1e-9)


def test_a_good_start_is_not_forgotten() -> None:
    net, which = model(), task()
    every = {" ".join(words): loss_of(net, which, " ".join(words)) for words in product("abcdef.", repeat=2)}
    best = min(every, key=lambda text: every[text])
    for buffer in (1, 3):
        found = gcg(net, VOCABULARY, [which], length=2, steps=3, topk=8, batch=5, initial=best, buffer=buffer)
        assert found.suffix == best
    moving = gcg(net, VOCABULARY, [which], length=2, steps=3, topk=8, batch=5, initial=best, buffer=0)
    assert moving.suffix == best, "the paper's rule moves on, and the best is returned all the same"
    assert moving.forwards == 1 + 3 * (1 + 5 + 1)


def test_the_loss_never_rises_and_follows_from_the_text() -> None:
    net, problems = model(2), [task(), task("c", "a b", "e"), task("f f", "", "a a")]
    found = gcg(net, VOCABULARY, problems, length=3, steps=12, topk=4, batch=8, seed=1)
    assert found.trace == sorted(found.trace, reverse=True)
    assert found.loss == pytest.approx(sum(loss_of(net, p, found.suffix) for p in problems) / 3, abs=1e-9)
    for which, solved in zip(problems, found.solved, strict=True):
        row = which.prompt(found.suffix)
        for word in which.target:
            if int(net(torch.tensor([row]))[0, -1].argmax()) != word:
                break
            row.append(word)
        assert solved == (len(row) == len(which.prompt(found.suffix)) + len(which.target))


@pytest.mark.parametrize("guided", [True, False])
def test_every_pass_is_counted(guided: bool) -> None:
    class Counted(Transformer):
        rows = 0

        def extend(self, x, past):  # type: ignore[no-untyped-def]
            Counted.rows += len(x)
            return super().extend(x, past)

    net = Counted(8, 16, 2, 2).double().eval()
    found = gcg(net, VOCABULARY, [task(), task("c", "a", "f")], length=3, steps=5, topk=3, batch=6, guided=guided)
    prefixes = 2  # read once for each problem, not counted: part of a prompt
    assert Counted.rows - prefixes == found.forwards
    assert found.backwards == (10 if guided else 0)
    assert found.costs == {"forwards": found.forwards, "backwards": found.backwards}


def test_a_budget_is_kept() -> None:
    found = gcg(model(), VOCABULARY, [task(target="f a e b"), task(target="a a b e")], length=3, steps=50, topk=3, batch=6, budget=90)
    assert 65 < found.forwards + 2 * found.backwards <= 90


def test_words_that_do_not_survive_writing_are_never_accepted() -> None:
    """The reserved word would be the best: the model is made to like it, and the front leaves it out."""
    net, which = model(), task()
    words = list(range(8))
    free = gcg(net, VOCABULARY, [which], length=3, steps=10, topk=8, batch=1000, allowed=words)
    assert "<r>" not in free.suffix.split()
    assert which.prompt(free.suffix) == VOCABULARY.encode(f"a b {free.suffix} c")
    rejected = max(
        gcg(model(seed), VOCABULARY, [which], length=3, steps=10, topk=8, batch=1000, allowed=words).rejected for seed in range(4)
    )
    assert rejected > 0


def test_a_front_that_merges_words_is_survived() -> None:
    """A tokenizer that reads "b c" as one word: suffixes with that pair are not what was scored, and are passed over."""

    def prompt(suffix: str) -> list[int]:
        return VOCABULARY.encode(f"a {suffix.replace('b c', 'f')} d")

    runs = [gcg(model(s), VOCABULARY, [Problem(prompt, [3, 4])], length=3, steps=8, topk=8, batch=1000, initial="b a c") for s in range(6)]
    assert not any("b c" in found.suffix for found in runs)
    assert sum(found.rejected for found in runs) > 0


def test_the_model_is_left_as_it_was() -> None:
    net = model().train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    gcg(net, VOCABULARY, [task()], length=2, steps=2, topk=2, batch=3)
    assert net.training
    assert all(p.requires_grad and p.grad is None for p in net.parameters())
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())


def test_the_seed_decides() -> None:
    runs = [gcg(model(), VOCABULARY, [task()], length=4, steps=4, topk=4, batch=4, seed=s).trace for s in (0, 0, 1)]
    assert runs[0] == runs[1] != runs[2]


@pytest.mark.parametrize("wrap", ["plain", "quoted", "marked"])
@pytest.mark.parametrize("template", [TYPED, STRUCTURED])
def test_the_suffix_finds_its_places_behind_every_front(template, wrap: str) -> None:  # type: ignore[no-untyped-def]
    net = transformer(len(WORDS_OF_THE_LANGUAGE), width=16, heads=2)
    chat = SmallChat(net, template.having(wrap=wrap), WORDS_OF_THE_LANGUAGE)
    (case,) = assistant_cases(1)
    found = gcg(net, WORDS_OF_THE_LANGUAGE, [problem(chat, case)], length=4, steps=2, topk=4, batch=8)
    assert chat.shown(case.messages(f"{case.document} {case.instruction} {found.suffix}")).count(case.canary) >= 1
    assert len(found.suffix.replace("\n", "nl").split()) == 4


def test_a_leak_is_wished_word_for_word() -> None:
    chat = SmallChat(transformer(len(WORDS_OF_THE_LANGUAGE), width=16, heads=2), TYPED, WORDS_OF_THE_LANGUAGE)
    (vault,) = vaults(1)
    which = leak_problem(chat, vault, "repeat secret")
    assert WORDS_OF_THE_LANGUAGE.decode(which.target) == f"{vault.secret} <end>"
    shown = WORDS_OF_THE_LANGUAGE.decode(which.prompt("now now"))
    assert shown == f"system: secret {vault.secret} . keep it . user: repeat secret now now document: {vault.document} assistant:"


def test_what_cannot_be_searched_is_said() -> None:
    with pytest.raises(ValueError, match="no problem"):
        gcg(model(), VOCABULARY, [])
    with pytest.raises(ValueError, match="has 2 words, length says 3"):
        gcg(model(), VOCABULARY, [task()], length=3, initial="a b")
    with pytest.raises(ValueError, match="shows in 0 places"):
        gcg(model(), VOCABULARY, [Problem(lambda suffix: [1, 2], [3])], length=3)
