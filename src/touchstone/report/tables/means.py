"""The mean over data sets of one kind: over entity sets, over relation sets.

A row has a mean where every data set of the kind has the row. Each data set counts once, whatever
its size. The data sets have test sets and draws of their own, so that the interval of their mean
follows from their own intervals: its distance to either side is the root of the summed squares of
theirs, over their number (Zou and Donner 2008, Statistics in Medicine 27:1693-1702, section 2).
Published figures of the second paper are such means. Nothing is tested here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from touchstone.report.tables.layout import Entry, Row

NAMES = {"ner": "entities", "relation": "relations"}  # kinds of which papers report means


def mean_rows(tasks: Mapping[str, str], rows: Mapping[str, Sequence[Row]]) -> dict[str, list[Row]]:
    """Return kind -> its rows of means, for the kinds of `NAMES`.

    Parameters
    ----------
    tasks : task -> kind.
    rows : task -> its rows, whose first label is the task; the other labels name the row.
    """
    out: dict[str, list[Row]] = {}
    for kind, name in NAMES.items():
        sets = [task for task, own in tasks.items() if own == kind]
        by_labels = [{row.labels[1:]: row for row in rows[task]} for task in sets]
        if not sets:
            continue
        out[kind] = [
            Row(
                (f"mean, {name}", *labels),
                _means([one[labels].entries for one in by_labels]),
                f"mean {kind}",
            )
            for labels in by_labels[0]
            if all(labels in one and _scored(one[labels]) for one in by_labels)
        ]
    return out


def mean_note(tasks: Mapping[str, str], means: Mapping[str, Sequence[Row]]) -> list[str]:
    """Return what the rows of means are, a line for each kind that has some."""
    lines = []
    for kind, rows in means.items():
        sets = sorted(task for task, own in tasks.items() if own == kind)
        if rows:
            lines.append(
                f"Mean, {NAMES[kind]}: over {', '.join(sets)}, each counted once, where all have "
                "the row; intervals follow from theirs (Zou and Donner 2008), untested."
            )
    return lines


def mean(entries: Sequence[Entry]) -> Entry:
    """Return the mean of independent scores with its interval; undefined where one of them is.

    Examples
    --------
    >>> one = mean([Entry(0.5, 0.47, 0.53), Entry(0.7, 0.66, 0.74)])
    >>> round(one.value, 3), round(one.low, 3), round(one.high, 3)
    (0.6, 0.575, 0.625)
    """
    value, low, high = (
        np.array([getattr(entry, name) for entry in entries]) for name in ("value", "low", "high")
    )
    centre = float(value.mean())
    below, above = (
        float(np.sqrt(((value - bound) ** 2).sum())) / len(entries) for bound in (low, high)
    )
    runs = tuple(dict.fromkeys(run for entry in entries for run in entry.runs))
    return Entry(centre, centre - below, centre + above, signed=entries[0].signed, runs=runs)


def _means(entries: Sequence[Mapping[str, Entry]]) -> dict[str, Entry]:
    shared = [key for key in entries[0] if all(key in one for one in entries)]
    return {
        key: mean([one[key] for one in entries])
        for key in shared
        if entries[0][key].digits is not None  # counts have no mean worth reading
    }


def _scored(row: Row) -> bool:
    """Return whether a row has numbers and no word in their place."""
    scores = [entry for entry in row.entries.values() if entry.digits is not None]
    return bool(scores) and not any(entry.word for entry in scores)
