"""A table of the sweep on a terminal whose rows fill as cells end; nothing where the output is a
file or a pipe, or where cells run out of this process's sight.

It is drawn again when a cell ends, by no thread: a fork never meets half a drawing. Lines that are
printed meanwhile stand above it. Does not know results: it reads what places.py keeps.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from touchstone.foreign_text import printable
from touchstone.run import places

ROWS_BESIDE = 8  # lines of the terminal that are left for title, head and what is printed
WATCHED = ("BasicLauncher", "LocalLauncher")  # launchers that tell this process when a cell ends

_shown: dict[str, Any] = {}  # the table of this process: live, folder, process id
_elsewhere: list[int] = []  # the process that shows it, in one that it forked


def start(folder: Path, launcher: str) -> bool:
    """Show the table of a sweep whose cells are noted in `folder`; return whether it is shown."""
    if _shown or not sys.stdout.isatty() or not launcher.endswith(WATCHED):
        return False
    from rich.live import Live

    live = Live(table(folder), auto_refresh=False, transient=True)
    live.start(refresh=True)
    _shown.update(live=live, folder=folder, process=os.getpid())
    return True


def is_shown() -> bool:
    """Return whether this process shows the table."""
    return _shown.get("process") == os.getpid()


def refresh() -> None:
    """Draw the table again, where there is one."""
    if is_shown():
        _shown["live"].update(table(_shown["folder"], _shown["live"].console.height), refresh=True)


def is_elsewhere() -> bool:
    """Return whether the process that forked this one shows the table."""
    return bool(_elsewhere)


def leave() -> None:
    """Let a forked process print past the table, which the process that forked it draws."""
    if _shown and not is_shown():
        _elsewhere.append(_shown["process"])
        sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
        _shown.clear()


def stop() -> None:
    """Take the table away; what is printed next stands in its place."""
    if is_shown():
        _shown["live"].stop()
    _shown.clear()


def table(folder: Path, height: int = 24) -> Any:
    """Return the table: a row for each cell, its result where it has ended.

    Parameters
    ----------
    height : lines of the terminal; of more cells than fit, those from the last ended but one on.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    grid = places.read_grid(folder)
    assert grid is not None
    ended = places.read_ended(folder, grid.started)
    by_number = {one.number: one for one in ended}
    title = f"{len(by_number)} of {len(grid.jobs)} cells{places.time_left(grid, ended)}"
    shown = Table("", "cell", "result", "time", title=title, title_justify="left")
    shown.box = box.SIMPLE_HEAD
    room = max(3, height - ROWS_BESIDE)
    front = min(by_number.keys() ^ set(range(len(grid.jobs))), default=len(grid.jobs))
    first = max(0, min(front - room // 2, len(grid.jobs) - room))
    for number, overrides in list(enumerate(grid.jobs))[first : first + room]:
        place = places.place_of(number, len(grid.jobs))
        if number in by_number:
            one = by_number[number]
            name, result = Text(printable(one.name)), Text(printable(one.result))
            shown.add_row(place, name, result, places.duration(one.seconds))
        else:
            name = Text(printable(_of_overrides(overrides, grid.varying)))
            shown.add_row(place, name, "", "", style="dim")
    return shown


def _of_overrides(overrides: tuple[str, ...], varying: tuple[str, ...]) -> str:
    pairs = (override.lstrip("+~").partition("=") for override in overrides)
    return " · ".join(
        value if key in ("mixture", "classifier", "prompt", "task", "llm") else f"{key}={value}"
        for key, _, value in pairs
        if key in varying or key == "mixture"
    )
