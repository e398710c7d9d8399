"""The trained models that several chapters share, so that each recipe is trained once and then comes from the cache."""

from __future__ import annotations

from functools import lru_cache

from labkit.data import load
from labkit.data.assistant import VOCABULARY, draw
from labkit.data.dataset import Split
from labkit.data.dialogue import STRUCTURED, TYPED, Template
from labkit.defenses import Adversarial
from labkit.models import small_convnet, strided_convnet
from labkit.models.chat import SmallChat
from labkit.models.transformer import Transformer, transformer
from labkit.seeding import derive
from labkit.threats import Linf
from labkit.training import Recipe, Trained, fit
from labkit.training.language import NextWord

#: The change that the traffic-sign chapters allow: 8 of 255 steps of brightness, in every pixel and color.
SIGNS_THREAT = Linf(8 / 255)


def signs_classifier(seed: int = 0) -> Trained:
    """Return the course's running example: a small convnet that reads traffic signs, trained in the ordinary way."""
    return fit(small_convnet(seed=seed), load("signs").train, Recipe(epochs=10, batch_size=128, learning_rate=5e-3),
               seed=seed, label="training the sign reader")  # fmt: skip


def robust_signs_classifier(seed: int = 0) -> Trained:
    """Return the same network trained on the points that five steps of PGD find within ``SIGNS_THREAT`` (Madry et al. 2018)."""
    return fit(small_convnet(seed=seed), load("signs").train, Recipe(epochs=12, batch_size=128, learning_rate=5e-3),
               objective=Adversarial(SIGNS_THREAT, steps=5), seed=seed, label="adversarial training")  # fmt: skip


def outsider_signs_classifier(seed: int = 0) -> Trained:
    """Return an outsider's sign reader: another architecture, trained on 2,500 signs of the outsider's own (other draws, none shared)."""
    own = load("signs", seed=seed + 7).train.subset(2500)
    recipe = Recipe(epochs=15, batch_size=64, learning_rate=5e-3, shift=2)
    return fit(strided_convnet(seed=seed + 3), own, recipe, seed=seed + 9, label="training the outsider's sign reader")


@lru_cache(maxsize=4)
def _conversations(kind: str, seed: int) -> Split:
    """Return training conversations, drawn once in a process: under typed heads, or structured with half of the documents attacked."""
    if kind == "typed":
        return load("assistant", seed=seed).train
    x, y = draw(24_000, derive(seed, "structured"), structured=True)
    return Split(x, y, "train", "assistant, structured")


def small_assistant(seed: int = 0) -> tuple[SmallChat, Trained]:
    """Return a transformer of 109,000 parameters that speaks the language of `assistant`, behind typed heads, and its training."""
    trained = fit(transformer(len(VOCABULARY), seed=seed), _conversations("typed", seed),
                  Recipe(epochs=2, batch_size=32, learning_rate=6e-3),
                  objective=NextWord(), seed=seed, label="training the small assistant")  # fmt: skip
    return _chat(trained, "small assistant", TYPED), trained


def structured_assistant(seed: int = 0, sibling: int = 0) -> tuple[SmallChat, Trained]:
    """Return the small assistant trained further with structured queries (Chen et al. 2025): reserved heads, attacked documents ignored.

    ``sibling``: another further training of the same base, on conversations of its own, as two products of one open model are.
    """
    start = transformer(len(VOCABULARY), seed=seed)
    start.load_state_dict(small_assistant(seed)[0].model.state_dict())
    for table in (start.embedding.weight.data, start.before.weight.data):  # the new heads begin as the ones that they replace
        for new, old in zip(STRUCTURED.heads, TYPED.heads, strict=True):
            table[VOCABULARY.numbers[new]] = table[VOCABULARY.numbers[old]]
    trained = fit(start, _conversations("structured", seed + 1000 * sibling), Recipe(epochs=1, batch_size=32, learning_rate=4e-3),
                  objective=NextWord(), seed=seed + 1000 * sibling, label="training with structured queries")  # fmt: skip
    return _chat(trained, "structured assistant", STRUCTURED), trained


def _chat(trained: Trained, name: str, template: Template) -> SmallChat:
    assert isinstance(trained.model, Transformer)
    return SmallChat(trained.model, template, VOCABULARY, name)
