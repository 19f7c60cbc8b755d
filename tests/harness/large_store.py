"""A tracking store of any size, filled in its tables: MLflow would take minutes for what stands
here in a second."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from random import Random

from preloaded import copy_store

from touchstone import tracking
from touchstone.tracking import CELL, KIND, PARENT, STUDY, SWEEP, Store

START_MS = 1_700_000_000_000
CELLS = 19  # of each sweep


def fill(folder: Path, n_runs: int, study: str) -> tuple[Store, list[str]]:
    """Write `n_runs` finished runs, sweeps of 19 cells each, a minute apart; return the store and
    the ids in the order of their start."""
    copy_store(folder)
    store = tracking.open_store(None, study, folder)
    rng, ids = Random(0), []
    runs, all_tags, all_params, all_metrics = [], [], [], []
    for number in range(n_runs):
        run_id = f"{rng.getrandbits(128):032x}"
        if number % (CELLS + 1) == 0:
            parent, tags, params, metrics = run_id, {KIND: "sweep", SWEEP: run_id}, 0, 0
        else:
            tags, params, metrics = {KIND: "cell", PARENT: parent, CELL: f"c{number}"}, 3, 4
        started = START_MS + 60_000 * number
        place = f"{store.location}/{run_id}/artifacts"
        experiment = int(store.experiment_id)
        runs.append((run_id, f"run {number}", started, started + 50_000, place, experiment))
        all_tags += [(key, value, run_id) for key, value in {**tags, STUDY: study}.items()]
        all_params += [(f"param{i}", run_id) for i in range(params)]
        all_metrics += [(f"test/metric{i}", started, run_id) for i in range(metrics)]
        ids.append(run_id)
    with sqlite3.connect(folder / "mlflow.db") as database:
        database.executemany(
            "INSERT INTO runs (run_uuid, name, source_type, user_id, status, start_time,"
            " end_time, lifecycle_stage, artifact_uri, experiment_id)"
            " VALUES (?, ?, 'LOCAL', 'me', 'FINISHED', ?, ?, 'active', ?, ?)",
            runs,
        )
        database.executemany("INSERT INTO tags (key, value, run_uuid) VALUES (?, ?, ?)", all_tags)
        database.executemany(
            "INSERT INTO params (key, value, run_uuid) VALUES (?, 'value', ?)", all_params
        )
        database.executemany(
            "INSERT INTO latest_metrics (key, value, timestamp, step, is_nan, run_uuid)"
            " VALUES (?, 0.5, ?, 0, 0, ?)",
            all_metrics,
        )
    return store, ids
