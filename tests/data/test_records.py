"""Records: the schema keeps its rules, and the two drawn data sets keep their schema."""

from __future__ import annotations

from types import ModuleType

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import RandomForestClassifier

from labkit.data import flows, load, transactions
from labkit.data.records import Field, Schema, one_of

BOTH = pytest.mark.parametrize("module", [flows, transactions], ids=["flows", "transactions"])
SMALL = Schema(
    (
        Field("count", "", 1, 1_000, "integer", "log", "up"),
        Field("total", "", 0, 10_000, "integer", "log", "free"),
        Field("mean", "", 0, 10_000, scale="log", control="derived"),
        Field("age", "", 0, 100, control="fixed"),
        Field("tries", "", 0, 9, "integer", control="down"),
        Field("yes", "", 0, 1, "flag", control="free"),
    ),
    lambda c: {**c, "mean": c["total"] / c["count"]},
)
numbers = st.lists(st.floats(0, 1, width=32), min_size=6, max_size=6)


@given(numbers, numbers)
@settings(max_examples=60, deadline=None)
def test_the_nearest_possible_record_is_possible(wish: list[float], start: list[float]) -> None:
    original = SMALL.possible(torch.tensor([start]))
    assert SMALL.violations(original) == {}
    found = SMALL.possible(torch.tensor([wish]), original)
    assert SMALL.violations(found, original) == {}
    assert torch.equal(SMALL.possible(found, original), found), "not idempotent"
    before, after = SMALL.decode(original), SMALL.decode(found)
    assert float(after["count"] - before["count"]) > -1e-3
    assert float(after["tries"] - before["tries"]) < 1e-3
    assert torch.equal(found[:, 3], original[:, 3])


def test_decode_undoes_encode_and_can_be_differentiated() -> None:
    columns = {"count": [1.0, 7, 1000], "total": [0.0, 70, 9999], "mean": [0.0, 10, 9.999], "age": [0.0, 50, 100], "tries": [0.0, 4, 9],
               "yes": [0.0, 1, 1]}  # fmt: skip
    x = SMALL.encode({name: torch.tensor(values) for name, values in columns.items()})
    assert float(x.min()) == 0
    assert float(x.max()) == 1
    for name, values in SMALL.decode(x).items():
        assert values.tolist() == pytest.approx(columns[name], rel=1e-5, abs=1e-4)
    leaf = x.clone().requires_grad_()
    (grad,) = torch.autograd.grad(SMALL.decode(leaf)["total"].sum(), leaf)
    assert bool((grad[:, 1] > 0).all())


def test_each_broken_rule_is_named() -> None:
    good = SMALL.possible(torch.full((1, 6), 0.5))
    assert SMALL.violations(good) == {}
    for column, change, rule in [
        (0, 1e-3, "count not whole"), (1, 1e-3, "total not whole"), (2, 0.1, "mean disagrees"), (4, 0.05, "tries not whole"),
        (5, -0.5, "yes not whole"), (3, 0.6, "age out of range"),
    ]:  # fmt: skip
        bad = good.clone()
        bad[0, column] += change
        assert rule in SMALL.violations(bad), rule
    moved = SMALL.encode(
        {**SMALL.decode(good), "count": SMALL.decode(good)["count"] - 1, "tries": torch.tensor([9.0]), "age": torch.tensor([1.0])}
    )
    assert {"count may not change so", "tries may not change so", "age may not change so"} <= set(SMALL.violations(moved, good))


def test_nothing_hides_behind_the_end_of_a_range_nor_in_a_nan() -> None:
    half = Schema((Field("count", "", 1, 1_000, "integer", "log", "up"), Field("half", "", 0, 100, control="derived")),
                  lambda c: {**c, "half": c["count"] / 2})  # fmt: skip
    full = half.encode({"count": torch.tensor([200.0, 400.0]), "half": torch.tensor([100.0, 200.0])})
    assert full[:, 1].tolist() == [1, 1], "the encoding ends at 100"
    assert {rule: rows.tolist() for rule, rows in half.violations(full).items()} == {"half disagrees": [False, True]}
    assert half.allows(full).tolist() == [True, False]
    lost = SMALL.possible(torch.full((2, 6), 0.5))
    lost[1, 3] = torch.nan
    assert SMALL.violations(lost)["age out of range"].tolist() == [False, True]
    assert SMALL.allows(lost).tolist() == [True, False]


