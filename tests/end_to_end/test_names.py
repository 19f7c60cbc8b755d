"""Odd names of folders, studies and values: everything lies where it belongs, and printed commands
run as they are printed."""

import re
import shlex

import pandas as pd
import pytest
from mlflow import MlflowClient
from preloaded import completed

from touchstone import tracking
from touchstone.report.grid import collect

SMALL = ("task.gold_patients=3", "tracking.log_models=false")
FOLDER = "mein Ordner ü #50%20x?"


@pytest.mark.parametrize("study", ["plain", "../outside", "a/b"])
def test_everything_lies_below_the_working_folder(tmp_path, study):
    folder = tmp_path / FOLDER
    folder.mkdir()
    done = completed("-m", "mixture=gold", f"study={study}", *SMALL, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [path.name for path in tmp_path.iterdir()] == [FOLDER]
    store = tracking.open_existing(folder / "mlflow")
    grid = collect(store, study)
    assert len(grid.cells) == 1
    (run,) = [run for run in tracking.search(store, f"tags.`{tracking.KIND}` = 'cell'")]
    place = tracking.artifacts(store, run)
    assert place.is_relative_to(folder / "mlflow" / "artifacts")
    assert len(pd.read_csv(place / "tables" / "scores.csv"))
    listed = MlflowClient(store.uri).list_artifacts(run.info.run_id)
    assert {"config.yaml", "tables"} <= {file.path for file in listed}, "MLflow sees them too"
    out = folder / "out"
    made = completed(
        "table", study, "--format", "markdown", "--out", str(out), cwd=folder, program="touchstone"
    )
    assert made.returncode == 0, made.stdout + made.stderr
    assert [path.name for path in tmp_path.iterdir()] == [FOLDER] and list(out.glob("*.md"))


def printed(said: str, before: str) -> list[str]:
    """The arguments of a printed command, as a shell would read them."""
    words = shlex.split(re.search(re.escape(before) + r"(.*)", said)[1])
    assert words[:2] == ["python", "run.py"]
    return words[2:]


def test_printed_commands_run_as_printed(tmp_path):
    wrong = ("corpus.gold.path='a b,c=d.jsonl'", "hydra.sweep.dir='out/seed=1, 2'")
    first = completed("-m", "mixture=gold", *wrong, *SMALL, cwd=tmp_path)
    assert first.returncode == 1 and (tmp_path / "out" / "seed=1, 2").is_dir()
    again = completed(*printed(first.stdout, "Again: "), cwd=tmp_path)
    assert "a b,c=d.jsonl" in again.stderr and "not a value" not in again.stderr
    resumed = completed(*printed(first.stdout, "what is missing: "), cwd=tmp_path)
    assert "continuing sweep" in resumed.stdout, resumed.stdout + resumed.stderr


def test_a_resume_after_its_parent_was_deleted_says_so(tmp_path):
    grid = ("-m", "mixture=gold", "corpus.gold.path=absent.jsonl", "hydra.sweep.dir=there", *SMALL)
    assert completed(*grid, cwd=tmp_path).returncode == 1
    store = tracking.open_existing(tmp_path / "mlflow")
    (parent,) = tracking.search(store, f"tags.`{tracking.KIND}` = 'sweep'")
    store.client.delete_run(parent.info.run_id)
    resumed = completed("-m", "hydra.sweep.dir=there", "resume", cwd=tmp_path)
    assert resumed.returncode == 1 and "was deleted in the store; restore it" in resumed.stderr
    assert completed(*grid, cwd=tmp_path).returncode == 1
    assert len(tracking.search(store, f"tags.`{tracking.KIND}` = 'sweep'")) == 1, "a new sweep"


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("study=''", "must be a name, not empty"),
        ("tracking.uri=foo", "tracking.uri=foo: not a URI. Write http://HOST:PORT"),
        ("hydra.sweeper.nope=1", 'no key "nope"'),
    ],
)
def test_a_name_that_cannot_be_is_one_line(tmp_path, override, said):
    done = completed("-m", "mixture=gold", override, cwd=tmp_path)
    lines = done.stderr.strip().splitlines()
    assert done.returncode == 1 and len(lines) == 1 and said in lines[0], done.stderr
