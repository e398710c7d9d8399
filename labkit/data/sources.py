"""The papers' data sets: which files they consist of, their checksums, and where they are published."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from labkit.data.cards import CARDS
from labkit.data.errors import DataMissing
from labkit.data.verify import Known, Verified
from labkit.files import data_dir


@dataclass(frozen=True)
class Source:
    """A published file: its place under ``LABKIT_DATA`` (torchvision's), what is known of it, and its mirrors."""

    path: str
    known: Known
    urls: tuple[str, ...]


def _idx(folder: str, mirrors: tuple[str, ...], files: dict[str, Known]) -> tuple[Source, ...]:
    return tuple(Source(f"{folder}/raw/{name}", known, tuple(base + name for base in mirrors)) for name, known in files.items())


_UCI = "https://archive.ics.uci.edu/ml/machine-learning-databases/"
_ERDA = "https://sid.erda.dk/public/archives/daaeac0d7ce1152aea9b61d9f1e19370/"

# The addresses and MD5 sums are the ones that torchvision publishes; Adult's sums are of the files at UCI.
# GTSRB's lengths are approximate: they word messages only.
SOURCES: dict[str, tuple[Source, ...]] = {
    "mnist": _idx("MNIST", ("https://ossci-datasets.s3.amazonaws.com/mnist/", "http://yann.lecun.com/exdb/mnist/"), {
        "train-images-idx3-ubyte.gz": Known(9_912_422, "f68b3c2dcbeaaa9fbdd348bbdeb94873"),
        "train-labels-idx1-ubyte.gz": Known(28_881, "d53e105ee54ea40749a09fcbcd1e9432"),
        "t10k-images-idx3-ubyte.gz": Known(1_648_877, "9fb629c4189551a2d022fa330f9573f3"),
        "t10k-labels-idx1-ubyte.gz": Known(4_542, "ec29112dd5afa0611ce80d1b7f02629c"),
    }),
    "fashion_mnist": _idx("FashionMNIST", ("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",), {
        "train-images-idx3-ubyte.gz": Known(26_421_880, "8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
        "train-labels-idx1-ubyte.gz": Known(29_515, "25c81989df183df01b3e8a0aad5dffbe"),
        "t10k-images-idx3-ubyte.gz": Known(4_422_102, "bef4ecab320f06d8554ea6380940ec79"),
        "t10k-labels-idx1-ubyte.gz": Known(5_148, "bb300cfdad3c16e7a12a480ee83cd310"),
    }),
    "cifar10": (
        Source("cifar-10-python.tar.gz", Known(170_498_071, "c58f30108f718f92721af3b95e74349a"),
               ("https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",)),
    ),
    "gtsrb": (
        Source("gtsrb/GTSRB-Training_fixed.zip", Known(187_490_228, "513f3c79a4c5141765e10e952eaa2478"),
               (_ERDA + "GTSRB-Training_fixed.zip",)),
        Source("gtsrb/GTSRB_Final_Test_Images.zip", Known(88_978_620, "c7e4e6327067d32654124b0fe9e82185"),
               (_ERDA + "GTSRB_Final_Test_Images.zip",)),
        Source("gtsrb/GTSRB_Final_Test_GT.zip", Known(99_620, "fe31e9c9270bbcd7b84b7f21a9d9d9e5"),
               (_ERDA + "GTSRB_Final_Test_GT.zip",)),
    ),
    "adult": (
        Source("adult/adult.data", Known(3_974_305, "5d7c39d7b8804f071cdd1f2a7c460872"), (_UCI + "adult/adult.data",)),
        Source("adult/adult.test", Known(2_003_153, "35238206dfdf7f1fe215bbb874adecdc"), (_UCI + "adult/adult.test",)),
    ),
}  # fmt: skip


def total_size(name: str) -> int:
    """Return how many bytes a data set's download has."""
    return sum(source.known.size for source in SOURCES[name])


def known_files(name: str) -> dict[str, Known]:
    """Return what is known of a data set's published files, by file name."""
    return {Path(source.path).name: source.known for source in SOURCES[name]}


def remedy(name: str) -> str:
    """Return the sentence that follows a complaint about a damaged file."""
    return f"Delete it and run `labkit data get {name}`, or copy it again from where it came"


def missing(name: str, looked_for: str) -> DataMissing:
    """Return the error for a data set that is not there: what is missing, how big it is, and the ways out."""
    return DataMissing(
        f"{CARDS[name].title} is not on this machine: there is no {looked_for} in {data_dir()}. "
        f"Get it ({total_size(name) / 1e6:.1f} MB) with `labkit data get {name}`, or set LABKIT_DATA to a folder that has it. "
        f'PROFILE="quick" needs none of the papers\' data.'
    )


def check_files(name: str, folder: Path, known: Mapping[str, Known], verified: Verified) -> None:
    """Raise DataMissing, DataTruncated or DataCorrupt unless every known file of data set ``name`` is in ``folder`` with its checksum."""
    for file, facts in known.items():
        if not (folder / file).is_file():
            raise missing(name, f"{folder.name}/{file}")
        verified.check(folder / file, "md5", facts.md5, size=facts.size, remedy=remedy(name))
