"""``labkit data``: what is there, where it lies, and downloads (the only place where any happen)."""

from __future__ import annotations

import argparse
import re
import sys

HELP = "list the data sets, download the papers' ones, or tell where they lie"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare ``list``, ``get NAME...`` and ``where``."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="list|get|where")
    actions.add_parser("list", help="every data set, and whether it is here")
    get = actions.add_parser("get", help="download data sets of papers (resumable, verified)")
    get.add_argument("names", nargs="+", metavar="NAME", help="mnist, fashion_mnist, cifar10, gtsrb, adult, ..., or all")
    actions.add_parser("where", help="the folders of data sets and caches")


def run(args: argparse.Namespace) -> int:
    """Do the chosen action and return the exit status: 0 done, 1 a download failed, 2 an unknown name."""
    if args.action == "list":
        return _list()
    if args.action == "where":
        from labkit.files import cache_dir, data_dir

        sys.stdout.write(f"data sets of papers (LABKIT_DATA)   {data_dir()}\n")
        sys.stdout.write(f"what can be rebuilt (LABKIT_CACHE)  {cache_dir()}\n")
        return 0
    return _get(list(args.names))


def _list() -> int:
    from labkit.data.cards import CARDS
    from labkit.data.catalogue import EMBEDDED, names
    from labkit.data.found import found
    from labkit.data.sources import SOURCES

    for name in names():
        absent = f"absent: labkit data get {name}" if name in SOURCES else "absent: its card says where it is"
        state = "embedded" if name in EMBEDDED else found(name) or absent
        sizes = re.match(r"[\d,]+ train and [\d,]+ test", CARDS[name].splits)
        sys.stdout.write(f"{name:<14} {state:<41} {sizes.group() if sizes else ''}\n")
    return 0


def _get(names: list[str]) -> int:
    from labkit.data.errors import DataCorrupt, DownloadFailed
    from labkit.data.obtain import obtain
    from labkit.data.sources import SOURCES

    wanted = list(SOURCES) if names == ["all"] else names
    if unknown := [name for name in wanted if name not in SOURCES]:
        sys.stderr.write(f"labkit data: cannot download {', '.join(unknown)}; there are: {', '.join(SOURCES)}, all\n")
        return 2
    status = 0
    for name in wanted:  # one that fails does not stop the others
        try:
            folder = obtain(name, tell=lambda line: _say(line))
            _say(f"{name}: ready in {folder}")
        except (DataCorrupt, DownloadFailed, OSError) as error:
            sys.stderr.write(f"labkit data: {error}\n")
            status = 1
    return status


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
