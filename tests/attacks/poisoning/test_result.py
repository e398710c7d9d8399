"""What the victim gets and what the attacker keeps: roles, originals, indices."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from labkit.attacks.poisoning import PoisonedData
from labkit.data.dataset import Split, WrongRole
from labkit.models import linear
from labkit.rates import Rate
from labkit.threats import Linf
from labkit.training import fit


def clean(count: int = 8) -> Split:
    x = torch.rand(count + 4, 3, generator=torch.Generator().manual_seed(0))
    return Split(x, torch.arange(count + 4) % 2, "train", "toy").take(torch.arange(4, count + 4))


def test_changed_rows_are_marked_and_everything_else_is_as_it_was() -> None:
    before = clean()
    found = PoisonedData.changing(before, torch.tensor([1, 5]), x=torch.zeros(2, 3), y=torch.tensor([1, 1]))
    assert found.poisoned.tolist() == [i in (1, 5) for i in range(8)]
    assert found.rows.tolist() == [1, 5]
    assert found.data.role == "poisoned"
    assert torch.equal(found.data.indices, before.indices)
    assert bool((found.data.x[[1, 5]] == 0).all())
    assert found.data.y.tolist() == [0, 1, 0, 1, 0, 1, 0, 1]
    keep = ~found.poisoned
    assert torch.equal(found.data.x[keep], before.x[keep])
    assert torch.equal(found.original_x, before.x)
    assert found.rate == Rate(2, 8, "training samples")
    assert found.costs == {"poisoned samples": 2.0, "share of the training set": 0.25}
    assert found.clean.fingerprint == before.fingerprint
    assert not bool(found.added.any())


def test_the_clean_set_is_not_touched() -> None:
    before = clean()
    copy = before.x.clone(), before.y.clone()
    PoisonedData.changing(before, torch.arange(8), x=torch.zeros(8, 3), y=1 - before.y)
    assert torch.equal(before.x, copy[0])
    assert torch.equal(before.y, copy[1])


def test_added_rows_come_last_and_have_no_number_of_their_own() -> None:
    before, base = clean(), torch.full((2, 3), 0.25)
    found = PoisonedData.adding(before, base + 0.1, torch.tensor([1, 1]), base_x=base, base_y=torch.tensor([0, 1]))
    assert len(found) == 10
    assert found.rows.tolist() == [8, 9]
    assert found.data.indices.tolist() == [*range(4, 12), -1, -1]
    assert found.added.tolist() == found.poisoned.tolist() == [False] * 8 + [True] * 2
    assert found.changed_y.tolist() == [False] * 8 + [True, False]
    assert found.changed_x.tolist() == [False] * 8 + [True] * 2
    assert found.clean.fingerprint == before.fingerprint
    assert found.clean.role == "train"
    plain = PoisonedData.adding(before, base, torch.tensor([1, 0]))
    assert not bool(plain.changed_y.any())
    assert not bool(plain.changed_x.any())
    assert plain.rate.k == 2


def test_a_clean_baseline_refuses_poisoned_data_and_a_victim_does_not() -> None:
    found = PoisonedData.changing(clean(), torch.tensor([0]), y=torch.tensor([1]))
    with pytest.raises(WrongRole, match=r"a clean baseline needs .* train; .* role 'poisoned'"):
        found.data.require("train", purpose="a clean baseline")
    with pytest.raises(WrongRole, match="poisoning needs"):  # poison on poison would lose the originals
        PoisonedData.changing(found.data, torch.tensor([1]), y=torch.tensor([1]))
    fit(linear(3, 2, seed=0), found.data, epochs=1, cache=False)
    found.clean.require("train", purpose="a clean baseline")


def test_metrics_come_from_victims() -> None:
    found = PoisonedData.changing(clean(), torch.tensor([0]), y=torch.tensor([1]), spent={"trainings": 3.0})
    assert found.metrics == {}
    judged = found.with_metrics({"missed": Rate(1, 4)}).with_metrics({"accuracy": 0.5})
    assert judged.metrics == {"missed": Rate(1, 4), "accuracy": 0.5}
    assert found.metrics == {}
    assert judged.costs["trainings"] == 3.0
    assert judged.summary().startswith("missed 25.0%")
    assert "1 poisoned samples" in judged.summary()


def test_a_threat_is_held_exactly_and_from_the_original() -> None:
    before = clean()
    inside = (before.x[:2] + 0.05).clamp(0, 1)
    assert PoisonedData.changing(before, torch.tensor([0, 1]), x=inside, threat=Linf(0.0501)).threat == Linf(0.0501)
    with pytest.raises(ValueError, match=r"2 of 2 changed inputs are not within Linf\(0.04\)"):
        PoisonedData.changing(before, torch.tensor([0, 1]), x=inside, threat=Linf(0.04))
    with pytest.raises(ValueError, match="1 of 1 changed inputs"):  # outside the box of values, small as the step is
        PoisonedData.changing(before, torch.tensor([0]), x=torch.full((1, 3), -1e-3), threat=Linf(5.0))


def mask(*rows: int) -> Tensor:
    return torch.tensor([row in rows for row in range(8)])


def test_bad_input_is_named() -> None:
    before = clean()
    data = before.as_role("poisoned")
    wrong = before.y.clone()
    wrong[3] = 1 - wrong[3]
    cases = {
        "has role 'train'": lambda: PoisonedData(before, mask(), before.x, before.y),
        "8 booleans": lambda: PoisonedData(data, mask().long(), before.x, before.y),
        r"shape \(7,\)": lambda: PoisonedData(data, mask()[:7], before.x, before.y),
        "one original is needed": lambda: PoisonedData(data, mask(), before.x[:7], before.y[:7]),
        "1 rows differ from their originals": lambda: PoisonedData(data, mask(2), before.x, wrong),
        "mark it in both masks": lambda: PoisonedData(data, mask(2), before.x, before.y, mask(3)),
        "rows from 0 to 8": lambda: PoisonedData.changing(before, torch.tensor([0, 8]), y=torch.tensor([1, 1])),
        "rows from -1 to 0": lambda: PoisonedData.changing(before, torch.tensor([0, -1]), y=torch.tensor([1, 1])),
        "1 of 2 rows are named twice": lambda: PoisonedData.changing(before, torch.tensor([3, 3]), y=torch.tensor([1, 1])),
        "2 rows, but 1 new y": lambda: PoisonedData.changing(before, torch.tensor([0, 1]), y=torch.tensor([1])),
        "2 inputs, 1 labels": lambda: PoisonedData.adding(before, before.x[:2], before.y[:1]),
        r"rows of shape \(2,\) cannot join": lambda: PoisonedData.adding(before, before.x[:2, :2], before.y[:2]),
    }
    for message, attempt in cases.items():
        with pytest.raises(ValueError, match=message):
            attempt()
