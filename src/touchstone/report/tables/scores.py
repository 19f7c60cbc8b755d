"""The result tables of a study: scores by training data, and F1 by category with its change against
gold.

Tasks of one corpus stand side by side (the first paper), data sets one below the other (the
second). Trivial systems and published figures are rows to read the others against. Numbers come
from comparisons.py; see also curves.py, controls.py, data_tables.py.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from touchstone.evaluate.counts import FN, TP
from touchstone.report import reading
from touchstone.report.comparisons import SCORES, Score, main_score, of_cell, stars
from touchstone.report.grid import Cell, Grid, Line, lines, taxonomy
from touchstone.report.tables.captions import (
    HEADS,
    caption,
    coverage,
    grouped,
    mixture_label,
    notes,
    row_name,
    setting,
    significance,
    tasks_of,
    varying,
)
from touchstone.report.tables.layout import Column, Entry, Row, Table, count, word
from touchstone.report.tables.published import published

CATEGORY = Score("main", "category", "f1", "F1")
MOST_ROWS = 24  # of a panel of the score figure: more are only in the table
LAST = ("relaxed F1", "macro F1", "AUC")  # columns that some data sets of a table have


def score_table(grid: Grid, scores: pd.DataFrame) -> Table:
    """Return precision, recall and F1 of every cell with intervals, the difference from gold, and
    the trivial rows."""
    if len({cell.config["corpus"]["name"] for cell in grid.cells}) > 1:
        return _by_data_set(grid, scores)
    tasks, found = tasks_of(grid.cells), lines(grid)
    axes = varying([line.axes for line in found])
    columns = [Column("n_train", "n train")]
    for task, kind in tasks.items():
        columns += _columns([score.title for score in SCORES[kind]], {main_score(kind).title}, task)
    rows = []
    for line in found:
        entries = {"n_train": _n_train(line)}
        for task in tasks:
            entries |= _task_entries(line, task, tasks[task], scores, f"{task}/")
        rows.append(Row(tuple(line.axes[axis] for axis in axes), entries, _block(line, found)))
    rows = _best(rows, columns)
    for system, entries in trivial_rows(grid, tasks).items():
        rows.append(Row((system, *[""] * (len(axes) - 1)), entries, "trivial", reference=True))
    heads = tuple(HEADS[axis] for axis in axes)
    title = "Scores by training data"
    return Table(
        f"{grid.study}_scores",
        title,
        caption(grid, scores),
        heads,
        tuple(columns),
        tuple(rows),
        tuple(notes(grid, scores)),
    )


def _by_data_set(grid: Grid, scores: pd.DataFrame) -> Table:
    """Return the score table with a block of rows for each data set, whose columns may differ, and
    the published figures below."""
    tasks, found = tasks_of(grid.cells), lines(grid)
    axes = varying([line.axes for line in found])
    titles = list(dict.fromkeys(score.title for kind in tasks.values() for score in SCORES[kind]))
    columns = [
        Column("n_train", "n train"),
        *_columns(
            sorted(titles, key=lambda title: title in LAST),
            {main_score(kind).title for kind in tasks.values()},
            "",
        ),
    ]
    blanks = [""] * (len(axes) - 1)
    rows = []
    for task in tasks:
        block = []
        for line in found:
            if task in line.cells or task in line.failed:
                entries = {
                    "n_train": _n_train(line, task),
                    **_task_entries(line, task, tasks[task], scores, ""),
                }
                block.append(Row((task, *(line.axes[axis] for axis in axes)), entries, task))
        rows += _best(block, columns)
        for system, entries in trivial_rows(grid, {task: tasks[task]}).items():
            bare = {key.partition("/")[2]: entry for key, entry in entries.items()}
            rows.append(Row((task, system, *blanks), bare, task, reference=True))
    known = [one for one in published(grid.study) if one.kind in tasks.values()]
    for one in known:
        kind = {"ner": "entities", "relation": "relations"}.get(one.kind, one.kind)
        rows.append(
            Row(
                (f"published, {kind}", one.row, *blanks),
                {"F1": Entry(one.fraction)},
                "published",
                reference=True,
            )
        )
    told = [
        f"Published, {one.kind}, {one.row}: {one.value:g} {one.unit}; {one.what}. {one.source}."
        for one in known
    ]
    heads = ("Data set", *(HEADS[axis] for axis in axes))
    title = "Scores by data set and training data"
    return Table(
        f"{grid.study}_scores",
        title,
        caption(grid, scores),
        heads,
        tuple(columns),
        tuple(rows),
        (*notes(grid, scores), *told),
    )


def category_table(grid: Grid, scores: pd.DataFrame, task: str) -> Table:
    """Return F1 per category for every mixture of a task, and its change against gold with the
    interval of the change."""
    cells = [cell for cell in grid.cells if cell.axes["task"] == task]
    names = taxonomy(cells[0].config)
    labels = list(dict.fromkeys(mixture_label(cell) for cell in cells))
    columns = [
        Column("n_test", "n test"),
        *(Column(label, label, "", "change") for label in labels),
    ]
    settings = settings_of(cells)
    rows = []
    for name, members in settings.items():
        support = of_cell(members[0])[0].total
        for number, category in enumerate(members[0].categories):
            entries = {
                "n_test": count(support[number, TP] + support[number, FN], members[0].run_id)
            }
            entries |= {
                mixture_label(cell): entry_of(scores, cell, CATEGORY, category) for cell in members
            }
            title = names[category].name if category in names.ids else category
            rows.append(
                _best_in_row(Row((name, title) if len(settings) > 1 else (title,), entries, name))
            )
    told = (
        f"Below each F1 its change against gold with the 95 % interval of the change. {setting(cells)} {coverage(cells)} "
        f"{significance(cells, scores, [CATEGORY])}"
    )
    heads = ("Setting", "Category") if len(settings) > 1 else ("Category",)
    return Table(
        f"{grid.study}_categories_{task}",
        f"F1 by category, {task}",
        told,
        heads,
        tuple(columns),
        tuple(rows),
    )


def settings_of(cells: Sequence[Cell]) -> dict[str, list[Cell]]:
    """Return the cells of one task by classifier, prompt, LLM and gold size; cells to which one of
    these does not apply are in each."""
    axes = [
        axis
        for axis in varying([cell.axes for cell in cells])
        if axis not in ("mixture", "variant")
    ]
    named = grouped(
        [cell for cell in cells if all(cell.axes[axis] for axis in axes)] or list(cells),
        lambda cell: tuple(cell.axes[axis] for axis in axes),
    )
    out = {}
    for key in named:
        fits = [
            cell
            for cell in cells
            if all(cell.axes[axis] in ("", value) for axis, value in zip(axes, key, strict=True))
        ]
        direct = [
            cell for cell in cells if cell.axes["mixture"] == "zero_shot" and cell not in fits
        ]
        out[" ".join(filter(None, key))] = [*direct, *fits]
    return out


def entry_of(scores: pd.DataFrame, cell: Cell, score: Score, category: str = "") -> Entry:
    """Return a cell's score with its interval, change against gold and mark, from a table of
    `comparisons.compared`."""
    key = (cell.run_id, score.view, score.scope, score.metric, category)
    if key not in scores.index:
        return Entry(runs=(cell.run_id,))
    row = scores.loc[key]
    runs = (
        (cell.run_id, row["baseline_id"])
        if row["baseline_id"] not in ("", cell.run_id)
        else (cell.run_id,)
    )
    numbers = (
        row[name]
        for name in (
            "value",
            "low",
            "high",
            "difference",
            "difference_low",
            "difference_high",
            "p",
            "p_holm",
        )
    )
    return Entry(*numbers, mark=stars(row["p_holm"]), runs=runs)


def _columns(titles: Sequence[str], main: Collection[str], group: str) -> list[Column]:
    """Return the columns of scores; the difference from gold stands behind the score that it is a
    difference of."""
    start = f"{group}/" if group else ""
    out = []
    for title in titles:
        out.append(Column(f"{start}{title}", title, group, "interval"))
        if title in main:
            out.append(Column(f"{start}{title}/change", "vs gold", group, "interval"))
    return out


def _task_entries(
    line: Line, task: str, kind: str, scores: pd.DataFrame, start: str
) -> dict[str, Entry]:
    """Return the entries of a line's cell of a task, or what is in place of them."""
    if task not in line.cells:
        title = main_score(kind).title
        return {
            f"{start}{title}": word(
                "missing" if task in line.failed else "not run",
                *filter(None, [line.failed.get(task)]),
            )
        }
    cell = line.cells[task]
    found = {}
    for score in SCORES[cell.kind]:
        entry = entry_of(scores, cell, score)
        found[f"{start}{score.title}"] = Entry(
            entry.value, entry.low, entry.high, runs=(cell.run_id,)
        )
        if score.main and not np.isnan(entry.change):
            change = Entry(
                entry.change, entry.change_low, entry.change_high, p=entry.p, p_holm=entry.p_holm
            )
            found[f"{start}{score.title}/change"] = replace(
                change, mark=entry.mark, signed=True, runs=entry.runs
            )
    return found


