"""The entries of result tables: a cell's score with interval, change and mark, what stands where
there is none, and which entry of a column is the best.

Numbers come from comparisons.py and are not changed here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from touchstone.evaluate.headline import Score, columns_of, main_score
from touchstone.report import reading
from touchstone.report.comparisons import stars
from touchstone.report.grid import Cell, Grid, Line
from touchstone.report.own_scores import shown_scores
from touchstone.report.tables.captions import grouped
from touchstone.report.tables.layout import Column, Entry, Row, count, word

NUMBERS = "value low high difference difference_low difference_high p p_holm".split()
UNRECORDED = "MissingRecording"  # how the reason of a cell begins whose requests are not recorded


def entry_of(scores: pd.DataFrame, cell: Cell, score: Score) -> Entry:
    """Return a cell's score with its interval, change against gold and mark, from a table of
    `comparisons.compared`."""
    key = (cell.run_id, score.name)
    if key not in scores.index:
        return Entry(runs=(cell.run_id,))
    row = scores.loc[key]
    compared = row["baseline_id"] not in ("", cell.run_id)
    runs = (cell.run_id, row["baseline_id"]) if compared else (cell.run_id,)
    value, low, high, change, change_low, change_high, p, p_holm = (row[name] for name in NUMBERS)
    bounds = {"change_low": change_low, "change_high": change_high, "p": p, "p_holm": p_holm}
    return Entry(value, low, high, change, mark=stars(p_holm), runs=runs, **bounds)


def change_of(entry: Entry) -> Entry:
    """Return the change against gold as an entry of its own."""
    return Entry(
        entry.change,
        entry.change_low,
        entry.change_high,
        p=entry.p,
        p_holm=entry.p_holm,
        mark=entry.mark,
        signed=True,
        runs=entry.runs,
    )


def task_entries(
    grid: Grid, line: Line, task: str, kind: str, scores: pd.DataFrame, start: str
) -> dict[str, Entry]:
    """Return the entries of a line's cell of a task by column key, or the word in place of them."""
    if task not in line.cells:
        run_id = line.failed.get(task, "")
        return {f"{start}{main_score(kind).title}": absent(grid, run_id)}
    cell = line.cells[task]
    entries = {}
    for score in shown_scores(cell.kind, [cell]):
        entry = entry_of(scores, cell, score)
        key = f"{start}{score.title}"
        entries[key] = Entry(entry.value, entry.low, entry.high, runs=(cell.run_id,))
        mean_of_folds = cell.run.data.metrics.get(f"folds/{score.name}")
        if score.main and mean_of_folds is not None:
            entries[f"{key}/folds"] = Entry(mean_of_folds, runs=(cell.run_id,))
        if score.compared and not np.isnan(entry.change):
            entries[f"{key}/change"] = change_of(entry)
    return entries


def folded(cells: Sequence[Cell]) -> bool:
    """Return whether cells are cross-validations, whose rows have a mean over folds as well."""
    return any(cell.config["task"].get("folds") for cell in cells)


def absent(grid: Grid, run_id: str) -> Entry:
    """Return the word for a cell without a result: not run, not recorded, or missing."""
    if not run_id:
        return word("not run")
    reasons = grid.missing.loc[grid.missing["run_id"] == run_id, "reason"]
    unrecorded = len(reasons) and str(reasons.iloc[0]).startswith(UNRECORDED)
    return word("not recorded" if unrecorded else "missing", run_id)


def n_train(line: Line, task: str | None = None) -> dict[str, Entry]:
    """Return how many sentences a line's cells learned from, as the entry `n_train`."""
    cells = [cell for name, cell in line.cells.items() if task in (None, name)]
    known = [
        (cell.run.data.metrics["n_train"], cell.run_id)
        for cell in cells
        if "n_train" in cell.run.data.metrics
    ]
    return {"n_train": count(*known[0])} if known else {}


def trivial_rows(grid: Grid, tasks: dict[str, str]) -> dict[str, dict[str, Entry]]:
    """Return system -> entries of what reads nothing; scored on the whole test set, so from the
    cell with the most test sentences."""
    systems: dict[str, dict[str, Entry]] = {}
    for task, kind in tasks.items():
        cell = max(
            (one for one in grid.cells if one.axes["task"] == task),
            key=lambda one: one.predictions["example_id"].nunique(),
        )
        titles = {score.name: score.title for score in columns_of(kind)}
        for row in reading.table(grid.store, cell.run, "trivial").itertuples(index=False):
            if row.metric in titles:
                entries = systems.setdefault(str(row.system).replace("_", " "), {})
                entries[f"{task}/{titles[row.metric]}"] = Entry(row.value, runs=(cell.run_id,))
    return systems


def best_in_columns(rows: list[Row], columns: Sequence[Column]) -> list[Row]:
    """Mark the best entry of each score column in each block; ties are all best, a lone row is
    not."""
    out = list(rows)
    for column in columns:
        if column.second != "interval" or column.key.endswith("/change"):
            continue
        for members in grouped(range(len(rows)), lambda number: rows[number].block).values():
            keys = {i: rows[i].entries.get(column.key) for i in members}
            for i in _best({i: entry.value for i, entry in keys.items() if entry}):
                out[i] = _with_best(out[i], column.key)
    return out


def best_in_row(row: Row) -> Row:
    """Mark the best entry of a row above 0."""
    values = {key: entry.value for key, entry in row.entries.items() if key != "n_test"}
    for key in _best(values):
        if values[key] > 0:
            row = _with_best(row, key)
    return row


def _best(values: dict) -> list:
    values = {key: value for key, value in values.items() if not np.isnan(value)}
    highest = max(values.values(), default=np.nan)
    return [key for key, value in values.items() if len(values) > 1 and value == highest]


def _with_best(row: Row, key: str) -> Row:
    return replace(row, entries={**row.entries, key: replace(row.entries[key], best=True)})
