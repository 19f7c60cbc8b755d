"""A table as the papers print it: columns under group heads, rows in blocks, entries that know
their interval and where they come from.

Every format is a thin layer over this (report/formats); none computes anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

NAN = float("nan")


@dataclass(frozen=True)
class Entry:
    """One number of a table, or a word in its place.

    Attributes
    ----------
    value : the number; NaN is undefined and shown as a dash.
    low, high : its 95 % interval.
    change, change_low, change_high : difference from the baseline with its interval.
    p, p_holm : of that difference; the second corrected over the grid.
    mark : `*`, `**` or nothing, from p_holm.
    best : whether it is the best of its column and block.
    digits : after the point; None for a count.
    signed : shown with its sign, as differences are.
    word : shown instead of a number, e.g. `missing`.
    runs : ids of the runs that it was computed from.
    """

    value: float = NAN
    low: float = NAN
    high: float = NAN
    change: float = NAN
    change_low: float = NAN
    change_high: float = NAN
    p: float = NAN
    p_holm: float = NAN
    mark: str = ""
    best: bool = False
    digits: int | None = 3
    signed: bool = False
    word: str = ""
    runs: tuple[str, ...] = ()

    def shown(self) -> str:
        """Return the number as text, without mark and interval."""
        if self.word:
            return self.word
        if np.isnan(self.value):
            return "–"
        return number(self.value, self.digits, self.signed)

    def second(self, what: str) -> str:
        """Return what stands below or beside the number: `interval`, `change`, or nothing."""
        if what == "interval" and not np.isnan(self.low):
            return (
                f"[{number(self.low, self.digits, self.signed)}, "
                f"{number(self.high, self.digits, self.signed)}]"
            )
        if what == "change" and not np.isnan(self.change):
            bounds = (
                f" [{number(self.change_low, 2, True)}, {number(self.change_high, 2, True)}]"
                if not np.isnan(self.change_low)
                else ""
            )
            return f"{number(self.change, 2, True)}{bounds}"
        return ""


@dataclass(frozen=True)
class Column:
    """A column.

    Attributes
    ----------
    key : in sidecar and CSV.
    title, group : its head, and the head above it that it shares with others.
    second : what its entries show besides the number: interval | change | ''.
    rank : 0 is in every table; where a page or console is narrow 2 is left out first, then 1.
    """

    key: str
    title: str
    group: str = ""
    second: str = ""
    rank: int = 0


@dataclass(frozen=True)
class Row:
    """A row: its labels (one for each label column), column key -> entry, and how it is set.

    Attributes
    ----------
    block : rows of one block stand together, a rule between blocks.
    reference : a row to read others against (trivial systems, published figures): set apart, never
        best.
    """

    labels: tuple[str, ...]
    entries: Mapping[str, Entry]
    block: str = ""
    reference: bool = False


@dataclass(frozen=True)
class Table:
    """A table: name (file name and LaTeX label), title, caption, heads of the label columns,
    columns, rows and notes below it."""

    name: str
    title: str
    caption: str
    heads: tuple[str, ...]
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = field(default=())

    def groups(self) -> list[tuple[str, int]]:
        """Return the group heads from left to right with the number of columns below each."""
        out: list[tuple[str, int]] = []
        for column in self.columns:
            if out and out[-1][0] == column.group:
                out[-1] = (column.group, out[-1][1] + 1)
            else:
                out.append((column.group, 1))
        return out


def slim(table: Table, rank: int = 0) -> Table:
    """Return the table without the columns above a rank."""
    return replace(table, columns=tuple(one for one in table.columns if one.rank <= rank))


def labels_shown(table: Table) -> list[tuple[str, ...]]:
    """Return the labels of each row, the first ones blank where they repeat the row above in the
    same block."""
    out = []
    for at, row in enumerate(table.rows):
        above = table.rows[at - 1] if at and table.rows[at - 1].block == row.block else None
        shared = 0
        while (
            above is not None
            and shared < len(row.labels) - 1
            and row.labels[: shared + 1] == above.labels[: shared + 1]
        ):
            shared += 1
        out.append(("",) * shared + row.labels[shared:])
    return out


def number(value: float, digits: int | None = 3, signed: bool = False) -> str:
    """Return a number as tables print it: a true minus, thousands separated, infinities in words.

    >>> number(-0.0411, 3, True), number(1153, None)
    ('−0.041', '1,153')
    """
    if np.isnan(value):
        return "–"
    if np.isinf(value):
        return "∞" if value > 0 else "−∞"
    text = f"{value:,.0f}" if digits is None else f"{value:.{digits}f}"
    if float(text.replace(",", "")) == 0:
        text = text.lstrip("-")
    if signed and not text.startswith("-") and float(text.replace(",", "")) != 0:
        text = f"+{text}"
    return text.replace("-", "−")


def word(text: str, *runs: str) -> Entry:
    """Return an entry that is a word."""
    return Entry(word=text, runs=runs)


def count(n: float, *runs: str) -> Entry:
    """Return an entry that is a count."""
    return Entry(float(n), digits=None, runs=runs)
