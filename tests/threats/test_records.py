"""Record threats: what is projected is allowed, what is allowed stays, and every limit holds in the field's own unit."""

from __future__ import annotations

from types import ModuleType

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.data import flows, transactions
from labkit.data.records import Field, Schema
from labkit.threats import Records

FLOWS = flows.load(size=60)
PAYMENTS = transactions.load(size=60)
BOTH = pytest.mark.parametrize(("module", "records"), [(flows, FLOWS.test.x), (transactions, PAYMENTS.test.x)], ids=["flows", "payments"])
TINY = Schema(
    (
        Field("count", "", 1, 1_000, "integer", "log", "down"),
        Field("size", "", 1, 1_000, "real", "log", "up"),
        Field("total", "", 0, 1_000_000, scale="log", control="derived"),
        Field("age", "", 0, 100),
        Field("yes", "", 0, 1, "flag", control="free"),
    ),
    lambda c: {**c, "total": c["count"] * c["size"]},
)


def tiny(count: float, size: float, age: float = 50.0, yes: float = 0.0) -> torch.Tensor:
    values = {"count": count, "size": size, "total": count * size, "age": age, "yes": yes}
    return TINY.encode({name: torch.tensor([value], dtype=torch.float64) for name, value in values.items()})


@BOTH
@given(seed=st.integers(0, 10_000), factor=st.sampled_from([1.0, 2.0, 30.0, float("inf")]), most=st.sampled_from([1.0, 3.0, float("inf")]))
@settings(max_examples=12, deadline=None)
def test_what_is_projected_is_allowed_and_stays(module: ModuleType, records: torch.Tensor, seed: int, factor: float, most: float) -> None:
    source = torch.Generator().manual_seed(seed)
    x = records[torch.randint(len(records), (20,), generator=source)]
    threat = Records(module.SCHEMA, most, factor=factor)
    found = threat.project(torch.rand(x.shape, generator=source), x)
    assert module.SCHEMA.violations(found, x) == {}
    assert bool(threat.contains(found, x).all())
    assert bool((threat.distance(found, x) <= most).all())
    assert torch.equal(threat.project(found, x), found), "not idempotent"
    assert bool(threat.contains(x, x).all())
    assert torch.equal(threat.project(x, x), x)
    drawn = threat.sample(x, seed)
    assert bool(threat.contains(drawn, x).all())
    assert torch.equal(threat.sample(x[3:4], seed), drawn[3:4]), "a draw depends on its neighbors"


@BOTH
@given(seed=st.integers(0, 10_000))
@settings(max_examples=12, deadline=None)
def test_allowed_means_no_rule_broken(module: ModuleType, records: torch.Tensor, seed: int) -> None:
    source = torch.Generator().manual_seed(seed)
    x = records[torch.randint(len(records), (30,), generator=source)]
    moved = torch.rand(x.shape, generator=source) < 0.1
    wish = torch.where(moved, torch.rand(x.shape, generator=source), x)
    wish = torch.where(torch.rand(len(x), 1, generator=source) < 0.5, module.SCHEMA.possible(wish, x), wish)
    broken = torch.zeros(len(x), dtype=torch.bool)
    for rows in module.SCHEMA.violations(wish, x).values():
        broken |= rows
    assert torch.equal(Records(module.SCHEMA).contains(wish, x), ~broken)
    assert torch.equal(module.SCHEMA.allows(wish, x), ~broken)


