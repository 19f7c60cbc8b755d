"""The folder of a sweep: which one it is, who holds it, and what is left in it for jobs and resume.

The id of the parent run lies there for the jobs, whatever the launcher, with the command line that
`resume` expands; a lock there tells a killed sweep from one that still runs (locks.py), so two
sweeps in one store never touch each other. Does not write to the store (sweep.py does).
"""

from __future__ import annotations

import json
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, read_write

from touchstone import locks as claims
from touchstone.commands import override, run_command, value_of
from touchstone.errors import UserError
from touchstone.foreign_text import tell

if TYPE_CHECKING:
    from filelock import FileLock

    from touchstone.tracking import Store


PARENT_FILE = ".mlflow_parent.json"


LOCK_FILE = ".sweep.lock"


DIR_OVERRIDE = "hydra.sweep.dir="


def place(
    store: Store, config: DictConfig, key: str, resuming: bool
) -> tuple[Path, FileLock, str | None]:
    """Return the sweep's folder, the lock on it, and the parent run to continue, None for a new
    sweep."""
    from touchstone import tracking

    own = Path(config.hydra.sweep.dir)
    if any(override.startswith(DIR_OVERRIDE) for override in config.hydra.overrides.hydra):
        lock = _claimed(own)
        return own, lock, _continued(store, own, key, resuming)
    for run in tracking.unfinished_sweeps(store, key):
        folder = Path(run.data.tags.get(tracking.FOLDER, ""))
        if not folder.is_dir():
            if (
                run.data.tags.get(tracking.HOST) == socket.gethostname()
            ):  # the folder was removed, so nothing runs in it
                return (*_new_folder(config, own), run.info.run_id)
            continue  # of another machine, which may well be at it
        claimed = claims.claim(folder / LOCK_FILE)
        if claimed is not None:
            _pin(config, folder)
            return folder, claimed, run.info.run_id
        tell(
            f"the same command is running as sweep {run.info.run_id}; this one is a sweep of its "
            "own"
        )
    return (*_new_folder(config, own), None)


def place_with_store(
    config: DictConfig, key: str, resuming: bool
) -> tuple[Path, FileLock, Store, str | None]:
    """As `place`, where the sweep's store lies in its folder (sweep_store.py), and return that
    store too: what can be continued is found by the folders beside it."""
    from touchstone.run import sweep_store

    asked = Path(config.hydra.sweep.dir)
    if any(override.startswith(DIR_OVERRIDE) for override in config.hydra.overrides.hydra):
        lock = _claimed(asked)
        store = sweep_store.of_sweep(config, asked)
        return asked, lock, store, _continued(store, asked, key, resuming)
    for file in sorted(asked.parent.parent.glob(f"*/*/{PARENT_FILE}"), reverse=True):
        folder, left = file.parent, read(file.parent)
        if left is None or left["key"] != key or not (folder / sweep_store.DATABASE).exists():
            continue
        claimed = claims.claim(folder / LOCK_FILE)
        if claimed is None:
            tell(f"the same command is running in {folder}; this one is a sweep of its own")
            continue
        store = sweep_store.of_sweep(config, folder)
        if not _is_there(store, left["run_id"]) or not _unfinished(store, left["run_id"]):
            claimed.release()
            break
        _pin(config, folder)
        return folder, claimed, store, left["run_id"]
    folder, new = _new_folder(config, asked)
    return folder, new, sweep_store.of_sweep(config, folder), None


def _claimed(asked: Path) -> FileLock:
    lock = claims.claim(asked / LOCK_FILE)
    if lock is None:
        raise UserError(
            f"hydra.sweep.dir={asked}: a sweep is running there; wait for it or stop it, "
            "or give another folder"
        )
    return lock


