"""Prevalence in the pool, corrected by the gold that the LLM labelled too."""

import numpy as np
import pytest
import report_store as made

from touchstone.evaluate.ppi import ppi_mean
from touchstone.report.grid import grid_of
from touchstone.report.tables.prevalence import prevalence_table
from touchstone.report.tables.quality import generated


def grid_with(name, *overrides):
    store = made.empty_study(name)
    ids = [
        made.log(store, None, f"mixture={mixture}", *overrides, cache=made.cache())
        for mixture in ("baseline/zero_shot", "gold_silver")
    ]
    return grid_of(store, "two_directions", [], [store.client.get_run(one) for one in ids])


@pytest.fixture(scope="module")
def grid():
    return grid_with("prevalence")


def test_the_count_of_the_pool_stands_beside_gold_and_the_corrected_share(grid):
    sets = generated(grid)
    table = prevalence_table(grid, sets)
    assert [row.labels[0] for row in table.rows] == ["silver"] * 9
    row = next(row for row in table.rows if row.labels[1] == "Diagnostic tests")
    silver = next(one.frame for one in sets if one.stage == "silver")
    (cell,) = [one for one in grid.cells if one.axes["mixture"] == "zero_shot"]
    true, pred = (
        np.array(["diagnostic_tests" in one for one in cell.predictions[side]], float)
        for side in ("true", "pred")
    )
    counted = row.entries["counted"].value
    assert 0 < counted <= np.mean(["diagnostic_tests" in one for one in silver["labels"]])
    assert row.entries["gold"].value == pytest.approx(true.mean())
    assert row.entries["n_gold"].value == true.sum()
    corrected = row.entries["corrected"]
    lam = ppi_mean(
        true,
        pred,
        cell.predictions["patient_id"].tolist(),
        np.repeat([1.0, 0.0], [round(counted * len(silver)), round((1 - counted) * len(silver))]),
        range(len(silver)),
    ).lam
    assert corrected.value == pytest.approx(true.mean() + lam * (counted - pred.mean()), abs=0.01)
    assert corrected.low <= corrected.value <= corrected.high
    assert row.entries["gold"].high > row.entries["gold"].low
    for name in ("precision", "recall"):
        assert 0 <= row.entries[name].low <= row.entries[name].value <= row.entries[name].high <= 1


def test_gold_of_other_documents_than_the_pool_is_warned_of(grid):
    (warning,) = [
        note for note in prevalence_table(grid, generated(grid)).notes if "Warning" in note
    ]
    assert "gold of ad_demo is not known to be a random sample" in warning
    assert "touchstone review export" in warning
    for cell in grid.cells:
        cell.config["corpus"]["pool"]["reader"] = "rest_of_train"
    notes = prevalence_table(grid, generated(grid)).notes
    assert not any("Warning" in note for note in notes)


def test_without_the_llm_asked_directly_there_is_no_table(grid):
    silver = [one for one in generated(grid) if one.stage == "silver"]
    store = grid.store
    learned = [one.run for one in grid.cells if one.axes["mixture"] != "zero_shot"]
    assert prevalence_table(grid_of(store, "two_directions", [], learned), silver) is None
