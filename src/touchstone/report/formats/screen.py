"""What a person sees when a run or a sweep ends: the result table, what failed, where everything
is.

Reads the tracking store only, and in less than a second, so intervals come from a few hundred
resamples; the paper's tables (tables.py) take thousands and correct over the same grid. A fault
here never fails a sweep whose cells are done: the plain scores are then shown, and the fault is
told.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import re
import shlex
import sys
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from touchstone import tracking
from touchstone.digest import digest
from touchstone.tracking import Run, Store

log = logging.getLogger(__name__)

AXES = ("task", "mixture", "classifier", "prompt", "llm", "gold_patients", "gold_sentences")
VIEW = [
    "params.`mixture`",
    "params.`classifier`",
    "params.`prompt`",
    "params.`task`",
    "metrics.`test/macro_f1`",
    "metrics.`n_train`",
]
WIDTH = 100  # columns where there is no terminal to ask
BEST = "test/macro_f1"
MOST_FAILED = 12  # cells told one by one
LONGEST_MESSAGE = 200  # characters of a failure's message
UNRECORDED = "MissingRecording"  # status of a run whose requests are in no recording


@dataclass(frozen=True)
class Closing:
    """What the end of a sweep shows.

    Attributes
    ----------
    table : one row a cell, in grid order: axes, metrics, interval, change against gold, p_holm,
        status, run_id.
    grid, scores : see grid.py and comparisons.py; None where they could not be made.
    figure : of the scores, as SVG.
    fault : why there is none of these, '' if there is.
    """

    table: pd.DataFrame
    grid: object
    scores: pd.DataFrame | None
    figure: str = ""
    fault: str = ""


def finish_sweep(store: Store, parent: str, runs: list[Run]) -> None:
    """Put the result table and the best cell's metric on the parent run, and mark runs that a later
    one replaced."""
    closing = close(store, runs)
    table = closing.table
    tracking.log_text(store, parent, table.to_csv(index=False), "tables/results.csv")
    tracking.log_text(store, parent, table.to_markdown(index=False), "tables/results.md")
    if closing.figure:
        tracking.log_text(store, parent, closing.figure, "figures/scores.svg")
    finished = table[table["status"] == "FINISHED"]
    if len(finished) and finished[BEST].notna().any():
        best = finished.loc[finished[BEST].idxmax()]
        tracking.log_metrics(
            store,
            parent,
            {"best/macro_f1": best[BEST], "n_cells": len(table), "n_finished": len(finished)},
        )
        tracking.set_tags(store, parent, {"touchstone.best": best["run_id"]})
    kept = {run.info.run_id for run in runs}
    for run in tracking.children(store, parent):
        if run.info.run_id not in kept:
            tracking.set_tags(store, run.info.run_id, {tracking.STATUS: "superseded"})


def close(store: Store, runs: Sequence[Run]) -> Closing:
    """Score the runs of a sweep with intervals, once; where that fails, keep what their metrics
    say."""
    return _close(store, tuple(runs))


@lru_cache(maxsize=1)  # the same runs are stored, then shown
def _close(store: Store, runs: tuple[Run, ...]) -> Closing:
    table = summary(runs)
    try:
        from touchstone.report.comparisons import SCREEN, compared
        from touchstone.report.figures.scores_svg import scores_svg
        from touchstone.report.grid import grid_of
        from touchstone.report.tables.scores import score_panels

        grid = grid_of(store, runs[0].data.tags.get(tracking.STUDY, ""), [], runs)
        scores = compared(grid, SCREEN)
        figure = scores_svg(score_panels(grid, scores)) if grid.cells else ""
        return Closing(_with_scores(table, grid, scores), grid, scores, figure)
    except Exception as error:  # noqa: BLE001 - the cells are done and logged; a table must not undo that
        log.debug("the closing table could not be scored", exc_info=True)
        return Closing(table, None, None, fault=f"{type(error).__name__}: {error}")


def summary(runs: Sequence[Run]) -> pd.DataFrame:
    """Return one row per cell, in the order of the grid: its axes, the metrics that it logged,
    status and run id."""
    rows = []
    for run in runs:
        metrics = {
            name: value
            for name, value in run.data.metrics.items()
            if name.startswith(("test/", "n_")) and name.count("/") < 2
        }
        rows.append(
            {**{axis: run.data.params.get(axis, "") for axis in AXES}, BEST: np.nan, **metrics}
        )
        rows[-1] |= {"status": run.info.status, "run_id": run.info.run_id}
    return pd.DataFrame(rows)


def show_sweep(store: Store, parent: str, runs: list[Run]) -> None:
    """Print the closing table of a sweep, its failures with the commands that run them again, and
    where to look."""
    console = console_of()
    _show(console, close(store, runs))
    failed = [run for run in runs if run.info.status != "FINISHED"]
    told: set[str] = set()
    for run in failed[:MOST_FAILED]:
        line = f"missing: {run.data.params.get('task', '')} {run.info.run_name} {_way_out(store, run, told)}"
        console.print(line, style="red", markup=False, highlight=False, soft_wrap=True)
    if len(failed) > MOST_FAILED:
        console.print(
            f"missing: {len(failed) - MOST_FAILED} more; each run says why in its error.txt",
            style="red",
            highlight=False,
        )
    _where(console, store, parent)


def _way_out(store: Store, run: Run, told: set[str]) -> str:
    """Say why a cell is missing and what to do: run it again, or have its requests answered. What
    `told` holds is not said again."""
    command = run.data.tags.get(tracking.COMMAND, "")
    if run.data.tags.get(tracking.STATUS) == UNRECORDED:
        words = [word for word in command.split() if not word.strip("'").startswith("llm=")]
        return f"(not recorded). Export its requests: {' '.join(words)} llm=batch_file"
    why = run.data.tags.get(tracking.STATUS, run.info.status)
    if message := _message(store, run):
        message = message if message.startswith(why) else f"{why}: {message}"
        why = f"{why}, as above" if message in told else message
        told.add(message)
    return f"({why}). Again: {command}"


def _message(store: Store, run: Run) -> str:
    """Return the first line of what a failed run's error says, '' where it left none (it was
    killed)."""
    from touchstone.report.reading import text

    lines = text(store, run, "error.txt").splitlines()
    after = max(
        (number for number, line in enumerate(lines, 1) if line.startswith('  File "')), default=0
    )  # where a traceback ends
    message = next(
        (line for line in lines[after:] if line.strip() and not line.startswith(" ")), ""
    )
    return message if len(message) <= LONGEST_MESSAGE else message[: LONGEST_MESSAGE - 1] + "…"


def show_single(store: Store, run_id: str | None) -> None:
    """Print the row of a single run and where to look."""
    if run_id is None:
        return
    console = console_of()
    _show(console, close(store, [store.client.get_run(run_id)]))
    _where(console, store, None)


def console_of() -> Console:
    """Return a console as wide as the terminal; `WIDTH` columns in a pipe, where there is none to
    ask."""
    return Console(width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else WIDTH)


def _with_scores(table: pd.DataFrame, grid, scores: pd.DataFrame) -> pd.DataFrame:
    """Add the main score with its interval and the comparison with gold to the summary of the
    runs."""
    from touchstone.report.comparisons import main_score

    names = {"value": "score", "low": "score_low", "high": "score_high", "difference": "change"}
    names |= {
        "difference_low": "change_low",
        "difference_high": "change_high",
        "p": "p",
        "p_holm": "p_holm",
    }
    found = {}
    for cell in grid.cells:
        score = main_score(cell.kind)
        row = scores.loc[(cell.run_id, score.view, score.scope, score.metric, "")]
        found[cell.run_id] = {new: row[old] for old, new in names.items()}
    columns = pd.DataFrame(
        [found.get(run_id, {}) for run_id in table["run_id"]],
        columns=list(names.values()),
        index=table.index,
    )
    return pd.concat([table, columns], axis=1)


def _show(console: Console, closing: Closing) -> None:
    if closing.fault:
        _show_plain(console, closing.table)
        console.print(
            f"(no intervals: {closing.fault})", style="yellow", markup=False, highlight=False
        )
        return
    from touchstone.report.comparisons import SCREEN, main_score, unit_of
    from touchstone.report.tables.captions import rows_of, tasks_of
    from touchstone.report.tables.published import published

    grid = closing.grid
    tasks = tasks_of(grid.cells)
    for task in [
        *tasks,
        *(task for task in dict.fromkeys(grid.missing["task"]) if task not in tasks),
    ]:
        _show_task(console, closing, task)
    for source in dict.fromkeys(
        one.source for one in published(grid.study) if one.kind in tasks.values()
    ):
        told = f"published: means over that paper's data sets, with its LLM and models, no target ({source})."
        console.print(told, style="dim", highlight=False)
    tested = closing.scores is not None and closing.scores["p"].notna().any()
    if tested:
        n = max(
            int(rows_of(closing.scores, main_score(kind))["p"].notna().sum())
            for kind in tasks.values()
        )
        unit = unit_of(grid.cells[0])
        console.print(
            f"* p < 0.05, ** p < 0.01 against gold: paired permutation test over test {unit}, Holm-corrected over {n} comparisons. Intervals: "
            f"95 %, over test {unit}, {SCREEN.n_resamples} resamples; touchstone table takes more.",
            style="dim",
            highlight=False,
        )


def _show_task(console: Console, closing: Closing, task: str) -> None:
    """Print one task: its setting as the title, a row for each line of the grid, best score in
    bold.

    Where the table is wider than the console, precision and recall are left out first, then all
    scores but the main one.
    """
    from touchstone.report.comparisons import SCORES
    from touchstone.report.grid import lines
    from touchstone.report.tables.captions import varying
    from touchstone.report.tables.scores import entry_of

    rows = [line for line in lines(closing.grid) if task in line.cells or task in line.failed]
    cells = [line.cells[task] for line in rows if task in line.cells]
    axes = [axis for axis in varying([line.axes for line in rows]) if axis != "classifier"]
    axes[1:1] = (
        ["classifier"]
        if len({line.axes["classifier"] for line in rows if line.axes["mixture"] != "zero_shot"})
        > 1
        else []
    )
    scored = SCORES[cells[0].kind] if cells else ()
    missing = closing.grid.missing
    unrecorded = set(missing.loc[missing["reason"].str.startswith(UNRECORDED), "run_id"])
    best = max(
        (
            entry_of(closing.scores, cell, score).value
            for cell in cells
            for score in scored
            if score.main
        ),
        default=np.nan,
    )

    def drawn(chosen: Sequence) -> Table:
        shown = Table(
            title=_title(task, cells, axes),
            title_justify="left",
            title_style="bold",
            box=box.SIMPLE_HEAD,
            pad_edge=False,
            padding=(0, 1),
            collapse_padding=True,
        )
        for axis in axes:
            shown.add_column(axis, no_wrap=axis == "mixture", overflow="fold")
        columns = ["n train"]
        for score in chosen:
            columns += [score.title, "95 % interval", "vs gold"] if score.main else [score.title]
        for name in columns if cells else ["n train", "score"]:
            shown.add_column(name, justify="left" if name == "vs gold" else "right", no_wrap=True)
        for line in rows:
            labels = [line.axes[axis] for axis in axes]
            if task not in line.cells:
                word = "not recorded" if line.failed[task] in unrecorded else "missing"
                before = [""] * (
                    _main_at(chosen) + 1 if chosen else 0
                )  # the word stands where there is room, below the interval
                shown.add_row(*labels, "", *before, word, style="red")
                continue
            shown.add_row(
                *labels,
                *_numbers(
                    closing.scores, line.cells[task], chosen, best if len(cells) > 1 else None
                ),
            )
        for name, values in _references(closing.grid, task, cells).items():
            numbers = [
                [values.get(score.title, ""), "", ""]
                if score.main
                else [values.get(score.title, "")]
                for score in chosen
            ]
            shown.add_row(
                name, *[""] * len(axes), *sum(numbers, []), style="dim"
            )  # one label and n train
        return shown

    for chosen in (
        scored,
        [score for score in scored if score.metric == "f1" or score.main],
        [score for score in scored if score.main],
    ):
        shown = drawn(chosen)
        if (
            needed := Measurement.get(console, console.options.update(width=1000), shown).maximum
        ) <= console.width:
            break
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = max(console.width, needed)  # nothing is cut where nobody looks at the width
    console.print(shown)
    _show_samples(console, cells)


def _references(grid, task: str, cells: Sequence) -> dict[str, dict[str, str]]:
    """Return what a task's rows are read against: systems that read nothing, and published figures;
    name -> score title -> text."""
    from touchstone.report.tables.published import published
    from touchstone.report.tables.scores import trivial_rows

    if not cells:
        return {}
    found: dict[str, dict[str, str]] = {}
    if cells[0].kind in (
        "binary",
        "relation",
    ):  # the F1 of the positive class means nothing without them
        for system, entries in trivial_rows(grid, {task: cells[0].kind}).items():
            found[system] = {key.partition("/")[2]: entry.shown() for key, entry in entries.items()}
    for one in published(grid.study):
        if one.kind == cells[0].kind:
            found[f"published {one.row}"] = {"F1": f"{one.fraction:.3f}"}
    return found


def _show_samples(console: Console, cells: Sequence) -> None:
    """Say which cells were scored on a part of the test set only."""
    sizes = {cell.run_id: cell.predictions["example_id"].nunique() for cell in cells}
    for cell in cells:
        if sizes[cell.run_id] < max(sizes.values()):
            told = f"{cell.axes['mixture']}: scored on a seeded sample of {sizes[cell.run_id]:,} test sentences (task.llm_test_sentences)"
            console.print(told, style="dim", highlight=False)


def _main_at(scored: Sequence) -> int:
    return next((at for at, score in enumerate(scored) if score.main), 0)


def _numbers(scores: pd.DataFrame, cell, scored: Sequence, best: float | None) -> list[str]:
    """Return the texts of a cell's numbers, in the order of the columns."""
    from touchstone.report.tables.scores import entry_of

    n_train = cell.run.data.metrics.get("n_train")
    out = ["" if n_train is None else f"{n_train:,.0f}"]
    for score in scored:
        entry = entry_of(scores, cell, score)
        text = entry.shown()
        if not score.main:
            out.append(text)
            continue
        change = "" if np.isnan(entry.change) else f"{entry.change:+.3f} {entry.mark}"
        out += [
            f"[bold]{text}[/bold]" if entry.value == best else text,
            f"\\[{entry.low:.3f}, {entry.high:.3f}]",
            change,
        ]
    return out


