"""A sweep from beginning to end: one parent run, resume, and the closing table.

Hydra calls `SweepCallback` in the process that launches the jobs. The parent run is created once,
before any job, and its id is left in the sweep folder, where jobs find it whatever the launcher.
Hydra does not call `on_multirun_end` after a failed cell, a wrong override or Ctrl-C; so `close`,
called by the entry point in every case, looks at the children and says how the sweep ended. A sweep
that was killed is found by its command line and code and continued in its folder: finished cells
are not run again. A lock in that folder tells a killed sweep from one that still runs (claims.py),
so two sweeps in one store never touch each other. Does not run cells (cell.py).
"""

from __future__ import annotations

import json
import shlex
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig

from touchstone import locks as claims
from touchstone.commands import override, run_command
from touchstone.digest import digest
from touchstone.errors import UserError
from touchstone.foreign_text import tell
from touchstone.run.sweep_folder import PARENT_FILE, expanded, place, place_with_store, read

if TYPE_CHECKING:
    from filelock import FileLock

    from touchstone.tracking import Run, Store


class Stopped(BaseException):
    """Carries an error out of a Hydra callback: Hydra turns a callback's exceptions into warnings
    and launches the jobs all the same."""


@dataclass(frozen=True)
class Parent:
    """The parent run that a job belongs to, and which launch of the sweep started the job (1, then
    2 when resumed, ...)."""

    run_id: str
    launch: int


@dataclass
class _Current:
    """What this process has under way: the sweep it launched, or the single run it made."""

    store: Store | None = None
    parent: Parent | None = None
    folder: Path | None = None
    lock: FileLock | None = None  # held until this process ends
    single: str | None = None
    register: str | None = None  # the name that the best cell is to have in the model registry
    ended: bool = False
    resuming: bool = False
    own_store: bool = False  # in the sweep's folder, see sweep_store.py


_current = _Current()


class SweepCallback(Callback):
    """Hydra's hook around a sweep; keeps nothing but what `close` needs."""

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Open the store, create or find the parent run, and leave its id for the jobs."""
        try:
            _begin(config)
        except Exception as error:
            raise Stopped from error

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Note that every job was launched and none failed."""
        _current.ended = True

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **_: Any) -> None:
        """Send back what a sweeper looks at, not the configuration twice: joblib waits forever for
        an answer that breaks off half-way.

        A worker that dies while it writes to a full pipe leaves such an answer; a short one goes
        into the pipe at once.
        """
        job_return.cfg = job_return.hydra_cfg = None


def _begin(config: DictConfig) -> None:
    from touchstone import tracking
    from touchstone.run import sweep_store
    from touchstone.run.environment import code_digest, standard_tags

    if config.tracking.register and not config.tracking.log_models:
        raise UserError(
            f"tracking.register={config.tracking.register}: needs tracking.log_models=true, since "
            "what is registered is a logged model"
        )
    _current.register = config.tracking.register
    overrides = [*config.hydra.overrides.task]
    key = digest({"overrides": sorted(overrides), "code": code_digest()})
    own = sweep_store.is_own(config)
    if own:
        folder, lock, store, run_id = place_with_store(config, key, resuming=_current.resuming)
    else:
        store = tracking.open_store(
            config.tracking.uri, config.tracking.experiment, config.paths.store
        )
        folder, lock, run_id = place(store, config, key, resuming=_current.resuming)
    tags = {
        tracking.FOLDER: str(folder.resolve()),
        tracking.HOST: socket.gethostname(),
        tracking.COMMAND: run_command(["-m", *overrides]),
    }
    if (
        run_id is None
    ):  # with all its tags at once: killed right after this, it can be found and continued
        launch = 1
        tags |= standard_tags() | {
            tracking.KIND: "sweep",
            tracking.SWEEP: key,
            tracking.STUDY: config.study,
            tracking.LAUNCH: "1",
        }
        run_id = tracking.start_run(
            store, " ".join(overrides)[:60] or "default", tags=tags, params={}
        )
    else:
        if own:
            sweep_store.merge(store, run_id)
        launch = tracking.reopen_run(store, run_id) + 1
        tracking.set_tags(store, run_id, tags | {tracking.LAUNCH: str(launch)})
        tell(f"continuing sweep {run_id}: finished cells are not run again")
    notes = {
        "run_id": run_id,
        "launch": launch,
        "key": key,
        "overrides": overrides,
        "hydra": [*config.hydra.overrides.hydra],
    }
    aside = folder / (PARENT_FILE + ".part")
    aside.write_text(json.dumps(notes))
    aside.replace(folder / PARENT_FILE)
    _current.store, _current.parent, _current.folder, _current.lock = (
        store,
        Parent(run_id, launch),
        folder,
        lock,
    )
    _current.own_store = own


