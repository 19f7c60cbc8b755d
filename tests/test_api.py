"""`import touchstone as ts`: runs, results and frames from Python, twice in one process."""

import subprocess
import sys

import pandas as pd
import pytest
from grid import ROOT
from preloaded import copy_store
from warm_python import program

import touchstone as ts
from touchstone.errors import UserError


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    folder = tmp_path_factory.mktemp("api")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("PYTHONPATH", str(ROOT / "src"))
        patch.setattr(sys, "executable", program())
        copy_store(folder / "mlflow")
        first = ts.run("mixture=gold,gold_bronze", "task.gold_patients=3")
        second = ts.run("mixture=gold", "task.gold_patients=3", "classifier=tfidf_svm")
        yield first, second


def test_importing_loads_nothing_heavy():
    heavy = ["torch", "pandas", "mlflow", "hydra", "sklearn", "touchstone.api"]
    code = f"import touchstone as ts, sys; print([n for n in {heavy} if n in sys.modules], ts.run)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(ROOT / "src"), "PATH": ""},
    )
    assert done.stdout.startswith("[] ")


def test_runs_twice_in_one_process(swept):
    first, second = swept
    assert first.table["mixture"].tolist() == ["gold", "gold_bronze"]
    assert second.table["mixture"].tolist() == ["gold"]
    assert first.runs["run_id"].nunique() == 2
    assert first.table["test/score"].between(0, 1).all()


def test_a_study_has_the_cells_of_all_its_sweeps(swept):
    assert len(ts.results("two_directions").runs) == 3
    with pytest.raises(UserError, match='no study "two_direction". Did you mean two_directions'):
        ts.results("two_direction")


def test_frames_of_a_run(swept):
    gold, bronze = swept[0].runs["run_id"]
    predictions = ts.predictions(bronze)
    assert {"example_id", "true", "pred"} <= set(predictions)
    assert set(ts.generated(bronze)["source"]) == {"bronze"} and ts.generated(gold).empty
    wrong = ts.errors(bronze)
    right = [
        list(t) == list(p) for t, p in zip(predictions["true"], predictions["pred"], strict=True)
    ]
    assert len(wrong) == len(predictions) - sum(right)
    assert wrong["text"].str.len().min() > 0
    assert all(m or w for m, w in zip(wrong["missed"], wrong["wrong"], strict=True))
    with pytest.raises(UserError, match="no run"):
        ts.predictions("0" * 32)


def test_predictions_made_elsewhere_are_compared(swept):
    gold, bronze = (ts.predictions(run_id) for run_id in swept[0].runs["run_id"])
    table = ts.compare({"gold": gold, "mine": bronze.drop(columns="seed")}, "multiclass")
    row = table[
        (table["system"] == "mine") & (table["scope"] == "macro") & (table["metric"] == "f1")
    ]
    assert row["value"].iloc[0] == pytest.approx(swept[0].runs["test/macro_f1"].iloc[1])
    with pytest.raises(UserError, match="predictions of mine: no column pred"):
        ts.compare({"mine": gold.drop(columns="pred")}, "multiclass")
    with pytest.raises(UserError, match='no kind of task "multi"'):
        ts.compare({"gold": gold}, "multi")


def test_composing_and_its_mistakes():
    assert ts.compose("mixture=gold_bronze", "seeds=3").seeds == 3
    with pytest.raises(UserError, match="mixture=gold_slver: no mixture.*Did you mean gold_silver"):
        ts.compose("mixture=gold_slver")


def test_quality_of_a_frame_of_sentences():
    gold = pd.DataFrame({"text": ["Forgets names.", "Fell twice."], "labels": [["a"], ["b"]]})
    frame = pd.DataFrame({"text": ["Forgets names again.", "Fell."], "labels": [["a"], []]})
    table = ts.quality(frame, gold)
    assert {"gold", "bronze"} == set(table["source"])
    with pytest.raises(UserError, match="the bronze sentences: no column labels"):
        ts.quality(frame[["text"]], gold)


def test_a_corpus_is_read_as_a_cell_would(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    frame = ts.read_corpus("ad_demo")
    assert set(frame["split"]) == {"train", "dev", "test"} and len(frame) > 1000


def test_a_run_that_fails_says_why(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    with pytest.raises(UserError, match="no mixture"):
        ts.run("mixture=gld")