def _n_train(line: Line, task: str | None = None) -> Entry:
    cells = [cell for name, cell in line.cells.items() if task in (None, name)]
    known = [
        (cell.run.data.metrics["n_train"], cell.run_id)
        for cell in cells
        if "n_train" in cell.run.data.metrics
    ]
    return count(*known[0]) if known else word("")


def _block(line: Line, others: Sequence[Line]) -> str:
    several = len({other.axes["gold"] for other in others if other.axes["gold"]}) > 1
    if line.axes["mixture"] == "zero_shot":
        return "zero_shot"
    return " ".join(filter(None, [line.axes["classifier"], line.axes["gold"] if several else ""]))


def trivial_rows(grid: Grid, tasks: dict[str, str]) -> dict[str, dict[str, Entry]]:
    """Return system -> entries of what reads nothing; scored on the whole test set, so from the
    cell with the most test sentences."""
    found: dict[str, dict[str, Entry]] = {}
    for task, kind in tasks.items():
        cell = max(
            (one for one in grid.cells if one.axes["task"] == task),
            key=lambda one: one.predictions["example_id"].nunique(),
        )
        for row in reading.table(grid.store, cell.run, "trivial").itertuples(index=False):
            for score in SCORES[kind]:
                if row.metric == _headline_name(score, kind):
                    found.setdefault(row.system.replace("_", " "), {})[f"{task}/{score.title}"] = (
                        Entry(row.value, runs=(cell.run_id,))
                    )
    return found


