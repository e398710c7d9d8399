from __future__ import annotations

import base64
import io
import re
import wave

import numpy as np
import pytest
import torch

from labkit.reporting import players as module
from labkit.reporting import textchanges


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, str]]:
    seen: list[dict[str, str]] = []
    for one in (module, textchanges):
        monkeypatch.setattr(one, "emit", seen.append)
    return seen


def test_what_is_played_is_what_was_given(shown: list[dict[str, str]]) -> None:
    sound = torch.linspace(-1, 1, 800)
    module.players({"clean & loud": sound[None]}, 8000)
    (bundle,) = shown
    data = re.search(r"base64,([^\"]+)", bundle["text/html"])
    assert data
    with wave.open(io.BytesIO(base64.b64decode(data[1]))) as file:
        assert (file.getframerate(), file.getnchannels(), file.getnframes()) == (8000, 1, 800)
        heard = np.frombuffer(file.readframes(800), "<i2") / 32_767
    assert np.abs(heard - sound.numpy()).max() < 1e-4
    assert "clean &amp; loud" in bundle["text/html"]
    assert bundle["text/plain"] == "[sound] clean & loud (0.1 s)"
    with pytest.raises(ValueError, match="samples up to 2; a sound lies in"):
        module.players({"too loud": 2 * sound}, 8000)


def test_changes_are_marked_where_they_are(shown: list[dict[str, str]]) -> None:
    assert textchanges.marked("win a <b> now", "gain a <b> to day") == "[win > gain] a <b> [now > to day]"
    assert textchanges.marked("same text", "same text") == "same text"
    textchanges.text_changes(["win a <b>"], ["get a <b>"], {"queries": [12]}, caption="one")
    (bundle,) = shown
    assert "<del" in bundle["text/html"]
    assert "&lt;b&gt;" in bundle["text/html"]
    assert ">12<" in bundle["text/html"]
    assert "[win > get] a <b>" in bundle["text/plain"]
    with pytest.raises(ValueError, match="differ in length"):
        textchanges.text_changes(["a"], ["a", "b"], {})
