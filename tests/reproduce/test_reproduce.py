"""A finished cell run again from its run: identical, or what differs; and the bundle that does so
elsewhere."""

import json
import shutil
import subprocess
import sys
import tarfile
from dataclasses import replace

import pytest
from grid import ROOT
from mlflow import MlflowClient
from preloaded import completed
from warm_python import program

from touchstone.errors import UserError
from touchstone.reproduce import bundle
from touchstone.reproduce.archive import unpacked as archive_unpacked
from touchstone.reproduce.foreign import confined
from touchstone.reproduce.record import from_folder, from_store, records_of
from touchstone.reproduce.reproduce import compare, scratch


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A sweep of two cells whose bronze is sampled by the seed: (folder, parent run id, {mixture:
    run id})."""
    folder = tmp_path_factory.mktemp("finished")
    done = completed(
        "-m",
        "mixture=gold,gold_bronze",
        "mixture.bronze.count=60",
        "tracking.log_models=false",
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    client = MlflowClient(f"sqlite:///{folder}/mlflow/mlflow.db")
    found = client.search_runs(
        [experiment.experiment_id for experiment in client.search_experiments()]
    )
    kinds = {
        kind: [r for r in found if r.data.tags.get("touchstone.kind") == kind]
        for kind in ("cell", "sweep")
    }
    return (
        folder,
        kinds["sweep"][0].info.run_id,
        {r.data.params["mixture"]: r.info.run_id for r in kinds["cell"]},
    )


def touchstone(*arguments, cwd):
    return completed(*arguments, cwd=cwd, program="touchstone", python=program(), **environment())


def environment():
    import os

    return {**os.environ, "PYTHONPATH": str(ROOT / "src")}


def test_a_finished_cell_comes_out_identical(finished):
    folder, _, cells = finished
    done = touchstone("reproduce", cells["gold_bronze"][:12], cwd=folder)
    assert (
        done.returncode == 0
        and "gold_bronze · gold of 10 · tfidf_logreg · guideline" in done.stdout
        and ": identical" in done.stdout
    ), done.stdout + done.stderr


def test_another_seed_says_what_differs_and_what_drifted(finished):
    folder, _, cells = finished
    done = touchstone("reproduce", cells["gold_bronze"], "seed=5", cwd=folder)
    assert done.returncode == 1 and "not identical" in done.stdout
    assert (
        "config: seed 0 -> 5" in done.stdout
        and "data: the training set has another digest" in done.stdout
    )
    assert "metric: macro_f1" in done.stdout


def test_a_store_that_was_sent_is_read_from_where_it_lies(finished, tmp_path):
    folder, _, cells = finished
    shutil.copytree(folder / "mlflow", tmp_path / "sent")
    record = from_store(cells["gold"], str(tmp_path / "sent"))
    assert record.config["mixture"]["name"] == "gold" and len(record.scores)
    shutil.move(folder / "mlflow", folder / "away")
    try:
        assert from_store(cells["gold"], str(tmp_path / "sent")).digests == record.digests
    finally:
        shutil.move(folder / "away", folder / "mlflow")


def test_packages_and_code_explain_a_difference(finished):
    folder, _, cells = finished
    before = from_store(cells["gold"], str(folder / "mlflow"))
    packages = [p for p in before.environment["packages"] if not p.startswith("scikit-learn==")] + [
        "scikit-learn==0.1"
    ]
    after = replace(
        before,
        code="other",
        environment={**before.environment, "packages": packages, "python": "3.99"},
    )
    verdict = compare(before, after)
    assert verdict.identical
    told = "\n".join(verdict.differs)
    assert "code: the package's files differ" in told and "-> 0.1" in told and "python:" in told
    worse = before.scores.assign(value=before.scores["value"] - 0.5)
    assert not compare(before, replace(before, scores=worse)).identical


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("reproduce", "ffffffff"), "no run with an id that begins with 'ffffffff'"),
        (("reproduce", "ffffffff", "--store", "nowhere"), "no tracking store in nowhere"),
        (("reproduce",), "name the run to reproduce"),
        (("reproduce", "--bundle", "."), "is no unpacked bundle"),
        (("bundle", "ffffffff"), "no run with an id that begins with"),
        (("bundle", "ffffffff", "--out", "b.zip"), "the archive is a .tar.gz; name it b.tar.gz"),
    ],
)
def test_a_mistake_is_one_line(finished, arguments, said):
    done = touchstone(*arguments, cwd=finished[0])
    assert (
        done.returncode == 1 and len(done.stderr.strip().splitlines()) == 1 and said in done.stderr
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("task.nope=1", 'task.nope=1: no key "nope". There are: '),
        ("llm.backend=openai", "nothing is sent; to ask again: python run.py llm=openai"),
    ],
)
def test_a_change_that_does_not_fit_or_would_send_is_told_by_the_process_that_would_run_it(
    finished, change, said
):
    folder, _, cells = finished
    done = touchstone("reproduce", cells["gold"], change, cwd=folder)
    assert done.returncode == 1 and len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert (
        done.stderr.startswith("error: the cell could not be run again: ") and said in done.stderr
    )
    shown = touchstone("reproduce", cells["gold"], change, "debug=true", cwd=folder).stderr
    assert "in _child" in shown and "in run_again" in shown, "the tracebacks of both processes"


def test_a_sweep_or_failed_run_cannot_be_reproduced(finished):
    folder, parent, _ = finished
    with pytest.raises(UserError, match="is a sweep run"):
        from_store(parent, str(folder / "mlflow"))


def test_a_bundle_reproduces_in_an_empty_folder(finished, tmp_path):
    folder, parent, cells = finished
    packed = touchstone("bundle", parent, "--out", tmp_path / "b.tar.gz", cwd=folder)
    assert packed.returncode == 0 and "2 cells packed" in packed.stdout, packed.stderr
    with tarfile.open(tmp_path / "b.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    unpacked = tmp_path / "b"
    assert {
        "README.md",
        "run.py",
        "src",
        "conf",
        "constraints.txt",
        "recordings",
        "cells",
        "tables",
    } <= {p.name for p in unpacked.iterdir()}
    keys = [
        json.loads(line)["key"]
        for line in (unpacked / "recordings" / "answers.jsonl").read_text().splitlines()
    ]
    assert len(keys) == len(set(keys)) == 102
    records = records_of(archive_unpacked(tmp_path / "b.tar.gz", tmp_path / "scratch"))
    assert sorted(record.run_id for record in records) == sorted(cells.values())
    (unpacked / "touchstone.py").write_text("open('ran', 'w')")  # a file that somebody put there
    (unpacked / "json.py").write_text("open('ran', 'w')")
    shutil.rmtree(
        unpacked / "src" / "touchstone" / "demo" / "recordings"
    )  # the bundle's own recording must be enough
    done = subprocess.run(
        [sys.executable, "-P", "-m", "touchstone", "reproduce", "--bundle", "."],
        cwd=unpacked,
        capture_output=True,
        text=True,
        env={**environment(), "PYTHONPATH": str(unpacked / "src")},
    )
    assert done.returncode == 0 and done.stdout.count(": identical") == len(cells), (
        done.stdout + done.stderr
    )
    assert not (unpacked / "ran").exists(), "a file of the bundle's folder was imported"


def test_a_bundle_without_its_code_or_configuration_is_refused(finished, tmp_path, monkeypatch):
    folder, parent, _ = finished
    monkeypatch.setattr(bundle, "CHECKOUT", {**bundle.CHECKOUT, "absent.toml": "absent.toml"})
    with pytest.raises(UserError, match="absent.toml is missing: the bundle would not run"):
        bundle.bundle(parent, tmp_path / "b.tar.gz", store=str(folder / "mlflow"), root=folder)
    assert not list(tmp_path.iterdir())


def test_a_bundle_holds_the_projects_own_configuration(finished, tmp_path):
    folder, parent, _ = finished
    (folder / "conf" / "mixture").mkdir(parents=True, exist_ok=True)
    (folder / "conf" / "mixture" / "mine.yaml").write_text("defaults: [gold, _self_]\n")
    try:
        bundle.bundle(parent, tmp_path / "b.tar.gz", store=str(folder / "mlflow"), root=folder)
    finally:
        shutil.rmtree(folder / "conf")
    with tarfile.open(tmp_path / "b.tar.gz") as archive:
        names = set(archive.getnames())
    assert {"b/conf/mixture/mine.yaml", "b/conf/mixture/gold.yaml"} <= names


SENT = {
    "paths": {"data": "/home/sender", "cache": "/home/sender/.cache", "store": "x"},
    "llm": {"recording": "/home/sender/a.jsonl", "backend": "recorded"},
    "corpus": {"name": "c", "gold": {"reader": "sentences_jsonl", "path": "c/gold.jsonl"}},
}


def test_a_run_that_was_sent_reads_from_the_readers_folders(monkeypatch):
    monkeypatch.setenv("TOUCHSTONE_DATA", "/my/data")
    config = confined(SENT, "r1", trust_code=False)
    assert config["paths"]["data"] == "/my/data" and config["llm"]["recording"] is None


@pytest.mark.parametrize("path", ["/etc/passwd", "../../secret.jsonl"])
def test_a_run_that_was_sent_reads_no_file_outside_the_data_folder(path):
    corpus = {**SENT["corpus"], "gold": {"reader": "sentences_jsonl", "path": path}}
    with pytest.raises(UserError, match="lies outside the data folder"):
        confined({**SENT, "corpus": corpus}, "r1", trust_code=False)


def test_code_of_the_sender_runs_only_when_asked_for():
    corpus = {**SENT["corpus"], "gold": {"reader": "theirs.py:read", "path": "gold.jsonl"}}
    config = {**SENT, "corpus": corpus, "metrics": ["their_module.score"]}
    with pytest.raises(UserError, match=r"reader=theirs.py:read, metrics=their_module.score"):
        confined(config, "r1", trust_code=False)
    assert confined(config, "r1", trust_code=True)["corpus"] == corpus


def test_nothing_of_a_record_is_resolved_or_followed_out_of_its_folder(finished, tmp_path):
    folder, _, cells = finished
    kept = from_store(cells["gold"], str(folder / "mlflow"))
    (place,) = (folder / "mlflow").glob(f"artifacts/*/{cells['gold']}/artifacts")
    shutil.copytree(place, tmp_path / "run")
    text = (tmp_path / "run" / "config.yaml").read_text()
    (tmp_path / "run" / "config.yaml").write_text(text + "study: ${oc.env:HOME}\n")
    with pytest.raises(UserError, match="which a logged configuration never does"):
        from_folder(tmp_path / "run", kept.name, kept.run_id, {})
    (tmp_path / "run" / "config.yaml").unlink()
    (tmp_path / "run" / "config.yaml").symlink_to("/etc/hostname")
    with pytest.raises(UserError, match="is a link out of its folder"):
        from_folder(tmp_path / "run", kept.name, kept.run_id, {})


def test_what_a_killed_reproduction_left_is_cleared_by_the_next(tmp_path):
    left = tmp_path / "reproduce" / "left"
    left.mkdir(parents=True)
    (left / "notes.jsonl").write_text("a note")
    (tmp_path / "reproduce" / "left.lock").touch()
    with scratch(tmp_path) as folder:
        assert folder.parent == tmp_path / "reproduce" and not left.exists()
        assert folder.stat().st_mode & 0o777 == 0o700
        with scratch(tmp_path) as other:
            assert folder.exists() and other != folder, "one that still works is left alone"
    assert not list((tmp_path / "reproduce").iterdir())


def test_a_bundle_of_a_cell_is_refused(finished):
    folder, _, cells = finished
    done = touchstone("bundle", cells["gold"], cwd=folder)
    assert done.returncode == 1 and "is no sweep with finished cells" in done.stderr
