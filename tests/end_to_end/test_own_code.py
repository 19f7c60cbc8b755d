"""A classifier, a metric, a reader and a backend from a user's folder, without editing the package:
run as a sweep, seen in the store, the tables' data, the logged model, a reproduction and a
bundle."""

import json
import os
import shutil
import subprocess
import sys
import tarfile
from dataclasses import replace

import mlflow
import pandas as pd
import pytest
from grid import ROOT
from preloaded import completed
from warm_python import program

from touchstone import tracking
from touchstone.configuration import checked
from touchstone.report import own_scores, reading
from touchstone.report.comparisons import compared
from touchstone.report.grid import collect
from touchstone.run.conf_files import composed
from touchstone.run.identity import cell_key

FILES = {
    "readers/charts.py": '''
"""Gold of the demo, read by a reader of one's own: only charts that mention sleep or memory."""
from touchstone.data.readers import labelled_notes

KEYS = labelled_notes.KEYS


def read(files, taxonomy, data_folder):
    frame, counted = labelled_notes.read(files, taxonomy, data_folder)
    return frame[frame["text"].str.len() < 400].reset_index(drop=True), {"read_by": "charts"}
''',
    "my_code.py": '''
import json

from touchstone.llm import recording


class LongestWord:
    """The commonest label of training sentences with the same longest word."""

    def __init__(self, least=4):
        self.least = least

    def fit(self, X, y, sample_weight=None):
        from collections import Counter, defaultdict

        seen = defaultdict(Counter)
        for text, label in zip(X, y):
            for word in text.lower().split():
                if len(word) >= self.least:
                    seen[word][int(label)] += 1
        self.known = {word: labels.most_common(1)[0][0] for word, labels in seen.items()}
        return self

    def predict(self, X):
        def label(text):
            found = [self.known[word] for word in text.lower().split() if word in self.known]
            return max(found, key=found.count) if found else 0

        return [label(text) for text in X]


def specificity(true, predicted):
    negatives = [p for t, p in zip(true, predicted) if not t]
    return sum(not p for p in negatives) / len(negatives)


ANSWERS = {
    json.dumps(line["request"]["messages"]): line["response"]
    for file in recording.shipped()
    for line in recording.read(file)
    if line.get("request")
}


def answer(request, llm):
    return ANSWERS[json.dumps([dict(message) for message in request.messages])]
''',
    "conf/corpus/ward.yaml": """
# python run.py corpus=ward
defaults: [ad_demo, _self_]
name: ward
gold:
  reader: readers/charts.py:read
""",
    "conf/classifier/longest_word.yaml": """
# python run.py classifier=longest_word
defaults: [/schema/classifier@_here_: estimator, _self_]
name: longest_word
target: my_code.LongestWord
features: text
""",
    "conf/llm/ours.yaml": """
# python run.py llm=ours
name: ours
backend: my_code.answer
model: ours-1
endpoint: http://llm.hospital.example
location: local
""",
}
OVERRIDES = (
    "mixture=gold,gold_bronze",
    "corpus=ward",
    "classifier=longest_word,tfidf_logreg",
    "llm=ours",
    "metrics=[my_code.specificity]",
    "task.gold_patients=4",
)


