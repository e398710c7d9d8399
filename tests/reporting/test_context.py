"""The running chapter: profiles, picking a value, being remembered."""

import pytest

from labkit.reporting import context
from labkit.reporting.context import Lab


def test_an_unknown_profile_names_the_three():
    with pytest.raises(ValueError, match=r"'fast'.*'quick'.*'paper'.*'smoke'"):
        Lab("10_evasion_gradient", "fast", 0, "cpu")


@pytest.mark.parametrize(("profile", "expected"), [("quick", 1), ("paper", 2), ("smoke", 3)])
def test_pick_follows_the_profile(profile, expected):
    assert Lab("c", profile, 0, "cpu").pick(quick=1, paper=2, smoke=3) == expected


def test_smoke_falls_back_to_paper_but_none_is_a_value():
    lab = Lab("c", "smoke", 0, "cpu")
    assert lab.pick(quick=1, paper=2) == 2
    assert lab.pick(quick=1, paper=2, smoke=None) is None


def test_set_and_get_remember_one_lab():
    before = context.get()
    try:
        lab = Lab("c", "quick", 7, "cpu")
        context.set(lab)
        assert context.get() is lab
        context.set(None)
        assert context.get() is None
    finally:
        context.set(before)
