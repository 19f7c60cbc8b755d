"""Where a number comes from: the sidecar of the tables, and the facts about a sweep that a reader
needs to run it again.

Each number leads to its runs; each run to its data sets, prompt, LLM answers and code by digest.
Read from the store alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from touchstone.evaluate.permutation import EXACT, SWAPS
from touchstone.report import reading
from touchstone.report.comparisons import N_RESAMPLES, SEED
from touchstone.report.grid import Cell, Grid
from touchstone.report.tables.csv_columns import CSV_COLUMNS
from touchstone.report.tables.layout import Table
from touchstone.tracking import Run
from touchstone.tracking_errors import readable_uri


def sidecar(grid: Grid, tables: Sequence[Table]) -> dict[str, Any]:
    """Return what stands beside the tables as JSON.

    Returns
    -------
    dict of study, store, sweeps (run ids), method (resamples, swaps, seed), columns (of the CSV
    files), missing, runs (id -> `described`), and tables: name -> list of row, block, column,
    shown, value and the ids of the runs.
    """
    found = {table.name: sources(table) for table in tables}
    ids = {run_id for entries in found.values() for entry in entries for run_id in entry["runs"]}
    used = [digest for cell in grid.cells for digest in cell.generations().values()]
    by_digest = reading.generations(grid.store, used)
    generations = {run.info.run_id: run for run in by_digest.values()}
    runs = {cell.run_id: described(grid, cell, by_digest) for cell in grid.cells}
    runs |= {
        run_id: {"kind": "generation", **_generation(generations[run_id])}
        for run_id in sorted(ids & set(generations))
    }
    return {
        "study": grid.study,
        "store": readable_uri(grid.store.uri),
        "sweeps": [run.info.run_id for run in grid.sweeps],
        "method": {
            "n_resamples": N_RESAMPLES,
            "enumerated_up_to": EXACT,
            "n_permutations": SWAPS,
            "seed": SEED,
            "level": 0.95,
        },
        "columns": CSV_COLUMNS,
        "missing": grid.missing.to_dict("records"),
        "runs": runs,
        "tables": found,
    }


def described(grid: Grid, cell: Cell, by_digest: dict[str, Run]) -> dict[str, Any]:
    """Return what a cell was made from: axes, data set digests, prompt, LLM answers, code."""
    git = reading.json_file(grid.store, cell.run, "git.json") or {}
    runs = {
        stage: by_digest[name] for stage, name in cell.generations().items() if name in by_digest
    }
    first = next(iter(runs.values()), None)
    return {
        "kind": "cell",
        "name": cell.run.info.run_name,
        "axes": dict(cell.axes),
        "datasets": {
            context: cell.dataset(context)
            for context in ("training", "dev", "test")
            if cell.dataset(context)
        },
        "prompt": None if first is None else _prompt(first),
        "recording": {
            stage: run.data.params.get("responses_digest", "") for stage, run in runs.items()
        },
        "generations": {
            stage: {"run_id": run.info.run_id, "dataset": cell.generations()[stage]}
            for stage, run in runs.items()
        },
        "code": {name: git.get(name) for name in ("commit", "dirty", "code")},
        "command": cell.run.data.tags.get("touchstone.command", ""),
    }


def _generation(run: Run) -> dict[str, Any]:
    params = run.data.params
    return {
        "name": run.info.run_name,
        "dataset": run.data.tags.get("touchstone.dataset", ""),
        "prompt": _prompt(run),
        "recording": params.get("responses_digest", ""),
        "model": params.get("model", ""),
    }


def _prompt(run: Run) -> dict[str, str]:
    return {
        name: run.data.params.get(key, "")
        for name, key in (
            ("name", "prompt"),
            ("version", "prompt_version"),
            ("digest", "prompt_digest"),
        )
    }


def sources(table: Table) -> list[dict[str, Any]]:
    """Return for every entry that came from runs: row, column, what is shown, and the ids of the
    runs."""
    entries = []
    for row in table.rows:
        for column in table.columns:
            entry = row.entries.get(column.key)
            if entry is not None and entry.runs:
                labels = dict(zip(table.heads, row.labels, strict=True))
                value = (
                    entry.value if np.isfinite(entry.value) else None
                )  # JSON knows no infinity; `shown` says it
                entries.append(
                    {
                        "row": labels,
                        "block": row.block,
                        "column": column.key,
                        "shown": entry.shown(),
                        "value": value,
                        "runs": list(entry.runs),
                    }
                )
    return entries
