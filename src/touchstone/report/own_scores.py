"""Scores of the user's own (`metrics: [my_metrics.specificity]`) in the tables: columns, rows and
notes like those of the built-in scores.

Value and interval are those that the run logged. The change against gold and its test need the
function again; it is called only where the store is the working folder's own or its code is
trusted, and only if it gives the value that the run logged: else the note says why there is no
change. Methods: evaluate/own_metrics.py.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import pandas as pd

from touchstone.errors import UserError
from touchstone.evaluate import own_metrics
from touchstone.evaluate.headline import OWN, Score, columns_of, own_score
from touchstone.evaluate.own_metrics import EXACT, RESAMPLES, SWAPS, Metric
from touchstone.report.grid import Cell, Grid

SEED = 20231206
CLOSE = 1e-9  # the same score, computed on another machine


def own_names(cell: Cell) -> dict[str, str]:
    """Return name -> path of the scores of the user's own that a cell has."""
    return {own_metrics.name_of(path): path for path in cell.config.get("metrics") or []}


def shown_scores(kind: str, cells: Sequence[Cell]) -> tuple[Score, ...]:
    """Return the scores that have a column in the table of cells of a kind of task: the built-in
    ones, then the user's own."""
    names = dict.fromkeys(name for cell in cells if cell.kind == kind for name in own_names(cell))
    return (*columns_of(kind), *(own_score(name) for name in names))


def own_rows(baseline: Cell | None, members: Sequence[Cell], run_code: bool) -> pd.DataFrame:
    """Return the rows of a group of cells for `comparisons.compared`; empty where they have no
    score of their own."""
    rows = []
    for cell in members:
        for name, path in own_names(cell).items():
            row = {
                "run_id": cell.run_id,
                "name": name,
                "scope": OWN,
                "category": "",
                "metric": name,
                "value": _logged(cell, name),
                "low": _logged(cell, f"{name}_low"),
                "high": _logged(cell, f"{name}_high"),
                "p": math.nan,
            }
            if baseline is not None:
                row["baseline"] = _logged(baseline, name)
            if baseline is not None and baseline.run_id != cell.run_id and run_code:
                row |= _change(name, path, baseline, cell)
            rows.append(row)
    return pd.DataFrame(rows)


def own_notes(grid: Grid, scores: pd.DataFrame) -> list[str]:
    """Return what stands below a table about each score of the user's own."""
    lines = []
    paths = {name: path for cell in grid.cells for name, path in own_names(cell).items()}
    for name, path in paths.items():
        rows = scores[(scores["view"] == OWN) & (scores["name"] == name)]
        others = rows[~rows["baseline_id"].isin([""]) & (rows["baseline_id"] != rows["run_id"])]
        tests = int(others["p"].notna().sum())
        text = f"{name}: {path}, a score of your own; its intervals are of {RESAMPLES} resamples"
        if tests:
            text += (
                f", its stars of {SWAPS} swaps where more than {EXACT} clusters differ, "
                f"Holm-corrected over {tests} comparison{'s' if tests > 1 else ''}"
            )
        lines.append(f"{text}.")
        absent = others["difference"].isna() & others["value"].notna()
        if absent.any():
            reason = _reason(path, grid)
            lines.append(f"{name}: {int(absent.sum())} cells not compared with gold: {reason}.")
    return lines


def _reason(path: str, grid: Grid) -> str:
    if not grid.runs_code:
        return (
            "the store was named, and code that its runs name is called with --trust-code only "
            "(touchstone table and report)"
        )
    _, fault = _function(path, any(_restricted(cell) for cell in grid.cells))
    return fault or "the function does not give the value that these runs or gold logged"


@lru_cache(maxsize=32)
def _function(path: str, restricted: bool) -> tuple[Metric | None, str]:
    """Return the function behind a path, or why there is none."""
    try:
        return own_metrics.metrics_of([path], restricted=restricted)[0], ""
    except UserError as error:
        return None, str(error)


def _change(name: str, path: str, baseline: Cell, cell: Cell) -> dict[str, float]:
    """Return the difference from gold on the cell's test sentences with interval and p; nothing
    where it cannot be computed."""
    metric, _ = _function(path, _restricted(cell))
    if metric is None:
        return {}
    ids = cell.predictions["example_id"].unique()
    theirs = baseline.predictions[baseline.predictions["example_id"].isin(ids)]
    whole = theirs if len(theirs) == len(baseline.predictions) else baseline.predictions
    try:
        same = all(
            math.isclose(own_metrics.value_of(metric, table), _logged(one, name), abs_tol=CLOSE)
            for one, table in ((baseline, whole), (cell, cell.predictions))
        )
        if not same:
            return {}
        change = own_metrics.change_of(metric, theirs, cell.predictions, seed=SEED)
    except UserError:  # the function fails here: the value that was logged stays
        return {}
    return {
        "difference": change["difference"],
        "difference_low": change["low"],
        "difference_high": change["high"],
        "p": change["p"],
        "exact": change["exact"],
    }


def _logged(cell: Cell, name: str) -> float:
    return cell.run.data.metrics.get(f"test/{name}", np.nan)


def _restricted(cell: Cell) -> bool:
    return cell.config["corpus"]["access"] == "restricted"