@BOTH
def test_quotients_stay_inside_their_ranges(module: ModuleType) -> None:
    c = module.SCHEMA.decode(module.load(size=40).test.x)
    if module is flows:
        c |= {"duration": c["duration"] * 0 + 0.001, "sent_packets": c["sent_packets"] * 0 + 50_000}
    else:
        c |= {"amount": c["amount"] * 0 + 1e6, "usual": c["usual"] * 0 + 400}
    found = module.SCHEMA.possible(module.SCHEMA.encode(c))
    assert module.SCHEMA.violations(found) == {}
    now = module.SCHEMA.decode(found)
    most, least = ("rate", "duration") if module is flows else ("ratio", "usual")
    assert float(now[most].max()) <= module.SCHEMA.fields[module.SCHEMA.column(most)].high * 1.00001
    assert float(now[least].min()) > 0.04, "what gave way is the time or the amount, and not the rule"


def test_mistakes_are_named() -> None:
    with pytest.raises(ValueError, match="called 'a'"):
        Schema((Field("a", "", 0, 1), Field("a", "", 0, 1)))
    with pytest.raises(ValueError, match="empty"):
        Field("a", "", 1, 1)
    with pytest.raises(ValueError, match="flag"):
        Field("a", "", 0, 2, "flag")
    with pytest.raises(ValueError, match="no field 'sum'"):
        SMALL.column("sum")
    with pytest.raises(ValueError, match=r"\(N, 6\), got \(2, 3\)"):
        SMALL.decode(torch.zeros(2, 3))
    assert SMALL.changeable().tolist() == [1, 1, 0, 0, 1, 1]


@BOTH
def test_every_drawn_record_is_possible(module: ModuleType) -> None:
    data = load(module.__name__.rsplit(".", 1)[1])
    for split in (data.train, data.test):
        assert module.SCHEMA.violations(split.x) == {}
        assert split.x.dtype == torch.float32
        assert bool(((split.x >= 0) & (split.x <= 1)).all())
        ones = [i for i, name in enumerate(data.features) if name.startswith(("to_", "at_"))]
        assert bool((split.x[:, ones].sum(1) == 1).all())
    assert data.features == module.SCHEMA.names
    assert len(data.train) == module.TRAIN
    counts = data.test.y.bincount()
    assert counts[1:].unique().numel() == 1
    assert not torch.equal(data.train.x[:100], data.test.x[:100])


@BOTH
@given(seed=st.integers(0, 10_000))
@settings(max_examples=8, deadline=None)
def test_any_wish_leads_to_a_possible_record(module: ModuleType, seed: int) -> None:
    source, x = torch.Generator().manual_seed(seed), module.load(size=40).test.x
    wish = torch.rand(x.shape, generator=source)
    for original in (None, x):
        found = module.SCHEMA.possible(wish, original)
        assert module.SCHEMA.violations(found, original) == {}
        assert torch.equal(module.SCHEMA.possible(found, original), found), "not idempotent"


def test_the_drawn_records_hang_together() -> None:
    c = flows.SCHEMA.decode(load("flows").train.x)
    assert float(c["failed_logins"][(c["to_dns"] > 0.5) | (c["to_other"] > 0.5)].max()) == 0, "nobody logs in to a name server"
    assert bool((c["received_bytes"] <= 1500.01 * c["received_packets"]).all())
    c = transactions.SCHEMA.decode(load("transactions").train.x)
    assert bool(((c["waited"].round() < transactions.DAY) == (c["today"].round() > 1)).all()), "who paid within a day paid twice in a day"
    alone = c["today"].round() == 1
    assert bool(((c["total_today"] - c["amount"])[alone].abs() <= 1e-4 * c["amount"][alone]).all())


def test_exactly_one_of_a_group() -> None:
    chosen = one_of({"a": torch.tensor([0.2, 0.0]), "b": torch.tensor([0.7, 0.0])}, ["a", "b"])
    assert chosen["a"].tolist() == [0, 1]
    assert chosen["b"].tolist() == [1, 0]


@BOTH
def test_the_seed_decides(module: ModuleType) -> None:
    one, again, other = module.load(size=200), module.load(size=200), module.load(size=200, seed=1)
    assert one.fingerprint == again.fingerprint != other.fingerprint
    assert len(module.load(smoke=True).train) == 64
    with pytest.raises(ValueError, match="at least 1"):
        module.load(size=0)


@BOTH
def test_there_is_something_to_learn_and_something_left(module: ModuleType) -> None:
    data = module.load()
    forest = RandomForestClassifier(60, random_state=0, class_weight="balanced").fit(data.train.x, data.train.y > 0)
    chance = forest.predict_proba(data.test.x.numpy())[:, 1]
    attack = (data.test.y > 0).numpy()
    ranks = (chance[attack][:, None] > chance[~attack]).mean() + 0.5 * (chance[attack][:, None] == chance[~attack]).mean()
    assert 0.9 < ranks < 0.9995, f"AUROC {ranks:.4f}: too hard or too easy"
