"""A further source is a line of source_table.py: it is mixed, counted and shown in tables."""

import json
import os
import shutil
import subprocess
import sys

import pandas as pd
import pytest

from tests.harness.grid import ROOT

LINE = '    Source("brass", "sentences that students labelled", "", "#0072B2", "v", ":"),\n'
MIXTURE = """
# python run.py mixture=gold_brass
name: gold_brass
gold: {use: true}
brass: {use: true, count: 30}
"""
OTHERS = (
    "Loses the thread of a film.",
    "Could not find the way home from church.",
    "Asks for a sister who died long ago.",
    "Left the bath running again.",
)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project, and beside it the package with one more line."""
    folder = tmp_path_factory.mktemp("brass")
    package = folder / "src" / "touchstone"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "src" / "touchstone", package, ignore=ignored)
    table = package / "source_table.py"
    text = table.read_text()
    last = '    Source("bronze"'
    end = text.index("\n", text.index(last)) + 1
    table.write_text(text[:end] + LINE + text[end:])
    mixtures = folder / "conf" / "mixture"
    mixtures.mkdir(parents=True)
    (mixtures / "gold_brass.yaml").write_text(MIXTURE.lstrip())
    rows = [
        {"text": f"{text} Week {n}.", "labels": "" if n % 4 == 3 else "cognitive_impairment"}
        for n, text in enumerate(OTHERS * 10)
    ]
    pd.DataFrame(rows).to_csv(folder / "students.csv", index=False)
    return folder


def touchstone(*arguments, cwd):
    return subprocess.run(
        [sys.executable, "-m", "touchstone", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(cwd / "src"), "COLUMNS": "200"},
    )


def test_a_line_of_the_table_is_a_source(project):
    files = ("corpus.brass.path=students.csv", "mixture.brass.filter=none")
    done = touchstone("run", "-m", "mixture=gold,gold_brass", *files, cwd=project)
    assert done.returncode == 0, done.stdout + done.stderr
    done = touchstone("table", "two_directions", "--format", "csv", "--out", "out", cwd=project)
    assert done.returncode == 0, done.stdout + done.stderr
    scores = pd.read_csv(project / "out" / "two_directions_scores_wide.csv")
    rows = scores.set_index("Training data")["n train"]
    assert rows["gold_brass"] == rows["gold"] + 30
    composition = pd.read_csv(project / "out" / "two_directions_composition.csv")
    assert composition["row"].str.contains("brass").any()
    quality = pd.read_csv(project / "out" / "two_directions_quality.csv")
    assert (quality["column"] == "brass").any() or quality["row"].str.contains("brass").any()
    sidecar = json.loads((project / "out" / "two_directions.json").read_text())
    assert any("brass" in str(run) for run in sidecar["runs"].values())


def test_a_source_that_no_llm_makes_wants_its_files(project):
    done = touchstone("run", "mixture=gold_brass", cwd=project)
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert line.endswith("no LLM makes brass; name its files: corpus.brass.path=FILE")
