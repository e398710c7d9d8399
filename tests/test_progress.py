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


def test_no_bar_is_made_for_quick_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a notebook each bar is a widget of dozens of messages, also one that is never shown: hundreds of quick fits made none of it."""
    made: list[dict[str, object]] = []

    class Bar:
        def __init__(self, **options: object) -> None:
            made.append(options)
            self.steps, self.open = 0, True

        def update(self) -> None:
            self.steps += 1

        def close(self) -> None:
            self.open = False

    monkeypatch.setattr("tqdm.auto.tqdm", Bar)
    monkeypatch.delenv("LABKIT_PROGRESS", raising=False)
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert list(progress(range(100), "quick", threshold=60.0)) == list(range(100))
    assert not made
    clock = iter(range(100))
    monkeypatch.setattr("labkit.progress.time.perf_counter", lambda: float(next(clock)))
    items = progress((i for i in range(9)), "slow", total=9, threshold=2.5)
    assert list(items) == list(range(9))
    assert [(bar["desc"], bar["total"], bar["initial"]) for bar in made] == [("slow", 9, 3)], "shown late, it begins where the work is"


def test_a_bar_is_closed_when_the_work_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LABKIT_PROGRESS", raising=False)
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    items = progress(range(10), "work", threshold=-1.0)
    assert [next(items) for _ in range(3)] == [0, 1, 2]
    items.close()  # type: ignore[attr-defined]
    assert stream.text.endswith("\r"), "the bar is wiped out"
