"""Where to run, and what it cost."""

from __future__ import annotations

import gc
import sys
import time

import pytest
import torch
from torch import nn

from labkit.device import describe, device, meter, model_device


def test_override_beats_environment_beats_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABKIT_DEVICE", "meta")
    assert device("cpu") == torch.device("cpu")
    assert device() == torch.device("meta")
    assert device(torch.device("cpu")).type == "cpu"
    for nothing in ("", None):
        monkeypatch.delenv("LABKIT_DEVICE")
        if nothing is not None:
            monkeypatch.setenv("LABKIT_DEVICE", nothing)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
        assert device() == torch.device("cpu")
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
        assert device() == torch.device("cpu"), "MPS lacks float64: only when asked for"
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        assert device() == torch.device("cuda")
        monkeypatch.setenv("LABKIT_DEVICE", "cpu")


@pytest.mark.parametrize("wanted", ["gpu", "cuda:99", "cpu:x"])
def test_a_device_that_is_not_there(wanted: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=rf"'{wanted}' is not available on this machine .*LABKIT_DEVICE=cpu"):
        device(wanted)
    monkeypatch.setenv("LABKIT_DEVICE", wanted)
    with pytest.raises(ValueError, match="not available"):
        device()


def test_the_device_of_a_model() -> None:
    x = torch.zeros(1)
    assert model_device(nn.Linear(1, 1, device="meta"), x).type == "meta"
    assert model_device(nn.BatchNorm1d(1, affine=False, device="meta"), x).type == "meta"  # buffers only
    assert model_device(nn.ReLU(), x).type == "cpu"
    assert model_device(abs, x.to("meta")).type == "meta"


def test_the_meter_measures_time_and_the_peak() -> None:
    gc.collect()
    with meter(interval=0.005) as quiet:
        pass
    with meter(interval=0.005) as busy:
        block = torch.ones(64 * 2**20 // 4 * 4)  # 256 MiB, touched
        time.sleep(0.1)
        del block
    assert busy.seconds >= 0.1
    assert busy.peak_mib > quiet.peak_mib + 200  # seen although it is gone at the end


def test_the_meter_is_filled_also_when_the_block_fails() -> None:
    with pytest.raises(KeyError), meter() as spent:
        raise KeyError
    assert spent.seconds > 0
    assert spent.peak_mib > 1


def test_without_psutil(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psutil", None)
    assert "unknown memory" in describe(torch.device("cpu"))
    with meter() as spent:
        pass
    assert spent.peak_mib > 1 or sys.platform == "win32"


def test_description() -> None:
    text = describe(torch.device("cpu"))
    assert text.startswith("cpu (")
    assert "GiB memory" in text
    assert torch.__version__ in text
