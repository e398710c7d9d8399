"""``sms_spam``: 5,574 real text messages, found in ``LABKIT_DATA/sms-spam/SMSSpamCollection``."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch

from labkit.data.bring import brought
from labkit.data.cards import CARDS
from labkit.data.dataset import Dataset, Role
from labkit.data.errors import DataCorrupt
from labkit.data.images import stride
from labkit.data.text import TextSplit, encode
from labkit.data.verify import Known

CLASSES = ("ham", "spam")
PATH = "sms-spam/SMSSpamCollection"
KNOWN = Known(477_907, "1949b64a224790d01335c2bf8a0e48b2")
ORIGIN = "the UCI Machine Learning Repository (data set 228, the file SMSSpamCollection of its archive)"
EVERY = 5  # every fifth different message of each class is test


def load(*, size: int | None = None, seed: int = 0, smoke: bool = False) -> Dataset:
    """Return the messages as bytes, (N, L) in [0, 1]; ``data.train.text`` and ``data.test.text`` read them.

    The collection has no official split and hundreds of repeated messages: each is kept once, so that no test message stands in train,
    and of each class every fifth is test. ``size`` keeps at most that many of each split, at a constant stride; ``seed`` changes nothing.
    Raises DataMissing, DataTruncated or DataCorrupt, ValueError for size < 1.
    """
    if smoke:
        from labkit.data.fake import write_sms_spam

        with tempfile.TemporaryDirectory() as folder:
            pairs = read(write_sms_spam(Path(folder)))
        every = 2
    else:
        pairs, every = read(brought("sms_spam", PATH, KNOWN, ORIGIN)), EVERY
    length = max(len(text.encode()) for text, _ in pairs)
    rank = [0, 0]
    test = []
    for _, label in pairs:
        test.append(rank[label] % every == every - 1)
        rank[label] += 1
    card = CARDS["sms_spam"]

    def split(role: Role) -> TextSplit:
        chosen = [pair for pair, held in zip(pairs, test, strict=True) if held == (role == "test")]
        index = stride(len(chosen), size)
        some = [chosen[i] for i in index]
        return TextSplit(encode([text for text, _ in some], length), torch.tensor([label for _, label in some]),
                         role, f"sms_spam {role}", torch.from_numpy(index))  # fmt: skip

    return Dataset("sms_spam", split("train"), split("test"), CLASSES,
                   licence=card.licence, citation=card.citation, description=card.description)  # fmt: skip


def read(path: Path) -> list[tuple[str, int]]:
    """Return the different messages in the order of the file, each with its label (1 for spam). Raises DataCorrupt for other lines."""
    found: dict[str, int] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").rstrip("\n").split("\n"), 1):
        label, tab, text = line.partition("\t")
        if not tab or label not in CLASSES:
            raise DataCorrupt(f"{path}, line {number}: expected 'ham' or 'spam', a tab and a message, found {line[:40]!r}")
        found.setdefault(" ".join(text.split()), CLASSES.index(label))
    return list(found.items())
