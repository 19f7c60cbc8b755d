"""Which cells a command is about: a sweep or a single run, by its id, the beginning of it, or
`last`."""

from __future__ import annotations

from touchstone import tracking
from touchstone.errors import UserError
from touchstone.report import reading
from touchstone.report.grid import Grid, grid_of, listed, sweep_of
from touchstone.tracking import KIND, STUDY, Store


def chosen(store: Store, name: str) -> Grid:
    """Return the cells of a sweep, or the one cell that a run id names.

    Raises
    ------
    UserError
        If there is no such sweep or cell, or it has no finished cell; the message lists the sweeps.
    """
    parents = reading.search(store, kind="sweep")
    if name == "last" or any(run.info.run_id.startswith(name) for run in parents):
        parent, runs = sweep_of(store, name)
        grid = grid_of(store, parent.data.tags.get(STUDY, "study"), [parent], runs)
    else:
        try:
            run = tracking.find_run(store, name)
        except UserError as error:
            raise UserError(f"{error}; sweeps: {listed(parents)}") from error
        if run.data.tags.get(KIND) != "cell":
            kind = run.data.tags.get(KIND, "other")
            raise UserError(
                f"run {name} is a {kind} run; name a cell or a sweep. Sweeps: {listed(parents)}"
            )
        grid = grid_of(store, run.data.tags.get(STUDY, "study"), [], [run])
    if not grid.cells:
        raise UserError(f"{name}: no cell of it is finished")
    return grid


def restricted(grid: Grid) -> bool:
    """Return whether a cell of the grid is of a restricted corpus."""
    return any(
        cell.run.data.tags.get("touchstone.restricted") == "true"
        or cell.config["corpus"]["access"] == "restricted"
        for cell in grid.cells
    )
