"""Progress of long work: a bar with rate and time left on a terminal, one line a minute in the log
elsewhere.

Says how much, never what: labels are ours and no text of a corpus passes through here.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

LOG_EVERY_S = 60.0
log = logging.getLogger(__name__)


@contextmanager
def progress(
    label: str, total: float, unit: str, *, shown: bool = True
) -> Iterator[Callable[[float], None]]:
    """Show how far work has come; yields a function that takes the amount done so far.

    Parameters
    ----------
    label : what is being done, e.g. `reading NOTEEVENTS.csv.gz`.
    total : the amount at the end, in `unit`; 0 if unknown.
    unit : of `total`, e.g. MB or notes.
    shown : False shows and logs nothing.

    Examples
    --------
    >>> with progress("reading", 3, "notes", shown=False) as done:
    ...     done(1)
    """
    if not shown:
        yield lambda amount: None
    elif sys.stderr.isatty():
        with _bar(label, total, unit) as update:
            yield update
    else:
        yield _lines(label, total, unit)


@contextmanager
def working(label: str) -> Iterator[Callable[[str], None]]:
    """Show on a terminal that work is under way, and for how long; yields a function that changes
    the label. Nothing elsewhere: the work is of seconds, and its end is told.

    Parameters
    ----------
    label : what is being done, e.g. `scoring 20 cells`.
    """
    if not sys.stderr.isatty():
        yield lambda text: None
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task(label, total=None)
        yield lambda text: shown.update(task, description=text, refresh=True)


@contextmanager
def _bar(label: str, total: float, unit: str) -> Iterator[Callable[[float], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[rate]}"),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    started = time.monotonic()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=total or None, rate="")

        def update(amount: float) -> None:
            rate = amount / max(time.monotonic() - started, 1e-9)
            bar.update(task, completed=amount, rate=f"{amount:,.0f} {unit}, {rate:,.0f} {unit}/s")

        yield update


def _lines(label: str, total: float, unit: str) -> Callable[[float], None]:
    started = last = time.monotonic()

    def update(amount: float) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < LOG_EVERY_S:
            return
        last = now
        rate = amount / (now - started)
        remaining = f", {(total - amount) / rate / 60:.0f} min left" if total and rate else ""
        log.info(
            "%s: %s of %s %s, %s %s/s%s",
            label,
            f"{amount:,.0f}",
            f"{total:,.0f}" if total else "?",
            unit,
            f"{rate:,.0f}",
            unit,
            remaining,
        )

    return update
