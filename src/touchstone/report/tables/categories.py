"""F1 by category for every mixture of a task, with its change against gold.

One block of rows a setting (classifier, prompt, LLM, gold size) where several were swept.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from touchstone.evaluate.counts import FN, TP
from touchstone.evaluate.headline import category_score
from touchstone.report.comparisons import of_cell
from touchstone.report.grid import Cell, Grid, taxonomy
from touchstone.report.tables.captions import (
    coverage,
    grouped,
    mixture_label,
    significance,
    test_set,
    varying,
)
from touchstone.report.tables.entries import best_in_row, entry_of
from touchstone.report.tables.layout import Column, Row, Table, count


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
            n = support[number, TP] + support[number, FN]
            entries = {"n_test": count(n, members[0].run_id)} | {
                mixture_label(cell): entry_of(scores, cell, category_score(category))
                for cell in members
            }
            title = names[category].name if category in names.ids else category
            heads = (name, title) if len(settings) > 1 else (title,)
            rows.append(best_in_row(Row(heads, entries, name)))
    notes = [
        "n test: test sentences counted for the category, "
        + (
            "each under its primary label only."
            if cells[0].kind == "multiclass"
            else "every label of a sentence."
        ),
        coverage(cells),
        significance(cells, scores, [category_score(cells[0].categories[0])]),
    ]
    return Table(
        f"{grid.study}_categories_{task}",
        f"F1 by category, {task}",
        f"{test_set(cells)} Below each F1 its change against gold with the 95 % interval of the "
        "change.",
        ("Setting", "Category") if len(settings) > 1 else ("Category",),
        tuple(columns),
        tuple(rows),
        tuple(filter(None, notes)),
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
        fitting = [
            cell
            for cell in cells
            if all(cell.axes[axis] in ("", value) for axis, value in zip(axes, key, strict=True))
        ]
        direct = [
            cell for cell in cells if cell.axes["mixture"] == "zero_shot" and cell not in fitting
        ]
        out[" ".join(filter(None, key))] = [*direct, *fitting]
    return out
