"""The mean over data sets, as the second paper's headline has it, and the mean over folds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import report_store as made
from preloaded import completed

from touchstone import tracking
from touchstone.report.grid import collect
from touchstone.report.study import study_of
from touchstone.report.tables.layout import Entry, Row, count, word
from touchstone.report.tables.means import mean, mean_note, mean_rows

TASKS = {"a": "ner", "b": "ner", "c": "relation", "d": "multiclass"}


def row(task: str, mixture: str, f1: Entry, block: str = "") -> Row:
    return Row((task, mixture), {"F1": f1, "n_train": count(10)}, block)


def test_a_row_has_a_mean_only_where_every_data_set_of_the_kind_has_the_row() -> None:
    rows = {
        "a": [row("a", "gold", Entry(0.4)), row("a", "bronze", Entry(0.2))],
        "b": [row("b", "gold", Entry(0.6)), row("b", "bronze", word("not recorded"))],
        "c": [row("c", "gold", Entry(0.7)), row("c", "bronze", Entry(0.8))],
        "d": [row("d", "gold", Entry(0.1))],
    }
    means = mean_rows(TASKS, rows)
    assert [one.labels for one in means["ner"]] == [("mean, entities", "gold")]
    assert means["ner"][0].entries["F1"].value == pytest.approx(0.5)
    assert "n_train" not in means["ner"][0].entries
    assert [one.labels[1] for one in means["relation"]] == ["gold", "bronze"]
    assert list(means) == ["ner", "relation"]
    assert mean_note(TASKS, means)[0].startswith(
        "Mean, entities: over a, b, each counted once, where all have the row"
    )


def test_the_same_mixture_at_another_gold_size_is_another_row() -> None:
    sizes = [Row(("a", "gold", size), {"F1": Entry(0.5)}) for size in ("50", "200")]
    other = [Row(("b", "gold", "200"), {"F1": Entry(0.7)})]
    means = mean_rows({"a": "ner", "b": "ner"}, {"a": sizes, "b": other})
    assert [one.labels for one in means["ner"]] == [("mean, entities", "gold", "200")]


def test_the_interval_of_a_mean_covers_as_those_of_the_data_sets_do() -> None:
    """Two proportions, each with a 95 % interval of its own: their mean is covered as often."""
    rng = np.random.default_rng(0)
    truth, n, inside = np.array([0.8, 0.6]), np.array([400, 300]), 0
    for _ in range(2000):
        shares = rng.binomial(n, truth) / n
        half = 1.96 * np.sqrt(shares * (1 - shares) / n)
        entry = mean([Entry(p, p - h, p + h) for p, h in zip(shares, half, strict=True)])
        inside += entry.low <= truth.mean() <= entry.high
    assert inside / 2000 == pytest.approx(0.95, abs=0.015)


def test_a_mean_is_undefined_where_a_score_is_and_names_the_runs_of_all() -> None:
    entry = mean([Entry(0.5, 0.4, 0.6, runs=("x",)), Entry(float("nan"), runs=("y",))])
    assert np.isnan(entry.value) and entry.runs == ("x", "y")


def test_a_cross_validation_shows_the_mean_of_its_folds_in_its_row(tmp_path: Path) -> None:
    completed(
        "study=folds",
        "task=ad_binary",
        "task.folds=3",
        "mixture=gold",
        "paths.store=store",
        cwd=tmp_path,
    )
    store = tracking.open_store(None, "folds", tmp_path / "store")
    study = study_of(collect(store, "folds"), with_figures=False)
    scores = next(one for one in study.tables if one.name == "folds_scores")
    assert "mean of folds" in [column.title for column in scores.columns]
    entries = scores.rows[0].entries
    metrics = study.grid.cells[0].run.data.metrics
    assert entries["ad_binary/F1/folds"].value == pytest.approx(metrics["folds/f1"])
    assert entries["ad_binary/F1"].low < entries["ad_binary/F1"].value
    assert entries["ad_binary/F1"].value == pytest.approx(metrics["test/f1"])


def test_the_caption_says_what_the_draws_share() -> None:
    tables = made.shared_study().tables
    scores = next(one for one in tables if one.name == "two_directions_scores")
    assert scores.caption.endswith("The LLM's examples and pool: first draw.")
    assert any(
        "Few-shot examples and the LLM's pool are those of the first" in note
        for note in scores.notes
    )
    assert "mean of folds" not in [column.title for column in scores.columns]
