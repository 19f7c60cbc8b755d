"""`touchstone list`: the sweeps of a store, newest first: id, study, date, cells, best.

Reads runs only; `touchstone report ID` shows one of them.
"""

from __future__ import annotations

import argparse
import datetime
from typing import Any

import pandas as pd

from touchstone.foreign_text import tell

COLUMNS = ("id", "study", "date", "status", "cells", "best", "of")
MOST = 30


def add_cli(subparsers: Any) -> None:
    """Declare `touchstone list`."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "list", help="the sweeps of a store: id, study, date, cells, best"
    )
    parser.add_argument("study", nargs="?", help="only of this study")
    parser.add_argument(
        "--store", default="mlflow", help="folder, database or URI (default: %(default)s)"
    )
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from touchstone import tracking

    table = sweeps(tracking.open_existing(arguments.store), arguments.study)
    if table.empty:
        about = f" of study {arguments.study}" if arguments.study else ""
        tell(
            f"no sweep{about} in {arguments.store}; start one: "
            "touchstone run -m mixture=gold,silver"
        )
        return 0
    tell(table.to_string(index=False, justify="left"))
    return 0


def sweeps(store: Any, study: str | None = None) -> pd.DataFrame:
    """Return the newest sweeps of a store, one row each.

    Returns
    -------
    DataFrame[id, study, date, status, cells, best, of]: `id` are the first 8 characters, which
    every command takes; `cells` is finished/all; `best` the best main score of each task, `of` the
    name of its run.
    """
    from touchstone import tracking

    tags = {tracking.KIND: "sweep"} | ({tracking.STUDY: study} if study else {})
    rows = []
    for run in tracking.search(store, tracking.where(tags), newest_first=True, most=MOST):
        metrics = run.data.metrics
        best = {
            name.partition("/")[2]: value
            for name, value in metrics.items()
            if name.startswith("best/")
        }
        names = [
            tracking.find_run(store, run_id).info.run_name
            for run_id in run.data.tags.get("touchstone.best", "").split(",")
            if run_id
        ]
        started = datetime.datetime.fromtimestamp(run.info.start_time / 1000)
        done, total = metrics.get("n_finished"), metrics.get("n_cells")
        rows.append(
            {
                "id": run.info.run_id[:8],
                "study": run.data.tags.get(tracking.STUDY, ""),
                "date": f"{started:%Y-%m-%d %H:%M}",
                "status": run.info.status.lower(),
                "cells": f"{done:.0f}/{total:.0f}" if done is not None and total else "",
                "best": ", ".join(f"{task} {value:.3f}" for task, value in best.items()),
                "of": ", ".join(dict.fromkeys(names)),
            }
        )
    return pd.DataFrame(rows, columns=list(COLUMNS))
