"""A small decoder: words in, a guess of the next word out. Small enough to train in seconds and to attack in full view."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from labkit.models.layers import seeded

#: Keys and values of the words read so far, per block: (B, heads, T, width / heads) each.
Past = list[tuple[Tensor, Tensor]]


class Attention(nn.Module):
    """Every word looks at itself and at the words before it. Positions enter by rotation (Su et al. 2021, arXiv 2104.09864)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.split, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor, past: tuple[Tensor, Tensor] | None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Return the mixed words (B, T, width), and keys and values with those of the past before them."""
        batch, length, width = x.shape
        q, k, v = (part.view(batch, length, self.heads, -1).transpose(1, 2) for part in self.split(x).chunk(3, dim=2))
        start = 0 if past is None else past[0].shape[2]
        q, k = rotated(q, start), rotated(k, start)
        if past is not None:
            k, v = torch.cat([past[0], k], 2), torch.cat([past[1], v], 2)
        seen = torch.ones(length, start + length, dtype=torch.bool, device=x.device).tril(start)  # nobody sees what comes later
        mixed = scaled_dot_product_attention(q, k, v, attn_mask=seen)
        return self.out(mixed.transpose(1, 2).reshape(batch, length, width)), (k, v)


def rotated(x: Tensor, start: int) -> Tensor:
    """Return x (B, heads, T, D) with each pair of its values turned by an angle that grows with the position, from ``start``."""
    length, half = x.shape[2], x.shape[3] // 2
    speed = 100.0 ** (-torch.arange(half, device=x.device, dtype=x.dtype) / half)  # slow enough for the hundred words of a long prompt
    angle = torch.arange(start, start + length, device=x.device, dtype=x.dtype)[:, None] * speed
    a, b = x[..., :half], x[..., half:]
    return torch.cat([a * angle.cos() - b * angle.sin(), a * angle.sin() + b * angle.cos()], dim=-1)


class Block(nn.Module):
    """Attention, then a small network for each word; both add to what is there."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.before, self.attention = nn.LayerNorm(width), Attention(width, heads)
        self.work = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor, past: tuple[Tensor, Tensor] | None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Return the words after this block (B, T, width), and its keys and values."""
        mixed, kept = self.attention(self.before(x), past)
        x = x + mixed
        return x + self.work(x), kept


class Transformer(nn.Module):
    """Words (B, T) int64, or one-hot rows (B, T, words) through which gradients flow -> scores of the next word (B, T, words)."""

    def __init__(self, words: int, width: int, blocks: int, heads: int) -> None:
        super().__init__()
        if width % (2 * heads):
            raise ValueError(f"width {width} does not split into pairs over {heads} heads: make it a multiple of {2 * heads}")
        self.words = words
        self.embedding, self.before = nn.Embedding(words, width), nn.Embedding(words, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(blocks))
        self.head = nn.LayerNorm(width)
        for parameter in self.parameters():  # small at first, as in GPT-2: learning is several times faster than from PyTorch's defaults
            if parameter.ndim == 2:
                nn.init.normal_(parameter, std=0.05)

    def forward(self, x: Tensor) -> Tensor:
        """Return the scores of the next word at every place. Raises ValueError for inputs that are neither numbers nor one-hot rows."""
        return self.extend(x, None)[0]

    def extend(self, x: Tensor, past: Past | None) -> tuple[Tensor, Past]:
        """Return the scores for the words x that follow a past, and the past for the next call (the KV-cache)."""
        if x.ndim == 3 and x.is_floating_point() and x.shape[2] == self.words:
            x, hint = x @ self.embedding.weight, x @ self.before.weight
        elif x.ndim == 2 and x.dtype == torch.int64:
            x, hint = self.embedding(x), self.before(x)
        else:
            raise ValueError(f"expected word numbers (B, T) int64 or one-hot rows (B, T, {self.words}), got {x.dtype} {tuple(x.shape)}")
        first = torch.zeros_like(hint[:, :1]) if past is None else past[-1][0]
        x = x + torch.cat([first, hint[:, :-1]], 1)  # every word knows the one before it
        kept: Past = []
        for i, block in enumerate(self.blocks):
            x, own = block(x, None if past is None else past[i])
            kept.append(own)
        return self.head(x) @ self.embedding.weight.T, [*kept, (hint[:, -1:], hint[:, -1:])]


@seeded
def transformer(words: int, width: int = 64, blocks: int = 2, heads: int = 4) -> Transformer:
    """Return an untrained decoder over ``words`` words. Raises ValueError when the width does not split over the heads."""
    return Transformer(words, width, blocks, heads)


@torch.no_grad()
def generate(model: Transformer, prompts: Sequence[Sequence[int]], *, end: int, limit: int = 16, cached: bool = False) -> list[list[int]]:
    """Return the likeliest next words for each prompt, one after the other, up to ``end`` (left out) or ``limit`` words.

    ``cached``: keep keys and values instead of reading the prompt anew for each word; prompts of one length go together. Both ways give the
    same words. Raises ValueError for an empty prompt.
    """
    if any(not len(prompt) for prompt in prompts):
        raise ValueError("an empty prompt has no next word")
    device = next(model.parameters()).device
    replies: list[list[int]] = [[] for _ in prompts]
    if cached:
        for length in sorted({len(prompt) for prompt in prompts}):
            equal = [i for i, prompt in enumerate(prompts) if len(prompt) == length]
            for first in range(0, len(equal), 256):
                _cached(model, equal[first : first + 256], prompts, replies, end, limit, device)
    else:
        order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))  # neighbors of like length: little is read in vain
        for first in range(0, len(order), 64):
            _plain(model, order[first : first + 64], prompts, replies, end, limit, device)
    return [reply[: reply.index(end)] if end in reply else reply for reply in replies]


def _plain(
    model: Transformer, who: Sequence[int], prompts: Sequence[Sequence[int]], replies: list[list[int]], end: int, limit: int,
    device: torch.device,
) -> None:  # fmt: skip
    """Extend the replies by reading everything anew: prompts of all lengths side by side, what stands after a word cannot change it."""
    open_ = list(who)
    for _ in range(limit):
        texts = [[*prompts[i], *replies[i]] for i in open_]
        x = torch.zeros(len(texts), max(map(len, texts)), dtype=torch.int64)
        for row, text in zip(x, texts, strict=True):
            row[: len(text)] = torch.tensor(text)
        last = torch.tensor([len(text) - 1 for text in texts], device=device)
        scores = model(x.to(device))[torch.arange(len(texts), device=device), last]
        for i, word in zip(open_, scores.argmax(1).tolist(), strict=True):
            replies[i].append(word)
        open_ = [i for i in open_ if replies[i][-1] != end]
        if not open_:
            return


def _cached(
    model: Transformer, who: Sequence[int], prompts: Sequence[Sequence[int]], replies: list[list[int]], end: int, limit: int,
    device: torch.device,
) -> None:  # fmt: skip
    """Extend the replies of prompts of one length, word by word; a reply that has ended is read no further."""
    open_ = list(who)
    x, past = torch.tensor([list(prompts[i]) for i in open_], device=device), None
    for _ in range(limit):
        scores, past = model.extend(x, past)
        said = scores[:, -1].argmax(1)
        for i, word in zip(open_, said.tolist(), strict=True):
            replies[i].append(word)
        going = said != end
        if not going.any():
            return
        if not going.all():
            open_ = [i for i, on in zip(open_, going.tolist(), strict=True) if on]
            past = [(a[going], b[going]) for a, b in past]
        x = said[going, None]


def for_many(past: Past, count: int) -> Past:
    """Return the past of one text for ``count`` texts that begin with it, without copying it."""
    return [(a.expand(count, *a.shape[1:]), b.expand(count, *b.shape[1:])) for a, b in past]


__all__ = ["Attention", "Block", "Transformer", "for_many", "generate", "rotated", "transformer"]
