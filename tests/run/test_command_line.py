"""The command line as a user meets it: wrong input in one line, help fast and light."""

import subprocess
import sys

import pytest
from grid import ROOT, run
from preloaded import completed

HEAVY = ("mlflow", "torch", "transformers", "sklearn", "pandas", "openai")


def test_importing_run_loads_nothing_heavy():
    code = f"import sys, run; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


def test_help_lists_every_axis_of_the_grid(tmp_path):
    done = run("--help", cwd=tmp_path)
    assert done.returncode == 0
    for line in (
        "mixture: bronze, gold,",
        "classifier: ",
        "prompt: guideline, guideline_fewshot, minimal",
        "task: ad_binary",
    ):
        assert line in done.stdout


@pytest.mark.parametrize(
    ("override", "said"),
    [
        (
            "mixture=gold,nope",
            'no mixture "nope". There are: bronze, gold, gold_bronze, gold_silver, gold_silver_bronze, silver, silver_bronze',
        ),
        (
            "mixture=gold_slver",
            'mixture=gold_slver: no mixture "gold_slver". Did you mean gold_silver?',
        ),
        (
            "task.gold_patientz=3",
            'no key "gold_patientz". Did you mean gold_patients? There are: dev_fraction, gold_patients',
        ),
        ("mixture=gold,silver", "several values make a sweep; add -m"),
        ("nope=3", 'nope=3: no key "nope"'),
        (
            "+task.gold_patientz=3",
            '+task.gold_patientz: no key "gold_patientz". Did you mean gold_patients?',
        ),
        (
            "+experiment=two_directions",
            "a grid over classifier, mixture, prompt, task needs -m: python run.py -m +experiment=two_directions",
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
    done = run("-m", "mixture=gold,nope", cwd=tmp_path)
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
