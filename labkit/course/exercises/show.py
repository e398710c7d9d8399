"""What a learner types in a chapter: ``exercise``, ``check``, ``hint`` and ``solution``. They display, and return nothing."""

from __future__ import annotations

import sys
from typing import Any

from labkit.course.exercises import framework
from labkit.course.exercises.framework import Exercise, Outcome

# (mark, words, color of the bar beside the text); colors that differ in lightness too, so that they survive color blindness
_LOOKS = {
    "passed": ("\u2713", "passed", "#0f7b6c"),
    "not yet": ("\u2717", "not yet", "#b5541c"),
    "not attempted": ("\u25cb", "not attempted", "#8a8a8a"),
    "plain": ("", "", "#4a6fa5"),
}
_hints_shown: dict[str, int] = {}


class Card:
    """A piece of Markdown with a colored bar at its side; as plain text it is the Markdown itself."""

    def __init__(self, markdown: str, look: str = "plain") -> None:
        self.markdown = markdown.strip()
        self.color = _LOOKS[look][2]

    def __repr__(self) -> str:
        return self.markdown

    def _repr_markdown_(self) -> str:
        # The blank lines make the inside Markdown again, after the HTML of the frame.
        return f'<div style="border-left: 4px solid {self.color}; padding-left: 12px">\n\n{self.markdown}\n\n</div>'


def exercise(id: str) -> None:
    """Display what is asked: title, difficulty, time and statement. Raises UnknownExercise for an id that does not exist."""
    it = framework.get(id)
    dots = "\u25cf" * it.difficulty + "\u25cb" * (3 - it.difficulty)
    _display(
        Card(
            f"#### Exercise {it.id}: {it.title}\n\n*difficulty {dots}, about {it.minutes} minutes*\n\n{it.statement}\n\n"
            f"<details><summary>How this works</summary>\n\nComplete `{it.name}` in the next cell and run it, then run the check. "
            f'Stuck? Run `hint("{it.id}")` in a cell of your own: there are three, and each call shows one more. '
            f'`solution("{it.id}")` shows one way to do it. Checks may be run as often as you like.\n\n</details>'
        )
    )


def check(id: str, answer: Any) -> None:
    """Display whether the answer passes, and if not, the hint that belongs to its mistake. Never raises."""
    try:
        it = framework.get(id)
        outcome = it.check(answer)
        note = _remember(it, outcome)
    except Exception as error:
        _display(Card(f"**The check could not run**: {error}", "not yet"))
        return
    mark, words, _ = _LOOKS[outcome.status]
    _display(Card(f"**{mark} {it.id} {words}.** {outcome.message}{note}", outcome.status))


def hint(id: str) -> None:
    """Display the next of the exercise's three hints; the last one again when all have been shown."""
    it = framework.get(id)
    number = min(_hints_shown.get(id, 0) + 1, len(it.hints))
    _hints_shown[id] = number
    _remember_hint(it, number)
    more = "" if number < len(it.hints) else f' That was the last one; `solution("{it.id}")` shows a solution.'
    _display(Card(f"**Hint {number} of {len(it.hints)}.** {it.hints[number - 1]}{more}"))


def solution(id: str) -> None:
    """Display the exercise's solution, folded away until it is clicked."""
    it = framework.get(id)
    _display(Card(f"<details><summary>Solution of {it.id} (click to see)</summary>\n\n```python\n{it.solution_source}\n```\n\n</details>"))


def _remember(it: Exercise, outcome: Outcome) -> str:
    """Store the outcome; return what there is to say about that."""
    from labkit.course import progress

    return _aside(progress.note_check, it.id, outcome.status)


def _remember_hint(it: Exercise, number: int) -> None:
    from labkit.course import progress

    _aside(progress.note_hint, it.id, number)


def _aside(note: Any, *args: Any) -> str:
    """Call ``note``; a progress file that cannot be written never costs the learner the answer."""
    try:
        said: str = note(*args)
    except Exception as error:
        said = f"your progress could not be saved ({error})"
    return f"\n\n*Note: {said}.*" if said else ""


def _display(card: Card) -> None:
    """Show a card in the notebook; without IPython, write its text to the standard output."""
    try:
        from IPython.core.getipython import get_ipython
        from IPython.display import display

        if get_ipython() is not None:
            display({"text/markdown": card._repr_markdown_(), "text/plain": repr(card)}, raw=True)  # type: ignore[no-untyped-call]
            return
    except ImportError:
        pass
    sys.stdout.write(repr(card) + "\n")
