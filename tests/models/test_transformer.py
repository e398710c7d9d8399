from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import one_hot

from labkit.models.transformer import Transformer, for_many, generate, rotated, transformer


def small(seed: int = 0) -> Transformer:
    return transformer(12, width=16, blocks=2, heads=2, seed=seed).double().eval()


def words(length: int, seed: int, batch: int = 1) -> torch.Tensor:
    return torch.randint(0, 12, (batch, length), generator=torch.Generator().manual_seed(seed))


@given(st.integers(2, 9), st.integers(0, 1000), st.data())
@settings(max_examples=15, deadline=None)
def test_later_words_do_not_change_earlier_scores(length: int, seed: int, data: st.DataObject) -> None:
    model, x = small(seed), words(length, seed)
    cut = data.draw(st.integers(1, length - 1))
    changed = x.clone()
    changed[:, cut:] = (changed[:, cut:] + 1 + words(length - cut, seed + 1) % 11) % 12
    before, after = model(x), model(changed)
    assert torch.equal(before[:, :cut], after[:, :cut])
    assert not torch.allclose(before[:, cut:], after[:, cut:])


def test_the_word_before_and_the_words_further_back_both_matter() -> None:
    model, x = small(), words(6, 1)
    for place in range(6):
        changed = x.clone()
        changed[:, place] = (changed[:, place] + 1) % 12
        assert not torch.allclose(model(x)[:, -1], model(changed)[:, -1])


@given(st.integers(1, 8), st.integers(0, 8), st.integers(0, 1000))
@settings(max_examples=15, deadline=None)
def test_reading_on_from_the_past_equals_reading_all(first: int, more: int, seed: int) -> None:
    model, x = small(seed), words(first + more + 1, seed, batch=2)
    early, past = model.extend(x[:, :first], None)
    late, _ = model.extend(x[:, first:], past)
    assert torch.allclose(torch.cat([early, late], 1), model(x), atol=1e-12)


@given(st.integers(0, 1000))
@settings(max_examples=10, deadline=None)
def test_cached_generation_equals_uncached(seed: int) -> None:
    model = small(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(4)  # untrained scores are nearly level: make replies differ
    prompts = [words(n, seed + n)[0].tolist() for n in (3, 7, 3, 5)]
    plain = generate(model, prompts, end=0, limit=6)
    assert plain == generate(model, prompts, end=0, limit=6, cached=True)
    assert plain == [generate(model, [prompt], end=0, limit=6)[0] for prompt in prompts]


def test_replies_that_end_early_leave_the_others_alone() -> None:
    """The end is the word that some replies reach first and others never: the cached loop drops rows on the way."""
    model = small(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(4)
    prompts = [words(4, seed)[0].tolist() for seed in range(300)]  # more than one batch of a length
    whole = generate(model, prompts, end=99, limit=6)
    end = max(range(12), key=lambda word: len({reply.index(word) for reply in whole if word in reply}))
    cut = [reply[: reply.index(end)] if end in reply else reply for reply in whole]
    assert len({len(reply) for reply in cut}) > 2
    assert generate(model, prompts, end=end, limit=6, cached=True) == cut == generate(model, prompts, end=end, limit=6)


def test_one_past_serves_many_texts() -> None:
    model, x = small(), words(5, 1)
    _, past = model.extend(x, None)
    more = words(3, 2, batch=4)
    late, _ = model.extend(more, for_many(past, 4))
    assert torch.allclose(late, model(torch.cat([x.expand(4, -1), more], 1))[:, 5:], atol=1e-12)


def test_generation_is_greedy_and_stops_at_the_end() -> None:
    model = small()
    prompt = [3, 4, 5]
    (reply,) = generate(model, [prompt], end=99, limit=4)
    for i, word in enumerate(reply):
        assert word == int(model(torch.tensor([[*prompt, *reply[:i]]]))[0, -1].argmax())
    assert len(reply) == 4
    assert generate(model, [prompt], end=reply[0], limit=4) == [[]]
    with pytest.raises(ValueError, match="empty prompt"):
        generate(model, [[]], end=0)


def test_one_hot_rows_give_the_same_scores_and_a_gradient() -> None:
    model, x = small(), words(5, 2)
    hot = one_hot(x, 12).double().requires_grad_(True)
    assert torch.allclose(model(hot), model(x), atol=1e-12)
    model(hot)[0, -1, 3].backward()
    assert hot.grad is not None
    assert bool((hot.grad != 0).any(dim=2).all())


def test_rotation_depends_on_distances_only() -> None:
    q, k = (torch.randn(1, 1, 1, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(s)) for s in (0, 1))

    def product(i: int, j: int) -> float:
        return float((rotated(q, i) * rotated(k, j)).sum())

    assert product(7, 4) == pytest.approx(product(3, 0), abs=1e-12)
    assert product(7, 4) != pytest.approx(product(7, 5), abs=1e-6)


def test_what_does_not_fit_is_said() -> None:
    with pytest.raises(ValueError, match="make it a multiple of 8"):
        transformer(12, width=20, heads=4)
    with pytest.raises(ValueError, match=r"word numbers \(B, T\) int64 or one-hot rows"):
        small()(torch.zeros(1, 3))


def test_the_seed_decides_the_weights_and_the_global_state_stays() -> None:
    state = torch.get_rng_state()
    assert torch.equal(transformer(12, seed=1).embedding.weight, transformer(12, seed=1).embedding.weight)
    assert not torch.equal(transformer(12, seed=1).embedding.weight, transformer(12, seed=2).embedding.weight)
    assert torch.equal(torch.get_rng_state(), state)
