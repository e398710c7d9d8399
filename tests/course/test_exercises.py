"""Every exercise: the solution passes, the stub is not attempted, each planted mistake gets its own message; nothing leaks."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from IPython.core.interactiveshell import InteractiveShell

from labkit.course import percent
from labkit.course.chapters import all_chapters
from labkit.course.exercises import check, every_exercise, exercise, framework, get, hint, show, solution
from labkit.course.exercises.framework import Exercise, Mistake
from labkit.course.exercises.probe import call, expect

EXERCISES = list(every_exercise())
each = pytest.mark.parametrize("it", EXERCISES, ids=lambda it: it.id)
each_mistake = pytest.mark.parametrize(
    ("it", "mistake"), [pytest.param(it, mistake, id=f"{it.id}-{mistake.name}") for it in EXERCISES for mistake in it.mistakes]
)


def learner(it: Exercise, code: framework.Code) -> Any:
    """Return an answer as a learner has it: compiled from the text they see, in a namespace that holds torch alone."""
    scope: dict[str, Any] = {"torch": torch}
    exec(compile(it.source(code), "<cell>", "exec"), scope)
    return scope[it.name]


@each
def test_the_solution_passes_also_as_the_text_that_is_shown(it: Exercise) -> None:
    assert it.check(it.answer(it.solution)).status == "passed"
    assert it.check(learner(it, it.solution)).status == "passed"


@each
def test_the_stub_is_not_attempted(it: Exercise) -> None:
    assert it.check(it.answer(it.stub)).status == "not attempted"
    assert it.check(learner(it, it.stub)).status == "not attempted"
    assert it.check(None).status == it.check(...).status == "not attempted"
    if not isinstance(it.stub, str):
        assert it.check(lambda *args: None).status == "not attempted"
        assert it.check(lambda *args: ...).status == "not attempted"


@each_mistake
def test_each_mistake_fails_with_its_own_message(it: Exercise, mistake: Mistake) -> None:
    outcome = it.check(it.answer(mistake.code))
    assert outcome.status == "not yet"
    assert mistake.fragment in outcome.message
    others = [it.check(it.answer(other.code)).message for other in it.mistakes if other is not mistake]
    assert not any(mistake.fragment in message for message in others)
    assert outcome.message not in others


@each
@pytest.mark.parametrize(
    "junk",
    [
        0,
        "text",
        [1, 2],
        torch.zeros(3),
        lambda: 1,
        lambda *args: "text",
        lambda *args: torch.zeros(0),
        lambda *args: torch.full((2, 2), float("nan")),
        lambda *args: 1 / 0,
        lambda *args: args[0],
        lambda *args: [1, 2],
        lambda *args: (torch.zeros(1), torch.zeros(1)),
    ],
)
def test_junk_is_answered_and_never_raises(it: Exercise, junk: Any) -> None:
    outcome = it.check(junk)
    assert outcome.status == "not yet"
    assert len(outcome.message) > 15


@each
def test_the_description_is_complete(it: Exercise) -> None:
    assert it.difficulty in (1, 2, 3)
    assert 1 <= it.minutes <= 60
    assert it.name in it.statement
    assert len(set(it.hints)) == 3
    assert all(20 < len(text) < 300 for text in it.hints)
    assert len(it.mistakes) >= 3
    assert len(it.stub_source) < 1500
    assert it.chapter == it.id[:2]
    if not isinstance(it.stub, str):
        assert "shape" in it.stub_source or "list" in it.stub_source or "accuracy" in it.stub_source
        assert "raise NotImplementedError" in it.stub_source
        assert ": torch" not in it.stub_source.splitlines()[0]  # the signature is free of annotations


def test_ids_are_unique_and_names_too() -> None:
    assert len({it.id for it in EXERCISES}) == len(EXERCISES)
    for chapter in framework.chapters_with_exercises():
        names = [it.name for it in framework.exercises_of(chapter)]
        assert len(set(names)) == len(names)


def test_checks_leave_the_random_state_and_the_gradient_mode_alone() -> None:
    torch.manual_seed(123)
    expected = torch.rand(3)
    torch.manual_seed(123)
    with torch.no_grad():
        for it in EXERCISES:
            it.check(it.answer(it.solution))
        assert not torch.is_grad_enabled()
    assert torch.equal(torch.rand(3), expected)


@each
def test_the_chapter_shows_this_very_stub(it: Exercise) -> None:
    chapter = next((chapter for chapter in all_chapters() if f"{chapter.number:02d}" == it.chapter), None)
    if chapter is None:
        pytest.skip(f"chapter {it.chapter} is not there yet")
    cells = percent.read(chapter.path).cells
    stubs = [cell.source.strip() for cell in cells if "exercise" in cell.tags]
    assert it.stub_source in stubs, f"{chapter.name} lacks the cell tagged exercise with the stub of {it.id}"
    code = "\n".join(cell.source for cell in cells if cell.kind == "code")
    assert f'exercise("{it.id}")' in code
    assert f'check("{it.id}", {it.name})' in code


def test_chapters_ask_only_for_exercises_that_exist() -> None:
    import re

    for chapter in all_chapters():
        code = "\n".join(cell.source for cell in percent.read(chapter.path).cells if cell.kind == "code")
        for id in re.findall(r"""\b(?:exercise|check|hint|solution)\(\s*["'](\d[^"']*)["']""", code):
            assert get(id).chapter == f"{chapter.number:02d}"


# What a learner sees.


def _toy(examine: Callable[[Any], None], stub: framework.Code = "epoch = ...") -> Exercise:
    return Exercise("99.1", "Toy", 1, 1, "Find epoch.", stub, "epoch = 4", examine, ("a", "b", "c"), ())


def test_an_exercise_may_ask_for_a_value() -> None:
    def examine(answer: Any) -> None:
        expect(answer == 4, "Look at the curve again.")

    it = _toy(examine)
    assert it.name == "epoch"
    assert it.check(it.answer(it.stub)).status == "not attempted"
    assert it.check(it.answer(it.solution)).status == "passed"
    assert it.check(3).message == "Look at the curve again."


def test_an_exception_is_shown_with_the_learners_line() -> None:
    shell = InteractiveShell.instance()
    shell.run_cell("def answer(x):\n    y = x + 1\n    return y.no_such_thing\n")
    outcome = _toy(lambda answer: call(answer, torch.zeros(2))).check(shell.user_ns["answer"])
    InteractiveShell.clear_instance()
    assert outcome.status == "not yet"
    assert "AttributeError" in outcome.message
    assert "line 3" in outcome.message
    assert "return y.no_such_thing" in outcome.message


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3), MemoryError("too much"), RecursionError()])
def test_even_these_are_not_raised(error: BaseException) -> None:
    def answer(x: Any) -> Any:
        raise error

    assert _toy(lambda answer: call(answer, 1)).check(answer).status == "not yet"


def _changes_values(x: torch.Tensor, model: torch.nn.Module) -> torch.Tensor:
    return x.add_(1)


def _asks_for_gradients(x: torch.Tensor, model: torch.nn.Module) -> torch.Tensor:
    return x.requires_grad_() * 2


def _changes_mode(x: torch.Tensor, model: torch.nn.Module) -> torch.Tensor:
    model.train()
    return x + 1


def _changes_weights(x: torch.Tensor, model: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        next(model.parameters()).add_(1)
    return x + 1


def _leaves_gradients(x: torch.Tensor, model: torch.nn.Module) -> torch.Tensor:
    model(x).sum().backward()
    return x + 1


@pytest.mark.parametrize(
    ("answer", "fragment"),
    [
        (_changes_values, "changed the values of `x`"),
        (_asks_for_gradients, "`x` still tracks gradients"),
        (_changes_mode, "another mode"),
        (_changes_weights, "model's weights"),
        (_leaves_gradients, "gradients in the model's parameters"),
    ],
)
def test_side_effects_are_named(answer: Any, fragment: str) -> None:
    model = torch.nn.Linear(2, 2).eval()
    outcome = _toy(lambda answer: call(answer, torch.zeros(1, 2), model, names="x model")).check(answer)
    assert outcome.status == "not yet"
    assert fragment in outcome.message


def test_check_displays_and_never_raises(capsys: pytest.CaptureFixture[str]) -> None:
    for id, answer, words in (
        ("00.1", get("00.1").solution, "00.1 passed"),
        ("00.1", get("00.1").stub, "not attempted"),
        ("00.1", lambda a, b: 1 / 0, "ZeroDivisionError"),
        ("00.9", None, "there is no exercise '00.9'"),
        ("", None, "could not run"),
        (7, None, "could not run"),
    ):
        check(id, answer)  # type: ignore[arg-type]
        assert words in capsys.readouterr().out


def test_hints_come_one_by_one(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(show, "_hints_shown", {})
    shown = []
    for _ in range(4):
        hint("10.1")
        shown.append(capsys.readouterr().out)
    for number, text in enumerate(get("10.1").hints):
        assert text in shown[number]
    assert shown[2] == shown[3]
    assert "last one" in shown[3]


def test_the_statement_gives_nothing_away(capsys: pytest.CaptureFixture[str]) -> None:
    for it in EXERCISES:
        exercise(it.id)
        text = capsys.readouterr().out
        assert it.title in text
        assert f"{it.minutes} minutes" in text
        assert not any(hint in text for hint in it.hints)
        assert it.solution_source.splitlines()[-1].strip() not in text


def test_the_solution_is_folded(capsys: pytest.CaptureFixture[str]) -> None:
    solution("10.1")
    text = capsys.readouterr().out
    assert text.startswith("<details>")
    assert get("10.1").solution_source in text


def test_cards_are_markdown_in_a_notebook() -> None:
    shell = InteractiveShell.instance()
    try:
        with shell.display_trap, _captured() as captured:
            check("00.1", get("00.1").solution)
    finally:
        InteractiveShell.clear_instance()
    (output,) = captured
    assert set(output) == {"text/markdown", "text/plain"}
    assert "passed" in output["text/plain"]
    assert "<div" not in output["text/plain"]


def _captured() -> Any:
    from contextlib import contextmanager

    from IPython.utils.capture import capture_output

    @contextmanager
    def gather() -> Any:
        found: list[dict[str, Any]] = []
        with capture_output() as output:
            yield found
        found.extend(item.data for item in output.outputs)

    return gather()


# Progress is recorded where there is a learner, and only there.


def test_a_check_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABKIT_WORK", str(tmp_path))
    check("00.1", get("00.1").stub)
    check("00.1", get("00.1").mistakes[0].code)
    check("00.1", get("00.1").solution)
    hint("00.1")
    record = json.loads((tmp_path / ".progress.json").read_text())["exercises"]["00.1"]
    assert record["status"] == "passed"
    assert record["attempts"] == 2
    assert record["hints"] >= 1
    assert record["passed"]


def test_a_check_answers_although_progress_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("LABKIT_WORK", str(tmp_path / "file"))
    check("00.1", get("00.1").solution)
    text = capsys.readouterr().out
    assert "00.1 passed" in text
    assert "could not be saved" in text


def test_unknown_ids_name_the_known_ones() -> None:
    with pytest.raises(framework.UnknownExercise, match=r"10\.1, 10\.2, 10\.3"):
        get("10.7")
    with pytest.raises(framework.UnknownExercise, match="chapters with exercises"):
        get("99.1")


@pytest.mark.parametrize("id", ["1.1", "10", "10.x"])
def test_malformed_exercises_are_refused(id: str) -> None:
    with pytest.raises(ValueError, match="exercise id"):
        Exercise(id, "t", 1, 1, "s", "a = 1", "a = 1", lambda answer: None, ("a", "b", "c"), ())
