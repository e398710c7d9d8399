"""``flows``: network connections as a company's border sees them, honest ones and four kinds of attack; drawn from a documented model."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from labkit.data.dataset import Dataset
from labkit.data.drawn import drawn
from labkit.data.records import Columns, Field, Schema, one_of

CLASSES = ("honest", "port scan", "password guessing", "flood", "exfiltration")
SERVICES = ("web", "mail", "dns", "ssh", "other")
TRAIN, TEST = 6_000, 2_000
FORMAT = 2  # raise it with every change of the numbers


def _follow(c: Columns) -> Columns:
    """Bytes must fit into the packets (40 to 1,500 each); no more than a million packets a second; sizes and rates are quotients; no more
    ports than connections; one service."""
    c = dict(c)
    c["sent_bytes"] = torch.minimum(torch.maximum(c["sent_bytes"], 40 * c["sent_packets"]), 1500 * c["sent_packets"])
    c["received_bytes"] = torch.minimum(torch.maximum(c["received_bytes"], 40 * c["received_packets"]), 1500 * c["received_packets"])
    c["connections"] = torch.maximum(c["connections"], torch.ones_like(c["connections"]))
    c["ports"] = torch.minimum(torch.maximum(c["ports"], torch.ones_like(c["ports"])), c["connections"])
    c |= one_of(c, [f"to_{service}" for service in SERVICES])
    c["duration"] = torch.maximum(c["duration"], (c["sent_packets"] + c["received_packets"]) / 1e6)
    c["packet_size"] = c["sent_bytes"] / c["sent_packets"]
    c["rate"] = (c["sent_packets"] + c["received_packets"]) / c["duration"]
    return c


SCHEMA = Schema(
    (
        Field("duration", "s", 0.001, 3_600, scale="log", control="up", meaning="how long the connection stays open"),
        Field("sent_packets", "packets", 1, 100_000, "integer", "log", "up", "packets from the client; padding adds, nothing removes"),
        Field("received_packets", "packets", 0, 100_000, "integer", "log", "fixed", "packets from the server"),
        Field("sent_bytes", "bytes", 40, 100_000_000, "integer", "log", "up", "bytes from the client"),
        Field("received_bytes", "bytes", 0, 100_000_000, "integer", "log", "fixed", "bytes from the server"),
        Field("packet_size", "bytes", 40, 1_500, control="derived", meaning="sent bytes per sent packet"),
        Field("rate", "packets/s", 0, 1e6, scale="log", control="derived", meaning="packets both ways per second"),
        Field("failed_logins", "logins", 0, 30, "integer", "log", "down", "refused passwords on this connection"),
        Field("connections", "connections", 1, 5_000, "integer", "log", "down", "by the same client in the last two minutes"),
        Field("ports", "ports", 1, 5_000, "integer", "log", "down", "different ports among them"),
        Field("hour", "h", 0, 23, "integer", "linear", "free", "hour of the day"),
        Field("inside", "", 0, 1, "flag", meaning="the client is inside the company"),
        *(Field(f"to_{service}", "", 0, 1, "flag", meaning=f"the service is {service}") for service in SERVICES),
    ),
    _follow,
)

# kind: share, service weights (web mail dns ssh other), then median and spread (of the natural logarithm) of
# duration, sent packets, answer packets per sent one, bytes per sent packet, connections in two minutes; share from inside.
_HONEST = {
    "browsing": (0.46, (1, 0, 0, 0, 0), (2.0, 1.2), (14, 0.8), (1.6, 0.4), (220, 0.5), (8, 0.8), 0.95),
    "mail": (0.14, (0, 1, 0, 0, 0), (1.5, 0.9), (12, 0.7), (0.9, 0.3), (450, 0.6), (3, 0.6), 0.8),
    "name lookup": (0.20, (0, 0, 1, 0, 0), (0.03, 0.6), (1.2, 0.3), (1.0, 0.1), (70, 0.2), (12, 0.8), 0.97),
    "administration": (0.06, (0, 0, 0, 1, 0), (300, 1.2), (600, 1.0), (1.1, 0.3), (110, 0.3), (2, 0.4), 0.9),
    "video call": (0.08, (0.5, 0, 0, 0, 0.5), (900, 0.8), (20_000, 0.7), (1.0, 0.2), (900, 0.2), (4, 0.5), 0.95),
    "backup": (0.06, (0, 0, 0, 0.3, 0.7), (400, 0.8), (12_000, 0.9), (0.5, 0.3), (1_300, 0.1), (3, 0.5), 1.0),
}
_ATTACKS = {
    "port scan": (0, (0.1, 0.1, 0.1, 0.2, 0.5), (0.02, 1.0), (1.3, 0.3), (0.6, 0.4), (48, 0.15), (300, 0.9), 0.2),
    "password guessing": (0, (0, 0.3, 0, 0.7, 0), (8, 0.7), (40, 0.5), (1.1, 0.2), (120, 0.3), (25, 0.7), 0.1),
    "flood": (0, (0.6, 0, 0.3, 0, 0.1), (6, 0.8), (9_000, 0.8), (0.1, 0.8), (60, 0.3), (120, 0.9), 0.05),
    "exfiltration": (0, (0.5, 0.1, 0.1, 0.2, 0.1), (250, 0.9), (7_000, 0.9), (0.4, 0.4), (1_250, 0.15), (5, 0.6), 1.0),
}


def load(*, size: int | None = None, seed: int = 0, smoke: bool = False) -> Dataset:
    """Return (N, 17) records in [0, 1]; ``SCHEMA`` decodes them and knows what can be changed. 5 % of train and 20 % of test are attacks.

    ``size`` keeps at most that many of each split, at a constant stride; ``seed`` draws other connections. Raises ValueError for size < 1.
    """
    draws = {"train": lambda rng: draw(TRAIN, 0.05, rng), "test": lambda rng: draw(TEST, 0.2, rng)}
    return drawn("flows", draws, CLASSES, FORMAT, size=size, seed=seed, smoke=smoke, features=SCHEMA.names)


def draw(count: int, attacked: float, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Return ``count`` records (N, F) and their classes (N,), of which the share ``attacked`` are attacks, each kind as often."""
    labels = np.zeros(count, dtype=np.int64)
    attacks = round(count * attacked)
    labels[:attacks] = 1 + np.arange(attacks) % (len(CLASSES) - 1)
    rng.shuffle(labels)
    kinds = list(_HONEST.values()) + list(_ATTACKS.values())
    honest = rng.choice(len(_HONEST), count, p=[kind[0] for kind in _HONEST.values()])
    kind = np.where(labels == 0, honest, len(_HONEST) + labels - 1)

    def log_normal(place: int, least: float = 0.0) -> NDArray[np.float64]:
        median, spread = np.array([k[place] for k in kinds]).T[:, kind]
        values: NDArray[np.float64] = np.maximum(median * np.exp(spread * rng.standard_normal(count)), least)
        return values

    duration = log_normal(2, 0.001)
    sent = np.maximum(log_normal(3).round(), 1)
    answer = (sent * log_normal(4)).round()
    size = np.clip(log_normal(5), 40, 1_500)
    connections = np.maximum(log_normal(6).round(), 1)
    answered = np.clip(log_normal(4) * 300, 40, 1_500)
    scan = kind == len(_HONEST)
    ports = np.where(scan, connections * rng.uniform(0.5, 1.0, count), 1 + rng.poisson(0.6, count)).round()
    guessing = kind == len(_HONEST) + 1
    failed = np.where(guessing, 2 + rng.poisson(4, count), rng.random(count) < 0.03)
    office = np.clip(rng.normal(13, 3.5, count), 0, 23.4)
    night = (rng.normal(2, 2.0, count) + 24) % 24
    at_night = np.where(kind == 5, 0.9, np.where(labels == 0, 0.08, np.where(labels == 4, 0.6, 0.45)))
    hour = np.floor(np.where(rng.random(count) < at_night, night, office)).clip(0, 23)
    inside = rng.random(count) < np.array([k[7] for k in kinds])[kind]
    weights = np.array([k[1] for k in kinds], dtype=float)[kind]
    service = (weights.cumsum(1) > rng.random((count, 1))).argmax(1)
    failed = np.where(np.isin(service, [SERVICES.index(name) for name in ("web", "mail", "ssh")]), failed, 0)  # others ask for no password
    values = {"duration": duration, "sent_packets": sent, "received_packets": answer, "sent_bytes": (sent * size).round(),
              "received_bytes": (answer * answered).round(), "packet_size": size, "rate": sent, "failed_logins": failed,
              "connections": connections, "ports": ports, "hour": hour, "inside": inside,
              **{f"to_{name}": service == i for i, name in enumerate(SERVICES)}}  # fmt: skip
    columns = {name: torch.from_numpy(np.asarray(value, dtype=np.float64)) for name, value in values.items()}
    x = SCHEMA.possible(SCHEMA.encode(SCHEMA.follow(columns)))
    return x, torch.from_numpy(labels)


__all__ = ["CLASSES", "FORMAT", "SCHEMA", "SERVICES", "TEST", "TRAIN", "draw", "load"]