def _title(task: str, cells: Sequence, axes: Sequence[str]) -> str:
    """Return the setting that all rows of a task share, in one line."""
    if not cells:
        return task
    first = max(cells, key=lambda cell: len(cell.predictions)).predictions
    facts = [task]
    for axis in ("classifier", "prompt", "llm", "gold"):
        values = {cell.axes[axis] for cell in cells if cell.axes[axis]}
        if axis not in axes and len(values) == 1:
            facts.append(f"gold of {values.pop()}" if axis == "gold" else values.pop())
    seeds = first["seed"].nunique()
    facts.append(f"{seeds} seeds" if seeds > 1 else "1 seed")
    facts.append(f"{first['example_id'].nunique():,} test sentences")
    return ", ".join(facts)


def _show_plain(console: Console, table: pd.DataFrame) -> None:
    shown = Table(title="Test set, averaged over seeds", title_justify="left", box=box.SIMPLE_HEAD)
    axes = [axis for axis in AXES if axis in ("mixture", "classifier") or table[axis].nunique() > 1]
    for name in [*axes, "macro F1"]:
        shown.add_column(name, overflow="fold")
    for row in table.to_dict("records"):
        value = row.get(BEST, np.nan)
        shown.add_row(
            *(str(row[axis]) for axis in axes), "missing" if pd.isna(value) else f"{value:.3f}"
        )
    console.print(shown)


