from __future__ import annotations

from pathlib import Path

import pytest
import torch

from labkit.data import card, load, names
from labkit.data.catalogue import EMBEDDED

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", names())
def test_smoke_gives_64_samples_of_the_right_kind(name: str, tmp_path: Path) -> None:
    dataset = load(name, smoke=True)
    for split in (dataset.train, dataset.test):
        assert len(split) == 64
        assert split.x.dtype == torch.float32
        assert split.y.dtype == torch.int64
        assert split.x.min() >= dataset.bounds[0]
        assert split.x.max() <= dataset.bounds[1]
        assert split.x.max() > 0.5
        assert split.x.is_contiguous()
        assert set(split.y.tolist()) <= set(range(len(dataset.classes)))
    assert dataset.train.role == "train"
    assert dataset.test.role == "test"
    assert dataset.licence
    assert dataset.citation
    assert dataset.description
    assert dataset.train.fingerprint != dataset.test.fingerprint
    assert load(name, smoke=True).fingerprint == dataset.fingerprint
    assert not (tmp_path / "data").exists(), "loading must not write to LABKIT_DATA"


@pytest.mark.parametrize("name", names())
def test_size_limits_each_split(name: str) -> None:
    dataset = load(name, size=20, smoke=name not in EMBEDDED)
    assert len(dataset.train) == len(dataset.test) == 20
    with pytest.raises(ValueError, match="size must be at least 1, not -3"):
        load(name, size=-3, smoke=name not in EMBEDDED)


def test_size_is_a_stride_over_the_whole() -> None:
    assert load("mnist", size=16, smoke=True).train.indices.tolist() == list(range(0, 64, 4))


def test_an_unknown_name_gets_the_nearest_one() -> None:
    with pytest.raises(ValueError, match="no data set 'fashion-mnist': did you mean 'fashion_mnist'"):
        load("fashion-mnist")


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "cifar10", "gtsrb", "adult"])
def test_a_missing_set_is_explained(name: str, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        load(name)
    text = str(caught.value)
    for part in (f"labkit data get {name}", " MB)", 'PROFILE="quick" needs none', str(tmp_path / "data"), "there is no "):
        assert part in text


@pytest.mark.parametrize("name", names())
def test_the_readme_holds_every_card(name: str) -> None:
    assert card(name).replace("## ", "### ", 1).strip() in (ROOT / "data" / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["digits", "tumors"])
def test_the_cards_count_right(name: str) -> None:
    dataset = load(name)
    assert f"{len(dataset.train):,} train and {len(dataset.test):,} test" in card(name)
