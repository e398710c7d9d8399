"""Two readers of words: a weight for each word, and a small convolution over word vectors; and what makes them readers of texts."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from labkit.data.text import PAD, Vocabulary
from labkit.models.layers import seeded


class WordReader(nn.Module):
    """From word numbers (B, L), 0 for padding, to logits (B, classes), by way of one vector for each word."""

    embed: nn.Embedding

    def head(self, vectors: Tensor, present: Tensor) -> Tensor:
        """Return logits from the words' vectors (B, L, D); ``present`` (B, L) is false where there is padding."""
        raise NotImplementedError

    def forward(self, numbers: Tensor) -> Tensor:
        return self.head(self.embed(numbers), numbers != PAD)


class BagOfWords(WordReader):
    """Logistic regression on word counts: the logits are a bias plus, for every word of the text, that word's own weights."""

    def __init__(self, words: int, classes: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(words, classes, padding_idx=PAD)
        nn.init.zeros_(self.embed.weight)
        self.bias = nn.Parameter(torch.zeros(classes))

    def head(self, vectors: Tensor, present: Tensor) -> Tensor:
        return (vectors * present[..., None]).sum(1) + self.bias


class WordConvnet(WordReader):
    """Kim 2014 (arXiv 1408.5882) in small: word vectors, filters over one and over three neighboring words, the maximum of each filter."""

    def __init__(self, words: int, classes: int, width: int = 24, filters: int = 32) -> None:
        super().__init__()
        self.embed = nn.Embedding(words, width, padding_idx=PAD)
        self.one, self.three = nn.Conv1d(width, filters, 1), nn.Conv1d(width, filters, 3, padding=1)
        self.drop, self.out = nn.Dropout(0.3), nn.Linear(2 * filters, classes)

    def head(self, vectors: Tensor, present: Tensor) -> Tensor:
        x = (vectors * present[..., None]).transpose(1, 2)
        heard = torch.cat([self.one(x), self.three(x)], 1).relu()
        strongest = (heard * present[:, None]).amax(2)  # after the relu nothing is below 0, so padding never wins
        logits: Tensor = self.out(self.drop(strongest))
        return logits


@seeded
def bag_of_words(words: int, classes: int = 2) -> BagOfWords:
    """Return logistic regression on word counts; ``words`` is the size of the vocabulary."""
    return BagOfWords(words, classes)


@seeded
def word_convnet(words: int, classes: int = 2, width: int = 24, filters: int = 32) -> WordConvnet:
    """Return a small convolutional network over word vectors of ``width`` numbers."""
    return WordConvnet(words, classes, width, filters)


class TextClassifier(nn.Module):
    """A vocabulary and a network that was trained on its numbers, as one model from texts to logits."""

    def __init__(self, vocabulary: Vocabulary, network: WordReader) -> None:
        super().__init__()
        self.vocabulary, self.network = vocabulary, network

    def forward(self, texts: Sequence[str]) -> Tensor:
        """Return logits (B, classes). An answer does not depend on the other texts of the batch."""
        device = next(self.network.parameters()).device
        numbers = self.vocabulary.numbers(texts)
        if not numbers.shape[1]:
            numbers = torch.full((len(texts), 1), PAD)
        logits: Tensor = self.network(numbers.to(device))
        return logits

    def vectors(self, words: Sequence[str]) -> Tensor:
        """Return the vector of each word (or the sum over several words with blanks between them), (N, D)."""
        rows = [self.network.embed.weight[[self.vocabulary.number(one) for one in word.split()]].sum(0) for word in words]
        return torch.stack(rows).detach() if rows else self.network.embed.weight.new_zeros(0, self.network.embed.embedding_dim)

    def slopes(self, text: str, weights: Tensor) -> Tensor:
        """Return the gradient of ``(logits * weights).sum()`` with respect to the vector of each word of one text, (L, D)."""
        numbers = self.vocabulary.numbers([text]).to(self.network.embed.weight.device)
        with torch.enable_grad():
            leaf = self.network.embed(numbers).detach().requires_grad_(True)
            value = (self.network.head(leaf, numbers != PAD) * weights.to(leaf)).sum()
        (grad,) = torch.autograd.grad(value, leaf)
        slopes: Tensor = grad[0]
        return slopes


__all__ = ["BagOfWords", "TextClassifier", "WordConvnet", "WordReader", "bag_of_words", "word_convnet"]
