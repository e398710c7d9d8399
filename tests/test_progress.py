"""Progress never changes what is iterated, and writes at most one line where nobody watches."""

from __future__ import annotations

import sys

import pytest

from labkit.progress import progress


class Terminal:
    """A stream where a person watches."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> int:
        self.text += text
        return len(text)

    def flush(self) -> None: ...

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("mode", ["", "line", "off"])
def test_items_pass_through(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABKIT_PROGRESS", mode)
    assert list(progress((i for i in range(5)), "work", total=5)) == [0, 1, 2, 3, 4]
    assert list(progress([], "work")) == []


def test_one_line_when_it_took_long(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for mode, threshold, expected in (("line", -1.0, "work: 3 done\n"), ("line", 1e9, ""), ("off", -1.0, "")):
        monkeypatch.setenv("LABKIT_PROGRESS", mode)
        list(progress(range(3), "work", threshold=threshold))
        out, err = capsys.readouterr()
        assert (out, err) == ("", expected)


def test_a_bar_on_a_terminal_and_one_line_without_tqdm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LABKIT_PROGRESS", raising=False)
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    assert list(progress(range(3), "work", threshold=0.0)) == [0, 1, 2]
    assert "work" in stream.text
    assert "\r" in stream.text
    stream.text = ""
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    assert list(progress(range(3), "work", threshold=-1.0)) == [0, 1, 2]
    assert stream.text == "work: 3 done\n"


def test_an_error_passes_through(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABKIT_PROGRESS", "line")

    def broken() -> object:
        yield 1
        raise KeyError

    with pytest.raises(KeyError):
        list(progress(broken(), "work", threshold=-1.0))  # type: ignore[arg-type]
