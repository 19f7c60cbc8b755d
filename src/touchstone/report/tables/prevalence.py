"""How often each category is in the unlabelled pool, and how right silver is there, from the LLM's
labels of pool and test set and the experts' labels of the test set.

Counting what the LLM found in the pool is biased by its errors; the test sentences, labelled by
both, correct the count (evaluate/ppi.py, clustered by patient). So a table needs silver of a prompt
and LLM that some cell asked about test sentences directly (zero_shot). It speaks of the pool only
as far as gold is a random sample of the same population, and says where that is not known. Experts'
judgements of silver itself do without that: review/results.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from touchstone.evaluate.ppi import Prevalence, ppi_mean, ppi_precision_recall
from touchstone.report.grid import Cell, Grid, taxonomy
from touchstone.report.tables.layout import Column, Entry, Row, Table, count
from touchstone.report.tables.quality import Made
from touchstone.taxonomy import NONE

KINDS = ("multiclass", "multilabel")
COLUMNS = (
    Column("counted", "LLM's count", "Share of the pool"),
    Column("gold", "gold alone", "Share of the pool", "interval", rank=1),
    Column("corrected", "corrected", "Share of the pool", "interval"),
    Column("precision", "precision", "Silver", "interval"),
    Column("recall", "recall", "Silver", "interval"),
    Column("n_gold", "n gold", rank=1),
)
RANDOM = "rest_of_train"  # the reader of a pool that is the rest of what gold was drawn from


def prevalence_table(grid: Grid, made: Sequence[Made]) -> Table | None:
    """Return the table of prevalences and of silver's precision and recall; None where no cell
    asked the LLM about test sentences in the way that silver was made."""
    rows: list[Row] = []
    pools: list[Cell] = []
    for silver, cell in _pairs(grid, made):
        pools.append(cell)
        test = cell.predictions[cell.predictions["seed"] == cell.predictions["seed"].min()]
        known = taxonomy(cell.config)
        order = known.precedence if cell.kind == "multiclass" else ()
        pool = [_given(labels, order) for labels in silver.frame["labels"]]
        people = silver.frame["patient_id"].tolist()
        for category in known.categories:
            true, pred, counted = (
                np.array([category.id in labels for labels in given], float)
                for given in (test["true"], test["pred"], pool)
            )
            entries = _entries(true, pred, test["patient_id"].tolist(), counted, people)
            runs = (cell.run_id, silver.run.info.run_id)
            labels = (silver.name, category.name)
            rows.append(Row(labels, {k: _of(one, runs) for k, one in entries.items()}, silver.name))
    if not rows:
        return None
    notes = [
        "Corrected: the LLM's count, corrected by its errors on test sentences (prediction-powered "
        "inference, PPI++), with 95 % intervals over patients; precision and recall likewise. The "
        "count alone has no interval that would cover.",
        *_warnings(pools),
    ]
    return Table(
        f"{grid.study}_prevalence",
        "Categories in the pool, and how right silver is",
        "Share of the pool's sentences with each category, and precision and recall of the LLM's "
        "labels there.",
        ("Data", "Category"),
        COLUMNS,
        tuple(rows),
        tuple(notes),
    )


def _pairs(grid: Grid, made: Sequence[Made]) -> Iterator[tuple[Made, Cell]]:
    """Yield silver with the cell that asked its LLM about test sentences by the same prompt."""
    for one in made:
        if one.stage != "silver" or one.reason or one.frame.empty:
            continue
        same = [
            cell
            for cell in grid.cells
            if cell.axes["mixture"] == "zero_shot"
            and cell.kind in KINDS
            and cell.config["prompt"]["name"] == one.run.data.params.get("prompt")
            and cell.config["llm"]["model"] == one.run.data.params.get("model")
        ]
        if same:
            yield one, same[0]


def _given(labels: Sequence[str], order: Sequence[str]) -> list[str]:
    """Return the categories of a sentence as the task counts them: of several only the primary one,
    where there is an order."""
    if not order:
        return list(labels)
    return [next((name for name in order if name in labels), NONE)]


def _entries(
    true: np.ndarray, pred: np.ndarray, patients: list[Any], pool: np.ndarray, people: list[Any]
) -> dict[str, Any]:
    precision, recall = ppi_precision_recall(true, pred, patients, pool, people)
    return {
        "counted": float(pool.mean()),
        "gold": ppi_mean(true, pred, patients, pool, people, lam=0.0),
        "corrected": ppi_mean(true, pred, patients, pool, people),
        "precision": precision,
        "recall": recall,
        "n_gold": int(true.sum()),
    }


def _of(one: Any, runs: tuple[str, ...]) -> Entry:
    if isinstance(one, Prevalence):
        return Entry(one.value, one.low, one.high, runs=runs)
    return count(one, *runs) if isinstance(one, int) else Entry(one, runs=runs)


def _warnings(cells: Sequence[Cell]) -> list[str]:
    """Say of which corpora gold is not known to be a random sample of the pool's population."""
    names = sorted(
        {
            cell.config["corpus"]["name"]
            for cell in cells
            if (cell.config["corpus"].get("pool") or {}).get("reader") != RANDOM
        }
    )
    return [
        f"Warning: the gold of {name} is not known to be a random sample of its pool's "
        "population: experts and LLM labelled other documents. Where it is none, the corrected "
        "numbers hold for sentences like gold's only; have experts judge silver itself: touchstone "
        "review export."
        for name in names
    ]
