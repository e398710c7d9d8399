"""`compare`: what it shows and keeps in each profile, and what it refuses."""

import builtins
import json

import pytest
import torch

from labkit.rates import Rate
from labkit.reporting import compare
from labkit.reporting.claims import UnknownClaim
from labkit.reporting.emit import COMPARISON_MIME

SHIPPED = "ev-pgd40-lenet5-shipped"


def outcomes(successes, n=10_000):
    return torch.arange(n) < successes


def test_a_hit_is_judged_from_the_outcomes(shown, lab):
    lab("paper")
    compare(SHIPPED, "at-net-success", outcomes(674), kind="same weights")
    bundle = shown[0][0]
    payload = bundle[COMPARISON_MIME]
    assert (payload["value"], payload["n"], payload["verdict"]) == (0.0674, 10_000, "HIT")
    assert payload["interval"] == pytest.approx([0.0627, 0.0725], abs=1e-4)
    assert payload["tolerance"] == "within 0.3 points"
    assert "6.74% [6.27%, 7.25%], n = 10,000" in bundle["text/plain"]
    assert "HIT" in bundle["text/html"]
    assert payload["hardware"].startswith("cpu (")
    json.dumps(payload, allow_nan=False)


def test_a_miss_is_printed_as_a_miss(shown, lab):
    lab("paper")
    compare(SHIPPED, "at-net-accuracy", Rate(9863, 10_000), kind="same weights")
    assert shown[0][0][COMPARISON_MIME]["verdict"] == "MISS"
    assert "MISS" in shown[0][0]["text/plain"]
    assert "\u2717 MISS" in shown[0][0]["text/html"]


def test_the_tolerance_depends_on_the_kind(shown, lab):
    lab("paper")
    compare(SHIPPED, "at-net-success", 0.0674, kind="retrained")
    assert shown[0][0][COMPARISON_MIME]["verdict"] == "no tolerance"


def test_reduced_says_what_was_cut(shown, lab):
    lab("paper")
    with pytest.raises(ValueError, match="what was cut"):
        compare("df-madry-mnist", "paper-pgd-40x1", 0.93, kind="reduced")
    compare("df-madry-mnist", "paper-pgd-40x1", 0.93, kind="reduced", settings={"epochs": 5})
    assert "reduced (epochs 5)" in shown[0][0]["text/plain"]
    assert shown[0][0][COMPARISON_MIME]["settings"] == {"epochs": 5}


def test_nan_is_a_miss_and_flagged(shown, lab):
    lab("paper")
    compare(SHIPPED, "at-net-success", float("nan"), kind="same weights")
    payload = shown[0][0][COMPARISON_MIME]
    assert (payload["value"], payload["flag"], payload["verdict"]) == (None, "nan", "MISS")


def test_quick_shows_and_keeps_nothing_and_cannot_claim(shown, lab, tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    monkeypatch.setenv("LABKIT_ROOT", str(tmp_path))
    lab("quick")
    compare(SHIPPED, "at-net-success", None, kind="same weights")
    bundle = shown[0][0]
    assert COMPARISON_MIME not in bundle
    assert "6.8%" in bundle["text/plain"]
    assert "not yet" in bundle["text/plain"]
    with pytest.raises(ValueError, match="only profile paper can reproduce"):
        compare(SHIPPED, "at-net-success", 0.068, kind="same weights")


def test_smoke_keeps_nothing(shown, lab):
    lab("smoke")
    compare(SHIPPED, "at-net-success", outcomes(3, 64), kind="same weights")
    assert COMPARISON_MIME not in shown[0][0]
    assert "not recorded" in shown[0][0]["text/plain"]


@pytest.mark.parametrize(("arguments", "error", "message"), [
    ({"name": "ev-pgd40-lenet5"}, UnknownClaim, SHIPPED),
    ({"figure": "at-net-sucess"}, UnknownClaim, "at-net-success"),
    ({"kind": "exactly"}, ValueError, "'exactly' is none of recomputed"),
    ({"value": 6.74}, ValueError, "674%; give the fraction"),
    ({"value": 0.07, "outcomes": outcomes(674)}, ValueError, "does not follow from the outcomes, which give 0.0674"),
    ({"value": 0.0674, "n": 1000, "outcomes": outcomes(674)}, ValueError, "n=1000, but there are 10000 outcomes"),
])  # fmt: skip
def test_wrong_calls_are_refused(arguments, error, message, lab):
    lab("paper")
    with pytest.raises(error, match=message):
        compare(**{"name": SHIPPED, "figure": "at-net-success", "value": 0.0674, "kind": "same weights", **arguments})


def test_without_pyyaml_the_number_is_kept_and_judged_later(shown, lab, monkeypatch):
    from labkit.reporting import registry

    registry._parsed.cache_clear()
    real = builtins.__import__
    monkeypatch.setattr(builtins, "__import__", lambda name, *rest: _no_yaml(real, name, *rest))
    lab("paper")
    compare(SHIPPED, "at-net-success", outcomes(674), kind="same weights")
    payload = shown[0][0][COMPARISON_MIME]
    assert payload["value"] == 0.0674
    assert payload["verdict"].startswith("claims not readable")


def _no_yaml(real, name, *rest):
    if name == "yaml":
        raise ImportError("No module named 'yaml'")
    return real(name, *rest)
