"""``adult``: who earns more than 50,000 dollars, from the census of 1994; found in ``LABKIT_DATA/adult``, plain or packed (.gz)."""

from __future__ import annotations

import gzip
import hashlib
import tempfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from labkit.data.cards import CARDS
from labkit.data.dataset import Dataset, Role, Split
from labkit.data.errors import DataCorrupt, DataTruncated
from labkit.data.images import stride
from labkit.data.sources import known_files, missing, remedy
from labkit.data.verify import Known
from labkit.files import data_dir

#: The attributes in the order of the files; a number has no values listed. "?": not known, a value like any other.
ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "age": (),
    "workclass": ("?", "Federal-gov", "Local-gov", "Never-worked", "Private", "Self-emp-inc", "Self-emp-not-inc", "State-gov",
                  "Without-pay"),
    "fnlwgt": (),
    "education": ("10th", "11th", "12th", "1st-4th", "5th-6th", "7th-8th", "9th", "Assoc-acdm", "Assoc-voc", "Bachelors", "Doctorate",
                  "HS-grad", "Masters", "Preschool", "Prof-school", "Some-college"),
    "education-num": (),
    "marital-status": ("Divorced", "Married-AF-spouse", "Married-civ-spouse", "Married-spouse-absent", "Never-married", "Separated",
                       "Widowed"),
    "occupation": ("?", "Adm-clerical", "Armed-Forces", "Craft-repair", "Exec-managerial", "Farming-fishing", "Handlers-cleaners",
                   "Machine-op-inspct", "Other-service", "Priv-house-serv", "Prof-specialty", "Protective-serv", "Sales", "Tech-support",
                   "Transport-moving"),
    "relationship": ("Husband", "Not-in-family", "Other-relative", "Own-child", "Unmarried", "Wife"),
    "race": ("Amer-Indian-Eskimo", "Asian-Pac-Islander", "Black", "Other", "White"),
    "sex": ("Female", "Male"),
    "capital-gain": (),
    "capital-loss": (),
    "hours-per-week": (),
    "native-country": ("?", "Cambodia", "Canada", "China", "Columbia", "Cuba", "Dominican-Republic", "Ecuador", "El-Salvador", "England",
                       "France", "Germany", "Greece", "Guatemala", "Haiti", "Holand-Netherlands", "Honduras", "Hong", "Hungary", "India",
                       "Iran", "Ireland", "Italy", "Jamaica", "Japan", "Laos", "Mexico", "Nicaragua", "Outlying-US(Guam-USVI-etc)", "Peru",
                       "Philippines", "Poland", "Portugal", "Puerto-Rico", "Scotland", "South", "Taiwan", "Thailand", "Trinadad&Tobago",
                       "United-States", "Vietnam", "Yugoslavia"),
}  # fmt: skip
CLASSES = ("<=50K", ">50K")
FILES = {"train": "adult.data", "test": "adult.test"}


def columns() -> dict[str, slice]:
    """Return where each attribute stands in an input: one column for a number, one for each value of the others."""
    places, start = {}, 0
    for name, values in ATTRIBUTES.items():
        places[name] = slice(start, start + max(1, len(values)))
        start = places[name].stop
    return places


def load(*, size: int | None = None, seed: int = 0, smoke: bool = False) -> Dataset:
    """Return (N, 108) inputs in [0, 1]: six numbers, eight attributes as one column for each value; ``features`` names the columns.

    The numbers are scaled by the smallest and largest value of the training split alone, and test values are clipped. ``size`` keeps at
    most that many of each split, strided; ``seed`` changes nothing. Raises DataMissing, DataTruncated or DataCorrupt.
    """
    if smoke:
        from labkit.data.fake import write_adult

        with tempfile.TemporaryDirectory() as folder:
            rows = _both(Path(folder), write_adult(Path(folder) / "adult"))
    else:
        rows = _both(data_dir(), known_files("adult"))
    card, train = CARDS["adult"], rows["train"][0]
    numbers = [name for name, values in ATTRIBUTES.items() if not values]
    scale = {name: (float(train[name].min()), float(train[name].max())) for name in numbers}

    def split(role: Role) -> Split:
        named, income = rows[role]
        index = stride(len(income), size)
        x = np.concatenate([_encoded(name, column[index], scale.get(name)) for name, column in named.items()], axis=1)
        return Split(torch.from_numpy(x), torch.from_numpy(income[index]), role, f"adult {role}", torch.from_numpy(index))

    return Dataset(
        "adult", split("train"), split("test"), CLASSES, licence=card.licence, citation=card.citation, description=card.description,
        features=tuple(f"{name}={value}" if value else name for name, values in ATTRIBUTES.items() for value in values or ("",)),
    )  # fmt: skip


Columns = dict[str, NDArray[np.int64]]


def _both(root: Path, known: Mapping[str, Known]) -> dict[str, tuple[Columns, NDArray[np.int64]]]:
    return {split: parse(_text(root, file, known[file]), file) for split, file in FILES.items()}


def _text(root: Path, file: str, known: Known) -> str:
    """Return a file's content; the checksum is of the plain file, packed or not."""
    packed, plain = root / "adult" / f"{file}.gz", root / "adult" / file
    path = packed if packed.is_file() else plain
    if not path.is_file():
        raise missing("adult", f"adult/{file}")
    try:
        content = gzip.decompress(path.read_bytes()) if path is packed else path.read_bytes()
    except EOFError as error:
        raise DataTruncated(f"{path} is truncated: {error}. {remedy('adult')}") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise DataCorrupt(f"{path} is corrupt: {error}. {remedy('adult')}") from error
    if (observed := hashlib.md5(content).hexdigest()) != known.md5:
        facts = f"{len(content):,} bytes with md5 {observed}, expected {known.size:,} with {known.md5}"
        kind, word = (DataTruncated, "truncated") if len(content) < known.size else (DataCorrupt, "corrupt")
        raise kind(f"{path} is {word}: {facts}. {remedy('adult')}")
    return content.decode("ascii")


def parse(text: str, source: str) -> tuple[Columns, NDArray[np.int64]]:
    """Return numbers and positions of values by attribute, (N,) int64 each, and the class (N,): 1 is more than 50,000.

    Lines without fourteen commas are no records (the test file begins with one); there the class ends with a full stop. Raises DataCorrupt
    for a value that the attribute does not have.
    """
    lines = (line.split(",") for line in text.splitlines() if line.count(",") == len(ATTRIBUTES))
    table = [[cell.strip() for cell in line] for line in lines]
    if not table:
        raise DataCorrupt(f"{source} holds no record of {len(ATTRIBUTES) + 1} fields")
    read: Columns = {}
    for number, (name, values) in enumerate({**ATTRIBUTES, "income": CLASSES}.items()):
        cells = [row[number].rstrip(".") for row in table]
        place = {value: at for at, value in enumerate(values)}
        try:
            read[name] = np.array([place[cell] for cell in cells] if values else [int(cell) for cell in cells], dtype=np.int64)
        except (KeyError, ValueError) as error:
            raise DataCorrupt(f"{source}: {error} is no value of {name!r}") from error
    income = read.pop("income")
    return read, income


def _encoded(name: str, column: NDArray[np.int64], scale: tuple[float, float] | None) -> NDArray[np.float32]:
    if scale is None:
        return np.eye(len(ATTRIBUTES[name]), dtype=np.float32)[column]
    low, high = scale
    scaled: NDArray[np.float32] = np.clip((column - low) / max(high - low, 1.0), 0, 1).astype(np.float32)
    return scaled[:, None]
