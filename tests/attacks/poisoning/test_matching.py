"""Gradient matching where the answer is known: copies align perfectly; a linear model's alignment is a formula; controls do nothing."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from labkit.attacks.poisoning import alignment, gradient_matching
from labkit.data.dataset import Split, WrongRole
from labkit.models import linear, mlp
from labkit.threats import L2, Linf
from tests.attacks.evasion.suite import mixed_model, world_untouched


def blobs(count: int = 60, classes: int = 3, seed: int = 0) -> Split:
    source = torch.Generator().manual_seed(seed)
    y = torch.arange(count) % classes
    centers = torch.rand(classes, 6, generator=source, dtype=torch.float64)
    x = (centers[y] + 0.1 * torch.randn(count, 6, generator=source, dtype=torch.float64)).clamp(0, 1)
    return Split(x, y, "train", "blobs")


def softmax_model() -> nn.Sequential:
    return linear(6, 3, seed=1).double()


def test_a_copy_of_the_target_is_perfectly_aligned() -> None:
    model, target = softmax_model(), torch.rand(6, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    copies = target.expand(4, 6)
    assert alignment(model, copies, torch.full((4,), 2), target, 2) == pytest.approx(1.0)
    deep = mlp(6, 3, (8,), seed=0).double()
    assert alignment(deep, copies, torch.full((4,), 1), target, 1) == pytest.approx(1.0)
    assert alignment(model, copies, torch.zeros(4, dtype=torch.int64), target, 2) < 0.5


def test_two_classes_pull_in_opposite_directions() -> None:
    """Softmax over two labels: the gradients of the two labels are (p - e_y) x', so on one input they point exactly opposite."""
    model, x = linear(6, 2, seed=1).double(), torch.rand(6, dtype=torch.float64)
    assert alignment(model, x[None], torch.tensor([0]), x, 1) == pytest.approx(-1.0)


def test_alignment_of_a_linear_model_is_a_formula() -> None:
    """The gradient is (p - e_y) (x, 1)': its cosine is that of the two error vectors times that of the two inputs with a one appended."""
    model, source = softmax_model(), torch.Generator().manual_seed(5)
    one, other = torch.rand(2, 6, dtype=torch.float64, generator=source)
    errors = [model(z[None]).softmax(1)[0].detach() - nn.functional.one_hot(torch.tensor(k), 3) for z, k in ((one, 0), (other, 1))]
    rows = [torch.cat([z, torch.ones(1, dtype=torch.float64)]) for z in (one, other)]
    expected = torch.cosine_similarity(errors[0], errors[1], dim=0) * torch.cosine_similarity(rows[0], rows[1], dim=0)
    assert alignment(model, one[None], torch.tensor([0]), other, 1) == pytest.approx(float(expected), abs=1e-12)


def test_matching_aligns_stays_inside_and_keeps_the_labels() -> None:
    data, model, threat = blobs(), mlp(6, 3, (16,), seed=0).double(), Linf(0.2)
    rows, target = (data.y == 1).nonzero().squeeze(1)[:8], data.x[0]
    found = gradient_matching(data, rows, target, 1, model, threat, steps=60)
    trail = found.trace["alignment"]
    assert trail.shape == (1, 61)
    assert float(trail.max()) > float(trail[0, 0]) + 0.05
    assert alignment(model, found.data.x[rows], data.y[rows], target, 1) == pytest.approx(float(trail.max()), abs=1e-6)
    assert found.rows.tolist() == rows.tolist()
    assert not bool(found.changed_y.any())
    assert found.threat == threat
    assert bool(threat.contains(found.data.x[rows], data.x[rows]).all())
    assert found.costs["backwards"] == 2 * 61 * 8


def test_restarts_keep_the_best_and_seeds_count() -> None:
    data, model = blobs(), mlp(6, 3, (16,), seed=0).double()
    rows = (data.y == 1).nonzero().squeeze(1)[:6]

    def match(**options: int) -> torch.Tensor:
        return gradient_matching(data, rows, data.x[0], 1, model, Linf(0.2), steps=5, **options).trace["alignment"]

    several, one = match(restarts=3), match()
    assert several.shape == (3, 6)
    assert torch.equal(several[0], one[0])
    assert len({round(float(row[0]), 9) for row in several}) == 3
    assert torch.equal(match(seed=4), match(seed=4))
    assert not torch.equal(match(seed=4), one)


@pytest.mark.parametrize("seed", range(6))
def test_more_restarts_never_end_worse(seed: int) -> None:
    """The cosine is computed anew from the poisons that are handed over; in some of the trials a later start has to win."""
    data, model = blobs(), mlp(6, 3, (16,), seed=0).double()
    rows, target = (data.y == 1).nonzero().squeeze(1)[:6], data.x[0]
    ends = []
    for restarts in (1, 2, 4):
        found = gradient_matching(data, rows, target, 1, model, Linf(0.2), steps=3, restarts=restarts, seed=seed)
        ends.append(alignment(model, found.data.x[rows], data.y[rows], target, 1))
        assert ends[-1] == pytest.approx(float(found.trace["alignment"].max()), abs=1e-6)
    assert ends == sorted(ends)


def test_the_attackers_model_is_left_as_it_was() -> None:
    model, images = mixed_model(), torch.rand(6, 3, 4, 4, dtype=torch.float64)
    data = Split(images, torch.tensor([0, 1, 1, 0, 1, 1]), "train", "six")
    with world_untouched(model):
        gradient_matching(data, torch.tensor([1, 2]), images[0], 1, model, Linf(0.1), steps=2)


def test_bad_input_is_named() -> None:
    data, model = blobs(), softmax_model()
    ones = (data.y == 1).nonzero().squeeze(1)[:3]
    with pytest.raises(ValueError, match=r"one input of shape \(6,\), got \(1, 6\)"):
        gradient_matching(data, ones, data.x[:1], 1, model, Linf(0.1))
    with pytest.raises(ValueError, match=r"rows labelled 2, as the target shall be; got labels \[1\]"):
        gradient_matching(data, ones, data.x[0], 2, model, Linf(0.1))
    with pytest.raises(ValueError, match=r"rows labelled 1.*got labels \[\]"):
        gradient_matching(data, ones[:0], data.x[0], 1, model, Linf(0.1))
    with pytest.raises(ValueError, match="has no budget"):
        gradient_matching(data, ones, data.x[0], 1, model, L2())  # type: ignore[arg-type]
    for options, seen in (({"restarts": 0}, "0, 100, None"), ({"steps": -1}, "1, -1, None"), ({"step_size": 0.0}, r"1, 100, 0\.0")):
        with pytest.raises(ValueError, match=f"got {seen}"):
            gradient_matching(data, ones, data.x[0], 1, model, Linf(0.1), **options)  # type: ignore[arg-type]
    with pytest.raises(WrongRole):
        gradient_matching(data.as_role("test"), ones, data.x[0], 1, model, Linf(0.1))
