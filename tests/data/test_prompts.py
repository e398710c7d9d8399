from __future__ import annotations

import json
from pathlib import Path

import pytest

from labkit.data.errors import DataCorrupt, DataMissing
from labkit.data.prompts import FILE, table_questions
from labkit.files import data_dir


def write(text: str) -> None:
    path = data_dir() / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABKIT_DATA", str(tmp_path / "data"))


def test_questions_are_read_at_a_stride() -> None:
    lines = [{"context": f"table {i}", "question": f"question {i}?", "ideal": str(i) if i % 2 else [str(i), "x"]} for i in range(10)]
    write("\n".join(map(json.dumps, lines)) + "\n")
    everything = table_questions()
    assert [q.question for q in everything] == [f"question {i}?" for i in range(10)]
    assert everything[3].ideal == ("3",)
    assert everything[4].ideal == ("4", "x")
    assert [q.context for q in table_questions(5)] == ["table 0", "table 2", "table 4", "table 6", "table 8"]
    with pytest.raises(ValueError, match="at least 1"):
        table_questions(0)


def test_what_is_not_there_or_not_right_is_said() -> None:
    with pytest.raises(DataMissing, match="microsoft/BIPIA"):
        table_questions()
    write('{"context": "a"}\n')
    with pytest.raises(DataCorrupt, match="does not hold one question per line"):
        table_questions()


def test_smoke_needs_no_file() -> None:
    assert len(table_questions(smoke=True)) == 2
