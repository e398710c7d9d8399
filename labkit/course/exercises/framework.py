"""What an exercise is: a stub, a solution, three hints, planted mistakes, and a check that tells them apart.

A check never raises: whatever the learner's code does, the answer is an Outcome that can be read. Later tools can grade
with the same parts: ``get("10.1").check(function)`` needs neither a notebook nor a display.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import linecache
import re
import textwrap
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from labkit.course.exercises.probe import NotAttempted, NotYet

Status = Literal["passed", "not yet", "not attempted"]
Code = Callable[..., Any] | str  # a function, or the source of an assignment such as "epoch = ..."
_PACKAGE = str(Path(__file__).resolve().parents[2])


@dataclass(frozen=True)
class Outcome:
    """What a check found. ``message``: for the learner, in Markdown; specific to the mistake when the status is "not yet"."""

    status: Status
    message: str


@dataclass(frozen=True)
class Mistake:
    """A typical wrong answer. ``fragment`` must occur in the message that the check gives for it, and in no other's."""

    name: str
    code: Code
    fragment: str


@dataclass(frozen=True)
class Exercise:
    """One exercise. ``examine(answer)`` raises NotYet with a hint, or returns when the answer is right.

    ``stub`` is the function (or assignment) that the learner completes; its name is the answer's name everywhere.
    ``difficulty`` runs from 1 to 3, ``minutes`` is an estimate for a first-time learner.
    """

    id: str
    title: str
    difficulty: int
    minutes: int
    statement: str
    stub: Code
    solution: Code
    examine: Callable[[Any], None]
    hints: tuple[str, str, str]
    mistakes: tuple[Mistake, ...]

    def __post_init__(self) -> None:
        if not re.fullmatch(r"\d\d\.\d+", self.id):
            raise ValueError(f"exercise id {self.id!r}: expected two digits, a dot and a number, such as '10.1'")
        if self.difficulty not in (1, 2, 3):
            raise ValueError(f"exercise {self.id}: difficulty {self.difficulty} is not 1, 2 or 3")

    @property
    def chapter(self) -> str:
        """The chapter's two digits."""
        return self.id.split(".")[0]

    @property
    def name(self) -> str:
        """The name that the learner defines."""
        return _assigned(self.stub) if isinstance(self.stub, str) else self.stub.__name__

    @property
    def stub_source(self) -> str:
        """The text of the chapter's cell tagged ``exercise``."""
        return self.source(self.stub)

    @property
    def solution_source(self) -> str:
        """The text that ``solution(id)`` shows."""
        return self.source(self.solution)

    def source(self, code: Code) -> str:
        """Return ``code`` as a learner reads it: under the answer's name, and without what only type checkers read."""
        if isinstance(code, str):
            return textwrap.dedent(code).strip()
        text = textwrap.dedent(inspect.getsource(code)).strip()
        (function,) = ast.parse(text).body
        assert isinstance(function, ast.FunctionDef), f"{code} is not written with def"
        signature = function.args
        for argument in (*signature.posonlyargs, *signature.args, *signature.kwonlyargs):
            argument.annotation = None
        body = [re.sub(r"  # type: ignore\[.*\]", "", line) for line in text.splitlines()[function.body[0].lineno - 1 :]]
        return "\n".join([f"def {self.name}({ast.unparse(signature)}):", *body])

    def answer(self, code: Code) -> Any:
        """Return what the learner would pass to ``check`` had they written ``code``."""
        if not isinstance(code, str):
            return code
        scope: dict[str, Any] = {}
        exec(textwrap.dedent(code), scope)  # our own text, from a chapter's module
        return scope[self.name]

    def check(self, answer: Any) -> Outcome:
        """Judge an answer. Never raises; leaves the global random state and the gradient mode as they were."""
        try:
            if answer is None or answer is ...:
                raise NotAttempted(f"`{self.name}` has no value yet.")
            with torch.random.fork_rng(devices=[]), torch.enable_grad():
                torch.manual_seed(0)
                self.examine(answer)
        except NotAttempted as nothing:
            return Outcome("not attempted", str(nothing))
        except NotYet as reason:
            return Outcome("not yet", str(reason))
        except KeyboardInterrupt:
            return Outcome("not yet", "You stopped the check. If it hung, look for a loop whose condition never becomes false.")
        except (Exception, SystemExit) as error:
            return Outcome("not yet", explain(error, answer))
        return Outcome("passed", f"`{self.name}` does what it should.")


def explain(error: BaseException, answer: Any) -> str:
    """Return an exception in the learner's code as a sentence with the line where it happened."""
    what = f"{type(error).__name__}: {str(error).strip() or 'no further message'}"
    code = getattr(inspect.unwrap(answer) if callable(answer) else answer, "__code__", None)
    frames = [(frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(error.__traceback__)]
    mine = [place for place in frames if code is not None and place[0] == code.co_filename]
    mine = mine or [place for place in frames if not place[0].startswith(_PACKAGE) and "site-packages" not in place[0]]
    if not mine:
        return f"The check could not work with what your code returned (`{what}`). Compare its type and shape with the description."
    file, line = mine[-1]
    linecache.checkcache(file)
    text = linecache.getline(file, line).strip()
    return f"Your code stopped with `{what}`\n\nin line {line}" + (f": `{text}`" if text else "")


def _assigned(source: str) -> str:
    found = re.search(r"^(\w+)\s*(?::[^=]+)?=", textwrap.dedent(source), re.MULTILINE)
    if not found:
        raise ValueError(f"no assignment found in the stub {source!r}")
    return found[1]


class UnknownExercise(KeyError):
    """No exercise has this id."""

    def __str__(self) -> str:
        return str(self.args[0])


def chapters_with_exercises() -> list[str]:
    """Return the two-digit numbers of the chapters that have a module ``chNN`` here, in order."""
    return sorted(path.stem[2:] for path in Path(__file__).parent.glob("ch[0-9][0-9].py"))


def exercises_of(chapter: str) -> tuple[Exercise, ...]:
    """Return the exercises of a chapter by its two digits; empty when it has none. Loads that chapter's module only."""
    name = f"labkit.course.exercises.ch{chapter}"
    if not re.fullmatch(r"\d\d", chapter) or importlib.util.find_spec(name) is None:
        return ()
    exercises: tuple[Exercise, ...] = importlib.import_module(name).EXERCISES
    return exercises


def every_exercise() -> Iterator[Exercise]:
    """Yield all exercises of the course, by chapter."""
    for chapter in chapters_with_exercises():
        yield from exercises_of(chapter)


def get(id: str) -> Exercise:
    """Return the exercise called ``id``. Raises UnknownExercise naming the ones that the chapter has."""
    siblings = exercises_of(str(id).split(".")[0])
    for exercise in siblings:
        if exercise.id == id:
            return exercise
    there = ", ".join(exercise.id for exercise in siblings) or "none; chapters with exercises: " + ", ".join(chapters_with_exercises())
    raise UnknownExercise(f"there is no exercise {id!r}; this chapter has {there}")
