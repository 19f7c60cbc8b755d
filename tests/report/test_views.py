"""One number everywhere: screen, MLflow, figures, tables and report of one sweep, number by
number."""

import io
import json
import re

import numpy as np
import pytest
import report_store as made
from rich.console import Console

from touchstone import tracking
from touchstone.evaluate.headline import main_score, values
from touchstone.report import closing, reading
from touchstone.report.article import report
from touchstone.report.formats import csv, latex, markdown, screen
from touchstone.report.grid import grid_of
from touchstone.report.study import write
from touchstone.report.tables.layout import number


@pytest.fixture(scope="module")
def sweep():
    """One sweep, closed as run.py does, and what each view shows of it."""
    _, store, parent = made.shared()
    runs = tracking.latest_children(store, parent)
    closing.finish_sweep(store, parent, runs)
    return store, parent, runs, made.shared_study()


@pytest.fixture(scope="module")
def numbers(sweep):
    """(task, mixture) -> what the score table shows: the main score and its change."""
    _, _, _, study = sweep
    table, out = study.tables[0], {}
    for row in table.rows:
        for task, title in (("ad_binary", "F1"), ("ad_multiclass", "macro F1")):
            entry = row.entries.get(f"{task}/{title}")
            if not row.reference and entry is not None and not entry.word:
                out[task, row.labels[0]] = entry, row.entries.get(f"{task}/{title}/change")
    assert len(out) == 7 and sum(change is not None for _, change in out.values()) == 5
    return out


def cells(study):
    return {(cell.axes["task"], cell.axes["mixture"]): cell for cell in study.grid.cells}


def test_mlflow_has_the_score_its_interval_and_the_comparison(sweep, numbers):
    store, parent, _, study = sweep
    for key, cell in cells(study).items():
        entry, change = numbers[key]
        logged = store.client.get_run(cell.run_id).data.metrics
        assert logged["test/score"] == logged[f"test/{main_score(cell.kind).name}"] == entry.value
        assert (logged["test/score_low"], logged["test/score_high"]) == (entry.low, entry.high)
        if change is None:
            assert "test/vs_gold" not in logged
            continue
        for name in ("vs_gold", "vs_gold_low", "vs_gold_high", "p_holm"):
            own = {"vs_gold": "value", "p_holm": "p_holm"}.get(name, name.rpartition("_")[2])
            assert logged[f"test/{name}"] == getattr(change, own), (key, name)
    results = tracking.table(store, parent, "results")
    for row in results[results["status"] == "FINISHED"].to_dict("records"):
        assert row["score"] == row["test/score"] == numbers[row["task"], row["mixture"]][0].value


def test_every_metric_of_a_run_is_that_of_its_predictions_and_of_its_scores_table(sweep):
    store, _, _, study = sweep
    for cell in study.grid.cells:
        logged = store.client.get_run(cell.run_id).data.metrics
        table = tracking.table(store, cell.run_id, "scores").dropna().set_index("name")["value"]
        for name in table.index[~table.index.str.startswith("support/")]:
            assert logged[f"test/{name}"] == table[name], name
        if cell.kind != "binary":  # its predictions are read without the scores that AUC needs
            for name, value in values(cell.predictions, cell.categories, cell.kind).items():
                assert logged[f"test/{name}"] == value, name


def test_the_screen_shows_the_numbers_and_marks_of_the_table(sweep, numbers, monkeypatch):
    store, parent, runs, study = sweep
    monkeypatch.delenv("COLUMNS", raising=False)
    out = io.StringIO()
    monkeypatch.setattr(screen, "console_of", lambda: Console(file=out, width=screen.WIDTH))
    closing.show_sweep(store, parent, runs)
    task, seen = "", 0
    for line in out.getvalue().splitlines():
        if head := re.match(r"(ad_\w+),", line):
            task = head[1]
        words = line.split()
        if not words or (task, words[0]) not in numbers:
            continue
        entry, change = numbers[task, words[0]]
        shown = f"{entry.shown()}  {entry.second('interval')}"
        assert shown in line, (task, line)
        if change is not None:
            after = line.partition(entry.second("interval"))[2].split()
            stars = after[1] if len(after) > 1 and set(after[1]) == {"*"} else ""
            assert (after[0], stars) == (change.shown(), change.mark)
        seen += 1
    assert seen == len(numbers)


def test_files_figures_and_report_show_the_same(sweep, numbers, tmp_path):
    store, parent, runs, study = sweep
    table = study.tables[0]
    frame = csv.csv(table).set_index(["row", "column"])
    page, _ = report(grid_of(store, "two_directions", [], runs), store.client.get_run(parent))
    figure = reading.text(store, store.client.get_run(parent), "figures/scores.svg")
    sidecar = json.loads(write(study, tmp_path, ["markdown"])[0].read_text())
    in_sidecar = {
        (one["row"]["Training data"], one["column"]): one["value"]
        for one in sidecar["tables"][table.name]
    }
    for (task, mixture), (entry, change) in numbers.items():
        column = f"{task}/{'F1' if task == 'ad_binary' else 'macro F1'}"
        assert frame.loc[(mixture, column), ["value", "low", "high"]].tolist() == [
            entry.value,
            entry.low,
            entry.high,
        ]
        assert in_sidecar[mixture, column] == entry.value
        interval = entry.second("interval")
        assert interval in page and interval in markdown.markdown(table)
        assert interval.replace("−", "-") in latex.latex(table)
        assert f"{entry.value:.3f} {change.mark if change else ''}" in figure
        if change is not None:
            assert frame.loc[(mixture, f"{column}/change"), "p_holm"] == change.p_holm
            assert number(change.value, 3, True) in page
            assert not np.isnan(change.p_holm)
