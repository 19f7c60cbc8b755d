"""What the end of a sweep shows: one table a task with intervals and marks, within 100 columns, and
never at the cost of the sweep."""

import io
import os
import re
import types

import pandas as pd
import pytest
import report_store as made
from rich.console import Console

from touchstone import tracking
from touchstone.errors import UserError
from touchstone.report import closing, comparisons, reading
from touchstone.report.formats import screen as format_of


@pytest.fixture
def sweep():
    _, store, parent = made.shared()
    return store, parent, tracking.latest_children(store, parent)


@pytest.fixture
def screen(monkeypatch):
    """What is printed, in a pipe of no known width."""
    monkeypatch.delenv("COLUMNS", raising=False)
    out = io.StringIO()
    monkeypatch.setattr(format_of, "console_of", lambda: Console(file=out, width=format_of.WIDTH))
    return out


def test_each_task_is_a_table_with_interval_change_and_mark(sweep, screen):
    store, parent, runs = sweep
    closing.show_sweep(store, parent, runs)
    text = screen.getvalue()
    assert re.search(
        r"gold_silver +\d,\d{3} .*0\.\d{3} +\[0\.\d{3}, 0\.\d{3}\] +\+0\.\d{3} \*", text
    )
    assert re.search(
        r"ad_multiclass, tfidf_logreg, guideline, claude, gold of 10 patients, 3 draws, 1,153 "
        r"test sentences",
        " ".join(text.split()),
    )
    assert (
        "paired permutation test over test patients (all swaps enumerated), Holm-corrected over 5 "
        "comparisons" in " ".join(text.split())
    )


def test_the_table_fits_100_columns_without_cutting_a_name(sweep, screen):
    store, parent, runs = sweep
    closing.show_sweep(store, parent, runs)
    table = screen.getvalue().partition("Brackets")[0]
    assert max(map(len, table.splitlines())) <= 100 and "…" not in table
    for name in ("gold", "bronze", "gold_silver", "gold_bronze"):
        assert re.search(rf"^ *{name} ", table, re.M)


def test_a_narrow_console_leaves_out_precision_and_recall_first(sweep, screen, monkeypatch):
    store, parent, runs = sweep
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(format_of, "console_of", lambda: Console(file=screen, width=80))
    closing.show_sweep(store, parent, runs)
    assert (
        "macro F1" in screen.getvalue()
        and "macro P" not in screen.getvalue()
        and "…" not in screen.getvalue().partition("Brackets")[0]
    )


def test_a_missing_cell_is_in_the_table_and_told_with_the_way_out(sweep, screen):
    store, parent, runs = sweep
    closing.show_sweep(store, parent, runs)
    assert re.search(r"gold_bronze +not recorded", screen.getvalue())
    (told,) = [line for line in screen.getvalue().splitlines() if "not recorded." in line]
    assert told == (
        "1 of 8 cells is not recorded. Export all their requests: "
        "python run.py -m +experiment=two_directions llm=batch_file"
    )
    assert "missing:" not in screen.getvalue()


def test_the_parent_run_keeps_the_table_and_a_figure(sweep):
    store, parent, runs = sweep
    closing.finish_sweep(store, parent, runs)
    run = store.client.get_run(parent)
    table = reading.table(store, run, "results")
    assert (
        len(table) == 8
        and set(table["status"]) == {"FINISHED", "FAILED"}
        and table["score"].notna().sum() == 7
    )
    assert (table["score_low"].dropna() < table["score"].dropna()).all() and run.data.metrics[
        "n_finished"
    ] == 7
    figure = reading.text(store, run, "figures/scores.svg")
    assert (
        figure.startswith("<svg")
        and "gold_silver" in figure
        and "ad_multiclass, macro F1" in figure
    )
    metrics, cells = run.data.metrics, {one.info.run_id: one for one in runs}
    for task in ("ad_binary", "ad_multiclass"):
        of_task = table[(table["task"] == task) & table["score"].notna()]
        assert metrics[f"best/{task}"] == of_task["score"].max()
    described = run.data.tags["mlflow.note.content"]
    assert "### ad_multiclass, tfidf_logreg" in described and "| gold_silver |" in described
    for row in table[table["vs_gold"].notna()].to_dict("records"):
        logged = store.client.get_run(row["run_id"]).data.metrics
        for name in ("score", "score_low", "score_high", "vs_gold", "vs_gold_low", "p_holm"):
            assert logged[f"test/{name}"] == row[name], name
    assert len(cells) == 8


