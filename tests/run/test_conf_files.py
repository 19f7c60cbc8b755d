"""Whose YAML files count: the project's own before the packaged ones, in every launcher's workers;
and other people's Hydra programs do not know of ours."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from grid import ROOT
from hydra.core.config_store import ConfigStore
from preloaded import completed
from report_store import composed

from touchstone import tracking
from touchstone.errors import UserError
from touchstone.paths import conf_dir, conf_dirs, conf_file, conf_names
from touchstone.report.tables.published import published

APP = """
import hydra, os

@hydra.main(config_path="conf", config_name="config", version_base="1.3")
def main(cfg):
    print("x =", cfg.x, cfg.model.name)

main()
"""


@pytest.fixture
def foreign(tmp_path):
    """A Hydra program of somebody else, with files that are named as ours are."""
    (tmp_path / "conf" / "hydra" / "launcher").mkdir(parents=True)
    (tmp_path / "conf" / "model").mkdir()
    (tmp_path / "app.py").write_text(APP)
    (tmp_path / "conf" / "config.yaml").write_text(
        "defaults: [_self_, {model: mine}]\nx: 1\nhydra:\n  sweep: {dir: out}\n"
    )
    (tmp_path / "conf" / "model" / "mine.yaml").write_text("name: mine\n")
    (tmp_path / "conf" / "hydra" / "launcher" / "joblib.yaml").write_text("n_jobs: 2\n")
    return tmp_path


def test_a_hydra_program_of_somebody_else_runs_as_without_us(foreign):
    shown = subprocess.run(
        [sys.executable, "app.py", "-m", "hydra/launcher=joblib", "x=1,2"],
        cwd=foreign,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    )
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert "n_jobs=2" in shown.stdout and "x = 2 mine" in shown.stdout


def test_composing_leaves_what_plugins_registered_as_it_was():
    composed()  # once, so that Hydra has looked for plugins
    launchers = ConfigStore.instance().repo["hydra"]["launcher"]
    before = sorted(launchers)
    assert "joblib.yaml" in before
    composed("hydra/launcher=joblib")
    assert sorted(launchers) == before


def project(folder: Path) -> Path:
    (folder / "conf" / "mixture").mkdir(parents=True)
    (folder / "conf" / "mixture" / "mine.yaml").write_text("defaults: [gold, _self_]\nname: mine\n")
    return folder


def test_a_project_holds_only_its_own_files(tmp_path, monkeypatch):
    monkeypatch.chdir(project(tmp_path))
    assert conf_dirs() == [tmp_path / "conf", conf_dir()]
    assert {"mine", "gold"} <= set(conf_names("mixture"))
    assert composed("mixture=mine").mixture.name == "mine"
    assert composed("mixture=gold").mixture.name == "gold"
    (tmp_path / "conf" / "mixture" / "gold.yaml").write_text("name: ours\n")
    assert composed("mixture=gold").mixture.name == "ours"
    assert conf_file("mixture/gold.yaml") == tmp_path / "conf" / "mixture" / "gold.yaml"


def test_a_file_is_read_again_after_a_change(tmp_path, monkeypatch):
    monkeypatch.chdir(project(tmp_path))
    assert composed("mixture=mine").mixture.name == "mine"
    (tmp_path / "conf" / "mixture" / "mine.yaml").write_text(
        "defaults: [gold, _self_]\nname: changed\n"
    )
    assert composed("mixture=mine").mixture.name == "changed"


def test_a_checkout_is_no_project_of_its_own(monkeypatch):
    monkeypatch.chdir(ROOT)
    assert conf_dirs() == [conf_dir()]
    assert conf_dir().resolve() == ROOT / "conf"


def test_workers_of_a_launcher_see_the_projects_files(tmp_path):
    project(tmp_path)
    done = completed(
        "-m",
        "mixture=mine,gold",
        "task.gold_patients=3",
        "tracking.log_models=false",
        "hydra/launcher=joblib",
        "hydra.launcher.n_jobs=2",
        cwd=tmp_path,
    )
    assert done.returncode == 0 and "Warning" not in done.stderr, done.stdout + done.stderr
    store = tracking.open_existing(tmp_path / "mlflow")
    found = store.client.search_runs(["1"], f"tags.`{tracking.KIND}` = 'cell'")
    assert {run.data.params["mixture"] for run in found} == {"mine", "gold"}


def test_a_wrong_name_lists_the_projects_values_too(tmp_path):
    done = completed("mixture=mein", cwd=project(tmp_path))
    assert done.returncode == 1
    assert 'no mixture "mein". Did you mean mine?' in done.stderr and "gold_bronze" in done.stderr


def test_a_missing_file_of_published_figures_is_said(tmp_path):
    with pytest.raises(UserError, match="absent.yaml is missing"):
        published("two_directions", tmp_path / "absent.yaml")
