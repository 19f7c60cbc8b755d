"""A sweep that keeps its store in its own folder, and the copying of runs into another store:
whole,
each once, and again where it was cut off."""

import os
import signal
from pathlib import Path

import mlflow
import pandas as pd
import pytest
from preloaded import run, start

from touchstone import cli, locks, tracking
from touchstone.errors import UserError
from touchstone.run import sync

SMALL = ("generation.bronze_per_category=10", "generation.bronze_none=10", "task.gold_patients=2")
GRID = ("-m", "mixture=gold,gold_bronze", *SMALL)
OWN = ("tracking.uri=sweep", "hydra/launcher=local", "hydra.launcher.n_jobs=2")


def of_kind(store, kind: str):
    return tracking.search(store, tracking.where({tracking.KIND: kind}))


def numbers(store) -> dict[str, tuple[bytes, bytes]]:
    """mixture -> the scores and predictions of the finished cells, as they were written."""
    found = {}
    for cell in of_kind(store, "cell"):
        if cell.info.status == "FINISHED":
            assert cell.data.params["mixture"] not in found, "a cell finished twice"
            place = tracking.artifacts(store, cell)
            scores = pd.read_parquet(place / "predictions" / "predictions.parquet")["score"]
            found[cell.data.params["mixture"]] = (
                (place / "tables" / "scores.csv").read_bytes(),
                b"".join(row.tobytes() for row in scores),
            )
    return found


@pytest.fixture(scope="module")
def embedded(tmp_path_factory):
    """The same grid in the store of the project: its folder."""
    folder = tmp_path_factory.mktemp("embedded")
    done = run(*GRID, cwd=folder)
    assert done.process.exitcode == 0, done.said()
    return folder / "mlflow"


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """The folder of a sweep that kept its store."""
    folder = tmp_path_factory.mktemp("own")
    done = run(*GRID, *OWN, cwd=folder, new_store=True)
    assert done.process.exitcode == 0, done.said()
    (sweep,) = folder.glob("multirun/*/*")
    place = sweep.relative_to(folder)
    assert f"touchstone sync {place} --to URI" in done.said(), done.said()
    assert not (folder / "mlflow").exists(), "the project's store was made all the same"
    return sweep


def model_of(cell) -> str:
    (logged,) = cell.outputs.model_outputs
    return f"models:/{logged.model_id}"


def scores_of_model(store, cell) -> set:
    model = store.client.get_logged_model(model_of(cell).removeprefix("models:/"))
    return {(one.key, one.value, one.dataset_name) for one in model.metrics}


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_store_of_the_sweeps_own_holds_the_numbers_of_the_projects(embedded, own):
    store = tracking.open_existing(own)
    assert numbers(store) == numbers(tracking.open_existing(embedded))
    (parent,) = of_kind(store, "sweep")
    assert parent.info.status == "FINISHED" and parent.data.metrics["n_finished"] == 2
    assert {cell.data.tags[tracking.PARENT] for cell in of_kind(store, "cell")} == {
        parent.info.run_id
    }
    for number in ("0", "1"):  # one writer each
        cells = of_kind(tracking.open_existing(own / number), "cell")
        assert [cell.info.status for cell in cells] == ["FINISHED"]


