"""Progress: one line where nobody watches, a bar where somebody does, the items untouched in both."""

import pytest

from labkit.reporting import progress


@pytest.mark.parametrize("mode", ["line", ""])  # "" under pytest: output is captured, nobody watches
def test_exactly_one_line_at_the_end(mode, monkeypatch, capsys):
    monkeypatch.setenv("LABKIT_PROGRESS", mode)
    seen = []
    for i in progress(range(5), "attacking", unit="batch"):
        assert capsys.readouterr().out == ""
        seen.append(i)
    captured = capsys.readouterr()
    assert seen == [0, 1, 2, 3, 4]
    assert captured.out == "attacking: 5 batches\n"
    assert captured.err == ""


def test_the_line_says_how_far_it_came(monkeypatch, capsys):
    monkeypatch.setenv("LABKIT_PROGRESS", "line")
    for i in progress(range(5), "attacking"):
        if i == 2:
            break
    assert capsys.readouterr().out == "attacking: 2 of 5 steps\n"


def test_a_generator_without_length_is_counted(monkeypatch, capsys):
    monkeypatch.setenv("LABKIT_PROGRESS", "line")
    assert list(progress((i for i in range(1)), "loading")) == [0]
    assert capsys.readouterr().out == "loading: 1 step\n"


def test_a_watcher_gets_a_bar(monkeypatch, capsys):
    import time

    monkeypatch.setenv("LABKIT_PROGRESS", "bar")
    for _ in progress(range(3), "attacking"):
        time.sleep(0.3)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "attacking" in captured.err
