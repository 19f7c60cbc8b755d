"""Scores of the cells of a grid with their intervals, and each cell tested against gold on the same
test sentences.

Cells are compared within a family: the same task, classifier, gold size, seeds and test set. What
has no gold of its own (silver, bronze, the LLM asked directly) is compared with the most gold of
its setting. Holm's correction is over the whole grid, one family of hypotheses for each question
asked (the main score; the F1 of the categories). All of it from the cells' predictions, on counts;
see evaluate/intervals.py and evaluate/tests.py for the methods. Does not format anything
(tables.py).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from touchstone.evaluate import predictions as read
from touchstone.evaluate.compare import COLUMNS, compare, compare_auc, holm_over
from touchstone.evaluate.counts import Counts
from touchstone.evaluate.intervals import auc_interval, intervals
from touchstone.report.grid import Cell, Grid, gold_size

SEED = 20231206  # of resamples and swaps: the same store gives the same table
BASELINE = "gold"
KEY = ("run_id", "view", "scope", "metric", "category")  # names a row of `compared`


@dataclass(frozen=True)
class Effort:
    """How many resamples and swaps: for a table that is printed, and for one on the screen, which
    nobody should wait for.

    Swaps bound how small a corrected p can get: 999 allow one star over a grid of forty-nine
    comparisons, not two.
    """

    n_resamples: int = 2000
    n_permutations: int = 9999


PRINT, SCREEN = Effort(), Effort(400, 999)

# A view is one way to count a cell's predictions: view -> task kinds that have it.
VIEWS: dict[str, tuple[str, ...]] = {
    "main": ("binary", "multiclass", "multilabel", "ner", "relation"),
    "any": ("multilabel",),  # multi-class grids have the binary task beside them
    "relaxed": ("ner",),
    "classes": ("relation",),
    "auc": ("relation",),
}


@dataclass(frozen=True)
class Score:
    """Which number a column shows: view, scope, metric, its title, and whether it is the one that
    rows are compared by."""

    view: str
    scope: str
    metric: str
    title: str
    main: bool = False


# What a task is scored by, in the order of the columns. With one category (binary, relation) macro
# is that category's own score.
SCORES: dict[str, tuple[Score, ...]] = {
    "binary": (
        Score("main", "macro", "precision", "P"),
        Score("main", "macro", "recall", "R"),
        Score("main", "macro", "f1", "F1", True),
    ),
    "multiclass": (
        Score("main", "macro", "precision", "macro P"),
        Score("main", "macro", "recall", "macro R"),
        Score("main", "macro", "f1", "macro F1", True),
        Score("main", "micro", "f1", "micro F1"),
    ),
    "multilabel": (
        Score("main", "macro", "precision", "macro P"),
        Score("main", "macro", "recall", "macro R"),
        Score("main", "macro", "f1", "macro F1", True),
        Score("main", "micro", "f1", "micro F1"),
        Score("any", "macro", "f1", "any F1"),
    ),
    "ner": (
        Score("main", "micro", "precision", "P"),
        Score("main", "micro", "recall", "R"),
        Score("main", "micro", "f1", "F1", True),
        Score("relaxed", "micro", "f1", "relaxed F1"),
    ),
    "relation": (
        Score("main", "macro", "precision", "P"),
        Score("main", "macro", "recall", "R"),
        Score("main", "macro", "f1", "F1", True),
        Score("classes", "macro", "f1", "macro F1"),
        Score("auc", "class", "auc", "AUC"),
    ),
}


def main_score(kind: str) -> Score:
    """Return the score by which cells of a task are compared."""
    return next(score for score in SCORES[kind] if score.main)


def compared(grid: Grid, effort: Effort = PRINT) -> pd.DataFrame:
    """Score every cell of a grid and test it against gold.

    Returns
    -------
    DataFrame with a row per cell and score: run_id, baseline_id ('' where there is no gold to
    compare with), view, n_clusters, and the columns of `evaluate.tests.COLUMNS` but `system`;
    indexed by the values of `KEY`.
    """
    parts = []
    for baseline, members in matched(grid.cells):
        for view in VIEWS:
            chosen = [cell for cell in members if cell.kind in VIEWS[view]]
            if chosen:
                parts.append(_view(view, baseline, chosen, effort))
    if not parts:
        return _keyed(
            pd.DataFrame(columns=["run_id", "baseline_id", "view", "n_clusters", *COLUMNS[1:]])
        )
    table = pd.concat(parts, ignore_index=True)
    kinds = {cell.run_id: cell.kind for cell in grid.cells}
    single = table["run_id"].map(kinds).isin(["binary", "relation"])
    table = table[
        ~(single & (table["scope"] == "category") & (table["view"] == "main"))
    ]  # the same test as macro, it counts once
    corrected = [holm_over(rows) for _, rows in table.groupby("view", sort=False)]
    return _keyed(pd.concat(corrected, ignore_index=True))


def matched(cells: Sequence[Cell]) -> list[tuple[Cell | None, list[Cell]]]:
    """Return groups of cells on the same test sentences, each with the gold cell that its members
    are compared with, or None.

    The gold cell is a member of the first group that it serves.
    """
    gold = {cell.family: cell for cell in reversed(cells) if cell.axes["mixture"] == BASELINE}
    groups: dict[tuple, list[Cell]] = {}
    baselines: dict[tuple, Cell | None] = {}
    for cell in cells:
        baseline = gold.get(cell.family)
        if cell.axes["mixture"] == "zero_shot":
            ours = [other for other in gold.values() if other.setting == cell.setting]
            baseline = max(ours, key=lambda other: gold_size(other.axes["gold"]), default=None)
        key = (baseline.run_id if baseline else cell.family, _asked(cell))
        groups.setdefault(key, []).append(cell)
        baselines[key] = baseline
    return [(baselines[key], members) for key, members in groups.items()]


def of_cell(cell: Cell, view: str = "main", asked: Collection[str] | None = None) -> list[Counts]:
    """Return the counts of each seed of a cell in one view; `asked` restricts them to some test
    sentences."""
    table = cell.predictions
    if asked is not None and len(asked) < table["example_id"].nunique():
        table = table[table["example_id"].isin(list(asked))]
    if view == "any":
        return read.any_counts_of(table)
    if view == "classes":
        return read.class_counts_of(table, cell.kind, cell.categories[0])
    return read.counts_of(
        table, cell.kind, cell.categories, "relaxed" if view == "relaxed" else "strict"
    )


def unit_of(cell: Cell) -> str:
    """Return what is resampled: patients, or documents where the corpus knows no patients."""
    table = cell.predictions
    return "documents" if (table["patient_id"] == table["doc_id"]).all() else "patients"


def _keyed(table: pd.DataFrame) -> pd.DataFrame:
    """Index by the values of `KEY`, so that an entry is looked up and not searched; the columns
    stay."""
    table.index = pd.MultiIndex.from_frame(table[list(KEY)], names=[None] * len(KEY))
    return table.sort_index(kind="stable")


def _asked(cell: Cell) -> tuple[str, ...]:
    return tuple(sorted(set(cell.predictions["example_id"])))


def _view(
    view: str, baseline: Cell | None, members: Sequence[Cell], effort: Effort
) -> pd.DataFrame:
    """Score one group in one view; NaN after `baseline` where there is nothing to compare with."""
    rng = np.random.default_rng(SEED)
    systems = {cell.run_id: cell for cell in members}
    outside = baseline is not None and baseline.run_id not in systems
    if outside:
        systems = {baseline.run_id: baseline} | systems
    asked = set(members[0].predictions["example_id"])
    table = (_auc if view == "auc" else _counted)(view, systems, baseline, asked, rng, effort)
    if outside:
        table = table[table["system"] != baseline.run_id]
    table = table.rename(columns={"system": "run_id"}).reindex(columns=["run_id", *COLUMNS[1:]])
    n_clusters = members[0].predictions["patient_id"].nunique()
    return table.assign(
        baseline_id=baseline.run_id if baseline else "", view=view, n_clusters=n_clusters
    )


def _counted(
    view: str,
    systems: Mapping[str, Cell],
    baseline: Cell | None,
    asked: set[str],
    rng: np.random.Generator,
    effort: Effort,
) -> pd.DataFrame:
    counts = {run_id: of_cell(cell, view, asked) for run_id, cell in systems.items()}
    if baseline is None or list(systems) == [baseline.run_id]:
        return _alone(
            counts, lambda seeds: intervals(seeds, rng=rng, n_resamples=effort.n_resamples)
        )
    return compare(
        counts,
        baseline.run_id,
        rng=rng,
        n_resamples=effort.n_resamples,
        n_permutations=effort.n_permutations,
    )


def _auc(
    view: str,
    systems: Mapping[str, Cell],
    baseline: Cell | None,
    asked: set[str],
    rng: np.random.Generator,
    effort: Effort,
) -> pd.DataFrame:
    scored = {}
    for run_id, cell in systems.items():
        table = cell.predictions[cell.predictions["example_id"].isin(asked)]
        scored[run_id] = read.scores_of(table, cell.kind, cell.categories[0])
    true, _, clusters = next(iter(scored.values()))
    if baseline is not None and list(systems) != [baseline.run_id]:
        of_seeds = {run_id: seeds for run_id, (_, seeds, _) in scored.items()}
        return compare_auc(
            true, of_seeds, clusters, baseline.run_id, rng=rng, n_resamples=effort.n_resamples
        )

    def one(seeds: Sequence[np.ndarray]) -> pd.DataFrame:
        value, low, high = auc_interval(
            true, seeds, clusters, rng=rng, n_resamples=effort.n_resamples
        )
        return pd.DataFrame(
            [
                {
                    "scope": "class",
                    "category": "",
                    "metric": "auc",
                    "value": value,
                    "low": low,
                    "high": high,
                }
            ]
        )

    return _alone({run_id: seeds for run_id, (_, seeds, _) in scored.items()}, one)


def _alone(
    systems: Mapping[str, Sequence], measure: Callable[[Sequence], pd.DataFrame]
) -> pd.DataFrame:
    return pd.concat(
        [measure(seeds).assign(system=name) for name, seeds in systems.items()], ignore_index=True
    )


def stars(p: float) -> str:
    """Return the significance mark of a corrected p: ** below 0.01, * below 0.05, else nothing.

    >>> stars(0.03)
    '*'
    """
    return "" if np.isnan(p) or p >= 0.05 else "**" if p < 0.01 else "*"
