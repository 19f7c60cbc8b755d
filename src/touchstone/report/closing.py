"""What a person sees when a run or a sweep ends: the result table, what failed, where everything
is; and what a sweep leaves on its own run and on those of its cells.

The numbers and marks are those of `touchstone table`. Reads the tracking store only. A fault here
never fails a sweep whose cells are done: the plain scores are then shown, and the fault is told.
"""

from __future__ import annotations

import logging
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table as RichTable

from touchstone import tracking
from touchstone.evaluate.headline import COMPARED, main_score
from touchstone.report import runlist
from touchstone.report.formats import screen
from touchstone.report.grid import Grid, grid_of
from touchstone.report.reading import text
from touchstone.report.tables.layout import Table
from touchstone.report.tables.worth import Worth
from touchstone.tracking import Run, Store, default_uri
from touchstone.tracking_errors import readable_uri

log = logging.getLogger(__name__)

AXES = ("task", "mixture", "classifier", "prompt", "llm", "gold_patients", "gold_sentences")
SCORE = "test/score"
MOST_FAILED = 12  # cells told one by one
LONGEST_MESSAGE = 200  # characters of a failure's message
PORT_FILE, PORT = "ui.port", "5000"  # where `touchstone ui` leaves its port, and its default
UNRECORDED = "MissingRecording"  # status of a run whose requests are in no recording


@dataclass(frozen=True)
class Closing:
    """What the end of a sweep shows.

    Attributes
    ----------
    results : one row a cell, in grid order: axes, metrics, interval, change against gold, p_holm,
        status, run_id.
    grid : see grid.py; None where it could not be made.
    tables : the result table of each task.
    figure : of the scores, as SVG.
    worths : how many gold sentences each mixture is worth, where gold stands at several sizes.
    elsewhere : run id -> metrics of the cell at external test sites.
    fault : why there is none of these, '' if there is.
    """

    results: pd.DataFrame
    grid: Grid | None = None
    tables: tuple[Table, ...] = ()
    figure: str = ""
    worths: tuple[Worth, ...] = ()
    elsewhere: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    fault: str = ""


def finish_sweep(store: Store, parent: str, runs: list[Run]) -> None:
    """Put the result table on the parent run, the comparison with gold on each cell's run, and mark
    runs that a later one replaced."""
    closing = close(store, runs)
    results = closing.results
    tracking.log_text(store, parent, results.to_csv(index=False), "tables/results.csv")
    tracking.log_text(store, parent, results.to_markdown(index=False), "tables/results.md")
    if closing.figure:
        tracking.log_text(store, parent, closing.figure, "figures/scores.svg")
    finished = results[results["status"] == "FINISHED"]
    numbers = {"n_cells": float(len(results)), "n_finished": float(len(finished))}
    best: list[str] = []
    if SCORE in finished:
        for task, rows in finished[finished[SCORE].notna()].groupby("task", sort=False):
            row = rows.loc[rows[SCORE].idxmax()]
            numbers[f"best/{task}"] = row[SCORE]
            best.append(row["run_id"])
    tracking.log_metrics(store, parent, numbers)
    tags = {"touchstone.best": ",".join(best)} if best else {}
    tracking.set_tags(store, parent, tags | runlist.description(closing.tables))
    _put_on_cells(store, results)
    for run_id, at_sites in closing.elsewhere.items():
        tracking.log_metrics(store, run_id, dict(at_sites))
    for one in closing.worths:
        if numbers := one.metrics():
            tracking.log_metrics(store, one.cell.run_id, numbers)
    ids = {run.info.run_id for run in runs}
    for run in tracking.children(store, parent):
        if run.info.run_id not in ids:
            tracking.set_tags(store, run.info.run_id, {tracking.STATUS: "superseded"})


def _put_on_cells(store: Store, results: pd.DataFrame) -> None:
    """Log the interval of each cell's main score and its comparison with gold as test/..., so that
    MLflow shows what the tables do."""
    for row in results.to_dict("records"):
        numbers = {
            f"test/{name}": float(row[name])
            for name in COMPARED
            if name not in ("score", "p") and name in row and not pd.isna(row[name])
        }
        if numbers:
            tracking.log_metrics(store, row["run_id"], numbers)


def close(store: Store, runs: Sequence[Run]) -> Closing:
    """Score the runs of a sweep with intervals, once; where that fails, keep what their metrics
    say."""
    return _close(store, tuple(runs))


