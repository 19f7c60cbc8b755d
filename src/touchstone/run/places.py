"""Where a cell stands in its sweep: `[ 7/20] gold_bronze · 10 patients · macro F1 0.434 · 2.4 s`.

The sweeper leaves the number of cells and the axes that vary in the sweep's folder; each cell that
ends appends a line to `cells.jsonl` there, whichever launcher runs it. What is left of the time is
the mean of the launch so far. Does not run cells and does not read results.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

NOTED, ENDED = ".cells.json", "cells.jsonl"
TOLD_FROM_S = 10  # of time left
log = logging.getLogger("touchstone.console")


@dataclass(frozen=True)
class Grid:
    """What the sweeper knows of a sweep: its jobs' overrides, the keys that vary among them, and
    when they were launched (s since 1970)."""

    jobs: tuple[tuple[str, ...], ...]
    varying: tuple[str, ...]
    started: float


@dataclass(frozen=True)
class Ended:
    """A cell that has ended: its number from 0, its name, what came of it (`macro F1 0.434`), the
    seconds that it took, and when."""

    number: int
    name: str
    result: str
    seconds: float
    at: float


def note_cells(folder: Path, jobs: Sequence[Sequence[str]]) -> Grid:
    """Leave in a sweep's folder what its cells need to tell their place."""
    values: dict[str, set[str]] = {}
    for overrides in jobs:
        for override in overrides:
            key, _, value = override.partition("=")
            values.setdefault(key.lstrip("+~"), set()).add(value)
    varying = tuple(key for key, several in values.items() if len(several) > 1)
    grid = Grid(tuple(tuple(overrides) for overrides in jobs), varying, time.time())
    folder.mkdir(parents=True, exist_ok=True)
    aside = folder / (NOTED + ".part")
    aside.write_text(json.dumps(asdict(grid)), encoding="utf-8")
    aside.replace(folder / NOTED)
    return grid


def read_grid(folder: Path) -> Grid | None:
    """Return what `note_cells` left, None where a sweep has no list of cells (a search)."""
    try:
        plain = json.loads((folder / NOTED).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    jobs = tuple(tuple(overrides) for overrides in plain["jobs"])
    return Grid(jobs, tuple(plain["varying"]), plain["started"])


def read_ended(folder: Path, since: float = 0.0) -> list[Ended]:
    """Return the cells that have ended since a time, in the order of their ends."""
    try:
        lines = (folder / ENDED).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    every = []
    for line in lines:
        try:
            every.append(Ended(**json.loads(line)))
        except ValueError:  # a process was killed while it wrote
            continue
    return [ended for ended in every if ended.at >= since]


def tell(folder: Path | None, number: int, name: str, result: str, seconds: float) -> None:
    """Note that a cell has ended, and tell it in one line with its place and the time left.

    Parameters
    ----------
    folder : of the sweep; None for a single run, which has no place.
    number : of the job, from 0.
    """
    if folder is None:
        log.info("%s · %s · %s", name, result, duration(seconds))
        return
    ended = Ended(number, name, result, seconds, time.time())
    with open(folder / ENDED, "a", encoding="utf-8") as handle:
        handle.write(json.dumps(asdict(ended), ensure_ascii=False) + "\n")
    grid = read_grid(folder)
    place = place_of(number, len(grid.jobs) if grid else None)
    remaining = time_left(grid, read_ended(folder, grid.started)) if grid else ""
    log.info("%s %s · %s · %s%s", place, name, result, duration(seconds), remaining)


def place_of(number: int, total: int | None) -> str:
    """Return the place of the cell with a number from 0.

    >>> place_of(6, 20), place_of(6, None)
    ('[ 7/20]', '[7]')
    """
    return f"[{number + 1}]" if total is None else f"[{number + 1:>{len(str(total))}}/{total}]"


def time_left(grid: Grid, ended: Sequence[Ended]) -> str:
    """Return ` · 3 min left`, from the pace of this launch; '' where nearly nothing is left."""
    count = len({one.number for one in ended})
    if not count:
        return ""
    seconds = (time.time() - grid.started) / count * (len(grid.jobs) - count)
    return f" · {duration(round(seconds))} left" if seconds >= TOLD_FROM_S else ""


def duration(seconds: float) -> str:
    """Return a duration as people say it.

    >>> duration(2.41), duration(75), duration(8000)
    ('2.4 s', '1 min 15 s', '2 h 13 min')
    """
    if seconds < 60:
        return f"{seconds:.0f} s" if isinstance(seconds, int) else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"
