from __future__ import annotations

import pytest
import torch

from labkit.data.text import Vocabulary
from labkit.models.text import TextClassifier, bag_of_words, word_convnet

WORDS = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa"]


@pytest.fixture
def linear() -> TextClassifier:
    """A bag of words over ten words with random weights: adding up is all it does."""
    vocabulary = Vocabulary.of([" ".join(WORDS)] * 2)
    network = bag_of_words(len(vocabulary), 2).double()
    with torch.no_grad():
        network.embed.weight.copy_(torch.randn(network.embed.weight.shape, generator=torch.Generator().manual_seed(1)))
        network.embed.weight[0] = 0
    return TextClassifier(vocabulary, network).eval()


@pytest.fixture
def curved() -> TextClassifier:
    """A convolution over the same ten words, untrained."""
    vocabulary = Vocabulary.of([" ".join(WORDS)] * 2)
    return TextClassifier(vocabulary, word_convnet(len(vocabulary), 2, width=6, filters=8, seed=3).double()).eval()


class Counting:
    """A model that counts what it is asked and remembers it."""

    def __init__(self, model) -> None:
        self.model, self.asked, self.calls = model, [], 0

    def __call__(self, texts):
        self.calls += 1
        self.asked += list(texts)
        return self.model(texts)


@pytest.fixture
def counting():
    return Counting
