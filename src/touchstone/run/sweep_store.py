"""`tracking.uri=sweep`: a store inside the sweep's folder, for nodes that reach no tracking server.

Each cell writes a store of its own, in its folder below the sweep's, so that no database has two
writers: SQLite over a network's disk does not bear them. The launching process takes the runs over
into the store of the sweep, before a sweep goes on and when it ends. From there `touchstone sync`
copies them on. Does not copy (sync.py) and does not find the folder (sweep.py).
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from touchstone import locks, tracking
from touchstone.tracking import CELL, KIND, PARENT, Run, Store

SWEEP = "sweep"  # the value of tracking.uri
EMPTY = ".empty.db"  # what the cells' stores are copied from: making one takes seconds
DATABASE = "mlflow.db"


def is_own(config: DictConfig) -> bool:
    """Return whether the sweep keeps its store in its own folder."""
    return config.tracking.uri == SWEEP


def of_job(config: DictConfig) -> Store:
    """Open the store that a job writes: of its cell with `tracking.uri=sweep`, else the one of the
    configuration."""
    if not is_own(config):
        return tracking.open_store(
            config.tracking.uri, config.tracking.experiment, config.paths.store
        )
    hydra = HydraConfig.get()
    if hydra.mode != RunMode.MULTIRUN:
        return tracking.open_store(None, config.tracking.experiment, hydra.run.dir)
    sweep = Path(hydra.sweep.dir)
    return _opened(config, sweep, sweep / str(hydra.sweep.subdir))


def of_sweep(config: DictConfig, folder: Path) -> Store:
    """Open the store in a sweep's folder, and leave an empty one there for its cells."""
    folder.mkdir(parents=True, exist_ok=True)
    tracking.create(folder / EMPTY)
    return _opened(config, folder, folder)


def _opened(config: DictConfig, sweep: Path, folder: Path) -> Store:
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / DATABASE).exists() and (sweep / EMPTY).exists():
        aside = folder / f"{DATABASE}.part"
        shutil.copyfile(sweep / EMPTY, aside)
        aside.replace(folder / DATABASE)
    return tracking.open_store(None, config.tracking.experiment, folder)


def merge(store: Store, parent: str) -> None:
    """Take the ended runs of all cells of a sweep over into its store; those taken over before only
    get the metrics and tags that changed.

    A run whose process is gone is marked KILLED first; one that is still at work is left.
    """
    from touchstone.run.sync import Copied, Copying, copy_generation, copy_run

    children = tracking.children(store, parent)
    copies: dict[str, list[Run]] = {}
    for run in children:
        copies.setdefault(run.data.tags.get(tracking.ORIGIN, ""), []).append(run)
    for database in sorted(store.folder.glob(f"*/{DATABASE}")):
        cell_store = tracking.open_store(None, store.experiment, database.parent)
        stores = Copying(cell_store, store, Copied(), link=True)
        for run in _ended(cell_store, parent):
            if run.data.tags.get(KIND) == "generation":
                copy_generation(stores, run)
            else:
                copy_run(stores, run, copies.get(run.info.run_id, []))


def _ended(store: Store, parent: str) -> Sequence[Run]:
    """Return the runs of a cell's store that have ended, generations first."""
    runs = tracking.search(store, "", experiments=[store.experiment_id])
    ended: list[Run] = []
    for run in runs:
        tags = run.data.tags
        if tags.get(KIND) == "generation":
            if run.info.status == "FINISHED":
                ended.insert(0, run)
        elif tags.get(PARENT) == parent:
            if run.info.status == "RUNNING":
                if locks.is_held(tracking.lock_of_cell(store, parent, tags.get(CELL, ""))):
                    continue
                tracking.end_run(store, run.info.run_id, "KILLED")
                run = store.client.get_run(run.info.run_id)
            ended.append(run)
    return ended
