"""The boiling frog: a trickle of records into every retraining window moves what counts as normal, until an attack passes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from labkit.attacks.anomaly.guards import Guard
from labkit.attacks.outcome import Outcome
from labkit.detectors.base import Detector, threshold_at_fpr
from labkit.rates import Rate

GRID, REFINE = 32, 3  # points of the way that are tried at once, and how often again between two of them


@dataclass(frozen=True)
class PoisonedWindow(Outcome):
    """What slow poisoning did to a detector that learns anew every day. T days, counted from the first poisoned one.

    ``day``: how many poisoned days it took until the target passed; None if it never did. ``scores``, ``thresholds``: (T,) of the target on
    each morning. ``reach``: (T,) how far on the way to the target the day's poison stood, 0 to 1; nan on days without. ``sent``,
    ``admitted``: (T,) int64, poison records of each day, and those that got into the window. ``refused``: (T,) int64, honest records that
    the guard kept out. ``alarms``: (T,) honest records flagged, as rates. ``poison`` (P, F): all that was sent, ``poison_day`` (P,).
    ``window`` (N, F) and ``poisoned`` (N,) bool: the last training window, and which of it is the attacker's.
    """

    day: int | None
    target: Tensor
    scores: Tensor
    thresholds: Tensor
    reach: Tensor
    sent: Tensor
    admitted: Tensor
    refused: Tensor
    alarms: list[Rate]
    poison: Tensor
    poison_day: Tensor
    window: Tensor
    poisoned: Tensor
    meta: dict[str, float | int | str] = field(default_factory=dict)

    @property
    def metrics(self) -> dict[str, Rate | float]:
        """Days until the target passed (nan: not within the days there were), poison admitted, honest records flagged on the last day."""
        return {
            "days until the attack passes": math.nan if self.day is None else self.day,
            "poison admitted": Rate(int(self.admitted.sum()), int(self.sent.sum()), "poison records"),
            "false alarms on the last day": self.alarms[-1],
        }

    @property
    def costs(self) -> dict[str, float]:
        """Poison records sent, and days."""
        return {"poison records": int(self.sent.sum()), "days": len(self.scores)}


def boiling_frog(
    build: Callable[[], Detector], days: Sequence[Tensor], target: Tensor, start: Tensor, *, dose: int, window: int = 7,
    fpr: float = 0.01, threshold: float | None = None, possible: Callable[[Tensor], Tensor] = lambda x: x, guard: Guard | None = None,
    knows_guard: bool = True, cleared: bool = True, stop: bool = True,
) -> PoisonedWindow:  # fmt: skip
    """Poison a detector that is fitted every morning on the last ``window`` days, until it lets ``target`` (F,) pass.

    ``days``: honest traffic of each day, (n, F); the first ``window`` of them are clean history. Every day the attacker sends ``dose``
    records, all at the furthest point of the way from ``start`` (F,) to the target that today's detector lets pass; ``possible``
    maps a point of the way to a record that can occur. Poison that is flagged is not learned from, nor anything that ``guard`` keeps out.
    Flagged honest records are, unless ``cleared`` is False: somebody looks at alarms (else the detector forgets its tail).
    The detector's threshold leaves ``fpr`` of every fourth record of the window (not fitted on), unless it is fixed by ``threshold``.
    ``knows_guard``: whether the attacker aims at passing the guard too, knowing that day's honest traffic. ``stop``: end when the target
    passes. Greedy placement on the boundary is optimal against a centroid: Kloft and Laskov 2010, arXiv 1003.0078; the frog: Rubinstein et
    al. 2009, ANTIDOTE. Raises ValueError for a dose below 0, too few days, and a start that the clean detector flags.

    Notes: white-box, daily: the attacker knows each morning's detector. That is the strongest trickle, hence the fewest days.
    """
    if dose < 0 or window < 1 or len(days) <= window:
        raise ValueError(
            f"dose of 0 or more, window of 1 or more and more days than that are needed, got {dose}, {window} and {len(days)} days"
        )
    held: list[tuple[Tensor, Tensor]] = [(day, torch.zeros(len(day), dtype=torch.bool)) for day in days[:window]]
    log: dict[str, list[float]] = {name: [] for name in ("score", "threshold", "reach", "sent", "admitted", "refused")}
    alarms, poison, poison_day, passed, known = [], [], [], None, 0
    for number, honest in enumerate(days[window:]):
        if len(held) != known:  # a window that did not change teaches nothing new
            detector, limit = _morning(build, torch.cat([records for records, _ in held[-window:]]), fpr, threshold)
            known = len(held)
        with torch.no_grad():
            score = float(detector.score(target[None]))
            calm = detector.score(honest) <= limit
        log["score"].append(score)
        log["threshold"].append(limit)
        alarms.append(Rate(int((~calm).sum()), len(honest), "honest records"))
        if number == 0 and float(detector.score(start[None])) > limit:
            raise ValueError("the detector flags the start: begin at a record that passes, such as an honest one")
        if score <= limit and passed is None:
            passed = number
        learned, found = honest if cleared else honest[calm], None
        if dose and not (stop and passed is not None):
            found = _furthest(detector, limit, target, start, dose, possible, learned, guard if knows_guard else None)
        share, point = found if found is not None else (math.nan, target.new_zeros(0, len(target)))
        today = torch.cat([learned, point.expand(dose if len(point) else 0, -1)])
        mine = torch.arange(len(today)) >= len(learned)
        kept = guard.admit(today) if guard is not None else torch.ones(len(today), dtype=torch.bool)
        log["reach"].append(share)
        log["sent"].append(int(mine.sum()))
        log["admitted"].append(int((kept & mine).sum()))
        log["refused"].append(int((~kept & ~mine).sum()))
        poison.append(today[mine])
        poison_day.append(torch.full((int(mine.sum()),), number))
        if stop and passed is not None:
            break
        if bool(kept.any()):  # a day that is refused whole leaves the window as it was
            held.append((today[kept], mine[kept]))
    counts = {name: torch.tensor(values, dtype=torch.int64 if name in ("sent", "admitted", "refused") else torch.float64)
              for name, values in log.items()}  # fmt: skip
    last = held[-window:]
    return PoisonedWindow(
        passed, target, counts["score"], counts["threshold"], counts["reach"], counts["sent"], counts["admitted"], counts["refused"],
        alarms, torch.cat(poison), torch.cat(poison_day), torch.cat([records for records, _ in last]), torch.cat([m for _, m in last]),
        {"dose": dose, "window": window, "fpr": fpr},
    )  # fmt: skip


def _morning(build: Callable[[], Detector], records: Tensor, fpr: float, threshold: float | None) -> tuple[Detector, float]:
    if threshold is not None:
        return build().fit(records), threshold
    aside = torch.arange(len(records)) % 4 == 3
    detector = build().fit(records[~aside])
    with torch.no_grad():
        return detector, threshold_at_fpr(detector.score(records[aside]), fpr)


def _furthest(
    detector: Detector, limit: float, target: Tensor, start: Tensor, dose: int, possible: Callable[[Tensor], Tensor],
    honest: Tensor, guard: Guard | None,
) -> tuple[float, Tensor] | None:  # fmt: skip
    """Return how far on the way, 0 to 1, the furthest point lies that passes, and the point (1, F); None if none does."""

    def passing(shares: Tensor) -> tuple[float, Tensor] | None:
        points = possible(start + shares[:, None].to(start) * (target - start))
        with torch.no_grad():
            silent = (detector.score(points) <= limit).nonzero().squeeze(1)
        for place in silent.flip(0).tolist():
            record = points[place : place + 1]
            if guard is None or bool(guard.admit(torch.cat([honest, record.expand(dose, -1)]))[len(honest) :].all()):
                return float(shares[place]), record
        return None

    # The way may leave and enter what passes: a grid over all of it first, then finer ones beyond the furthest point found.
    found, width = passing(torch.linspace(0, 1, GRID + 1, dtype=torch.float64)), 1.0
    for _ in range(REFINE if found is not None and found[0] < 1 else 0):
        assert found is not None
        width = width / GRID
        found = passing(found[0] + width * torch.linspace(0, 1, GRID + 1, dtype=torch.float64).clamp(max=1)) or found
    return found


def predicted_shift(dose: int, honest: int, radius: float, days: int, window: int) -> list[float]:
    """Return how far a centroid with a fixed radius has moved on each morning, with ``dose`` poison records a day beside ``honest`` ones.

    Honest records average to the first center and poison stands at the boundary, so that of the days s in the window
    ``D_t = dose * sum_{poisoned s} (D_s + radius) / (records in the window)``. The limit is ``dose / honest * radius``: with the share
    ``nu = dose / (dose + honest)`` that is ``nu / (1 - nu) * radius``, as in Kloft and Laskov 2010, arXiv 1003.0078, whose window forgets
    otherwise. Raises ValueError unless dose is 0 or more and the others are 1 or more.
    """
    if dose < 0 or honest < 1 or days < 1 or window < 1:
        raise ValueError(f"dose of 0 or more, and honest, days, window of 1 or more are needed, got {dose}, {honest}, {days}, {window}")
    shift = [0.0]
    for day in range(1, days):
        inside = shift[max(0, day - window) :]
        shift.append(dose * sum(past + radius for past in inside) / (window * honest + dose * len(inside)))
    return shift


__all__ = ["PoisonedWindow", "boiling_frog", "predicted_shift"]
