"""Cross-validation as one row."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from grid import table
from report_store import composed

from touchstone.configuration import checked
from touchstone.data.split import assign_splits
from touchstone.errors import UserError
from touchstone.folds import folds_of
from touchstone.pipeline import run_cell
from touchstone.run.identity import cell_key


def config(*overrides: str):
    return checked(composed(*overrides))


def relation_files(folder: Path, n_folds: int) -> None:
    """Each fold's test part holds other sentences than the others'."""
    rng = np.random.default_rng(0)
    rows = []
    for i in range(12 * n_folds):
        verb = "raises the risk of" if i % 2 else "was measured beside"
        words = " ".join(f"w{rng.integers(10_000)}" for _ in range(6))
        rows.append(f"{words} @GENE$ {verb} @DISEASE$\t{i % 2}")
    for fold in range(n_folds):
        place = folder / "gad" / str(fold + 1)
        place.mkdir(parents=True)
        test = rows[fold * 12 : fold * 12 + 12]
        (place / "test.tsv").write_text("\n".join(test) + "\n")
        (place / "train.tsv").write_text("\n".join(r for r in rows if r not in test) + "\n")


def test_published_folds_are_one_row_with_their_mean_beside_it(tmp_path: Path) -> None:
    relation_files(tmp_path / "data", 3)
    cell = run_cell(
        config(
            "task=gad",
            "mixture=gold",
            "task.folds=all",
            "task.gold_sentences=8",
            "seeds=2",
            f"paths.data={tmp_path / 'data'}",
            f"paths.cache={tmp_path / 'cache'}",
        )
    )
    assert cell.metrics["n_test"] == 36
    ids = cell.predictions[cell.predictions["seed"] == 0]["example_id"]
    assert ids.is_unique and set(ids.str.split("/").str[0]) == {"fold1", "fold2", "fold3"}
    true = cell.predictions["true"].map(len) > 0
    pred = cell.predictions["pred"].map(len) > 0
    by_seed = []
    for seed in (0, 1):
        own = cell.predictions["seed"] == seed
        hits = (true & pred & own).sum()
        by_seed.append(2 * hits / ((true & own).sum() + (pred & own).sum()))
    assert cell.metrics["f1"] == pytest.approx(np.mean(by_seed))
    folds = cell.tables["folds"].query("metric == 'f1'").set_index("fold")["value"]
    assert list(folds.index) == ["1", "2", "3", "mean"]
    assert folds["mean"] == pytest.approx(folds[["1", "2", "3"]].mean())
    assert cell.metrics["folds/f1"] == pytest.approx(folds["mean"])
    assert any(
        f"the mean over folds, as the papers report it, is f1 {folds['mean']:.3f}" in told
        for told in cell.warnings
    )
    assert cell.datasets["training"].frame["example_id"].is_unique
    trivial = cell.tables["trivial"]
    always = trivial[(trivial["system"].str.contains("positive")) & (trivial["metric"] == "f1")]
    assert always["value"].iloc[0] == pytest.approx(2 / 3)  # 18 of all 36, not of one fold


def test_patients_are_cut_into_parts_that_together_are_all(tmp_path: Path) -> None:
    cell = run_cell(
        config("mixture=gold", "task.folds=4", "task.gold_patients=6", f"paths.cache={tmp_path}")
    )
    assert cell.predictions["patient_id"].nunique() == 50
    assert cell.predictions["example_id"].is_unique
    assert list(cell.tables["folds"]["fold"].unique()) == ["1", "2", "3", "4", "mean"]


def test_every_patient_is_tested_once_and_the_parts_do_not_depend_on_the_fold() -> None:
    rows = [
        (f"p{i}/{j}", f"t {i} {j}", ["memory"] * (j % 2), f"p{i}")
        for i in range(11)
        for j in range(2)
    ]
    frame = table(*rows).assign(split="")
    parts = [
        assign_splits(frame, test_fraction=0.4, dev_fraction=0.2, seed=0, fold=(k, 3))
        for k in (1, 2, 3)
    ]
    tests = [set(part[part["split"] == "test"]["patient_id"]) for part in parts]
    assert sorted(map(len, tests)) == [3, 4, 4]
    assert len(set.union(*tests)) == 11
    for part, own in zip(parts, tests, strict=True):
        dev = set(part[part["split"] == "dev"]["patient_id"])
        assert dev and not dev & own


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (
            ("task.folds=all",),
            "task.folds=all: the files of corpus=ad_demo name no {fold}; write task.folds=5",
        ),
        (("task.folds=1",), "task.folds=1: must be all, a number from 2, or null"),
        (("task.folds=some",), "task.folds=some: must be all, a number from 2, or null"),
        (
            ("task=gad", "task.folds=5"),
            "corpus=gad has a published split, which is kept; write task.folds=all",
        ),
        (
            ("task=ncbi_disease", "task.folds=5"),
            "has a published split, which is kept; leave it null",
        ),
        (
            ("task=gad", "task.folds=all", "paths.data=/nowhere"),
            "0 fold of corpus=gad is there; `touchstone fetch gad` gets all",
        ),
    ],
)
def test_folds_that_cannot_be_are_told_with_the_way_out(overrides, said) -> None:
    with pytest.raises(UserError) as error:
        folds_of(config(*overrides))
    assert said in str(error.value)


def test_more_folds_than_patients_are_told() -> None:
    frame = table(("a/0", "x", []), ("b/0", "y", [])).assign(split="")
    with pytest.raises(UserError, match="2 patients cannot be cut into 3 folds; use fewer"):
        assign_splits(frame, test_fraction=0.4, dev_fraction=0.0, seed=0, fold=(1, 3))


def test_a_changed_file_of_any_fold_makes_another_cell(tmp_path: Path) -> None:
    relation_files(tmp_path, 3)
    one = config("task=gad", "task.folds=all", f"paths.data={tmp_path}")
    before = cell_key(one)
    with open(tmp_path / "gad" / "3" / "test.tsv", "a") as handle:
        handle.write("@GENE$ raises the risk of @DISEASE$ once more\t1\n")
    assert cell_key(one) != before
