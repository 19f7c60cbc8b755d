"""Scores at test sites and by subgroup, in tables, report and MLflow."""

from __future__ import annotations

import numpy as np
import pytest
import report_store as made

from touchstone.report import closing
from touchstone.report.comparisons import compared
from touchstone.report.grid import collect
from touchstone.report.study import study_of
from touchstone.report.tables.elsewhere import site_table, subgroup_table


@pytest.fixture(scope="module")
def grid():
    store = made.empty_study("two_places")
    parent = made.log_sweep(store, "two_places")
    for mixture, skill in (("gold", 0.5), ("gold_silver", 0.9)):
        asked = (
            "study=two_places",
            "corpus=ad_demo_sites",
            "task=ad_multiclass",
            f"mixture={mixture}",
            "seeds=2",
        )
        made.log(store, parent, *asked, cache=made.cache(), skill=skill, elsewhere=True)
    return collect(store, "two_places")


def test_a_site_is_a_column_group_with_its_own_interval_and_paired_test(grid):
    table = site_table(grid, compared(grid, 400), 400)
    assert [column.group for column in table.columns] == ["test set", "rural", "rural"]
    gold, both = table.rows
    for row, cell in zip((gold, both), grid.cells, strict=True):
        logged = cell.run.data.metrics
        assert row.entries["rural/score"].value == pytest.approx(logged["site/rural/macro_f1"])
        assert row.entries["test"].value == pytest.approx(logged["test/macro_f1"])
        assert row.entries["rural/score"].low < row.entries["rural/score"].value
    change = both.entries["rural/change"]
    rural = [row.entries["rural/score"].value for row in (gold, both)]
    assert change.value == pytest.approx(rural[1] - rural[0])
    assert 0 < change.p <= 1 and change.low < change.value < change.high
    assert both.entries["rural/score"].best and np.isnan(gold.entries["rural/change"].value)
    assert "rural: " in table.caption and "patients" in table.caption


def test_the_tables_of_a_study_and_mlflow_have_the_sites(grid):
    names = [table.name for table in study_of(grid, with_figures=False).tables]
    assert {"two_places_sites", "two_places_subgroups"} <= set(names)
    closing.finish_sweep(grid.store, grid.sweeps[0].info.run_id, [c.run for c in grid.cells])
    logged = grid.store.client.get_run(grid.cells[1].run_id).data.metrics
    assert logged["site/rural/score_low"] < logged["site/rural/score"]
    assert logged["site/rural/vs_gold"] > 0 and 0 < logged["site/rural/p_holm"] <= 1


def test_subgroups_are_rows_and_a_small_one_is_named_not_scored(grid):
    table = subgroup_table(grid)
    assert [row.labels for row in table.rows] == [
        ("ad_multiclass", "sex", "F"),
        ("ad_multiclass", "sex", "M"),
    ]
    few, many = table.rows
    keys = [cell.run_id for cell in grid.cells]
    assert few.entries["n_patients"].value == 2
    assert [few.entries[key].word for key in keys] == ["not scored", "not scored"]
    assert many.entries[keys[1]].value > many.entries[keys[0]].value > 0
    assert many.entries[keys[0]].low < many.entries[keys[0]].value


def test_a_grid_without_sites_and_subgroups_has_neither_table():
    store = made.empty_study("one_place")
    parent = made.log_sweep(store, "one_place")
    asked = ("study=one_place", "task=ad_binary", "mixture=gold")
    made.log(store, parent, *asked, cache=made.cache())
    found = collect(store, "one_place")
    assert site_table(found, compared(found, 100), 100) is None and subgroup_table(found) is None
