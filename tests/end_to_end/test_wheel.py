"""What `pip install` gives, without a checkout near: the wheel holds everything that the commands
need, from a checkout and from a source archive alike."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest
from grid import ROOT
from preloaded import copy_store

from touchstone import tracking
from touchstone.report import reading

LEFT_OUT = (".git", ".venv", "build", "mlflow", "multirun", ".cache", "*.egg-info", "__pycache__")


def checked(*command: str | Path, cwd: Path, status: int = 0, **environment: str) -> str:
    kept = {
        key: value
        for key, value in os.environ.items()
        if key not in ("PYTHONPATH", "TOUCHSTONE_DATA")
    }
    done = subprocess.run(
        [*map(str, command)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=600,
        env={**kept, "MLFLOW_DISABLE_TELEMETRY": "true", "COLUMNS": "200", **environment},
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built from a clean copy of the checkout."""
    folder = tmp_path_factory.mktemp("build")
    clean = folder / "checkout"
    shutil.copytree(ROOT, clean, symlinks=True, ignore=shutil.ignore_patterns(*LEFT_OUT))
    build(clean, folder / "wheel")
    return next((folder / "wheel").glob("*.whl"))


def build(source: Path, out: Path) -> None:
    flags = ("--quiet", "--no-deps", "--no-build-isolation", "--no-index")
    checked(sys.executable, "-m", "pip", "wheel", *flags, "-w", out, source, cwd=source)


@pytest.fixture(scope="module")
def bin_folder(wheel, tmp_path_factory):
    """A fresh environment with the wheel, which sees the packages of this one, but not the
    checkout that is installed here."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    flags = ("--quiet", "--no-deps", "--no-index")
    checked(sys.executable, "-m", "pip", "--python", python, "install", *flags, wheel, cwd=folder)
    (site,) = (folder / "lib").glob("python*/site-packages")
    (site / "packages_of_the_tests.pth").write_text(sysconfig.get_path("purelib") + "\n")
    where = checked(python, "-c", "import touchstone; print(touchstone.__file__)", cwd=folder)
    assert where.startswith(str(site))
    return folder / "bin"


def test_a_source_archive_gives_the_same_wheel(wheel, tmp_path):
    clean = wheel.parents[1] / "checkout"
    code = "import sys, setuptools.build_meta as b; b.build_sdist(sys.argv[1])"
    checked(sys.executable, "-c", code, tmp_path, cwd=clean)
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as unpacked:
        unpacked.extractall(tmp_path / "source", filter="data")
    (source,) = (tmp_path / "source").iterdir()
    build(source, tmp_path / "wheel")
    (again,) = (tmp_path / "wheel").glob("*.whl")

    def names(path):
        return sorted(zipfile.ZipFile(path).namelist())

    assert again.name == wheel.name and names(again) == names(wheel)
    assert any(name.endswith("licenses/LICENSE") for name in names(wheel))


def test_the_demo_runs_outside_a_checkout(bin_folder, tmp_path):
    touchstone = bin_folder / "touchstone"
    copy_store(tmp_path / "mlflow")
    assert re.fullmatch(
        r"touchstone \d+\.\d+\.\d+\n", checked(touchstone, "--version", cwd=tmp_path)
    )
    said = checked(
        touchstone,
        "run",
        "-m",
        "mixture=gold,gold_silver,gold_bronze",
        "task.gold_patients=3",
        cwd=tmp_path,
    )
    assert "gold_bronze" in said
    checked(
        touchstone,
        "table",
        "two_directions",
        "--format",
        "markdown",
        "--out",
        "tables",
        cwd=tmp_path,
    )
    assert list((tmp_path / "tables").glob("*.md"))
    store = tracking.open_existing(tmp_path / "mlflow")
    runs = {kind: reading.search(store, kind=kind)[0].info.run_id for kind in ("sweep", "cell")}
    checked(touchstone, "report", runs["sweep"][:8], "--out", "page.html", cwd=tmp_path)
    assert "identical" in checked(touchstone, "reproduce", runs["cell"], cwd=tmp_path)
    checked(touchstone, "bundle", runs["sweep"], "--out", "appendix.tar.gz", cwd=tmp_path)
    with tarfile.open(tmp_path / "appendix.tar.gz") as archive:
        names = archive.getnames()
    for name in (
        "run.py",
        "pyproject.toml",
        "Makefile",
        "LICENSE",
        "conf/config.yaml",
        "src/touchstone/cli.py",
    ):
        assert f"appendix/{name}" in names


def test_a_project_that_init_makes_runs_at_once(bin_folder, tmp_path):
    touchstone = bin_folder / "touchstone"
    checked(touchstone, "init", "mine", cwd=tmp_path)
    said = checked(bin_folder / "python", "run.py", "task=mine", cwd=tmp_path / "mine")
    assert "macro F1" in said
    again = checked(touchstone, "init", "mine", cwd=tmp_path, status=1)
    assert "is there already and is not overwritten" in again
