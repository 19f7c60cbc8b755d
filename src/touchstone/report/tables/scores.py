"""The score table of a study: precision, recall and F1 by training data, with intervals and the
difference from gold.

Tasks of one corpus stand side by side (the first paper), data sets one below the other (the
second); `task_tables` has one table a task, as the screen and the run list show it. Trivial systems
and published figures are rows to read the others against. Numbers come from comparisons.py; see
also categories.py, curves.py, controls.py, data.py.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from touchstone.evaluate.headline import OWN, Score, main_score
from touchstone.report.grid import Grid, Line, lines
from touchstone.report.own_scores import shown_scores
from touchstone.report.tables.captions import (
    HEADS,
    caption,
    notes,
    row_name,
    tasks_of,
    title_of,
    varying,
)
from touchstone.report.tables.entries import (
    best_in_columns,
    entry_of,
    folded,
    n_train,
    task_entries,
    trivial_rows,
)
from touchstone.report.tables.layout import Column, Entry, Row, Table
from touchstone.report.tables.means import NAMES, mean_note, mean_rows
from touchstone.report.tables.published import Published, published

MOST_ROWS = 24  # of a panel of the score figure: more are only in the table
LAST = ("relaxed F1", "macro F1", "AUC")  # columns that some data sets of a table have


def score_table(grid: Grid, scores: pd.DataFrame) -> Table:
    """Return precision, recall and F1 of every cell with intervals, the difference from gold, and
    the trivial rows."""
    if len({cell.config["corpus"]["name"] for cell in grid.cells}) > 1:
        return _by_data_set(grid, scores)
    tasks, grid_lines = tasks_of(grid.cells), lines(grid)
    axes = varying([line.axes for line in grid_lines])
    columns = [Column("n_train", "n train")]
    for task, kind in tasks.items():
        cells = [cell for cell in grid.cells if cell.axes["task"] == task]
        measures = shown_scores(kind, cells)
        columns += _columns(measures, {main_score(kind).title}, task, folded(grid.cells))
    rows = []
    for line in grid_lines:
        entries = n_train(line)
        for task in tasks:
            entries |= task_entries(grid, line, task, tasks[task], scores, f"{task}/")
        rows.append(Row(tuple(line.axes[axis] for axis in axes), entries, _block(line, grid_lines)))
    rows = best_in_columns(rows, columns)
    for system, entries in trivial_rows(grid, tasks).items():
        rows.append(Row((system, *[""] * (len(axes) - 1)), entries, "trivial", reference=True))
    return _table(grid, scores, "Scores by training data", axes, columns, rows)


def task_tables(grid: Grid, scores: pd.DataFrame) -> list[Table]:
    """Return the score table of each task by itself; a task of which no cell finished has words
    only."""
    tasks = tasks_of(grid.cells)
    empty = [task for task in dict.fromkeys(grid.missing["task"]) if task not in tasks]
    return [_of_task(grid, scores, task, tasks.get(task, "")) for task in [*tasks, *empty]]


def _of_task(grid: Grid, scores: pd.DataFrame, task: str, kind: str) -> Table:
    grid_lines = [line for line in lines(grid) if task in line.cells or task in line.failed]
    axes = varying([line.axes for line in grid_lines])
    name = f"{grid.study}_scores_{task}"
    if not kind:
        from touchstone.report.tables.entries import absent

        rows = [
            Row(tuple(line.axes[axis] for axis in axes), {"score": absent(grid, line.failed[task])})
            for line in grid_lines
        ]
        heads = tuple(HEADS[axis] for axis in axes)
        columns: list[Column] = [Column("score", "score")]
        return Table(name, task, "", heads, tuple(columns), tuple(rows))
    cells = [line.cells[task] for line in grid_lines if task in line.cells]
    columns = [
        Column("n_train", "n train"),
        *_columns(shown_scores(kind, cells), {main_score(kind).title}, "", folded(grid.cells)),
    ]
    rows = [
        Row(
            tuple(line.axes[axis] for axis in axes),
            n_train(line, task) | task_entries(grid, line, task, kind, scores, ""),
        )
        for line in grid_lines
    ]
    rows = best_in_columns(rows, columns)
    blanks = [""] * (len(axes) - 1)
    for system, entries in trivial_rows(grid, {task: kind}).items():
        bare = {key.partition("/")[2]: entry for key, entry in entries.items()}
        rows.append(Row((system, *blanks), bare, "trivial", reference=True))
    known = [one for one in published(grid.study) if one.kind == kind]
    for one in known:
        labels = (f"published {one.row}", *blanks)
        rows.append(Row(labels, {"F1": Entry(one.fraction)}, "published", reference=True))
    title = title_of(task, cells, axes)
    part = _table(grid, scores, title, axes, columns, rows, known=known)
    return replace(part, name=name)


def _by_data_set(grid: Grid, scores: pd.DataFrame) -> Table:
    """Return the score table with a block of rows for each data set, whose columns may differ, and
    the published figures below."""
    tasks, grid_lines = tasks_of(grid.cells), lines(grid)
    axes = varying([line.axes for line in grid_lines])
    by_title = {
        score.title: score for kind in tasks.values() for score in shown_scores(kind, grid.cells)
    }
    columns = [
        Column("n_train", "n train"),
        *_columns(
            sorted(by_title.values(), key=lambda score: score.title in LAST),
            {main_score(kind).title for kind in tasks.values()},
            "",
            folded(grid.cells),
        ),
    ]
    blanks = [""] * (len(axes) - 1)
    rows: list[Row] = []
    by_task: dict[str, list[Row]] = {}
    for task in tasks:
        by_task[task] = []
        for line in grid_lines:
            if task in line.cells or task in line.failed:
                entries = n_train(line, task)
                entries |= task_entries(grid, line, task, tasks[task], scores, "")
                labels = (task, *(line.axes[axis] for axis in axes))
                by_task[task].append(Row(labels, entries, task))
        rows += best_in_columns(by_task[task], columns)
        for system, entries in trivial_rows(grid, {task: tasks[task]}).items():
            bare = {key.partition("/")[2]: entry for key, entry in entries.items()}
            rows.append(Row((task, system, *blanks), bare, task, reference=True))
    means = mean_rows(tasks, by_task)
    known = [one for one in published(grid.study) if one.kind in tasks.values()]
    for kind in dict.fromkeys([*means, *(one.kind for one in known)]):
        rows += best_in_columns(means.get(kind, []), columns)
        for one in known:
            if one.kind == kind:
                labels = (f"published, {NAMES.get(kind, kind)}", one.row, *blanks)
                entry = {"F1": Entry(one.fraction)}
                rows.append(Row(labels, entry, f"mean {kind}", reference=True))
    title = "Scores by data set and training data"
    return _table(
        grid, scores, title, axes, columns, rows, ("Data set",), known, mean_note(tasks, means)
    )


def _table(
    grid: Grid,
    scores: pd.DataFrame,
    title: str,
    axes: Sequence[str],
    columns: Sequence[Column],
    rows: Sequence[Row],
    before: tuple[str, ...] = (),
    known: Sequence[Published] = (),
    more: Sequence[str] = (),
) -> Table:
    sources = [
        f"Published, {one.kind}, {one.row}: {one.value:g} {one.unit}; {one.what}. {one.source}."
        for one in known
    ]
    return Table(
        f"{grid.study}_scores",
        title,
        caption(grid),
        (*before, *(HEADS[axis] for axis in axes)),
        tuple(columns),
        tuple(rows),
        (*notes(grid, scores), *more, *sources),
    )


def _columns(
    scores: Sequence[Score], main: Collection[str], group: str, folds: bool
) -> list[Column]:
    """Return the columns of scores; the mean over folds, where there are some, and the difference
    from gold stand behind the score that they belong to."""
    start = f"{group}/" if group else ""
    out = []
    for score in scores:
        own = score.view == OWN
        rank = 0 if score.title in main else 1 if own or score.metric in ("f1", "auc") else 2
        out.append(Column(f"{start}{score.title}", score.title, group, "interval", rank))
        if score.title in main and folds:
            out.append(Column(f"{start}{score.title}/folds", "mean of folds", group))
        if score.title in main or own:
            title = f"{score.title} vs gold" if own else "vs gold"
            out.append(Column(f"{start}{score.title}/change", title, group, "interval", rank))
    return out


def _block(line: Line, others: Sequence[Line]) -> str:
    several = len({other.axes["gold"] for other in others if other.axes["gold"]}) > 1
    if line.axes["mixture"] == "zero_shot":
        return "zero_shot"
    return " ".join(filter(None, [line.axes["classifier"], line.axes["gold"] if several else ""]))


def score_panels(grid: Grid, scores: pd.DataFrame) -> dict[str, list[dict[str, Any]]]:
    """Return what a figure of the scores draws: title -> name, mixture, value, low, high and mark
    of each cell of a task."""
    panels: dict[str, list[dict[str, Any]]] = {}
    for task, kind in tasks_of(grid.cells).items():
        score = main_score(kind)
        panel = panels.setdefault(f"{task}, {score.title}", [])
        for line in lines(grid):
            cell = line.cells.get(task)
            if cell is None or len(panel) >= MOST_ROWS:
                continue
            entry = entry_of(scores, cell, score)
            if np.isnan(entry.value):
                continue
            low, high = (
                entry.value if np.isnan(bound) else bound for bound in (entry.low, entry.high)
            )  # one patient: no interval
            numbers = {"value": entry.value, "low": low, "high": high, "mark": entry.mark}
            names = {"name": row_name(cell, grid), "mixture": cell.axes["mixture"]}
            panel.append(names | numbers)
    return {title: panel for title, panel in panels.items() if panel}