def _continued(store: Store, asked: Path, key: str, resuming: bool) -> str | None:
    """Return the parent run that a sweep in a folder that was named continues, None for a new
    one."""
    left = read(asked)
    if left and not _is_there(store, left["run_id"]):
        if resuming:
            raise UserError(
                f"resume: run {left['run_id']} of the sweep in {asked} was deleted in the "
                "store; restore it there, or give its command without resume: a new sweep"
            )
        return None
    if left and (resuming or left["key"] == key and _unfinished(store, left["run_id"])):
        return str(left["run_id"])
    return None


def _new_folder(config: DictConfig, asked: Path) -> tuple[Path, FileLock]:
    """Claim a folder that no other sweep has: two that start in the same second are given the same
    name."""
    folder, number = asked, 1
    while True:
        lock = claims.claim(folder / LOCK_FILE)
        if lock is not None and not (folder / PARENT_FILE).exists():
            break
        if lock is not None:
            lock.release()
        number += 1
        folder = asked.with_name(f"{asked.name}-{number}")
    if folder != asked:
        _pin(config, folder)
    return folder, lock


def _pin(config: DictConfig, folder: Path) -> None:
    """Make Hydra use `folder` as the sweep's folder, here and where jobs compose their
    configuration."""
    with read_write(config.hydra):
        config.hydra.sweep.dir = str(folder)
        there = override("hydra.sweep.dir", str(folder))
        config.hydra.overrides.hydra = [*config.hydra.overrides.hydra, there]


def _is_there(store: Store, run_id: str) -> bool:
    from mlflow.exceptions import MlflowException

    try:
        return store.client.get_run(run_id).info.lifecycle_stage == "active"
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return False
        raise


def _unfinished(store: Store, run_id: str) -> bool:
    return store.client.get_run(run_id).info.status != "FINISHED"


def read(folder: Path) -> dict[str, Any] | None:
    """Return what a sweep left in its folder, None where there is none or a full disk cut it."""
    try:
        return json.loads((folder / PARENT_FILE).read_text())
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError):
        return None


def expanded(arguments: Sequence[str]) -> list[str]:
    """Expand `-m hydra.sweep.dir=DIR resume` into the command line that DIR was started with.

    Overrides of hydra.* beside it replace those of then (another launcher, more time); others would
    make it another sweep.

    Raises
    ------
    UserError
        If no folder is given, the folder holds no sweep, or other overrides stand beside it.
    """
    arguments = list(arguments)
    if "resume" not in arguments:
        return arguments
    folder = next(
        (value_of(argument) for argument in arguments if argument.startswith(DIR_OVERRIDE)),
        None,
    )
    if folder is None:
        raise UserError(
            "resume: name the folder of the sweep to resume: "
            + run_command(["-m", "hydra.sweep.dir=multirun/DATE/TIME", "resume"])
        )
    notes = read(Path(folder))
    if notes is None:
        raise UserError(f"resume: {folder} holds no sweep ({PARENT_FILE} is missing)")
    changed = [
        a
        for a in arguments
        if a not in ("resume", "-m", "--multirun") and not a.startswith(DIR_OVERRIDE)
    ]
    if foreign := [
        argument
        for argument in changed
        if not argument.startswith("hydra") or argument.startswith("hydra/sweeper")
    ]:
        raise UserError(
            f"resume: {foreign[0]} would make it another sweep; beside resume only hydra... may "
            "be changed"
        )
    replaced = {argument.partition("=")[0] for argument in changed} | {
        "hydra.sweep.dir",
        "hydra.mode",
    }
    if "hydra/launcher" in replaced:  # the settings of one launcher mean nothing to another
        replaced |= {
            key
            for override in notes["hydra"]
            if (key := override.partition("=")[0]).startswith("hydra.launcher.")
        }
    kept = [override for override in notes["hydra"] if override.partition("=")[0] not in replaced]
    return [
        "-m",
        *(a for a in arguments if a.startswith(DIR_OVERRIDE)),
        *kept,
        *changed,
        *notes["overrides"],
    ]