def touchstone(*arguments, cwd):
    return subprocess.run(
        [program(), "-m", "touchstone", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    )


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ward")
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text.lstrip())
    done = completed("-m", *OVERRIDES, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def cells(project):
    store = tracking.open_existing(project / "mlflow")
    return store, {
        (cell.data.params["mixture"], cell.data.params["classifier"]): cell
        for cell in reading.search(store, kind="cell")
    }


def test_all_four_were_used(cells):
    store, found = cells
    assert len(found) == 4
    for (mixture, _), cell in found.items():
        metrics = cell.data.metrics
        assert 0 < metrics["test/specificity_low"] <= metrics["test/specificity"] <= 1
        assert metrics["test/specificity"] <= metrics["test/specificity_high"]
        scores = tracking.table(store, cell.info.run_id, "scores")
        own = scores[scores["name"] == "specificity"]
        assert own["metric"].tolist() == ["specificity"]
        assert own["value"].tolist() == [pytest.approx(metrics["test/specificity"])]
        folder = tracking.artifacts(store, cell)
        names = {str(file.relative_to(folder / "code")) for file in (folder / "code").rglob("*.py")}
        assert names == {"my_code.py", "readers/charts.py"}
        assert (mixture == "gold") == ("touchstone.generation" not in " ".join(cell.data.tags))
        assert list(scores) == ["name", "category", "metric", "value"]
        quarantine = reading.table(store, cell, "quarantine")
        assert quarantine.empty, "every request was answered by the function"
    by_rules, by_tfidf = (
        found["gold_bronze", name].data.metrics["test/macro_f1"]
        for name in ("longest_word", "tfidf_logreg")
    )
    assert by_rules != by_tfidf and by_rules > 0


def test_a_metric_has_columns_interval_and_test_in_the_table(cells, project, tmp_path):
    _, found = cells
    done = touchstone("table", "two_directions", "--format", "csv", "--out", tmp_path, cwd=project)
    assert done.returncode == 0, done.stdout + done.stderr
    numbers = pd.read_csv(tmp_path / "two_directions_scores.csv").set_index(["run_id", "title"])
    for classifier in ("longest_word", "tfidf_logreg"):
        gold, both = (found[mixture, classifier] for mixture in ("gold", "gold_bronze"))
        for cell in (gold, both):
            row, logged = numbers.loc[cell.info.run_id, "specificity"], cell.data.metrics
            assert row["value"] == pytest.approx(logged["test/specificity"])
            bounds = (logged["test/specificity_low"], logged["test/specificity_high"])
            assert (row["low"], row["high"]) == pytest.approx(bounds)
        change = numbers.loc[f"{both.info.run_id} {gold.info.run_id}", "specificity vs gold"]
        difference = both.data.metrics["test/specificity"] - gold.data.metrics["test/specificity"]
        assert change["value"] == pytest.approx(difference)
        assert change["low"] <= change["value"] <= change["high"]
        assert 0 < change["p"] <= change["p_holm"] <= 1
    sidecar = json.loads((tmp_path / "two_directions.json").read_text())
    columns = {entry["column"] for entry in sidecar["tables"]["two_directions_scores"]}
    assert {"ad_multiclass/specificity", "ad_multiclass/specificity/change"} <= columns


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (("len(negatives)", "max(len(negatives), 1) / 2"), "does not give the value"),
        (("def specificity", "def sensitivity"), 'no name "specificity"'),
        (None, "the store was named"),
    ],
)
def test_a_metric_that_is_not_the_runs_is_shown_and_not_compared(
    cells, project, tmp_path, monkeypatch, change, reason
):
    store, _ = cells
    if change:
        shutil.copytree(project, tmp_path / "copy")
        (tmp_path / "copy" / "my_code.py").write_text(FILES["my_code.py"].replace(*change))
        store = tracking.open_existing(tmp_path / "copy" / "mlflow")
        monkeypatch.chdir(tmp_path / "copy")
    else:
        monkeypatch.chdir(tmp_path)
    own_scores._function.cache_clear()
    grid = collect(store, "two_directions")
    scores = compared(grid)
    rows = scores[scores["name"] == "specificity"]
    assert len(rows) == 4 and rows["value"].notna().all() and rows["low"].notna().all()
    assert rows["difference"].isna().all()
    (note,) = [line for line in own_scores.own_notes(grid, scores) if "not compared" in line]
    assert note.startswith("specificity: 2 cells not compared with gold: ") and reason in note


