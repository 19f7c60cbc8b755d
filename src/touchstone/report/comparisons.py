"""Scores of the cells of a grid with their intervals, and each cell tested against gold on the same
test sentences.

Cells are compared within a family: the same task, classifier, gold size, seeds and test set. What
has no gold of its own (silver, bronze, the LLM asked directly) is compared with the most gold of
its setting. Holm's correction is over the whole grid, one family of hypotheses for each question
asked (the main score; the F1 of the categories; each score of the user's own, own_scores.py). All
of it from the cells' predictions, on counts; see evaluate/intervals.py, evaluate/permutation.py and
evaluate/compare.py for the methods. Does not format anything (tables/).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import pandas as pd

from touchstone.data.people import knows_patients
from touchstone.evaluate import predictions as read
from touchstone.evaluate.compare import COLUMNS, compare, compare_auc, holm_over
from touchstone.evaluate.counts import Counts
from touchstone.evaluate.headline import OWN, names_of, views_of
from touchstone.evaluate.intervals import auc_interval, intervals
from touchstone.report.grid import Cell, Grid, gold_size
from touchstone.report.own_scores import own_rows

SEED = 20231206  # of resamples and swaps: the same store gives the same table
BASELINE = "gold"
KEY = ("run_id", "name")  # names a row of `compared`
TESTED = ("f1",)  # precision and recall explain F1, they do not give it another chance
N_RESAMPLES = 2000


def compared(grid: Grid, n_resamples: int = N_RESAMPLES) -> pd.DataFrame:
    """Score every cell of a grid and test it against gold.

    A cell's own numbers depend on its predictions alone, not on which other cells the grid has; its
    change and p on gold's too, p_holm on the whole grid.

    Returns
    -------
    DataFrame with a row per cell and score: run_id, name (see evaluate/headline.py), baseline_id
    ('' where there is no gold to compare with), view, n_clusters, n_draws (1 where repetitions do
    not differ), and the columns of `evaluate.compare.COLUMNS` but `system`; indexed by the values
    of `KEY`.
    """
    parts = []
    for baseline, members in matched(grid.cells):
        for view in views_of(members[0].kind, shown=True):  # a group shares its task
            parts.append(_view(view, baseline, members, n_resamples))
        if len(rows := own_rows(baseline, members, grid.runs_code)):
            parts.append(_completed(rows, OWN, baseline, members))
    if not parts:
        columns = ["run_id", "name", "baseline_id", "view", "n_clusters", "n_draws", *COLUMNS[1:]]
        return _keyed(pd.DataFrame(columns=columns))
    table = pd.concat(parts, ignore_index=True)
    table = table[table["name"] != ""]
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
    return read.view_of(table, cell.kind, cell.categories, view)


def unit_of(*cells: Cell) -> str:
    """Return what is resampled and counted: patients, documents where the corpus knows no patients,
    sentences where it knows neither; `patients or documents` where corpora differ."""
    units = dict.fromkeys(_unit(cell.predictions) for cell in cells)
    return " or ".join(units)


def _unit(table: pd.DataFrame) -> str:
    """See `unit_of`. Readers give what has no patient its document's id, and what has no document
    its own."""
    if knows_patients(table):
        return "patients"
    one = table.drop_duplicates("example_id")
    alone = one["doc_id"].nunique() == len(one) and len(one) > 1
    return "sentences" if alone else "documents"


def _keyed(table: pd.DataFrame) -> pd.DataFrame:
    """Index by the values of `KEY`, so that an entry is looked up and not searched; the columns
    stay."""
    table.index = pd.MultiIndex.from_frame(table[list(KEY)], names=[None] * len(KEY))
    return table.sort_index(kind="stable")


def _asked(cell: Cell) -> tuple[str, ...]:
    return tuple(sorted(set(cell.predictions["example_id"])))


def _view(
    view: str, baseline: Cell | None, members: Sequence[Cell], n_resamples: int
) -> pd.DataFrame:
    """Score one group in one view; NaN after `baseline` where there is nothing to compare with."""
    systems = {cell.run_id: cell for cell in members}
    outside = baseline is not None and baseline.run_id not in systems
    if baseline is not None and outside:
        systems = {baseline.run_id: baseline} | systems
    ids = set(members[0].predictions["example_id"])
    gold = "" if baseline is None or list(systems) == [baseline.run_id] else baseline.run_id
    table = (_auc if view == "auc" else _counted)(view, systems, gold, ids, n_resamples)
    if baseline is not None and outside:
        table = table[table["system"] != baseline.run_id]
    return _completed(table.rename(columns={"system": "run_id"}), view, baseline, members)


def _completed(
    table: pd.DataFrame, view: str, baseline: Cell | None, members: Sequence[Cell]
) -> pd.DataFrame:
    """Return the rows of a group in one view with all columns of `compared`."""
    table = table.reindex(columns=["run_id", "name", *COLUMNS[1:]])
    draws = {cell.run_id: n_draws(cell) for cell in members}
    return table.assign(
        baseline_id=baseline.run_id if baseline else "",
        view=view,
        n_clusters=members[0].predictions["patient_id"].nunique(),
        n_draws=table["run_id"].map(draws),
    )


def _counted(
    view: str, systems: Mapping[str, Cell], gold: str, asked: set[str], n_resamples: int
) -> pd.DataFrame:
    """Score counts; `gold` is the run that the others are compared with, '' for none."""
    counts = {run_id: of_cell(cell, view, asked) for run_id, cell in systems.items()}
    if gold:
        table = compare(counts, gold, rng=generator(), n_resamples=n_resamples, tested=TESTED)
    else:
        parts = [
            intervals(seeds, rng=generator(), n_resamples=n_resamples).assign(system=run_id)
            for run_id, seeds in counts.items()
        ]
        table = pd.concat(parts, ignore_index=True)
    first = next(iter(counts))
    names = names_of(systems[first].kind, view, counts[first][0].categories)
    return table.assign(name=names * len(counts))


def _auc(
    view: str, systems: Mapping[str, Cell], gold: str, asked: set[str], n_resamples: int
) -> pd.DataFrame:
    """As `_counted`, from the scores of the positive class."""
    scored = {}
    for run_id, cell in systems.items():
        table = cell.predictions[cell.predictions["example_id"].isin(asked)]
        scored[run_id] = read.scores_of(table, cell.kind, cell.categories[0])
    true, _, clusters = next(iter(scored.values()))
    seeds = {run_id: one for run_id, (_, one, _) in scored.items()}
    if gold:
        table = compare_auc(true, seeds, clusters, gold, rng=generator(), n_resamples=n_resamples)
        return table.assign(name="auc")
    rows = []
    for run_id, one in seeds.items():
        value, low, high = auc_interval(
            true, one, clusters, rng=generator(), n_resamples=n_resamples
        )
        rows.append({"system": run_id, "value": value, "low": low, "high": high})
    return pd.DataFrame(rows).assign(scope="class", category="", metric="auc", name="auc")


def generator() -> np.random.Generator:
    """Return the generator of a comparison: always the same, so that a cell has one interval."""
    return np.random.default_rng(SEED)


def n_draws(cell: Cell) -> int:
    """Return the repetitions of a cell, 1 where they predict the same: then nothing was drawn."""
    parts = [rows["pred"] for _, rows in read.seeds_of(cell.predictions)]
    labels_of_parts = [[str(list(labels)) for labels in part] for part in parts]
    return len(parts) if any(one != labels_of_parts[0] for one in labels_of_parts[1:]) else 1


def stars(p: float) -> str:
    """Return the significance mark of a corrected p: ** below 0.01, * below 0.05, else nothing.

    >>> stars(0.03)
    '*'
    """
    return "" if np.isnan(p) or p >= 0.05 else "**" if p < 0.01 else "*"
