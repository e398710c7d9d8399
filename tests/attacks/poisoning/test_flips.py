"""Flips: exactly as many as asked, of the class asked, in the order asked, and nested."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.attacks.poisoning import flip_labels
from labkit.data.dataset import Split, WrongRole


def clean(count: int = 60, classes: int = 4, seed: int = 0) -> Split:
    source = torch.Generator().manual_seed(seed)
    y = torch.cat([torch.arange(classes), torch.randint(classes, (count - classes,), generator=source)])
    return Split(torch.rand(count, 3, generator=source), y, "train", "toy")


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10), st.integers(2, 5), st.integers(0, 1000), st.booleans(), st.booleans())
def test_exactly_count_labels_are_false(count: int, classes: int, seed: int, one_source: bool, one_target: bool) -> None:
    data = clean(80, classes, seed)
    source, target = (0 if one_source else None), (1 if one_target else None)
    eligible = int(((data.y == 0) if one_source else (data.y != 1) if one_target else data.y >= 0).sum())
    count = min(count, eligible)
    found = flip_labels(data, count, source=source, target=target, classes=classes, seed=seed)
    assert int(found.changed_y.sum()) == count == found.rate.k
    assert torch.equal(found.changed_y, found.poisoned)
    assert torch.equal(found.data.x, data.x)
    assert torch.equal(found.original_y, data.y)
    if one_source:
        assert bool((found.original_y[found.poisoned] == 0).all())
    if one_target:
        assert bool((found.data.y[found.poisoned] == 1).all())
    assert int(found.data.y.min()) >= 0
    assert int(found.data.y.max()) < classes


def test_every_wrong_label_is_as_likely() -> None:
    data = Split(torch.zeros(3000, 1), torch.full((3000,), 2), "train", "twos")
    given_labels = flip_labels(data, 3000, classes=4).data.y.bincount(minlength=4)
    assert given_labels[2] == 0
    assert bool((given_labels[[0, 1, 3]] > 900).all())


def test_more_flips_contain_fewer_and_seeds_differ() -> None:
    data = clean()
    few, many, other = flip_labels(data, 8, seed=3), flip_labels(data, 20, seed=3), flip_labels(data, 8, seed=4)
    assert bool(many.poisoned[few.poisoned].all())
    assert torch.equal(many.data.y[few.poisoned], few.data.y[few.poisoned])
    assert not torch.equal(few.poisoned, other.poisoned)
    assert torch.equal(few.data.y, flip_labels(data, 8, seed=3).data.y)
    state = torch.random.get_rng_state()
    flip_labels(data, 8)
    assert torch.equal(state, torch.random.get_rng_state())


def test_orders_by_margin_and_by_distance() -> None:
    data = clean()
    margins = torch.rand(60, generator=torch.Generator().manual_seed(1)) - 0.2
    ones = (data.y == 1).nonzero().squeeze(1)
    ranked = ones[margins[ones].argsort()]
    nearest = flip_labels(data, 5, order="nearest", margins=margins, source=1, target=0)
    farthest = flip_labels(data, 5, order="farthest", margins=margins, source=1, target=0)
    assert set(nearest.rows.tolist()) == set(ranked[:5].tolist())
    assert set(farthest.rows.tolist()) == set(ranked[-5:].tolist())
    center = torch.tensor([0.2, 0.9, 0.5])
    around = flip_labels(data, 5, order="around", around=center, source=1, target=0)
    by_distance = sorted(ones.tolist(), key=lambda row: float((data.x[row] - center).norm()))
    assert set(around.rows.tolist()) == set(by_distance[:5])


def test_bad_input_is_named() -> None:
    data, margins = clean(), torch.zeros(60)
    zeros = int((data.y == 0).sum())
    cases = {
        f"{zeros + 1} labels to flip, but 'toy' has {zeros} rows of class 0": {"count": zeros + 1, "source": 0},
        "-1 labels to flip": {"count": -1},
        "target 4 is none of the 4 labels": {"count": 1, "target": 4},
        "both 2: nothing would be falsified": {"count": 1, "target": 2, "source": 2},
        "got 'closest'": {"count": 1, "order": "closest"},
        "order 'nearest' with margins False": {"count": 1, "order": "nearest"},
        "order 'random' with margins True": {"count": 1, "margins": margins},
        "order 'around' with margins False, around False": {"count": 1, "order": "around"},
        "one number for each of the 60 rows": {"count": 1, "order": "nearest", "margins": margins[:5]},
        r"one input of shape \(3,\), got \(2,\)": {"count": 1, "order": "around", "around": torch.zeros(2)},
    }
    for message, options in cases.items():
        with pytest.raises(ValueError, match=message):
            flip_labels(data, **options)  # type: ignore[arg-type]
    with pytest.raises(WrongRole):
        flip_labels(data.as_role("test"), 1)