def test_code_of_a_named_store_runs_when_it_is_trusted(cells, project, monkeypatch):
    store, _ = cells
    monkeypatch.chdir(project)
    own_scores._function.cache_clear()
    grid = replace(collect(store, "two_directions"), runs_code=False)
    assert compared(grid).query("name == 'specificity'")["p"].isna().all()
    trusted = compared(replace(grid, runs_code=True)).query("name == 'specificity'")
    assert trusted["p"].notna().sum() == 2


def test_the_logged_model_of_ones_own_class_loads_elsewhere(cells, tmp_path):
    store, found = cells
    cell = found["gold", "longest_word"]
    mlflow.set_tracking_uri(store.uri)
    model = next(iter(cell.outputs.model_outputs)).model_id
    code = (
        f"import mlflow, os, pandas as pd; mlflow.set_tracking_uri({store.uri!r}); "
        f"os.chdir({str(tmp_path)!r}); "
        f"model = mlflow.pyfunc.load_model('models:/{model}'); "
        "print(len(model.predict(pd.DataFrame({'text': ['Forgets the names.', 'Sleeps well.']}))))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    )
    assert done.stdout.strip() == "2", done.stderr


def test_the_users_files_are_part_of_what_names_a_cell(project, monkeypatch):
    def keys(folder):
        monkeypatch.chdir(folder)
        overrides = ("corpus=ward", "llm=ours", "metrics=[my_code.specificity]")
        return [
            cell_key(checked(composed([*overrides, f"classifier={name}"])))
            for name in ("longest_word", "tfidf_logreg")
        ]

    copy = project.parent / "changed"
    shutil.copytree(project, copy)
    assert keys(copy) == keys(project)
    (copy / "my_code.py").write_text(FILES["my_code.py"].replace("least=4", "least=5"))
    assert not set(keys(copy)) & set(keys(project))
    (copy / "unrelated.py").write_text("x = 1\n")
    before = keys(copy)
    (copy / "unrelated.py").write_text("x = 2\n")
    assert keys(copy) == before


def test_a_run_is_reproduced_where_the_users_files_are_gone(cells, project, tmp_path):
    _, found = cells
    run_id = found["gold_bronze", "longest_word"].info.run_id
    copy = tmp_path / "copy"
    shutil.copytree(project, copy)
    (copy / "my_code.py").unlink()
    shutil.rmtree(copy / "readers")
    done = touchstone("reproduce", run_id, cwd=copy)
    assert done.returncode == 0, done.stdout + done.stderr
    assert ": identical" in done.stdout


def test_a_bundle_carries_the_users_files(cells, project, tmp_path):
    store, found = cells
    parent = found["gold", "longest_word"].data.tags["mlflow.parentRunId"]
    done = touchstone("bundle", parent, "--out", str(tmp_path / "b.tar.gz"), cwd=project)
    assert done.returncode == 0, done.stdout + done.stderr
    with tarfile.open(tmp_path / "b.tar.gz") as archive:
        names = archive.getnames()
    assert {"b/my_code.py", "b/readers/charts.py"} <= set(names)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["metrics=[my_code.sensitivity]"], "metrics=my_code.sensitivity: no name"),
        (["llm.backend=my_cod.answer"], "llm.backend=my_cod.answer: no module my_cod in"),
        (["llm.backend=opnai"], 'llm.backend=opnai: no backend "opnai". Did you mean openai?'),
        (["corpus.gold.reader=readers/chart.py:read"], "no file readers/chart.py in"),
        (
            ["+classifier.options.depth=3"],
            'classifier.options.depth: no option "depth". There are: least',
        ),
        (
            ["classifier.target=my_code.specificity", "classifier.options={}"],
            "classifier.target=my_code.specificity:",
        ),
    ],
)
def test_what_is_not_there_is_told_in_one_line(project, changes, message):
    done = completed(
        "mixture=gold", "corpus=ward", "classifier=longest_word", "llm=ours", *changes, cwd=project
    )
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert message in line
