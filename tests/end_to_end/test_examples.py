"""The scripts and the notebook of examples/ run as they are, and the scripts stay short."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec

import pytest
from grid import ROOT
from preloaded import copy_store
from warm_python import program

SCRIPTS = sorted((ROOT / "examples").glob("*.py"))
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))
SAID = {
    "csv_quality_and_worth": "gold_bronze_shuffled",
    "error_analysis": "gold_bronze gains",
    "own_classifier_and_metric": "complement_nb",
    "own_notes": "requests",
}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_runs_and_says_what_it_found(script, tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    copy_store(tmp_path / "mlflow")
    done = subprocess.run(
        [program(), str(script)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert SAID[script.stem] in done.stdout


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_has_at_most_forty_lines(script):
    assert len(script.read_text(encoding="utf-8").splitlines()) <= 40


@pytest.mark.skipif(find_spec("nbclient") is None, reason="nbclient is not installed")
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_from_top_to_bottom(notebook, tmp_path, monkeypatch):
    import nbformat
    from nbclient import NotebookClient

    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    monkeypatch.setattr(sys, "executable", program())  # of the kernel
    copy_store(tmp_path / "mlflow")
    opened = nbformat.reads(notebook.read_text(encoding="utf-8"), as_version=4)
    NotebookClient(
        opened, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    outputs = [output for cell in opened.cells for output in cell.get("outputs", [])]
    assert "gold_bronze" in json.dumps(outputs)


def test_there_are_four_scripts_and_a_notebook():
    assert len(SCRIPTS) == 4 and len(NOTEBOOKS) == 1
