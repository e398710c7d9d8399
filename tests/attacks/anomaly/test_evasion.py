"""Evasion inside a record threat: possible, verified, found where it is known to be, and every query counted."""

from __future__ import annotations

import pytest
import torch

from labkit.attacks.anomaly import evade_at_random, evade_by_gradient, evade_by_queries, raise_yield, spare
from labkit.attacks.evasion import pgd
from labkit.data import load
from labkit.data.flows import SCHEMA
from labkit.data.records import Field, Schema
from labkit.detectors import Alarm, Mahalanobis, threshold_at_fpr
from labkit.endpoint import Endpoint
from labkit.threats import Linf, Records

DATA = load("flows")
HONEST = DATA.train.x[DATA.train.y == 0]
DETECTOR = Mahalanobis().fit(HONEST[::2])
ALARM_ON = Alarm(DETECTOR, threshold_at_fpr(DETECTOR.score(HONEST[1::2]), 0.01), scale=20.0)
ATTACKS = DATA.test.take(DATA.test.y > 0).subset(24)
ONES = torch.ones(24, dtype=torch.int64)
LINE = Schema((Field("a", "", 0, 1, control="free"), Field("b", "", 0, 1), Field("n", "", 0, 100, "integer", control="down")))
PLAIN = torch.rand(400, 3, generator=torch.Generator().manual_seed(0)) * 0.2 + 0.4


class Valley:
    """The score is (a - 0.3)^2 + (b - 0.5)^2 + (n / 100)^2: the nearest passing value of one free field is known."""

    def fit(self, x: torch.Tensor, y: torch.Tensor | None = None) -> Valley:
        return self

    def score(self, x: torch.Tensor) -> torch.Tensor:
        return (x - x.new_tensor([0.3, 0.5, 0.0])).square().sum(1)


@pytest.mark.parametrize("steps", [3, 30])
def test_every_evasion_is_a_possible_record_that_passes(steps: int) -> None:
    found = evade_by_gradient(ALARM_ON, ATTACKS.x, ONES, Records(SCHEMA), steps=steps, restarts=2)
    assert SCHEMA.violations(found.x_adv, ATTACKS.x) == {}
    assert torch.equal(found.success, ALARM_ON(found.x_adv).argmax(1) == 0)
    assert torch.equal(found.x_adv[found.already], ATTACKS.x[found.already])
    assert steps == 3 or found.success_rate.value > 0.3
    alone = evade_by_gradient(ALARM_ON, ATTACKS.x[5:7], ONES[:2], Records(SCHEMA), steps=steps, restarts=2)
    assert torch.allclose(alone.x_adv, found.x_adv[5:7], atol=1e-6), "depends on its neighbors"


def test_in_feature_space_the_same_success_is_made_of_impossible_records() -> None:
    free = pgd(ALARM_ON, ATTACKS.x, ONES, Linf(0.4), steps=30, loss="margin")
    turned = free.success & ~free.already
    assert turned.any()
    broken = torch.zeros(int(turned.sum()), dtype=torch.bool)
    for rows in SCHEMA.violations(free.x_adv[turned], free.x[turned]).values():
        broken |= rows
    assert bool(broken.all())
    assert not bool(Records(SCHEMA).contains(free.x_adv[turned], free.x[turned]).any())


def test_the_known_boundary_is_found_and_spared_to() -> None:
    x = LINE.possible(torch.tensor([[0.9, 0.5, 0.2], [0.9, 0.5, 0.0], [0.35, 0.5, 0.0]]))
    model = Alarm(Valley(), 0.04)
    found = evade_by_gradient(model, x, ONES[:3], Records(LINE), steps=60, step_size=0.05)
    assert found.success.tolist() == [True] * 3
    assert found.already.tolist() == [False, False, True]
    cheap = spare(model, found, halvings=12)
    assert bool((cheap.distance <= found.distance).all())
    assert torch.equal(cheap.x_adv[2], x[2])
    # With n back at 20 (encoded 0.2, its square is the whole threshold) a must stand at 0.3; without n at 0.3 + 0.2.
    assert float(cheap.x_adv[1, 0]) == pytest.approx(0.5, abs=1e-3)
    assert bool((model(cheap.x_adv).argmax(1) == 0).all())
    assert int(cheap.forwards.sum()) > int(found.forwards.sum())