def test_a_fault_in_scoring_leaves_the_plain_scores_and_is_told(sweep, screen, monkeypatch):
    store, parent, runs = sweep

    def broken(*args):
        raise ZeroDivisionError("no such luck")

    closing._close.cache_clear()
    monkeypatch.setattr(comparisons, "compared", broken)
    closing.finish_sweep(store, parent, runs)
    closing.show_sweep(store, parent, runs)
    closing._close.cache_clear()
    assert "(no intervals: ZeroDivisionError: no such luck)" in screen.getvalue()
    assert re.search(r"gold_silver +tfidf_logreg +0\.\d{3}", screen.getvalue())


def test_a_single_run_shows_its_row(sweep, screen):
    store, _, runs = sweep
    closing.show_single(
        store, next(run.info.run_id for run in runs if run.info.status == "FINISHED")
    )
    assert (
        re.search(r"gold +555 .*\[0\.\d{3}, 0\.\d{3}\]", screen.getvalue())
        and "Results: sqlite" in screen.getvalue()
    )


def test_a_pipe_without_a_width_is_100_columns(monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setattr(format_of.sys, "stdout", io.StringIO())
    assert format_of.console_of().width == 100
    monkeypatch.setenv("COLUMNS", "120")
    assert format_of.console_of().width == 120 and os.environ["COLUMNS"] == "120"


def test_the_summary_has_a_row_for_every_run(sweep):
    _, _, runs = sweep
    table = closing.summary(runs)
    assert (
        isinstance(table, pd.DataFrame)
        and len(table) == len(runs)
        and table["test/score"].notna().sum() == 7
    )


def failed_run(store, name: str, error: BaseException, restricted: bool = False):
    tags = {tracking.COMMAND: f"python run.py mixture={name}"}
    run_id = tracking.start_run(
        store, name, tags=tags, params={"task": "ad_binary", "mixture": name}
    )
    with pytest.raises(type(error)), tracking.failing_clearly(store, run_id, restricted):
        raise error
    return store.client.get_run(run_id)


def test_each_failure_says_why_and_what_several_share_stands_once(screen):
    store = made.empty_study("failures")
    parent = tracking.start_run(store, "sweep", tags={}, params={})
    wrong = UserError("task.gold_patients=99: the training split has 25 patients")
    runs = [
        failed_run(store, "gold", wrong),
        failed_run(store, "silver", wrong),
        failed_run(store, "bronze", ValueError("first line\n  second line")),
        failed_run(store, "gold_silver", ValueError("a sentence of a note"), restricted=True),
        failed_run(store, "gold_bronze", UserError("x" * 300)),
        failed_run(store, "silver_bronze", KeyboardInterrupt()),
    ]
    closing.show_sweep(store, parent, runs)
    told = [line for line in screen.getvalue().splitlines() if line.startswith("missing: ")]
    assert told == [
        f"missing: ad_binary {name} ({why}). Again: python run.py mixture={name}"
        for name, why in {
            "gold": f"UserError: {wrong}",
            "silver": "UserError, as above",
            "bronze": "ValueError: first line",
            "gold_silver": "ValueError (message withheld: restricted corpus)",
            "gold_bronze": f"UserError: {'x' * 199}…",
            "silver_bronze": "KeyboardInterrupt",
        }.items()
    ]


def test_the_command_that_serves_the_results_fits_the_store(tmp_path, monkeypatch):
    folder = tmp_path / "a folder"
    folder.mkdir()
    monkeypatch.chdir(folder)
    own, other = (
        types.SimpleNamespace(uri=f"sqlite:///{folder}/{name}/mlflow.db")
        for name in ("mlflow", "elsewhere")
    )
    assert closing._serving(own) == "touchstone ui"
    (folder / "Makefile").write_text("run:\n\ttrue\n")
    assert closing._serving(own) == "touchstone ui"
    (folder / "Makefile").write_text("run:\n\ttrue\n\nui: $(STAMP)\n\ttrue\n")
    assert closing._serving(own) == "make ui"
    other_uri = f"'sqlite:///{folder}/elsewhere/mlflow.db'"
    assert closing._serving(other) == f"touchstone ui --store {other_uri}"


def test_an_address_is_clickable_on_a_terminal_and_plain_in_a_pipe():
    shown, address = {}, "http://127.0.0.1:5000/#/a"
    for terminal in (True, False):
        out = io.StringIO()
        system = "truecolor" if terminal else None
        console = Console(file=out, force_terminal=terminal, width=40, color_system=system)
        format_of.say("Browse:  ", address, address, console)
        shown[terminal] = out.getvalue()
    assert re.search(r"Browse:  \x1b\]8;[^;]*;http://127\.0\.0\.1:5000/#/a\x1b\\http", shown[True])
    assert shown[False] == "Browse:  http://127.0.0.1:5000/#/a\n"
