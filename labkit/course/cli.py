"""The command line: ``labkit COMMAND``. A command is a module of `labkit.course.commands`, imported when it is used."""

from __future__ import annotations

import argparse
import errno
import importlib
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Protocol, cast

from labkit.course.errors import CourseError, did_you_mean

# In the order in which a newcomer meets them.
COMMANDS = ("lab", "build", "update", "reset", "doctor", "run", "publish", "study", "scoreboard", "book", "data", "bench", "test")


class Command(Protocol):
    """What a command's module offers."""

    HELP: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the command's options."""

    def run(self, args: argparse.Namespace) -> int:
        """Do it, and return the exit status."""


def _load(name: str) -> Command:
    return cast(Command, importlib.import_module(f"labkit.course.commands.{name}"))


def _available() -> list[str]:
    return [name for name in COMMANDS if find_spec(f"labkit.course.commands.{name}") is not None]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: 0 done, 1 something failed, 2 the request cannot be met."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    names = _available()
    if not words or words[0] in ("-h", "--help", "help"):
        sys.stdout.write(_overview(names))
        return 0
    if words[0] == "--version":
        from labkit import __version__

        sys.stdout.write(f"labkit {__version__}\n")
        return 0
    name = words[0]
    if name not in names:
        sys.stderr.write(f"labkit: unknown command {name!r}{did_you_mean(name, names)} (labkit --help lists them)\n")
        return 2
    command = _load(name)
    parser = argparse.ArgumentParser(prog=f"labkit {name}", description=command.HELP)
    command.add_arguments(parser)
    args = parser.parse_args(words[1:])
    try:
        return command.run(args)
    except KeyboardInterrupt:
        return 130
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        sys.stderr.write(f"labkit {name}: {error}\n")
        return 2
    except RuntimeError as error:
        if not isinstance(error, CourseError) and type(error).__name__ != "ProjectNotFound":
            raise  # a fault of the program: its traceback is wanted
        sys.stderr.write(f"labkit {name}: {error}\n")
        return 2


def _overview(names: list[str]) -> str:
    lines = ["usage: labkit COMMAND [options]      (labkit COMMAND --help tells a command's options)", ""]
    lines += [f"  {name:<11} {_load(name).HELP}" for name in names]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