@lru_cache(maxsize=1)  # the same runs are stored, then shown
def _close(store: Store, runs: tuple[Run, ...]) -> Closing:
    results = summary(runs)
    try:
        from touchstone.report.comparisons import compared
        from touchstone.report.figures.scores_svg import scores_svg
        from touchstone.report.tables.curves import worths
        from touchstone.report.tables.elsewhere import site_metrics
        from touchstone.report.tables.scores import score_panels, task_tables

        grid = grid_of(store, runs[0].data.tags.get(tracking.STUDY, ""), [], runs)
        grid = replace(grid, runs_code=True)  # the cells ran it just now
        scores = compared(grid)
        figure = scores_svg(score_panels(grid, scores)) if grid.cells else ""
        tables = tuple(task_tables(grid, scores))
        shown = _with_scores(results, grid, scores)
        return Closing(
            shown, grid, tables, figure, tuple(worths(grid)), elsewhere=site_metrics(grid)
        )
    except Exception as error:  # noqa: BLE001 - the cells are done and logged; a table must not undo that
        log.debug("the closing table could not be scored", exc_info=True)
        return Closing(results, fault=f"{type(error).__name__}: {error}")


def summary(runs: Sequence[Run]) -> pd.DataFrame:
    """Return one row per cell, in the order of the grid: its axes, the metrics that it logged,
    status and run id."""
    # A cell that an earlier sweep of the same command finished carries that sweep's comparison.
    logged_before = {f"test/{name}" for name in COMPARED} - {SCORE}
    rows = []
    for run in runs:
        metrics = {
            name: value
            for name, value in run.data.metrics.items()
            if name.startswith(("test/", "n_")) and name.count("/") < 2
            if name not in logged_before
        }
        rows.append({**{axis: run.data.params.get(axis, "") for axis in AXES}, SCORE: np.nan})
        rows[-1] |= metrics | {"status": run.info.status, "run_id": run.info.run_id}
    return pd.DataFrame(rows)


def _with_scores(results: pd.DataFrame, grid: Grid, scores: pd.DataFrame) -> pd.DataFrame:
    """Add the main score with its interval and the comparison with gold to the summary of the
    runs."""
    by_run = {}
    for cell in grid.cells:
        row = scores.loc[(cell.run_id, main_score(cell.kind).name)]
        by_run[cell.run_id] = {name: row[column] for name, column in COMPARED.items()}
    columns = pd.DataFrame(
        [by_run.get(run_id, {}) for run_id in results["run_id"]],
        columns=list(COMPARED),
        index=results.index,
    )
    return pd.concat([results, columns], axis=1)


def show_sweep(store: Store, parent: str, runs: list[Run]) -> None:
    """Print the closing table of a sweep, its failures with the commands that run them again, and
    where to look."""
    console = screen.console_of()
    _show(console, close(store, runs))
    failed = [run for run in runs if run.info.status != "FINISHED"]
    if only_unrecorded(runs):
        line = _export_all(store, parent, len(failed), len(runs))
        console.print(line, style="red", markup=False, highlight=False, soft_wrap=True)
        failed = []
    said: set[str] = set()
    for run in failed[:MOST_FAILED]:
        task = run.data.params.get("task", "")
        line = f"missing: {task} {run.info.run_name} {_way_out(store, run, said)}"
        console.print(line, style="red", markup=False, highlight=False, soft_wrap=True)
    if len(failed) > MOST_FAILED:
        line = f"missing: {len(failed) - MOST_FAILED} more; each run says why in its error.txt"
        console.print(line, style="red", highlight=False)
    _where(console, store, parent, runs)


def only_unrecorded(runs: Sequence[Run]) -> bool:
    """Return whether a sweep lacks cells, and all of them for want of recorded answers."""
    failed = [run for run in runs if run.info.status != "FINISHED"]
    return bool(failed) and all(run.data.tags.get(tracking.STATUS) == UNRECORDED for run in failed)


def _export_all(store: Store, parent: str, missing: int, total: int) -> str:
    """Say in one line how the requests of all missing cells are exported."""
    command = store.client.get_run(parent).data.tags.get(tracking.COMMAND, "")
    words = [word for word in shlex.split(command) if not word.startswith("llm=")]
    verb = "is" if missing == 1 else "are"
    return (
        f"{missing} of {total} cells {verb} not recorded. Export all their requests: "
        f"{shlex.join([*words, 'llm=batch_file'])}"
    )


def show_single(store: Store, run_id: str | None) -> None:
    """Put the interval of a single run on it, print its row, and where to look."""
    if run_id is None:
        return
    console = screen.console_of()
    run = store.client.get_run(run_id)
    closing = close(store, [run])
    _put_on_cells(store, closing.results)
    _show(console, closing)
    _where(console, store, None, [run])


def _way_out(store: Store, run: Run, said: set[str]) -> str:
    """Say why a cell is missing and what to do: run it again, or have its requests answered. What
    `said` holds is not said again."""
    command = run.data.tags.get(tracking.COMMAND, "")
    if run.data.tags.get(tracking.STATUS) == UNRECORDED:
        words = [word for word in shlex.split(command) if not word.startswith("llm=")]
        return f"(not recorded). Export its requests: {shlex.join([*words, 'llm=batch_file'])}"
    why = run.data.tags.get(tracking.STATUS, run.info.status)
    if message := _message(store, run):
        message = message if message.startswith(why) else f"{why}: {message}"
        why = f"{why}, as above" if message in said else message
        said.add(message)
    return f"({why}). Again: {command}"


