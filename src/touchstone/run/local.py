"""Cells side by side on this machine: what the launcher `local` does with a sweep's jobs.

All that a cell of a linear model imports is imported before the processes are forked: they share
it, and are at work at once. Measured on 28 cells, 2 cores: 24.7 s of wall time, joblib's fresh
processes 34.0, one process 52.9. Does not fork (workers.py) and knows no cells (job.py).
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus, configure_log, filter_overrides, setup_globals

from touchstone.errors import UserError
from touchstone.run import live
from touchstone.run.workers import side_by_side, visible_gpus

log = logging.getLogger(__name__)


def launch(launcher: Any, jobs: Sequence[Sequence[str]], first: int) -> list[JobReturn]:
    """Run the jobs of a sweep and return what they return.

    Parameters
    ----------
    launcher : of `hydra_plugins.touchstone_local`, set up.
    jobs : the overrides of each job.
    first : number of the first job.

    Raises
    ------
    UserError
        If n_jobs is not a number of processes.
    """
    n_jobs = launcher.n_jobs
    if n_jobs is None:
        n_jobs = max(1, _processors() // int(launcher.config.threads))
    if n_jobs < 1:
        raise UserError(
            f"hydra.launcher.n_jobs={n_jobs}: must be at least 1, or null for one process for each"
            " processor"
        )
    setup_globals()
    hydra = launcher.config.hydra
    configure_log(hydra.hydra_logging, hydra.verbose)
    Path(str(hydra.sweep.dir)).mkdir(parents=True, exist_ok=True)
    _import_what_cells_need()
    gpus = visible_gpus() if launcher.gpus else []
    n_jobs = min(n_jobs, len(jobs), len(gpus) or n_jobs)
    at_once = f"{n_jobs} at a time" + (", a GPU each" if gpus else "")
    log.info("Launching %d jobs locally, %s", len(jobs), at_once)
    for number, overrides in enumerate(jobs, first):
        log.info("\t#%d : %s", number, " ".join(filter_overrides(overrides)))

    def run(number: int) -> JobReturn:
        live.leave()
        return launcher.job(jobs[number], first + number)

    answers = side_by_side(run, len(jobs), n_jobs, gpus, live.refresh)
    configure_log(hydra.hydra_logging, hydra.verbose)
    return [
        answer
        if isinstance(answer, JobReturn)
        else JobReturn(overrides=list(overrides), status=JobStatus.FAILED, _return_value=answer)
        for answer, overrides in zip(answers, jobs, strict=True)
    ]


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _import_what_cells_need() -> None:
    """Import what every cell imports, and what a linear model needs; torch comes with the cells
    that use it, since it may not be forked once it has touched a GPU."""
    import mlflow.pyfunc  # noqa: F401
    import pyarrow.parquet  # noqa: F401
    import sklearn.feature_extraction.text  # noqa: F401
    import sklearn.linear_model  # noqa: F401

    import touchstone.models.tfidf  # noqa: F401
    import touchstone.pipeline  # noqa: F401
    import touchstone.run.logbook  # noqa: F401