def test_integers_come_out_whole_although_the_gradient_ignores_it() -> None:
    x = LINE.possible(torch.tensor([[0.3, 0.5, 0.9]]))
    found = evade_by_gradient(Alarm(Valley(), 0.0305), x, ONES[:1], Records(LINE, only=("n",)), steps=80, step_size=0.03)
    count = float(LINE.decode(found.x_adv)["n"])
    assert bool(found.success)
    assert abs(count - round(count)) < 1e-4
    assert round(count) <= 17, "17 squared is 0.0289 of the threshold; 18 squared is above it"


@pytest.mark.parametrize("answers", ["probabilities", "labels"])
def test_queries_are_counted_and_nothing_impossible_is_asked(answers: str) -> None:
    asked: list[torch.Tensor] = []
    service = Endpoint(ALARM_ON, answers=answers, monitor=lambda x: asked.append(x.clone()))  # type: ignore[arg-type]
    found = evade_by_queries(service.as_model(), ATTACKS.x, ONES, Records(SCHEMA), queries=40, seed=1)
    assert service.queries == int(found.queries.sum()) == sum(len(x) for x in asked)
    assert int(found.queries.max()) == 40
    assert bool((found.queries[found.already] == 1).all())
    assert all(SCHEMA.violations(x) == {} for x in asked)
    assert SCHEMA.violations(found.x_adv, ATTACKS.x) == {}
    assert torch.equal(found.success, ALARM_ON(found.x_adv).argmax(1) == 0)
    assert found.success_rate.k >= (3 if answers == "probabilities" else 1)
    again = evade_by_queries(Endpoint(ALARM_ON, answers=answers).as_model(), ATTACKS.x[9:11], ONES[:2], Records(SCHEMA), queries=40, seed=1)  # type: ignore[arg-type]
    assert torch.equal(again.x_adv, found.x_adv[9:11])


def test_random_records_are_the_ones_that_the_threat_draws() -> None:
    threat, asked = Records(SCHEMA), []
    service = Endpoint(ALARM_ON, answers="labels", monitor=lambda x: asked.append(x.clone()))
    found = evade_at_random(service.as_model(), ATTACKS.x, ONES, threat, queries=30, seed=3)
    first = torch.full((24,), 99)
    for draw in reversed(range(1, 30)):  # by hand: the first draw that passes
        first[ALARM_ON(threat.sample(ATTACKS.x, 3, draw)).argmax(1) == 0] = draw
    hit = ~found.already & (first < 99)
    assert 2 <= int(hit.sum()) < 24
    assert torch.equal(found.success & ~found.already, hit)
    assert torch.equal(found.queries[hit], first[hit] + 1)
    assert bool((found.queries[~found.success] == 30).all())
    assert service.queries == int(found.queries.sum()) == sum(len(x) for x in asked)
    assert bool(threat.contains(found.x_adv, ATTACKS.x).all())


def test_a_limited_service_stops_the_search() -> None:
    service = Endpoint(ALARM_ON, limit=100)
    found = evade_by_queries(service.as_model(), ATTACKS.x, ONES, Records(SCHEMA), queries=40)
    assert service.queries <= 100
    assert bool(found.flags["out_of_queries"].any())


@pytest.mark.parametrize("limit", [None, 150])
def test_sparing_asks_only_about_what_it_tries_and_counts_it(limit: int | None) -> None:
    found = evade_by_gradient(ALARM_ON, ATTACKS.x, ONES, Records(SCHEMA), restarts=2)
    asked: list[torch.Tensor] = []
    service = Endpoint(ALARM_ON, answers="labels", limit=limit, monitor=lambda x: asked.append(x.clone()))
    cheap = spare(service.as_model(), found)
    assert service.queries == int((cheap.forwards - found.forwards).sum())
    assert all(SCHEMA.violations(x) == {} for x in asked)
    assert bool((ALARM_ON(cheap.x_adv[found.success]).argmax(1) == 0).all())
    assert bool((cheap.distance <= found.distance).all())
    assert float((cheap.x_adv - found.x).abs().sum()) < float((found.x_adv - found.x).abs().sum()) - 0.1
    turned = found.success & ~found.already
    assert torch.equal(cheap.flags["out_of_queries"], turned if limit else torch.zeros_like(turned))
    if limit is None:
        assert torch.equal(cheap.x_adv, spare(ALARM_ON, found).x_adv), "a service that says enough is as good as the model itself"


