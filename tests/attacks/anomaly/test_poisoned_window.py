"""Slow poisoning: against a centroid the number of days is known in advance."""

from __future__ import annotations

import math

import pytest
import torch

from labkit.attacks.anomaly import DailyMean, Fence, boiling_frog, predicted_shift
from labkit.detectors import Centroid, Mahalanobis


def calm_days(count: int, honest: int = 18, seed: int = 0) -> list[torch.Tensor]:
    """Days whose records come in opposite pairs, so that each day's mean is exactly zero."""
    source, days = torch.Generator().manual_seed(seed), []
    for _ in range(count):
        half = 0.1 * torch.randn(honest // 2, 3, generator=source, dtype=torch.float64)
        days.append(torch.cat([half, -half]))
    return days


def away(distance: float) -> torch.Tensor:
    return torch.tensor([0.0, distance, 0.0], dtype=torch.float64)


@pytest.mark.parametrize(("dose", "distance"), [(2, 1.05), (2, 1.1), (2, 1.105), (6, 1.25), (6, 1.3)])
def test_the_days_until_a_centroid_gives_way_are_known(dose: int, distance: float) -> None:
    found = boiling_frog(Centroid, calm_days(5 + 60), away(distance), away(0), dose=dose, window=5, threshold=1.0)
    predicted = predicted_shift(dose, 18, 1.0, 60, 5)
    assert found.day == next(day for day, shift in enumerate(predicted) if shift >= distance - 1)
    measured = distance - found.scores
    assert torch.allclose(measured, torch.tensor(predicted[: len(measured)], dtype=torch.float64), atol=1e-3)
    assert int(found.sent.sum()) == dose * found.day == int(found.admitted.sum())
    assert bool((found.poison_day.bincount() == dose).all())


def test_beyond_the_limit_no_patience_helps() -> None:
    shift = predicted_shift(6, 18, 1.0, 400, 5)
    assert shift == sorted(shift)
    assert shift[-1] == pytest.approx(6 / 18, rel=1e-3), "nu / (1 - nu) with nu = 6 / 24"
    inside = boiling_frog(Centroid, calm_days(5 + 80), away(1.30), away(0), dose=6, window=5, threshold=1.0)
    beyond = boiling_frog(Centroid, calm_days(5 + 80), away(1.40), away(0), dose=6, window=5, threshold=1.0)
    assert inside.day is not None
    assert beyond.day is None
    assert math.isnan(float(beyond.metrics["days until the attack passes"]))
    assert beyond.costs == {"poison records": 480, "days": 80}


def test_without_poison_nothing_moves() -> None:
    found = boiling_frog(Centroid, calm_days(25), away(1.05), away(0), dose=0, window=5, threshold=1.0)
    assert found.day is None
    assert torch.allclose(found.scores, found.scores[:1].expand(20))
    assert len(found.poison) == 0
    assert bool(found.reach.isnan().all()), "a day without poison reaches nowhere"


def test_the_window_is_what_was_learned() -> None:
    found = boiling_frog(Centroid, calm_days(5 + 9), away(3.0), away(0), dose=2, window=5, threshold=1.0)
    assert int(found.poisoned.sum()) == 10
    assert len(found.window) == 5 * 20
    assert torch.equal(found.window[found.poisoned], found.poison[-10:])
    for day in range(len(found.scores)):  # on each day the poison stands at the boundary of that morning's detector
        center = torch.cat([away(0)[None] * 0, found.poison[found.poison_day < day][-10:]]).sum(0) / (90 + 2 * min(day, 5))
        assert float((found.poison[found.poison_day == day][0] - center).norm()) == pytest.approx(1.0, abs=1e-3)


def test_a_fence_holds_what_the_first_detector_knew() -> None:
    days = calm_days(5 + 60)
    fence = Fence(Centroid().fit(torch.cat(days[:5])), 1.0)
    found = boiling_frog(Centroid, days, away(1.25), away(0), dose=6, window=5, threshold=1.0, guard=fence)
    assert found.day is None, "poison at most 1 from the first center moves the mean by nu at most"
    assert float(1.25 - found.scores[-1]) == pytest.approx(6 / 24, abs=2e-3)
    careless = boiling_frog(Centroid, days, away(1.25), away(0), dose=6, window=5, threshold=1.0, guard=fence, knows_guard=False)
    assert int(careless.admitted.sum()) < int(careless.sent.sum())
    assert careless.day is None


def test_a_daily_mean_stops_the_careless_and_slows_who_knows() -> None:
    source = torch.Generator().manual_seed(1)
    days = [0.2 * torch.randn(100, 3, generator=source, dtype=torch.float64) for _ in range(5 + 30)]
    guard = DailyMean.learned(Centroid().fit(torch.cat(days[:5])), days[:5])
    runs = {}
    for name, options in {"none": {}, "careless": {"guard": guard, "knows_guard": False}, "knows": {"guard": guard}}.items():
        runs[name] = boiling_frog(Centroid, days, away(1.1), away(0), dose=12, window=5, threshold=1.0, stop=False, **options)  # type: ignore[arg-type]
    assert runs["none"].day is not None
    assert int(runs["careless"].refused.sum()) > 0
    assert int(runs["careless"].admitted.sum()) == 0
    assert torch.equal(runs["knows"].admitted, runs["knows"].sent)
    shifts = {name: float(run.scores[0] - run.scores.min()) for name, run in runs.items()}
    assert shifts["careless"] < shifts["knows"] < shifts["none"]


def test_a_detector_that_relearns_its_own_judgment_narrows() -> None:
    source = torch.Generator().manual_seed(2)
    days = [torch.randn(200, 3, generator=source) for _ in range(5 + 25)]
    target, start = torch.tensor([40.0, 0, 0]), torch.zeros(3)
    cleared, narrow = (boiling_frog(Mahalanobis, days, target, start, dose=0, window=5, fpr=0.05, cleared=look) for look in (True, False))
    assert cleared.alarms[-1].value < 0.09 < narrow.alarms[-1].value


def test_mistakes_are_named() -> None:
    days = calm_days(6)
    with pytest.raises(ValueError, match="more days than that are needed, got 1, 7 and 6 days"):
        boiling_frog(Centroid, days, away(2), away(0), dose=1)
    with pytest.raises(ValueError, match="flags the start"):
        boiling_frog(Centroid, days, away(2), away(3), dose=1, window=3, threshold=1.0)
    with pytest.raises(ValueError, match="three clean days"):
        DailyMean.learned(Centroid().fit(days[0]), days[:2])
    with pytest.raises(ValueError, match="dose of 0 or more"):
        predicted_shift(-1, 3, 1.0, 3, 3)