def _where(console: Console, store: Store, parent: str | None) -> None:
    link = _share_view(store, parent, VIEW, f"metrics.`{BEST}`")
    console.print(
        f"Results: {tracking.readable_uri(store.uri)} (experiment {store.experiment})",
        highlight=False,
        soft_wrap=True,
        markup=False,
    )
    host = store.uri if store.uri.startswith("http") else "http://127.0.0.1:5000"
    how = "" if store.uri.startswith("http") else f"{_serving(store)}, then "
    console.print(
        f"Browse:  {how}{tracking.readable_uri(host)}{link}",
        highlight=False,
        soft_wrap=True,
        markup=False,
    )


def _serving(store: Store) -> str:
    """Return the command that serves a store without a server: make's target knows the one of the
    working folder only."""
    makefile = Path("Makefile")
    if store.uri == f"sqlite:///{Path.cwd() / 'mlflow' / 'mlflow.db'}" and makefile.is_file():
        if re.search(r"^ui:", makefile.read_text(errors="replace"), re.MULTILINE):
            return "make ui"
    return f"mlflow server --backend-store-uri {shlex.quote(tracking.readable_uri(store.uri))} --host 127.0.0.1 --port 5000"


def _share_view(store: Store, parent: str | None, columns: list[str], order_by: str) -> str:
    """Store a view of the run list (our columns, best first) and return the path of its link in the
    UI.

    The view is MLflow's private format (a tag read by the run list's page); where it changes, the
    link still opens the run list.
    """
    state = {
        "selectedColumns": columns,
        "runsExpanded": {parent: True} if parent else {},
        "orderByKey": order_by,
        "orderByAsc": False,
        "searchFilter": f"tags.`{tracking.PARENT}` = '{parent}'" if parent else "",
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "runsPinned": [],
        "runsHidden": [],
        "runsHiddenMode": "FIRST_10_RUNS",
        "viewMaximized": True,
    }
    packed = "deflate;" + base64.b64encode(zlib.compress(json.dumps(state).encode())).decode()
    key = digest(state)
    store.client.set_experiment_tag(store.experiment_id, f"mlflow.sharedViewState.{key}", packed)
    return f"/#/experiments/{store.experiment_id}/runs?viewStateShareKey={key}"
