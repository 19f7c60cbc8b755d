"""Every command of the README and the docs runs as it is written, or says why it is not run."""

import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import report_store
from documents import Block, blocks, pages
from grid import DATA, ROOT
from preloaded import copy_store
from warm_python import program

PAGES = [page.relative_to(ROOT).as_posix() for page in pages()]
LAUNCHER = """#!/bin/sh
exec {python} {first} "$@"
"""


# What a reader has on the disk: the demo's study, expert labels, sentences of others, notes
WITH_STUDY = ("docs/tables.md",)
READERS_FILES = {
    "gold.csv": (ROOT / "examples" / "formats" / "table.csv").read_text(encoding="utf-8"),
    "theirs.csv": """text,labels
She no longer knows which pills she took.,memory
Asked twice within the hour where his wife was.,memory
Slipped on the wet stairs and bruised a hip.,falls
Reads the newspaper and does the shopping.,
""",
    "new_notes.csv": """id,note
n1,She forgot the appointment. She fell in the bathroom.
n2,He sleeps well.
""",
    "notes/n1.txt": "She forgot the appointment. She fell in the bathroom.",
}
MODULE = re.compile(r"^```python\n# (\w+\.py)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def _put_files(page: str, folder: Path) -> None:
    """Put what a reader has into a project, and the modules that the page shows."""
    shown = dict(MODULE.findall((ROOT / page).read_text(encoding="utf-8")))
    for name, text in (READERS_FILES | shown).items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")


def _project(folder: Path, page: str) -> dict[str, str]:
    """Make a folder with run.py as a checkout has it, and an environment that finds
    `touchstone`."""
    (folder / "bin").mkdir(parents=True)
    for name, first in (("python", ""), ("touchstone", "-m touchstone")):
        launcher = folder / "bin" / name
        launcher.write_text(LAUNCHER.format(python=program(), first=first))
        launcher.chmod(0o755)
    if page in WITH_STUDY:
        shutil.copytree(report_store.shared()[0] / "mlflow", folder / "mlflow")
    copy_store(folder / "mlflow")
    _put_files(page, folder)
    for name in ("run.py", "examples"):
        if (ROOT / name).exists():
            (folder / name).symlink_to(ROOT / name)
    return {
        **os.environ,
        "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT / "src"),
        "TOUCHSTONE_DATA": str(DATA),
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }


def _with_ids(command: str, folder: Path) -> str:
    """Put the newest run of a cell for RUN_ID, and the newest sweep for SWEEP."""
    if not re.search(r"\b(RUN_ID|SWEEP)\b", command):
        return command
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{folder / 'mlflow' / 'mlflow.db'}")
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    for word, kind in (("RUN_ID", "cell"), ("SWEEP", "sweep")):
        runs = client.search_runs(
            experiments,
            f"tags.`touchstone.kind` = '{kind}' and attributes.status = 'FINISHED'",
            order_by=["attributes.start_time DESC"],
            max_results=1,
        )
        if runs:
            command = re.sub(rf"\b{word}\b", runs[0].info.run_id, command)
    return command


def _run(page: str, folder: Path, mark: str) -> None:
    environment = _project(folder, page)
    for block in blocks(ROOT / page):
        if block.mark not in ("", mark):
            continue
        for command in block.commands:
            _run_one(block, _with_ids(command, folder), folder, environment)


def _run_one(block: Block, command: str, folder: Path, environment: dict[str, str]) -> None:
    command = re.sub(r"^TOUCHSTONE_DATA=\S+ ", "", command)  # the tests' own
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=900,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, (
        f"{block.page}, line {block.line}: {command}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
    )


@pytest.mark.parametrize("page", PAGES)
def test_commands_of_a_page_run_as_they_are_written(page, tmp_path):
    if not any(block.mark == "" for block in blocks(ROOT / page)):
        pytest.skip("no commands that can be run here")
    if not DATA.is_dir():
        pytest.skip("no data folder")
    _run(page, tmp_path / "project", mark="")


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_slow_commands_of_a_page_run_as_they_are_written(page, tmp_path):
    if not any(block.mark == "slow" for block in blocks(ROOT / page)):
        pytest.skip("no slow commands")
    _run(page, tmp_path / "project", mark="slow")


def test_no_command_hides_in_a_block_of_another_language():
    """A command in a block without a language would be run by nobody."""
    typed = re.compile(
        r"^(?:\$ )?(?:[A-Z_]+=\S+ )?(?:python run\.py|touchstone [a-z]+ |make [a-z])"
    )
    hidden = []
    for page in pages():
        language = None
        for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
            if line.startswith("```"):
                language = line[3:].strip() or "text" if language is None else None
            elif language == "text" and typed.match(line):
                hidden.append(f"{page.name}, line {number}: {line}")
    assert not hidden, "fence these as sh, or mark why they are not run:\n" + "\n".join(hidden)


@pytest.mark.skipif(find_spec("sphinx") is None, reason="sphinx is not installed")
def test_the_docs_build_without_a_warning(tmp_path):
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "sphinx",
            "-W",
            "-q",
            "-b",
            "html",
            str(ROOT / "docs"),
            str(tmp_path),
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
