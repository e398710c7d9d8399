"""The course's own transformer as a chat model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from labkit.data.dialogue import END, Message, Template, Vocabulary
from labkit.models.transformer import Transformer, for_many, generate


@dataclass(frozen=True)
class SmallChat:
    """A transformer, the words it knows and the template it was trained with. ``limit``: the most words of a reply."""

    model: Transformer
    template: Template
    vocabulary: Vocabulary
    name: str = "small assistant"
    limit: int = 16

    def having(self, **changes: object) -> SmallChat:
        """Return the same model behind a template with some settings changed, such as ``wrap="marked"``."""
        return SmallChat(self.model, self.template.having(**changes), self.vocabulary, self.name, self.limit)

    def prompt(self, messages: Sequence[Message]) -> list[int]:
        """Return what the transformer reads for this conversation, as numbers of words."""
        return self.template.encode(messages, self.vocabulary)

    def shown(self, messages: Sequence[Message]) -> str:
        """Return what the transformer reads, as words."""
        return self.vocabulary.decode(self.prompt(messages))

    def reply(self, messages: Sequence[Message]) -> str:
        """Return the likeliest reply, word by word, with keys and values kept."""
        (words,) = generate(self.model, [self.prompt(messages)], end=self.vocabulary.numbers[END], limit=self.limit, cached=True)
        return self.vocabulary.decode(words)

    def replies(self, conversations: Sequence[Sequence[Message]]) -> list[str]:
        """Return the likeliest reply to each conversation; the way it is computed does not change it."""
        prompts = [self.prompt(messages) for messages in conversations]
        many = len(prompts) >= 64  # enough of each length: keys and values pay; else fewer passes over all are faster
        found = generate(self.model, prompts, end=self.vocabulary.numbers[END], limit=self.limit, cached=many)
        return [self.vocabulary.decode(words) for words in found]

    @torch.no_grad()
    def log_likelihoods(self, messages: Sequence[Message], candidates: Sequence[str]) -> Tensor:
        """Return the logarithm of each reply's probability, its end included, (N,): what a service that gives scores gives away."""
        prompt, end = self.prompt(messages), self.vocabulary.numbers[END]
        texts = [[*self.vocabulary.encode(candidate), end] for candidate in candidates]
        device, parts = next(self.model.parameters()).device, []
        longest = max(map(len, texts))
        after, past = self.model.extend(torch.tensor([prompt], device=device), None)  # the prompt is read once
        for first in range(0, len(texts), 256):
            part = texts[first : first + 256]
            said = torch.tensor([text + [0] * (longest - len(text)) for text in part], device=device)
            real = torch.tensor([[1.0] * len(text) + [0.0] * (longest - len(text)) for text in part], device=device)
            scores = after[:, -1:].expand(len(part), -1, -1)
            if longest > 1:
                scores = torch.cat([scores, self.model.extend(said[:, :-1], for_many(past, len(part)))[0]], 1)
            scores = scores.log_softmax(2)
            parts.append((scores.gather(2, said[..., None])[..., 0] * real).sum(1))
        return torch.cat(parts)