def _message(store: Store, run: Run) -> str:
    """Return the first line of what a failed run's error says, '' where it left none (it was
    killed)."""
    lines = text(store, run, "error.txt").splitlines()
    after = max(
        (number for number, line in enumerate(lines, 1) if line.startswith('  File "')), default=0
    )  # where a traceback ends
    message = next(
        (line for line in lines[after:] if line.strip() and not line.startswith(" ")), ""
    )
    return message if len(message) <= LONGEST_MESSAGE else message[: LONGEST_MESSAGE - 1] + "…"


def _show(console: Console, closing: Closing) -> None:
    if closing.fault or closing.grid is None:
        _show_plain(console, closing.results)
        line = f"(no intervals: {closing.fault})"
        console.print(line, style="yellow", markup=False, highlight=False)
        return
    for table in closing.tables:
        screen.show(console, table, notes=False)
    shown = [line for table in closing.tables for line in _below(table)]
    for line in dict.fromkeys(shown):
        console.print(line, style="dim", markup=False, highlight=False)
    if closing.worths:
        from touchstone.report.tables.curves import scarcest

        for one in scarcest(closing.worths):
            console.print(f"{one.curve}: {one}", markup=False, highlight=False, soft_wrap=True)


def _below(table: Table) -> list[str]:
    """Return the notes that the screen has room for: what brackets and stars mean, what was scored
    on a part of the test set, where published figures are from."""
    starts = ("Brackets", "* p <", "Published")
    return [
        note
        for note in table.notes
        if note.startswith(starts) or "allow no p" in note or "zero_shot:" in note
    ]


def _show_plain(console: Console, results: pd.DataFrame) -> None:
    shown = RichTable(title="Test set", title_justify="left", box=box.SIMPLE_HEAD)
    axes = [
        axis for axis in AXES if axis in ("mixture", "classifier") or results[axis].nunique() > 1
    ]
    for name in [*axes, "score"]:
        shown.add_column(name, overflow="fold")
    for row in results.to_dict("records"):
        value = row.get(SCORE, np.nan)
        score = "missing" if pd.isna(value) else f"{value:.3f}"
        shown.add_row(*(str(row[axis]) for axis in axes), score)
    console.print(shown)


def _where(console: Console, store: Store, parent: str | None, runs: Sequence[Run]) -> None:
    link = runlist.link(store, parent, runs)
    uri = readable_uri(store.uri)
    host = store.uri if store.uri.startswith("http") else f"http://127.0.0.1:{port(store)}"
    how = "" if store.uri.startswith("http") else f"{_serving(store)}, then "
    results = f"Results: {uri} (experiment {store.experiment})"
    console.print(results, highlight=False, soft_wrap=True, markup=False)
    address = f"{readable_uri(host)}{link}"
    screen.say(f"Browse:  {how}", address, address, console)
    for line in _next(store, parent, runs):
        console.print(line, highlight=False, soft_wrap=True, markup=False)


def _next(store: Store, parent: str | None, runs: Sequence[Run]) -> list[str]:
    """Return the commands that come next; none where no cell is finished."""
    done = [run for run in runs if run.info.status == "FINISHED"]
    if not done:
        return []
    own = store.uri == default_uri("mlflow")
    where = "" if own else f" --store {shlex.quote(readable_uri(store.uri))}"
    study = done[0].data.tags.get(tracking.STUDY, "")
    if parent is None:
        run_id = done[0].info.run_id
        return [f"Next:    touchstone reproduce {run_id}{where}"]
    return [
        f"Next:    touchstone report {parent[:8]}{where}",
        f"         touchstone table {shlex.quote(study)} --sweep {parent[:8]}{where}",
    ]


def _serving(store: Store) -> str:
    """Return the command that serves a store without a server: make's target knows the one of the
    working folder only."""
    makefile = Path("Makefile")
    if store.uri == f"sqlite:///{Path.cwd() / 'mlflow' / 'mlflow.db'}" and makefile.is_file():
        if re.search(r"^ui:", makefile.read_text(errors="replace"), re.MULTILINE):
            return "make ui"
    if store.uri == f"sqlite:///{Path.cwd() / 'mlflow' / 'mlflow.db'}":
        return "touchstone ui"
    return f"touchstone ui --store {shlex.quote(readable_uri(store.uri))}"


def port(store: Store) -> str:
    """Return the port that `touchstone ui` or `make ui` was last given for a store."""
    try:
        return (Path(store.folder) / PORT_FILE).read_text(encoding="utf-8").strip() or PORT
    except OSError:
        return PORT
