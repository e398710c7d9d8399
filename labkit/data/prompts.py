"""Questions about tables, from BIPIA, a benchmark of indirect prompt injection; found in ``LABKIT_DATA/prompts/bipia``.

Yi et al. 2023, arXiv 2312.14197; the questions are those of WikiTableQuestions (Pasupat and Liang 2015), CC BY-SA 4.0.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from labkit.data.errors import DataCorrupt, DataMissing
from labkit.data.images import stride
from labkit.files import data_dir

FILE = "prompts/bipia/table_test.jsonl"
_MADE_UP = (
    ("| fruit | price |\n| --- | --- |\n| apple | 3 |\n| fig | 5 |", "what does a fig cost?", "5"),
    ("| town | people |\n| --- | --- |\n| Aar | 120 |\n| Bree | 95 |", "which town has more people?", "Aar"),
)


@dataclass(frozen=True)
class Question:
    """A table as text, a question about it, and the right answer, or answers."""

    context: str
    question: str
    ideal: tuple[str, ...]


def table_questions(count: int | None = None, *, smoke: bool = False) -> list[Question]:
    """Return questions about tables, at most ``count``, at a constant stride. ``smoke``: two made-up ones, for walking through code.

    Raises DataMissing when the file is not in ``LABKIT_DATA``, DataCorrupt when it is something else, ValueError for a count below 1.
    """
    if smoke:
        return [Question(context, question, (ideal,)) for context, question, ideal in _MADE_UP]
    path = data_dir() / FILE
    if not path.is_file():
        raise DataMissing(
            f"there is no {path}: get table/test.jsonl from the benchmark folder of github.com/microsoft/BIPIA and put it there under that "
            "name. The chapter runs without it, on its own language"
        )
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        found = [Question(line["context"], line["question"], _answers(line["ideal"])) for line in lines]
    except (ValueError, KeyError, TypeError) as error:
        raise DataCorrupt(f"{path} does not hold one question per line with context, question and ideal: {error!r}") from error
    return [found[i] for i in stride(len(found), count)]


def _answers(ideal: object) -> tuple[str, ...]:
    return tuple(map(str, ideal)) if isinstance(ideal, list) else (str(ideal),)


__all__ = ["FILE", "Question", "table_questions"]