def test_the_largest_yield_that_passes_is_found_and_paid_for() -> None:
    x = LINE.possible(torch.tensor([[0.9, 0.5, 0.6], [0.31, 0.5, 0.6], [0.35, 0.5, 0.05]]))
    model = Alarm(Valley(), 0.0405)
    found = evade_by_gradient(model, x, ONES[:3], Records(LINE), steps=60, step_size=0.05)
    assert found.already.tolist() == [False, False, True]
    asked: list[torch.Tensor] = []
    service = Endpoint(model, answers="labels", monitor=lambda rows: asked.append(rows.clone()))
    best = raise_yield(service.as_model(), found, lambda rows: LINE.decode(rows)["n"], queries=400)
    # With a at 0.3 the whole threshold is n's: (n / 100)^2 is 0.0400 at 20 and 0.0441 at 21.
    assert set(LINE.decode(best.x_adv)["n"][:2].round().tolist()) <= {19.0, 20.0}
    assert torch.equal(best.x_adv[2], x[2]), "what never rang is left alone"
    assert bool((model(best.x_adv).argmax(1) == 0).all())
    assert service.queries == int((best.forwards - found.forwards).sum()) == sum(len(rows) for rows in asked)
    assert all(LINE.violations(rows) == {} for rows in asked)
    few = raise_yield(Endpoint(model, limit=9).as_model(), found, lambda rows: LINE.decode(rows)["n"])
    assert few.flags["out_of_queries"].tolist() == [True, True, False]
    assert int((few.forwards - found.forwards).sum()) <= 9
    with pytest.raises(ValueError, match=r"one number for each record, \(3,\), got \(3, 3\)"):
        raise_yield(model, found, lambda rows: rows)
    with pytest.raises(ValueError, match="queries of 1"):
        raise_yield(model, found, lambda rows: rows[:, 0], queries=0)
    with pytest.raises(TypeError, match="under a Records threat"):
        raise_yield(ALARM_ON, pgd(ALARM_ON, ATTACKS.x, ONES, Linf(0.1), steps=1), lambda rows: rows[:, 0])


def test_limits_of_the_threat_hold() -> None:
    threat = Records(SCHEMA, 3, factor=10, at_least={"ports": 20, "failed_logins": 1})
    for attack in (evade_by_gradient, evade_by_queries):
        found = attack(ALARM_ON, ATTACKS.x, ONES, threat)
        assert bool(threat.contains(found.x_adv, ATTACKS.x).all())
        assert bool((found.distance <= 3).all())
        scans = SCHEMA.decode(ATTACKS.x)["ports"] >= 20
        assert float(SCHEMA.decode(found.x_adv)["ports"][scans].min()) > 19.99


def test_mistakes_are_named() -> None:
    with pytest.raises(ValueError, match="defined for records, got Linf"):
        evade_by_gradient(ALARM_ON, ATTACKS.x, ONES, Linf(0.1))
    with pytest.raises(ValueError, match=r"pgd is defined for .*, got Records"):
        pgd(ALARM_ON, ATTACKS.x, ONES, Records(SCHEMA))
    with pytest.raises(ValueError, match="steps and restarts"):
        evade_by_gradient(ALARM_ON, ATTACKS.x, ONES, Records(SCHEMA), steps=0)
    with pytest.raises(ValueError, match="queries of 2"):
        evade_by_queries(ALARM_ON, ATTACKS.x, ONES, Records(SCHEMA), queries=1)
    with pytest.raises(ValueError, match="queries of 2"):
        evade_at_random(ALARM_ON, ATTACKS.x, ONES, Records(SCHEMA), queries=1)
    with pytest.raises(TypeError, match="field by field"):
        spare(ALARM_ON, pgd(ALARM_ON, ATTACKS.x, ONES, Linf(0.1), steps=1))
    with pytest.raises(ValueError, match="not possible before"):
        evade_by_gradient(ALARM_ON, torch.full_like(ATTACKS.x, 0.37), ONES, Records(SCHEMA))
