"""A store of the version before modules had today's names, from when schemas were not logged: its
tables are read, its cells are reproduced, its model predicts."""

import os
import sqlite3
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

import mlflow
import pandas as pd
import pytest
import yaml
from grid import ROOT
from warm_python import program

from touchstone import schema
from touchstone.configuration import checked, typed
from touchstone.errors import UserError
from touchstone.models import tfidf
from touchstone.pipeline import run_cell
from touchstone.ranges import at_least, key
from touchstone.reproduce.record import from_store

PACKED = Path(__file__).parent / "store_of_first_layout.tar.xz"
GOLD = "f53ffa0bac504b7fa4c2048c7d87fe7a"


@pytest.fixture(scope="module")
def old(tmp_path_factory):
    """A folder with that store in mlflow/."""
    folder = tmp_path_factory.mktemp("old")
    with tarfile.open(PACKED) as archive:
        archive.extractall(folder, filter="data")
    store = folder / "mlflow"
    sql = (store / "store.sql").read_text().replace("@STORE@", str(store))
    database = sqlite3.connect(store / "mlflow.db")
    database.executescript(sql.replace("@FOLDER@", str(folder)))
    database.close()
    return folder


def touchstone(*arguments, cwd):
    return subprocess.run(
        [program(), "-m", "touchstone", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    )


def test_its_scores_are_read_by_todays_names(old):
    record = from_store(GOLD, None, old)
    scores = record.scores.set_index("name")["value"]
    assert scores["macro_f1"] == pytest.approx(0.0843, abs=1e-4)
    assert {"micro_f1", "f1/cognitive_impairment", "support/cognitive_impairment"} <= set(
        scores.index
    )


def test_a_cell_of_it_is_reproduced_to_the_last_bit(old):
    done = touchstone("reproduce", GOLD, cwd=old)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "gold|tfidf_logreg|guideline|s0: identical" in done.stdout
    assert "keys that the run's version had not, at their defaults" in done.stdout


def test_its_table_is_made(old):
    done = touchstone("table", "two_directions", "--format", "markdown", "--out", "tables", cwd=old)
    assert done.returncode == 0, done.stdout + done.stderr
    text = "".join(path.read_text() for path in (old / "tables").rglob("*.md"))
    assert "gold_bronze" in text and GOLD in "".join(
        path.read_text() for path in (old / "tables").rglob("*") if path.is_file()
    )


def test_its_model_predicts(old):
    (model,) = (old / "mlflow/artifacts/two_directions/models").glob("*/artifacts")
    loaded = mlflow.pyfunc.load_model(str(model))
    sentences = pd.DataFrame({"text": ["Forgets the names of his children.", "Sleeps well."]})
    assert loaded.predict(sentences).tolist() == [2, 0]


def config_of(old):
    folder = old / f"mlflow/artifacts/two_directions/{GOLD}/artifacts"
    return yaml.safe_load((folder / "config.yaml").read_text())


def test_an_option_that_is_added_leaves_older_runs_reproducible(old, tmp_path, monkeypatch):
    @dataclass
    class WithMore(schema.TfidfConfig):
        dimensions: int = key(0, at_least(0))

    class Classifier(tfidf.TfidfClassifier):
        def __init__(self, dimensions=0, **options):
            super().__init__(**options)
            assert dimensions == 0

    monkeypatch.setitem(schema.CLASSIFIER_SCHEMAS, "tfidf", WithMore)
    monkeypatch.setattr(tfidf, "TfidfClassifier", Classifier)
    plain = config_of(old)
    assert "schema" not in plain["classifier"]
    plain["paths"] = {**plain["paths"], "cache": str(tmp_path / "cache")}
    cell = run_cell(checked(typed(plain)))
    recorded = from_store(GOLD, None, old).scores.set_index("name")["value"]
    assert cell.metrics["macro_f1"] == recorded["macro_f1"]


def test_each_classifier_is_read_back_as_what_it_was():
    from grid import group

    for name, found in (("tfidf_svm", "tfidf"), ("tagger", "transformer"), ("crf", "crf")):
        node = schema.CLASSIFIER_SCHEMAS[found]
        classifier = (
            vars(group("classifier", "transformer" if name == "tagger" else name, node))
            if (name != "tfidf_svm")
            else vars(schema.TfidfConfig(name=name, model="svm"))
        )
        without = {key: value for key, value in classifier.items() if key != "schema"}
        plain = {"classifier": without, "mixture": {"name": "gold"}}
        assert typed(plain).classifier.schema == found
        assert typed({**plain, "classifier": classifier}).classifier.schema == found


def test_classifier_llm_of_then_is_the_zero_shot_baseline_of_now(old):
    plain = config_of(old)
    plain["classifier"] = {"name": "llm", "kinds": ["multiclass"]}
    config = checked(typed(plain))
    assert schema.asks_directly(config) and not config.mixture.gold.use


def test_what_this_version_does_not_know_is_said(old):
    plain = config_of(old)
    plain["classifier"] = {**plain["classifier"], "schema": "quantum"}
    with pytest.raises(UserError, match='of another version: no schema "quantum". There are: crf'):
        typed(plain)
    plain = config_of(old)
    plain["task"] = {**plain["task"], "moon": 1}
    with pytest.raises(UserError, match="the run is of another version: task.moon"):
        typed(plain)