def test_limits_hold_in_the_fields_own_units() -> None:
    x, low = tiny(400, 20), torch.zeros(1, 5)
    plain = TINY.decode(Records(TINY).project(low, x))
    assert float(plain["count"]) == pytest.approx(1)
    assert float(plain["size"]) == pytest.approx(20, rel=1e-4), "may only grow"
    assert float(plain["age"]) == pytest.approx(50)
    tenth = TINY.decode(Records(TINY, factor=10).project(low, x))
    assert float(tenth["count"]) == pytest.approx(40, rel=1e-4)
    assert float(tenth["total"]) == pytest.approx(800, rel=1e-4), "the derived field follows"
    kept = TINY.decode(Records(TINY, at_least={"count": 90}).project(low, x))
    assert float(kept["count"]) == pytest.approx(90, rel=1e-4)
    below = tiny(30, 20)
    assert torch.equal(Records(TINY, at_least={"count": 90}).project(low, below)[:, :2], below[:, :2]), "beyond already: stays"
    grown = TINY.decode(Records(TINY, factor=3, at_most={"size": 50}).project(torch.ones(1, 5), x))
    assert float(grown["size"]) == pytest.approx(50, rel=1e-4)
    assert float(grown["count"]) == pytest.approx(400, rel=1e-4), "may only fall"
    free = Records(TINY).project(low, x)
    for tighter in (Records(TINY, factor=10), Records(TINY, at_least={"count": 90}), Records(TINY, only=("yes",)), Records(TINY, 0)):
        assert not bool(tighter.contains(free, x)), f"{tighter} allows what only the others do"
    only = Records(TINY, only=("yes",)).project(torch.ones(1, 5), x)
    assert torch.equal((only != x), torch.tensor([[False, False, False, False, True]]))


def test_the_distance_counts_fields_or_costs_what_the_attacker_says() -> None:
    x = tiny(400, 20)
    found = Records(TINY).project(torch.tensor([[0.0, 1.0, 0.0, 0.0, 1.0]]), x)
    assert Records(TINY).distance(found, x).tolist() == [3.0], "count, size and yes; the total follows"
    one = Records(TINY, 1).project(torch.tensor([[0.0, x[0, 1] + 0.1, 0.0, 0.0, 0.2]]), x)
    assert (one != x).nonzero()[:, 1].tolist() == [0, 2], "the largest change stays, and what follows from it"
    slower = Records(TINY, 4.0, cost=lambda before, after: before["count"] / after["count"] - 1)
    dear = slower.project(torch.tensor([[0.0, x[0, 1], 0.0, 0.0, 0.0]]), x)
    assert 3.5 < float(slower.distance(dear, x)) <= 4.0, "as far as the budget goes, by whole counts"
    assert not bool(slower.contains(found, x))
    gap = Records(TINY, 0.5, cost=lambda before, after: ((after["count"] < 390) & (after["count"] > 300)).double())
    beyond = tiny(200, 20)
    assert torch.equal(gap.project(beyond, x), TINY.possible(beyond, x)), "the whole way is allowed"
    stopped = TINY.decode(gap.project(tiny(350, 20), x))["count"]
    assert 390 - 1e-3 <= float(stopped) <= 392, "the furthest point before what costs too much"
    assert str(slower) == "Records(4 of cost)"
    assert str(Records(TINY, 2, factor=10)) == "Records(2 fields, factor 10)"


def test_the_gradient_goes_through_dependent_fields_and_rounding() -> None:
    x = tiny(400, 20)
    region = Records(TINY).region(x)
    wish = tiny(200.3, 33.3).double()
    weight = torch.tensor([[0.0, 0.0, 1.0, 0.0, 0.0]], dtype=torch.float64)  # only the total matters
    slope = region.pull_back(wish, weight)
    # d encode(total) / d encode(field): total = count * size, decode(v) = low + expm1(v log1p(999)); rounding has moved 200.3 to 200.
    inner, outer = torch.log1p(torch.tensor(999.0)), torch.log1p(torch.tensor(1e6))
    for column, value, other in ((0, 200.3, 33.3), (1, 33.3, 200.0)):
        expected = other / (1 + 200 * 33.3) / outer * (value - 1 + 1) * inner
        assert float(slope[0, column]) == pytest.approx(float(expected), rel=1e-4)
    assert slope[0, 2:].tolist() == [0, 0, 0]


def test_mistakes_are_named() -> None:
    with pytest.raises(ValueError, match="cannot touch 'age': it is fixed"):
        Records(TINY, only=("age",))
    with pytest.raises(ValueError, match="no field 'weight'"):
        Records(TINY, at_least={"weight": 3})
    with pytest.raises(ValueError, match="factor says"):
        Records(TINY, factor=0.5)
    with pytest.raises(ValueError, match="eps must be 0 or more, got -1"):
        Records(TINY, -1)
    broken = tiny(400, 20)
    broken[0, 2] += 0.2
    with pytest.raises(ValueError, match="1 of 1 records are not possible before the attack: total disagrees"):
        Records(TINY).project(broken, broken)