def _headline_name(score: Score, kind: str) -> str:
    """Return the name of a score among the headline metrics of a run (see evaluate/scoring.py)."""
    if kind in ("binary", "relation"):
        return {"classes": "macro_f1", "auc": "auc"}.get(score.view, score.metric)
    return f"any_{score.metric}" if score.view == "any" else f"{score.scope}_{score.metric}"


def _best(rows: list[Row], columns: Sequence[Column]) -> list[Row]:
    """Mark the best entry of each score column in each block; ties are all best, a lone row is
    not."""
    out = list(rows)
    for column in columns:
        if column.second != "interval" or column.key.endswith("/change"):
            continue
        for members in grouped(range(len(rows)), lambda number: rows[number].block).values():
            values = {
                i: rows[i].entries[column.key].value
                for i in members
                if column.key in rows[i].entries
            }
            values = {i: value for i, value in values.items() if not np.isnan(value)}
            for i in [
                i
                for i, value in values.items()
                if len(values) > 1 and value == max(values.values())
            ]:
                out[i] = _with_best(out[i], column.key)
    return out


def _best_in_row(row: Row) -> Row:
    values = {
        key: entry.value
        for key, entry in row.entries.items()
        if key != "n_test" and not np.isnan(entry.value)
    }
    for key in [
        key
        for key, value in values.items()
        if len(values) > 1 and value == max(values.values()) > 0
    ]:
        row = _with_best(row, key)
    return row


def _with_best(row: Row, key: str) -> Row:
    return replace(row, entries={**row.entries, key: replace(row.entries[key], best=True)})


def score_panels(grid: Grid, scores: pd.DataFrame) -> dict[str, list[dict]]:
    """Return what a figure of the scores draws: title -> name, mixture, value, low, high and mark
    of each cell of a task."""
    panels: dict[str, list[dict]] = {}
    for task, kind in tasks_of(grid.cells).items():
        score = main_score(kind)
        for line in lines(grid):
            if (cell := line.cells.get(task)) and len(
                panels.get(f"{task}, {score.title}", [])
            ) < MOST_ROWS:
                entry = entry_of(scores, cell, score)
                if np.isnan(entry.value):
                    continue
                low, high = (
                    entry.value if np.isnan(bound) else bound for bound in (entry.low, entry.high)
                )  # one patient: no interval
                numbers = {"value": entry.value, "low": low, "high": high, "mark": entry.mark}
                panels.setdefault(f"{task}, {score.title}", []).append(
                    {"name": row_name(cell, grid), "mixture": cell.axes["mixture"], **numbers}
                )
    return panels
