"""Scores apart from the whole test set: at external test sites, and by subgroup.

A site is scored as the test set is: main score with its interval, and the paired test against gold
on the site's own sentences, corrected within the site. A category that a site lacks is undefined
there. Subgroups stand as the cells logged them (evaluate/subgroups.py); they are not tested.
"""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from touchstone.evaluate.headline import COMPARED, main_score
from touchstone.report import reading
from touchstone.report.comparisons import N_RESAMPLES, compared
from touchstone.report.grid import Grid, lines
from touchstone.report.tables.captions import HEADS, row_name, tasks_of, test_set, varying
from touchstone.report.tables.entries import best_in_columns, change_of, entry_of
from touchstone.report.tables.layout import Column, Entry, Row, Table, count, word

SITE = "site_"  # how predictions of a site are called in a run


def sites_of(grid: Grid) -> list[str]:
    """Return the names of the sites that cells of a grid were scored at, in their order."""
    found: dict[str, None] = {}
    for cell in grid.cells:
        found |= dict.fromkeys(cell.config["corpus"].get("sites") or {})
    return list(found)


def at_site(grid: Grid, name: str) -> Grid:
    """Return a grid whose cells hold their predictions at a site in place of those of the test set;
    cells that were not scored there are left out."""
    cells = []
    for cell in grid.cells:
        relation = cell.kind == "relation"
        table = reading.predictions(grid.store, cell.run, relation, f"{SITE}{name}")
        if len(table):
            cells.append(replace(cell, predictions=table))
    return replace(grid, cells=tuple(cells))


def site_table(grid: Grid, scores: pd.DataFrame, n_resamples: int = N_RESAMPLES) -> Table | None:
    """Return the main score of every cell on the test set and at each site, and its difference from
    gold there; None where no cell was scored elsewhere.

    Parameters
    ----------
    scores : of the test set, see `comparisons.compared`.
    """
    there = {name: at_site(grid, name) for name in sites_of(grid)}
    there = {name: part for name, part in there.items() if part.cells}
    if not there:
        return None
    found = {name: compared(part, n_resamples) for name, part in there.items()}
    columns = [Column("test", "score", "test set", "interval")]
    for name in there:
        columns += [
            Column(f"{name}/score", "score", name, "interval"),
            Column(f"{name}/change", "vs gold", name, "interval"),
        ]
    tasks, grid_lines = tasks_of(grid.cells), lines(grid)
    axes = varying([line.axes for line in grid_lines])
    rows = []
    for task, kind in tasks.items():
        score = main_score(kind)
        for line in grid_lines:
            if (cell := line.cells.get(task)) is None:
                continue
            entries = {"test": _plain(entry_of(scores, cell, score))}
            for name, table in found.items():
                entry = entry_of(table, cell, score)
                entries |= {f"{name}/score": _plain(entry), f"{name}/change": change_of(entry)}
            rows.append(Row((task, *(line.axes[axis] for axis in axes)), entries, task))
    titles = ", ".join(dict.fromkeys(main_score(kind).title for kind in tasks.values()))
    told = " ".join(
        f"{name}: {test_set(part.cells).partition(', ')[2]}" for name, part in there.items()
    )
    return Table(
        f"{grid.study}_sites",
        "Scores at other sites",
        f"{titles}, learned from the training data of the corpus alone. {told}",
        ("Task", *(HEADS[axis] for axis in axes)),
        tuple(columns),
        tuple(best_in_columns(rows, columns)),
        (
            "Brackets: 95 % interval over the patients (documents) of the site. vs gold: paired "
            "permutation test on the site's sentences, p after Holm's correction within the site; "
            "* p < 0.05, ** p < 0.01.",
            "A category that no sentence of a site has is undefined there and in no average.",
        ),
    )


def _plain(entry: Entry) -> Entry:
    return Entry(entry.value, entry.low, entry.high, runs=entry.runs[:1])


def site_metrics(grid: Grid, n_resamples: int = N_RESAMPLES) -> dict[str, dict[str, float]]:
    """Return run id -> metrics of a cell at its sites: `site/rural/score` with its interval and the
    comparison with gold, as `test/score` has them."""
    out: dict[str, dict[str, float]] = {}
    for name in sites_of(grid):
        part = at_site(grid, name)
        table = compared(part, n_resamples)
        for cell in part.cells:
            row = table.loc[(cell.run_id, main_score(cell.kind).name)]
            numbers = {
                f"site/{name}/{metric}": float(row[column])
                for metric, column in COMPARED.items()
                if metric != "p" and not pd.isna(row[column])
            }
            out.setdefault(cell.run_id, {}).update(numbers)
    return out


def subgroup_table(grid: Grid) -> Table | None:
    """Return macro-F1 of each subgroup for every cell, with its interval over patients; None where
    no cell has subgroups."""
    found = {cell.run_id: reading.table(grid.store, cell.run, "subgroups") for cell in grid.cells}
    cells = [cell for cell in grid.cells if len(found[cell.run_id])]
    if not cells:
        return None
    columns = [Column("n_patients", "patients"), Column("n_sentences", "sentences")]
    columns += [Column(cell.run_id, row_name(cell, grid), "", "interval") for cell in cells]
    rows: dict[tuple[str, ...], dict[str, Entry]] = {}
    for cell in cells:
        for row in found[cell.run_id].fillna({"note": ""}).itertuples(index=False):
            entries = rows.setdefault((cell.axes["task"], str(row.field), str(row.group)), {})
            entries["n_patients"] = count(row.n_patients, cell.run_id)
            entries["n_sentences"] = count(row.n_sentences, cell.run_id)
            entries[cell.run_id] = (
                word("not scored", cell.run_id)
                if row.note
                else Entry(row.value, row.low, row.high, runs=(cell.run_id,))
            )
    return Table(
        f"{grid.study}_subgroups",
        "Scores by subgroup",
        f"macro F1 on the test set. {test_set(cells)}",
        ("Task", "Column", "Group"),
        tuple(columns),
        tuple(Row(labels, entries, labels[1]) for labels, entries in rows.items()),
        (
            "Brackets: 95 % interval over the patients of the group. Groups of fewer than five "
            "patients, or without a sentence that has a category, are named and not scored. "
            "Groups are not tested against each other.",
        ),
    )
