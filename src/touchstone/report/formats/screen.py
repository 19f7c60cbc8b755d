"""Tables on the terminal, as `touchstone table --format screen` and the end of a sweep show them.

The numbers and marks are those of every other format; only the interval of the main score stands
beside it. Where the table is wider than the console, precision and recall are left out first, then
all scores but the main one. Nothing is cut in a pipe.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich import box
from rich import table as rich
from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.style import Style
from rich.text import Text

from touchstone.foreign_text import printable
from touchstone.report.tables.layout import Column, Row, Table, labels_shown, slim

if TYPE_CHECKING:
    from touchstone.report.study import Study

WIDTH = 100  # columns where there is no terminal to ask
RANKS = (2, 1, 0)  # of columns, widest table first


def write(study: Study, folder: Path) -> list[Path]:
    """Print the tables of a study; writes no file."""
    console = console_of()
    for table in study.tables:
        show(console, table)
    return []


def console_of() -> Console:
    """Return a console as wide as the terminal; `WIDTH` columns in a pipe, where there is none to
    ask."""
    return Console(width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else WIDTH)


def clickable(shown: str, address: str) -> Text:
    """Return a text that a terminal opens when clicked (OSC 8); in a pipe, or where the terminal
    cannot, the text alone."""
    return Text(shown, Style(link=address))


def say(line: str, shown: str, address: str, console: Console | None = None) -> None:
    """Print a line that ends in an address or a file, clickable on a terminal."""
    text = Text(line).append_text(clickable(shown, address))
    (console or console_of()).print(text, highlight=False, soft_wrap=True)


def show(console: Console, table: Table, notes: bool = True) -> None:
    """Print one table: title, rows, caption and notes."""
    for rank in RANKS:
        drawn = _drawn(slim(table, rank))
        wide = console.options.update(width=1000)
        needed = Measurement.get(console, wide, drawn).maximum
        if needed <= console.width:
            break
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = max(console.width, needed)  # nothing is cut where nobody looks at the width
    console.print(drawn)
    for line in map(printable, (table.caption, *table.notes)) if notes else ():
        console.print(line, style="dim", markup=False, highlight=False)


def _drawn(table: Table) -> rich.Table:
    drawn = rich.Table(
        title=_plain(table.title),
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1),
        collapse_padding=True,
    )
    for head in table.heads:
        drawn.add_column(_plain(head), no_wrap=head == "Training data", overflow="fold")
    for column in table.columns:
        for at, title in enumerate(_titles(column)):
            left = column.key.endswith("/change")
            above = f"{column.group}\n" if column.group and not at else ""
            drawn.add_column(
                _plain(above + title), justify="left" if left else "right", no_wrap=True
            )
    for row, labels in zip(table.rows, labels_shown(table), strict=True):
        texts = [text for column in table.columns for text in _texts(row, column)]
        style = "dim" if row.reference else "red" if _without_numbers(row) else ""
        drawn.add_row(*(_plain(label) for label in labels), *texts, style=style)
    return drawn


def _titles(column: Column) -> tuple[str, ...]:
    if column.second == "interval" and _with_interval(column):
        return column.title, "95 % interval"
    return (column.title,)


def _with_interval(column: Column) -> bool:
    return column.rank == 0 and not column.key.endswith("/change")


def _texts(row: Row, column: Column) -> list[str]:
    """Return the texts of an entry, one for each column that it takes."""
    entry = row.entries.get(column.key)
    wide = column.second == "interval" and _with_interval(column)
    if entry is None:
        return ["", ""] if wide else [""]
    if entry.word:  # it stands where there is room, below the interval
        return ["", _plain(entry.word)] if wide else [_plain(entry.word)]
    text = f"[bold]{entry.shown()}[/bold]" if entry.best else entry.shown()
    if entry.mark:
        text += f" {entry.mark}"
    if wide:
        return [text, _plain(entry.second("interval"))]
    if column.second == "change" and (second := entry.second("change")):
        text += f" {_plain(second)}"
    return [text]


def _without_numbers(row: Row) -> bool:
    entries = [entry for key, entry in row.entries.items() if key != "n_train"]
    return bool(entries) and all(entry.word or np.isnan(entry.value) for entry in entries)


def _plain(text: str) -> str:
    """Return text that rich prints as it is (brackets are its markup) and no terminal obeys."""
    return escape(printable(text))
