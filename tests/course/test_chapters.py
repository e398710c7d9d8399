"""Discovery and selection of chapters."""

from __future__ import annotations

import pytest

from labkit.course.chapters import UnknownChapter, all_chapters, find
from labkit.course.errors import CourseError
from tests.course.toys import Toys


@pytest.fixture
def course(toys: Toys) -> Toys:
    for name, part in (("00_start_here", "foundations"), ("10_evasion_gradient", "attacks"), ("12_evasion_strong", "attacks"),
                       ("40_adversarial_training", "defenses")):  # fmt: skip
        toys.add(name, part=part)
    (toys.root / "chapters" / "attacks" / "helper.py").write_text("")  # no number: no chapter
    return toys


def names(selector: str | None) -> list[int]:
    return [chapter.number for chapter in find(selector)]


def test_all_chapters_are_found_by_number(course: Toys) -> None:
    found = all_chapters()
    assert [chapter.number for chapter in found] == [0, 10, 12, 40]
    assert (found[1].name, found[1].part) == ("10_evasion_gradient", "attacks")
    assert found[1].path == course.root / "chapters/attacks/10_evasion_gradient.py"
    assert found[1].notebook.name == "10_evasion_gradient.ipynb"


@pytest.mark.usefixtures("course")
@pytest.mark.parametrize(
    ("selector", "numbers"),
    [(None, [0, 10, 12, 40]), ("", [0, 10, 12, 40]), ("all", [0, 10, 12, 40]), ("10,40", [10, 40]), ("40, 10", [10, 40]),
     ("10-39", [10, 12]), ("0", [0]), ("00", [0]), ("attacks", [10, 12]), ("attacks,10", [10, 12]), ("10_evasion_gradient", [10]),
     ("evasion_strong", [12]), ("chapters/defenses/40_adversarial_training.py", [40]), ("40_adversarial_training.ipynb", [40])],
)  # fmt: skip
def test_selectors(selector: str | None, numbers: list[int]) -> None:
    assert names(selector) == numbers


@pytest.mark.usefixtures("course")
@pytest.mark.parametrize(
    ("selector", "hint"),
    [("11", "10_evasion_gradient or 12_evasion_strong"), ("evasion_gradent", "evasion_gradient"), ("atacks", "attacks"),
     ("50-60", "no chapter '50-60'"), ("10,zzz", "the chapters are 00_start_here"), (",", "names no chapter")],
)  # fmt: skip
def test_unknown_chapters_name_near_ones(selector: str, hint: str) -> None:
    with pytest.raises(UnknownChapter, match=hint):
        find(selector)


def test_an_empty_checkout_says_so(toys: Toys) -> None:
    assert all_chapters() == []
    with pytest.raises(UnknownChapter, match="no chapters in this checkout"):
        find("10")


def test_a_number_names_one_chapter(course: Toys) -> None:
    course.add("10_other", part="practice")
    with pytest.raises(CourseError, match="share the number 10"):
        all_chapters()
