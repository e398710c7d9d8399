"""``transactions``: card payments, honest ones and four kinds of fraud; drawn from a documented model."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from labkit.data.dataset import Dataset
from labkit.data.drawn import drawn
from labkit.data.records import Columns, Field, Schema, one_of

CLASSES = ("honest", "card testing", "stolen card", "account takeover", "cash-out")
SHOPS = ("groceries", "fuel", "restaurant", "online", "electronics", "travel", "cash")
TRAIN, TEST = 8_000, 3_000
DAY = 1_440  # minutes
FORMAT = 2  # raise it with every change of the numbers


def _follow(c: Columns) -> Columns:
    """Whoever paid within a day has at least two payments today, whoever did not has one; the day's total holds this payment and a cent
    for each other one; no payment is more than a thousand usual ones, the ratio is a quotient; a payment abroad is one far away; one
    shop; nobody is present online."""
    c = dict(c)
    c["amount"] = torch.minimum(c["amount"], 1000 * c["usual"])
    c["today"] = torch.where(c["waited"] < DAY, c["today"].clamp_min(2), torch.ones_like(c["today"]))
    c["total_today"] = torch.where(c["today"] > 1, torch.maximum(c["total_today"], c["amount"] + c["today"] - 1), c["amount"])
    c["ratio"] = c["amount"] / c["usual"]
    c["abroad"] = (c["distance"] > 800).double()
    c |= one_of(c, [f"at_{shop}" for shop in SHOPS])
    c["present"] = 1 - c["at_online"]
    return c


SCHEMA = Schema(
    (
        Field("amount", "cents", 1, 1_000_000, "integer", "log", "free", "this payment; whoever pays less gets less"),
        Field("usual", "cents", 100, 200_000, "integer", "log", "fixed", "the customer's usual payment"),
        Field("ratio", "", 0, 1_000, scale="log", control="derived", meaning="this payment over the usual one"),
        Field("hour", "h", 0, 23, "integer", "linear", "free", "hour of the day where the customer lives"),
        Field("weekday", "d", 0, 6, "integer", "linear", "free", "Monday is 0"),
        Field("waited", "min", 0, 20_000, "integer", "log", "up", "since the customer's last payment"),
        Field("today", "payments", 1, 200, "integer", "log", "down", "payments in the last 24 hours, this one included"),
        Field("total_today", "cents", 1, 5_000_000, "integer", "log", "free", "paid in the last 24 hours, this payment included"),
        Field("distance", "km", 0, 12_000, "integer", "log", "fixed", "from the customer's home"),
        Field("abroad", "", 0, 1, "flag", control="derived", meaning="more than 800 km away"),
        Field("account_age", "d", 0, 9_000, "integer", "log", "fixed", "days since the account was opened"),
        Field("wrong_pins", "", 0, 3, "integer", "linear", "fixed", "wrong numbers typed today"),
        Field("present", "", 0, 1, "flag", control="derived", meaning="the card was there"),
        *(Field(f"at_{shop}", "", 0, 1, "flag", meaning=f"the shop is {shop}") for shop in SHOPS),
    ),
    _follow,
)

# Per kind, honest first: shop weights; ratio to the usual amount (median, spread of the logarithm); share at night; waited (median
# minutes, spread); other payments today (mean); share far from home; share with a wrong number.
_KINDS = (
    ((0.34, 0.12, 0.18, 0.20, 0.05, 0.05, 0.06), (1.0, 0.6), 0.06, (700, 1.2), 1.2, 0.04, 0.03),
    ((0, 0, 0, 1.0, 0, 0, 0), (0.04, 0.6), 0.45, (4, 0.8), 14, 0.10, 0.0),
    ((0.10, 0.10, 0.05, 0.10, 0.45, 0.10, 0.10), (5.0, 0.6), 0.25, (90, 1.0), 4, 0.35, 0.25),
    ((0, 0, 0, 0.7, 0.2, 0.1, 0), (8.0, 0.7), 0.35, (300, 1.3), 2, 0.30, 0.05),
    ((0, 0, 0, 0, 0, 0, 1.0), (6.0, 0.4), 0.35, (40, 0.9), 4, 0.25, 0.45),
)


def load(*, size: int | None = None, seed: int = 0, smoke: bool = False) -> Dataset:
    """Return (N, 20) records in [0, 1]; ``SCHEMA`` decodes them and knows what can be changed. 2 % of train and 10 % of test are fraud.

    ``size`` keeps at most that many of each split, at a constant stride; ``seed`` draws other payments. Raises ValueError for size < 1.
    """
    draws = {"train": lambda rng: draw(TRAIN, 0.02, rng), "test": lambda rng: draw(TEST, 0.10, rng)}
    return drawn("transactions", draws, CLASSES, FORMAT, size=size, seed=seed, smoke=smoke, features=SCHEMA.names)


def draw(count: int, fraud: float, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Return ``count`` records (N, F) and their classes (N,), of which the share ``fraud`` is fraud, each kind as often."""
    kind = np.zeros(count, dtype=np.int64)
    frauds = round(count * fraud)
    kind[:frauds] = 1 + np.arange(frauds) % (len(CLASSES) - 1)
    rng.shuffle(kind)

    def log_normal(place: int) -> NDArray[np.float64]:
        median, spread = np.array([k[place] for k in _KINDS], dtype=float).T[:, kind]
        values: NDArray[np.float64] = median * np.exp(spread * rng.standard_normal(count))
        return values

    def chance(place: int) -> NDArray[np.bool_]:
        hit: NDArray[np.bool_] = rng.random(count) < np.array([k[place] for k in _KINDS], dtype=float)[kind]
        return hit

    usual = np.clip(2_800 * np.exp(0.7 * rng.standard_normal(count)), 300, 150_000).round()
    weights = np.array([k[0] for k in _KINDS], dtype=float)[kind]
    shop = (weights.cumsum(1) > rng.random((count, 1))).argmax(1)
    dear = np.array([1.0, 1.6, 1.1, 1.2, 4.0, 6.0, 2.5])[shop]  # what a shop's payments usually are beside groceries
    amount = np.clip(usual * log_normal(1) * np.where(kind == 0, dear, 1), 1, 1e6).round()
    hour = np.where(chance(2), rng.normal(2.5, 1.8, count) % 24, np.clip(rng.normal(14.5, 3.8, count), 6, 23.4))
    waited = log_normal(3).round()
    before = np.where(waited < DAY, np.maximum(rng.poisson(np.array([k[4] for k in _KINDS])[kind]), 1), 0)
    spent = before * usual * np.exp(0.5 * rng.standard_normal(count)) * np.where(kind == 1, 0.04, np.where(kind > 1, 2.0, 1.0))
    far = chance(5) | (shop == 5) & (rng.random(count) < 0.5)
    distance = np.where(far, 400 + rng.exponential(2_500, count), rng.exponential(7, count))
    values = {"amount": amount, "usual": usual, "ratio": amount / usual, "hour": np.floor(hour),
              "weekday": rng.integers(0, 7, count), "waited": waited, "today": 1 + before,
              "total_today": amount + spent.round(), "distance": distance.round(), "abroad": far,
              "account_age": (1_500 * np.exp(0.9 * rng.standard_normal(count))).round(),
              "wrong_pins": np.where(chance(6) & (shop != 3), 1 + (rng.random(count) < 0.3), 0), "present": shop != 3,
              **{f"at_{name}": shop == i for i, name in enumerate(SHOPS)}}  # fmt: skip
    columns = {name: torch.from_numpy(np.asarray(value, dtype=np.float64)) for name, value in values.items()}
    return SCHEMA.possible(SCHEMA.encode(SCHEMA.follow(columns))), torch.from_numpy(kind)


__all__ = ["CLASSES", "FORMAT", "SCHEMA", "SHOPS", "TEST", "TRAIN", "draw", "load"]
