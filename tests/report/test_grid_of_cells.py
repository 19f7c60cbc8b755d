"""Which cells a table holds: the last sweep's, one run a cell, missing ones named, compared with
gold on the same sentences."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import report_store as made
from pandas.testing import assert_frame_equal

from touchstone import tracking
from touchstone.data import people
from touchstone.errors import UserError
from touchstone.evaluate.compare import compare
from touchstone.evaluate.metrics import score_table
from touchstone.evaluate.predictions import counts_of
from touchstone.report import reading
from touchstone.report.comparisons import compared, generator, matched, stars
from touchstone.report.grid import collect, gold_size, lines, mixture_order, sweep_of


@pytest.fixture(scope="module")
def study():
    folder, store, parent = made.shared()
    return store, parent, collect(store, "two_directions")


@pytest.fixture
def own(request):
    """An empty study of the test's own: its store, and a function that logs a finished cell of
    it."""
    name = request.node.name
    store = made.empty_study(name)
    return (
        store,
        name,
        lambda parent, *asked, **more: made.log(
            store, parent, f"study={name}", *asked, cache=made.cache(), **more
        ),
    )


def axes(grid, name="mixture"):
    return [cell.axes[name] for cell in grid.cells]


def test_a_table_holds_every_finished_cell_of_the_last_sweep_in_the_papers_order(study):
    _, _, grid = study
    assert [line.axes["mixture"] for line in lines(grid)] == [
        "gold",
        "bronze",
        "gold_silver",
        "gold_bronze",
    ]
    assert len(grid.cells) == 7 and {cell.kind for cell in grid.cells} == {"binary", "multiclass"}


def test_gold_has_no_prompt_and_bronze_alone_no_gold(study):
    _, _, grid = study
    cells = {cell.axes["mixture"]: cell.axes for cell in grid.cells}
    assert (
        cells["gold"]["prompt"] == cells["gold"]["llm"] == ""
        and cells["gold"]["gold"] == "10 patients"
    )
    assert cells["bronze"]["gold"] == "" and cells["bronze"]["prompt"] == "guideline"


def test_a_missing_cell_is_listed_with_its_reason_and_command(study):
    _, _, grid = study
    (row,) = grid.missing.to_dict("records")
    assert (row["task"], row["mixture"]) == ("ad_binary", "gold_bronze")
    assert row["reason"].startswith("MissingRecording: 60 of 60 requests") and row[
        "command"
    ].endswith("mixture=gold_bronze seeds=3")


def test_an_unknown_study_names_the_studies_of_the_store(study):
    store, _, _ = study
    with pytest.raises(UserError, match='no study "two_direction". Did you mean two_directions'):
        collect(store, "two_direction")


def test_an_unknown_sweep_names_the_sweeps_of_the_study(study):
    store, parent, _ = study
    with pytest.raises(UserError, match=f"no sweep nope. There are: {parent[:8]}"):
        collect(store, "two_directions", "nope")
    assert (
        sweep_of(store, parent[:6])[0].info.run_id
        == parent
        == sweep_of(store, "last")[0].info.run_id
    )


def test_a_store_that_is_not_there_is_said_not_made(tmp_path):
    with pytest.raises(UserError, match="no tracking store in .*; run a sweep first"):
        tracking.open_existing(tmp_path / "mlflow")
    assert not list(tmp_path.iterdir())


def test_a_store_moved_to_another_folder_gives_the_same_numbers(study, tmp_path):
    """Paths inside a store are absolute; the files are found beside a copy of the database all the
    same."""
    folder, store, _ = made.shared()
    shutil.copytree(folder / "mlflow", tmp_path / "sent")
    moved = tmp_path / "sent"
    connection = tracking.open_existing(moved)
    run = reading.search(connection, kind="cell")[0]
    here = Path(run.info.artifact_uri.removeprefix("file://"))
    hidden = here.with_name("hidden")
    here.rename(hidden)
    try:
        assert str(reading.file(connection, run, "config.yaml")).startswith(str(moved))
    finally:
        hidden.rename(here)


def test_every_cell_is_compared_with_gold_of_its_task_as_compare_does(study):
    _, _, grid = study
    table = compared(grid, 400)
    gold, mixture = (
        next(c for c in grid.cells if c.axes["mixture"] == name and c.kind == "multiclass")
        for name in ("gold", "gold_silver")
    )
    ours = table[(table["run_id"] == mixture.run_id) & (table["name"] == "macro_f1")].iloc[0]
    assert ours["baseline_id"] == gold.run_id
    members = next(group for baseline, group in matched(grid.cells) if baseline is gold)
    counts = {
        cell.run_id: counts_of(cell.predictions, "multiclass", cell.categories) for cell in members
    }
    there = compare(counts, gold.run_id, rng=generator(), n_resamples=400, tested=("f1",))
    there = there[
        (there["system"] == mixture.run_id)
        & (there["scope"] == "macro")
        & (there["metric"] == "f1")
    ].iloc[0]
    for name in (
        "value",
        "low",
        "high",
        "difference",
        "difference_low",
        "difference_high",
        "p",
        "detectable",
    ):
        assert ours[name] == there[name], name


def test_holm_counts_the_whole_grid_and_binary_f1_once(study):
    _, _, grid = study
    table = compared(grid, 400)
    main = table[table["name"].isin(["f1", "macro_f1"]) & (table["view"] == "main")]
    assert (
        main["p"].notna().sum() == 5
    )  # 2 mixtures of the binary task (one is missing), 3 of the other
    smallest = main.sort_values("p").iloc[0]
    assert smallest["p_holm"] == pytest.approx(min(1, 5 * smallest["p"]))
    binary = [cell.run_id for cell in grid.cells if cell.kind == "binary"]
    assert not (table["run_id"].isin(binary) & (table["scope"] == "category")).any()


def test_the_same_store_gives_the_same_table(study):
    _, _, grid = study
    assert_frame_equal(compared(grid, 400), compared(grid, 400))


def test_without_gold_cells_have_intervals_and_no_comparison(own):
    store, name, log = own
    parent = made.log_sweep(store, name)
    log(parent, "task=ad_binary", "mixture=bronze")
    table = compared(collect(store, name), 400)
    assert (
        table["low"].notna().any() and table["p"].isna().all() and set(table["baseline_id"]) == {""}
    )


def test_the_llm_asked_about_a_sample_is_compared_with_gold_on_the_same_sentences(own):
    store, name, log = own
    parent = made.log_sweep(store, name)
    log(parent, "task=ad_multiclass", "mixture=gold", "seeds=2")
    log(
        parent,
        "task=ad_multiclass",
        "mixture=baseline/zero_shot",
        "task.llm_test_sentences=400",
        skill=0.9,
    )
    grid = collect(store, name)
    assert axes(grid) == ["zero_shot", "gold"] and axes(grid, "classifier")[0] == "llm"
    table = compared(grid, 400)
    main = table[
        (table["view"] == "main") & (table["scope"] == "macro") & (table["metric"] == "f1")
    ].set_index("run_id")
    direct, gold = grid.cells
    assert (
        main.loc[direct.run_id, "baseline_id"] == gold.run_id
        and main.loc[direct.run_id, "p"] < 0.05
    )
    asked = set(direct.predictions["example_id"])
    seen = gold.predictions[gold.predictions["example_id"].isin(asked)]
    same = (
        score_table(counts_of(seen, "multiclass", gold.categories))
        .set_index(["scope", "metric"])
        .loc[("macro", "f1"), "value"]
    )
    assert (
        len(asked) == 400
        and main.loc[direct.run_id, "baseline"]
        == pytest.approx(same)
        != main.loc[gold.run_id, "value"]
    )


def test_a_run_again_replaces_the_failed_one_and_an_older_result(own):
    store, name, log = own
    parent = made.log_sweep(store, name)
    asked = ("task=ad_binary", "mixture=gold", "seeds=2")
    made.log_failure(store, parent, f"study={name}", *asked, told="killed")
    assert len(collect(store, name, parent).missing) == 1
    first = log(None, *asked, skill=0.5)
    second = log(None, *asked, skill=0.6)
    grid = collect(store, name)
    assert grid.missing.empty and [cell.run_id for cell in grid.cells] == [second] != [first]


def test_cells_that_share_their_axes_are_named_apart_by_what_differs(own):
    store, name, log = own
    parent = made.log_sweep(store, name)
    for size in (50, 100):
        log(parent, "task=ad_binary", "mixture=bronze", f"mixture.bronze.count={size}", skill=0.5)
    assert sorted(axes(collect(store, name), "variant")) == ["bronze.count=100", "bronze.count=50"]


def test_settings_of_an_unused_source_make_no_variant_and_equal_data_is_one_row_with_both_names(
    own,
):
    store, name, log = own
    parent = made.log_sweep(store, name)
    for kind in ("deduplicated", "none"):
        log(parent, "task=ad_binary", "mixture=gold", f"mixture.bronze.filter={kind}")
        log(
            parent,
            "task=ad_binary",
            "mixture=bronze",
            f"mixture.bronze.filter={kind}",
            "mixture.near_duplicate=100",
        )
    found = collect(store, name)
    assert dict(zip(axes(found), axes(found, "variant"), strict=True)) == {
        "gold": "",
        "bronze": "bronze.filter=deduplicated or bronze.filter=none",
    }


def test_gold_of_several_prompts_is_one_row(own):
    store, name, log = own
    parent = made.log_sweep(store, name)
    for prompt in ("guideline", "minimal"):
        log(parent, "task=ad_binary", "mixture=gold", f"prompt={prompt}")
    assert axes(collect(store, name)) == ["gold"]


def test_sweeps_can_be_put_together(own):
    store, name, log = own
    parents = []
    for mixture in ("gold", "bronze"):
        parents.append(made.log_sweep(store, name))
        log(parents[-1], "task=ad_binary", f"mixture={mixture}")
    assert axes(collect(store, name)) == ["bronze"]
    assert (
        axes(collect(store, name, "all"))
        == axes(collect(store, name, ",".join(parents)))
        == ["gold", "bronze"]
    )


def test_order_and_marks_of_the_tables():
    assert sorted(["control", "gold_silver", "zero_shot", "gold"], key=mixture_order) == [
        "zero_shot",
        "gold",
        "gold_silver",
        "control",
    ]
    assert sorted(["all", "1,000 sentences", "50 sentences"], key=gold_size) == [
        "50 sentences",
        "1,000 sentences",
        "all",
    ]
    assert [stars(p) for p in (0.2, 0.05, 0.049, 0.009, np.nan)] == ["", "", "*", "**", ""]


def test_the_word_none_in_a_table_is_a_category_not_a_missing_value(study):
    store, _, grid = study
    cell = next(cell for cell in grid.cells if cell.axes["mixture"] == "bronze")
    table = reading.table(store, cell.run, "categories")
    assert (
        isinstance(table, pd.DataFrame)
        and "none" not in set(table["category"])
        and table["category"].notna().all()
    )
    gold = next(cell for cell in grid.cells if cell.axes["mixture"] == "gold")
    assert "none" in set(reading.table(store, gold.run, "categories")["category"])


@pytest.mark.parametrize(("patient", "unit"), [("p1", "patients"), ("d1", "documents")])
def test_gold_is_counted_in_what_the_corpus_tells_apart(patient, unit):
    frame = pd.DataFrame({"patient_id": [patient], "doc_id": ["d1"]})
    assert people.gold_unit(frame) == unit
