from __future__ import annotations

import pytest
import torch

from labkit.data.text import Vocabulary
from labkit.models.text import TextClassifier, WordReader, bag_of_words, word_convnet

TEXTS = ["alpha beta", "gamma", "delta alpha beta gamma alpha", ""]


@pytest.fixture(params=[bag_of_words, word_convnet])
def reader(request: pytest.FixtureRequest) -> TextClassifier:
    vocabulary = Vocabulary.of(["alpha beta gamma delta"] * 2)
    network: WordReader = request.param(len(vocabulary), 3, seed=1).double().eval()
    with torch.no_grad():
        network.embed.weight[1:] = torch.randn(len(vocabulary) - 1, network.embed.embedding_dim, generator=torch.Generator().manual_seed(2),
                                               dtype=torch.float64)  # fmt: skip
    return TextClassifier(vocabulary, network)


def test_an_answer_does_not_depend_on_its_neighbors(reader: TextClassifier) -> None:
    together = reader(TEXTS)
    assert together.shape == (4, 3)
    for text, logits in zip(TEXTS, together, strict=True):
        assert torch.allclose(reader([text])[0], logits, atol=1e-12), "padding must not count"


def test_slopes_are_the_gradient(reader: TextClassifier) -> None:
    weights, text = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64), TEXTS[2]
    numbers = reader.vocabulary.numbers([text])
    vectors, slopes, step = reader.network.embed(numbers).detach(), reader.slopes(text, weights), 1e-6
    assert slopes.shape == vectors[0].shape
    for place, axis in ((0, 0), (2, 1), (4, 2)):
        there, back = vectors.clone(), vectors.clone()
        there[0, place, axis] += step
        back[0, place, axis] -= step
        change = (reader.network.head(there, numbers != 0) - reader.network.head(back, numbers != 0))[0] @ weights
        assert float(change.detach()) / (2 * step) == pytest.approx(float(slopes[place, axis]), abs=1e-5)
    assert all(p.grad is None for p in reader.parameters())


def test_vectors_of_several_words_add_up(reader: TextClassifier) -> None:
    one, two, both = reader.vectors(["alpha", "Beta!", "alpha beta"])
    assert torch.allclose(one + two, both)
    assert reader.vectors([]).shape == (0, reader.network.embed.embedding_dim)


def test_a_bag_of_words_adds_up() -> None:
    vocabulary = Vocabulary.of(["alpha beta gamma delta"] * 2)
    network = bag_of_words(len(vocabulary), 2)
    with torch.no_grad():
        network.embed.weight.copy_(torch.arange(2.0 * len(vocabulary)).view(-1, 2))
        network.bias.copy_(torch.tensor([0.5, -0.5]))
    rows = [vocabulary.number(word) for word in ("alpha", "beta", "nothing")]
    expected = network.embed.weight[rows].sum(0) + network.bias
    assert torch.allclose(TextClassifier(vocabulary, network)(["alpha beta nothing"])[0], expected)
