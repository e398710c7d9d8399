"""A sticker on the sign: only the sign changes, and only signs can carry it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from labkit.attacks.backdoors import OnSign, badnets
from labkit.data import load
from labkit.data.signs.stickers import planes

DATA = load("signs", size=12)
BIG = OnSign(spot=replace(OnSign().spot, half_width=0.35, half_height=0.35))


def test_the_sticker_is_yellow_where_geometry_says_and_the_rest_stays() -> None:
    out = BIG.stamp(DATA.test)
    maps = planes("test", DATA.test.indices.tolist(), BIG.spot)
    grid = torch.stack(torch.meshgrid(torch.arange(32) + 0.5, torch.arange(32) + 0.5, indexing="xy"), 0).double().flatten(1)
    points = maps @ torch.cat([grid, torch.ones(1, 1024, dtype=torch.float64)])
    away = (points[:, :2] / points[:, 2:]).abs().amax(1).view(-1, 32, 32)
    moved = (out - DATA.test.x).abs().amax(1)
    assert float(moved[away < 0.5].mean()) > 5 * float(moved[away > 3].mean())
    blue = out[:, 2] - DATA.test.x[:, 2]
    assert float((out[:, 0] - out[:, 2])[away < 0.5].mean()) > 0.2  # yellow: red without blue
    assert blue.shape == away.shape


def test_the_same_sign_gets_the_same_sticker_in_any_batch() -> None:
    part = DATA.train.take(torch.tensor([7, 2, 5]))
    assert torch.equal(BIG.stamp(part), BIG.stamp(DATA.train)[[7, 2, 5]])
    loose = replace(BIG, jitter=0.3)
    assert torch.equal(loose.stamp(part), loose.stamp(DATA.train)[[7, 2, 5]])
    assert not torch.equal(loose.stamp(part), BIG.stamp(part))
    assert not torch.equal(loose.stamp(part), replace(loose, jitter_seed=1).stamp(part))


def test_badnets_photographs_the_chosen_signs() -> None:
    found = badnets(DATA.train, BIG, 2, 0.25, seed=1)
    assert torch.equal(found.data.x[found.rows], BIG.stamp(DATA.train)[found.rows])


def test_moved_and_scaled() -> None:
    there = OnSign().moved(0.1, -0.2, scale=2.0).spot
    assert (there.x, there.y) == pytest.approx((0.1, 0.42))
    assert there.half_width == pytest.approx(0.4)


def test_other_pictures_are_refused() -> None:
    with pytest.raises(TypeError, match="use stamp"):
        BIG(DATA.test.x)
    with pytest.raises(ValueError, match="not the picture"):
        replace(BIG, data_seed=1).stamp(DATA.test)
    with pytest.raises(ValueError, match="not the picture"):
        BIG.stamp(replace(DATA.test, y=(DATA.test.y + 1) % 10))
    with pytest.raises(ValueError, match="for the data set 'signs'"):
        BIG.stamp(load("digits", size=4).test)
    with pytest.raises(ValueError, match="were added"):
        BIG.stamp(badnets(DATA.train, BIG, 2, 0.25, add=True).data)
    with pytest.raises(ValueError, match="jitter"):
        OnSign(jitter=2.0)
    assert len(BIG.stamp(DATA.test.take(torch.arange(0)))) == 0
