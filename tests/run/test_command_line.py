"""The command line as a user meets it: wrong input in one line, help fast and light."""

import subprocess
import sys

import pytest
from grid import ROOT, run
from preloaded import completed

from touchstone.paths import conf_names

HEAVY = ("mlflow", "torch", "transformers", "sklearn", "pandas", "openai")


def test_importing_run_loads_nothing_heavy():
    code = f"import sys, run; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


def test_help_lists_every_axis_of_the_grid(tmp_path):
    done = run("--help", cwd=tmp_path)
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert len(lines) < 200 and max(map(len, lines)) <= 100 and "Hydra is" not in done.stdout
    for line in (
        "mixture: what the classifier learns from: gold, silver, bronze and together",
        "  gold                      Trains on expert labels",
        "  minimal            Category names only: what does the LLM know by itself?",
        "hydra/launcher: where cells run",
        "  python run.py -m mixture=gold,gold_silver,gold_bronze",
    ):
        assert " ".join(line.split()) in [" ".join(one.split()) for one in lines]
    assert done.stdout.count("\n  # ") == 6, "six examples"
    for axis in ("task", "mixture", "classifier", "prompt", "llm", "experiment"):
        for name in conf_names(axis):
            (said,) = [line for line in lines if line.startswith(f"  {name} ")][:1]
            assert len(said.split()) > 2, f"{axis}/{name}.yaml does not say what it is"


@pytest.mark.parametrize(
    ("override", "said"),
    [
        (
            "mixture=gold,nope",
            'no mixture "nope". There are: bronze, gold, gold_bronze, gold_silver, '
            "gold_silver_bronze, silver, silver_bronze",
        ),
        (
            "mixture=gold_slver",
            'mixture=gold_slver: no mixture "gold_slver". Did you mean gold_silver?',
        ),
        (
            "task.gold_patientz=3",
            'no key "gold_patientz". Did you mean gold_patients? There are: dev_fraction, folds, '
            "gold_patients",
        ),
        ("mixture=gold,silver", "several values make a sweep; add -m"),
        ("nope=3", 'nope=3: no key "nope"'),
        ("corpus.pool=x.jsonl", "not a value. Write '+corpus.pool={path: x.jsonl}'"),
        (
            "corpus.sites=x.csv",
            "(reader, path, labels, annotators, ...), not a value. Write "
            "'+corpus.sites={NAME: {reader: table, path: x.csv}}'",
        ),
        ("corpus.gold.label_map={Fall: falls}", "are added: '+corpus.gold.label_map={...}'"),
        (
            "+task.gold_patientz=3",
            '+task.gold_patientz: no key "gold_patientz". Did you mean gold_patients?',
        ),
        (
            "+experiment=two_directions",
            "a grid over classifier, mixture, prompt, task needs -m: python run.py -m "
            "+experiment=two_directions",
        ),
        ("seeds=0", "seeds=0: must be at least 1"),
        ("seeds=abc", "seeds=abc: Value 'abc' of type 'str' could not be converted to Integer"),
        ("task.gold_patients=99", "task.gold_patients=99: the training split has 25 patients"),
        ("corpus.gold.labels=nowhere.tsv", "nowhere.tsv"),
        ("classifier=tagger", "one that can do multiclass"),
        ("paths.store=/dev/null/x", "cannot write the tracking store"),
    ],
)
def test_a_mistake_is_one_line_that_says_what_to_do(tmp_path, override, said):
    done = completed(override, cwd=tmp_path)
    assert done.returncode == 1
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: ") and said in lines[0], done.stderr


def test_the_traceback_is_shown_on_request_only(tmp_path):
    assert "Traceback" in completed("seeds=0", "debug=true", cwd=tmp_path).stderr


def test_a_wrong_sweep_leaves_no_empty_parent(tmp_path):
    done = completed("-m", "mixture=gold,nope", cwd=tmp_path)
    assert done.returncode == 1 and 'no mixture "nope"' in done.stderr
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/mlflow/mlflow.db")
    assert client.search_runs([e.experiment_id for e in client.search_experiments()]) == []


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [((), 0, "reproduce"), (("tabel",), 2, "Did you mean table?"), (("--help",), 0, "fetch")],
)
def test_the_touchstone_command_lists_what_it_can_do(arguments, status, said):
    done = subprocess.run(
        [sys.executable, "-m", "touchstone", *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT / "src",
    )
    assert done.returncode == status and said in done.stdout + done.stderr