def parent_of_this_job() -> Parent | None:
    """Return the parent of this job, None for a single run.

    Raises
    ------
    UserError
        If the job is part of a sweep whose folder cannot be seen from here.
    """
    if not is_multirun():
        return None
    folder = Path(HydraConfig.get().sweep.dir)
    notes = read(folder)
    if notes is None:
        raise UserError(
            f"{folder / PARENT_FILE} is missing: jobs need the sweep's folder, on a disk that all "
            "machines share"
        )
    return Parent(notes["run_id"], notes["launch"])


def is_multirun() -> bool:
    """Return whether this process launched a sweep or is a job of one."""
    return _current.parent is not None or (
        HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN
    )


def launched_here() -> bool:
    """Return whether this process launched the sweep."""
    return _current.parent is not None


def note_run(store: Store, run_id: str, register: str | None = None) -> None:
    """Remember a finished single run for the closing table, and the name to register it under."""
    if not is_multirun():
        _current.store, _current.single, _current.register = store, run_id, register


def resume_arguments(arguments: Sequence[str]) -> list[str]:
    """Expand `-m hydra.sweep.dir=DIR resume`, see `sweep_folder.expanded`, and remember that a
    sweep is resumed."""
    _current.resuming = "resume" in arguments
    return expanded(arguments)


def close(failed: bool = False, interrupted: bool = False) -> int:
    """Finish the parent run, print the closing table, and return the exit status the sweep
    deserves: 0, or 1 if a cell is missing."""
    if _current.store is None:
        return 0
    from touchstone.report import closing

    store, parent = _current.store, _current.parent
    from touchstone.tracking_errors import telling_trouble

    with telling_trouble(store.uri):
        if parent is None:
            closing.show_single(store, _current.single)
            _register(store, [_current.single] if _current.single else [])
            return 0
        return _close(store, parent, failed, interrupted)


def _close(store: Store, parent: Parent, failed: bool, interrupted: bool) -> int:
    from touchstone import tracking
    from touchstone.report import closing

    if _current.own_store:
        from touchstone.run import sweep_store

        sweep_store.merge(store, parent.run_id)
    runs = _of_this_configuration(
        [_settled(store, parent, run) for run in tracking.latest_children(store, parent.run_id)]
    )
    if not runs:
        tracking.delete_run(store, parent.run_id)
        if _current.ended:
            tell(
                "error: no cell of this grid can be run: none of its classifiers does one of its "
                "tasks",
                file=sys.stderr,
            )
        return 1
    missing = [run for run in runs if run.info.status != "FINISHED"]
    complete = _current.ended and not failed and not missing
    closing.finish_sweep(store, parent.run_id, runs)
    tracking.end_run(
        store, parent.run_id, "FINISHED" if complete else "KILLED" if interrupted else "FAILED"
    )
    closing.show_sweep(store, parent.run_id, runs)
    if _current.own_store:
        tell(f"Copy:    touchstone sync {shlex.quote(str(_current.folder))} --to URI")
    best = store.client.get_run(parent.run_id).data.tags.get("touchstone.best", "")
    _register(store, best.split(",") if best and complete else [])
    if not complete and (interrupted or not closing.only_unrecorded(runs)):
        count = (
            f"{len(missing)} of {len(runs)} cells are missing"
            if missing and not interrupted
            else "the sweep is not complete"
        )
        folder = override("hydra.sweep.dir", str(_current.folder))
        tell(f"{count}; this runs just what is missing: {run_command(['-m', folder, 'resume'])}")
    return 0 if complete else 1


def _register(store: Store, best: Sequence[str]) -> None:
    """Register the best runs, one a task, under the name that was asked for, and say so."""
    if not _current.register or not best:
        return
    from touchstone.run.logged_models import register

    runs = [store.client.get_run(run_id) for run_id in best]
    by_task = {run.data.params.get("task", ""): run for run in runs}
    tell(*register(store, _current.register, by_task), sep="\n")


def _of_this_configuration(runs: list[Run]) -> list[Run]:
    """Leave out cells that a later launch of the sweep ran under another key: the configuration or
    the data changed in between."""
    from touchstone import tracking

    latest: dict[str, int] = {}
    for run in runs:
        command = run.data.tags.get(tracking.COMMAND, run.info.run_id)
        latest[command] = max(latest.get(command, 0), int(run.data.tags.get(tracking.LAUNCH, "0")))
    return [
        run
        for run in runs
        if int(run.data.tags.get(tracking.LAUNCH, "0"))
        == latest[run.data.tags.get(tracking.COMMAND, run.info.run_id)]
    ]


def _settled(store: Store, parent: Parent, run: Run) -> Run:
    """Mark a run KILLED that its process left RUNNING; one whose process still works (a job on a
    cluster) stays as it is."""
    from touchstone import tracking

    if run.info.status != "RUNNING" or claims.is_held(
        tracking.lock_of_cell(store, parent.run_id, run.data.tags.get(tracking.CELL, ""))
    ):
        return run
    tracking.end_run(store, run.info.run_id, "KILLED")
    return store.client.get_run(run.info.run_id)