def test_what_is_copied_is_whole_and_copied_once(own, tmp_path, capsys):
    assert cli.main(["sync", str(own), "--to", str(tmp_path / "theirs")]) == 0
    said = capsys.readouterr().out
    assert "1 sweeps, 2 cells, 1 generations, " in said and "; 0 runs were there" in said, said
    source = tracking.open_existing(own)
    target = tracking.open_existing(tmp_path / "theirs")
    ids = {}
    for kind in ("generation", "cell", "sweep"):
        originals, copies = of_kind(source, kind), of_kind(target, kind)
        by_origin = {copy.data.tags[tracking.ORIGIN]: copy for copy in copies}
        assert by_origin.keys() == {one.info.run_id for one in originals}
        for one in originals:
            copy = by_origin[one.info.run_id]
            ids[one.info.run_id] = copy.info.run_id
            assert copy.info.run_name == one.info.run_name
            assert copy.info.status == one.info.status
            assert (copy.info.start_time, copy.info.end_time) == (
                one.info.start_time,
                one.info.end_time,
            )
            assert copy.data.metrics == one.data.metrics and copy.data.params == one.data.params
            assert copy.data.tags.keys() - {tracking.ORIGIN} == one.data.tags.keys() - {
                tracking.ORIGIN
            }
            assert copy.inputs.dataset_inputs == one.inputs.dataset_inputs
            left, right = (
                files(tracking.artifacts(store, run))
                for store, run in ((source, one), (target, copy))
            )
            assert left.keys() == right.keys()
            if kind != "sweep":
                assert left == right
            assert tracking.find_run(target, one.info.run_id[:12]).info.run_id == copy.info.run_id
    (parent,) = of_kind(target, "sweep")
    results = pd.read_csv(tracking.artifacts(target, parent) / "tables" / "results.csv")
    cells = of_kind(target, "cell")
    assert set(results["run_id"]) == {cell.info.run_id for cell in cells}
    assert {cell.data.tags[tracking.PARENT] for cell in cells} == {parent.info.run_id}
    for cell in cells:
        mlflow.set_tracking_uri(target.uri)
        copied = mlflow.pyfunc.load_model(model_of(cell))
        mlflow.set_tracking_uri(source.uri)
        of = source.client.get_run(cell.data.tags[tracking.ORIGIN])
        assert model_of(of) != model_of(cell)
        assert scores_of_model(target, cell) == scores_of_model(source, of) != set()
        original = mlflow.pyfunc.load_model(model_of(of))
        text = pd.DataFrame({"text": ["He forgot the name of his daughter."]})
        assert str(copied.predict(text)) == str(original.predict(text))
    linked = [cell.data.tags.get("mlflow.linkedPrompts", "") for cell in cells]
    assert any(linked), "no cell is linked to its prompts"
    assert cli.main(["sync", str(own), "--to", str(tmp_path / "theirs")]) == 0
    said = capsys.readouterr().out
    assert "0 sweeps, 0 cells, 0 generations, 0 prompts; 4 runs were there already" in said
    assert {kind: len(of_kind(target, kind)) for kind in ("generation", "cell", "sweep")} == {
        "generation": 1,
        "cell": 2,
        "sweep": 1,
    }


@pytest.mark.parametrize("step", ["_put_artifacts", "_copy_model", "_put_numbers"])
def test_a_copy_that_was_cut_off_is_made_again(embedded, tmp_path, monkeypatch, step):
    whole, calls = getattr(sync, step), []

    def cut(*arguments):
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return whole(*arguments)

    monkeypatch.setattr(sync, step, cut)
    with pytest.raises(KeyboardInterrupt):
        sync.sync(embedded, str(tmp_path))
    monkeypatch.undo()
    sync.sync(embedded, str(tmp_path))
    target = tracking.open_existing(tmp_path)
    assert numbers(target) == numbers(tracking.open_existing(embedded))
    ended = {
        kind: [one.info.status for one in of_kind(target, kind)]
        for kind in ("generation", "cell", "sweep")
    }
    assert ended == {
        "generation": ["FINISHED"],
        "cell": ["FINISHED", "FINISHED"],
        "sweep": ["FINISHED"],
    }


def test_a_killed_sweep_with_its_own_store_goes_on_by_the_same_command(own, tmp_path):
    command = (*GRID, "tracking.uri=sweep")
    running = start(*command, cwd=tmp_path, hold_at="macro F1", new_store=True)
    running.wait_until_held()
    os.kill(running.process.pid, signal.SIGKILL)
    running.wait()
    (sweep,) = tmp_path.glob("multirun/*/*")
    first = sync.sync(sweep, str(tmp_path / "theirs"))
    assert first.new["cell"] == 0, "the first cell is in its own store still"
    done = run(*command, cwd=tmp_path, new_store=True)
    assert done.process.exitcode == 0, done.said()
    assert "continuing sweep" in done.said() and "not run again" in done.said(), done.said()
    assert [path for path in tmp_path.glob("multirun/*/*")] == [sweep]
    assert numbers(tracking.open_existing(sweep)) == numbers(tracking.open_existing(own))
    second = sync.sync(sweep, str(tmp_path / "theirs"))
    assert second.new == {"sweep": 1, "cell": 2, "generation": 1}


def test_what_cannot_be_copied_is_one_line(embedded, tmp_path):
    with pytest.raises(UserError, match="no tracking store in .*nowhere"):
        sync.sync(tmp_path / "nowhere", str(tmp_path / "theirs"))
    with pytest.raises(UserError, match="is the store that is copied; name another"):
        sync.sync(embedded, str(embedded))
    lock = locks.claim(embedded / sync.LOCK)
    try:
        with pytest.raises(UserError, match="another sync is at it; wait for it to end"):
            sync.sync(embedded, str(tmp_path / "theirs"))
    finally:
        lock.release()
