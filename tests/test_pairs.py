"""Sources keep the rules, and the notebook beside each one is that source, executed, fresh and without residue."""

from __future__ import annotations

import pytest

from labkit.course import lint, pairs
from labkit.course.chapters import Chapter, all_chapters

each_chapter = pytest.mark.parametrize("chapter", all_chapters(), ids=lambda chapter: chapter.name)


@each_chapter
def test_source_keeps_the_rules(chapter: Chapter) -> None:
    assert lint.lint(chapter.path) == []


@each_chapter
def test_source_survives_jupytext(chapter: Chapter) -> None:
    assert pairs.round_trip(chapter) == []


@each_chapter
def test_pair_agrees(chapter: Chapter) -> None:
    assert pairs.check(chapter) == []
