"""A sweep killed, crowded, or out of space: what was finished is kept, and the same command runs
just what is missing."""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
from grid import ROOT
from preloaded import copy_store, run, start

from touchstone import tracking
from touchstone.run.sweep_folder import PARENT_FILE

GRID = ("-m", "mixture=gold", "task.gold_patients=1,2,3", "tracking.log_models=false")
KILLS = 10


def opened(folder: Path):
    return tracking.open_store(None, "two_directions", folder / "mlflow")


def sweeps(store):
    """Parents, the first one first."""
    filters = f"tags.`{tracking.KIND}` = 'sweep'"
    return store.client.search_runs(
        [store.experiment_id], filters, order_by=["attributes.start_time ASC"]
    )


def cells(store, parent):
    return tracking.children(store, parent.info.run_id)


def results(store, parent) -> str:
    """The result table of a sweep without the run ids."""
    path = Path(parent.info.artifact_uri.removeprefix("file://")) / "tables" / "results.csv"
    return pd.read_csv(path).drop(columns="run_id").sort_values("gold_patients").to_csv(index=False)


def files(store, parent) -> dict[str, tuple[bytes, bytes]]:
    """The score table and the training set of each finished cell."""
    found = {}
    for cell in cells(store, parent):
        if cell.info.status == "FINISHED":
            folder = Path(cell.info.artifact_uri.removeprefix("file://"))
            tables = (
                (folder / "tables" / "scores.csv").read_bytes(),
                (folder / "tables" / "composition.csv").read_bytes(),
            )
            found[cell.data.params["gold_patients"]] = tables
    return found


def assert_whole(store, parent, reference) -> None:
    """The sweep ended as an undisturbed one: every cell finished once, nothing left running, the
    same numbers."""
    assert parent.info.status == "FINISHED"
    found = cells(store, parent)
    finished = [cell for cell in found if cell.info.status == "FINISHED"]
    assert (
        Counter(cell.data.tags[tracking.CELL] for cell in finished).most_common(1)[0][1] == 1
        and len(finished) == 3
    )
    assert all(cell.info.status in ("KILLED", "FAILED") for cell in found if cell not in finished)
    assert all(
        cell.data.tags[tracking.STATUS] == "superseded" for cell in found if cell not in finished
    )
    assert (results(store, parent), files(store, parent)) == reference
    assert parent.data.metrics["n_finished"] == 3


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Undisturbed sweeps in one folder: the folder, the result table and files, and how many writes
    the first and the second took."""
    folder = tmp_path_factory.mktemp("undisturbed")
    cold, warm = run(*GRID, cwd=folder, new_store=True), run(*GRID, cwd=folder)
    assert cold.process.exitcode == warm.process.exitcode == 0, cold.said() + warm.said()
    store = opened(folder)
    first, second = sweeps(store)
    assert (results(store, first), files(store, first)) == (
        results(store, second),
        files(store, second),
    )
    return folder, (results(store, first), files(store, first)), (cold.writes(), warm.writes())


def test_a_sweep_killed_at_random_moments_ends_as_an_undisturbed_one(undisturbed, tmp_path):
    _, reference, (cold, warm) = undisturbed
    draw = random.Random(20)
    making = cold - warm  # writes that make the store
    # two while it is made, one right after, the others in what a sweep, begun or continued, still
    # has to do; one that is through kills nothing
    rest = 2 * warm // 3
    moments = [
        *(draw.randrange(1, making) for _ in range(2)),
        draw.randrange(making, cold),
        *(draw.randrange(1, rest) for _ in range(100)),
    ]
    killed = continued = 0
    for moment in moments:
        done = run(*GRID, cwd=tmp_path, new_store=True, die_at=moment)
        continued += "continuing sweep" in done.said()
        if done.process.exitcode == -signal.SIGKILL:
            killed += 1
        else:
            assert done.process.exitcode == 0, done.said()
        if killed == KILLS:
            break
    last = run(*GRID, cwd=tmp_path)
    assert last.process.exitcode == 0 and killed == KILLS and continued > KILLS / 3, last.said()
    store = opened(tmp_path)
    for parent in sweeps(store):
        assert_whole(store, parent, reference)


def test_resume_needs_the_folder_only_and_runs_just_what_failed(tmp_path):
    labels = tmp_path / "labels.tsv"
    grid = (
        "-m",
        "mixture=gold",
        "task.gold_patients=1,2",
        f"corpus.gold.labels=ad_corpus/gold_labels.tsv,{labels}",
        "tracking.log_models=false",
    )
    first = run(*grid, cwd=tmp_path)
    assert first.process.exitcode == 1 and "2 of 4 cells are missing" in first.said(), first.said()
    folder = re.search(r"hydra.sweep.dir=(\S+) resume", first.said())[1]
    (tmp_path / "labels.tsv").write_text(
        (ROOT / "src/touchstone/demo/ad_corpus/gold_labels.tsv").read_text()
    )
    again = run("-m", f"hydra.sweep.dir={folder}", "resume", cwd=tmp_path)
    assert (
        again.process.exitcode == 0 and again.said().count("finished before, not run again") == 2
    ), again.said()
    store = opened(tmp_path)
    (parent,) = sweeps(store)
    states = Counter(cell.info.status for cell in cells(store, parent))
    assert parent.info.status == "FINISHED" and states == {"FINISHED": 4, "FAILED": 2}
    assert all(
        cell.data.tags[tracking.STATUS] == "superseded"
        for cell in cells(store, parent)
        if cell.info.status == "FAILED"
    )


def test_each_failure_stands_on_its_own_run_and_the_others_finish(undisturbed):
    folder, _, _ = undisturbed
    done = run(
        "-m", "mixture=gold", "task.gold_patients=0,1,99", "tracking.log_models=false", cwd=folder
    )
    assert done.process.exitcode == 1 and "2 of 3 cells are missing" in done.said(), done.said()
    store = opened(folder)
    parent = sweeps(store)[-1]
    assert parent.info.status == "FAILED" and parent.data.metrics["n_finished"] == 1
    failed = [cell for cell in cells(store, parent) if cell.info.status == "FAILED"]
    told = [
        (Path(cell.info.artifact_uri.removeprefix("file://")) / "error.txt").read_text()
        for cell in failed
    ]
    assert (
        len(told) == 2
        and any("task.gold_patients=0: must be" in text for text in told)
        and any("has 25 patients" in text for text in told)
    )


def test_a_classifier_that_cannot_do_the_task_is_left_out_of_the_grid(undisturbed):
    folder, _, _ = undisturbed
    small = ("mixture=gold", "task.gold_patients=1", "tracking.log_models=false", "study=unfit")
    done = run("-m", "classifier=tfidf_logreg,crf", *small, cwd=folder)
    assert (
        done.process.exitcode == 0
        and "left out: classifier=crf does not do task=ad_multiclass (multiclass)" in done.said()
    ), done.said()
    store = tracking.open_store(None, "unfit", folder / "mlflow")
    (parent,) = sweeps(store)
    assert parent.info.status == "FINISHED" and [
        cell.data.params["classifier"] for cell in cells(store, parent)
    ] == ["tfidf_logreg"]
    done = run("-m", "classifier=crf", *small, cwd=folder)
    assert (
        done.process.exitcode == 1
        and "error: no cell of this grid can be run" in done.said()
        and len(sweeps(store)) == 1
    )


def test_a_changed_corpus_file_is_another_cell_and_replaces_the_old_one_in_the_table(tmp_path):
    labels = tmp_path / "labels.tsv"
    whole = (ROOT / "src/touchstone/demo/ad_corpus/gold_labels.tsv").read_text()
    labels.write_text(whole)
    grid = (
        "-m",
        "mixture=gold",
        "task.gold_patients=1,99",
        f"corpus.gold.labels={labels}",
        "tracking.log_models=false",
    )
    assert run(*grid, cwd=tmp_path).process.exitcode == 1
    labels.write_text(whole.replace("\tcognitive_impairment", "\tnone"))
    assert run(*grid, cwd=tmp_path).process.exitcode == 1
    store = opened(tmp_path)
    (parent,) = sweeps(store)
    found = [cell for cell in cells(store, parent) if cell.info.status == "FINISHED"]
    assert [cell.data.tags[tracking.STATUS] for cell in found] == [
        "superseded",
        "completed",
    ] and parent.data.metrics["n_cells"] == 2


def test_two_sweeps_at_once_in_one_store_do_not_touch_each_other(undisturbed):
    folder, reference, _ = undisturbed
    before = len(sweeps(opened(folder)))
    together = [start(*GRID, cwd=folder), start(*GRID, cwd=folder)]
    assert [one.wait() for one in together] == [0, 0], together[0].said() + together[1].said()
    store = opened(folder)
    new = sweeps(store)[before:]
    assert len(new) == 2 and len({parent.data.tags[tracking.FOLDER] for parent in new}) == 2
    for parent in new:
        assert_whole(store, parent, reference)


def test_a_folder_in_which_a_sweep_runs_is_refused(undisturbed):
    from touchstone.locks import claim
    from touchstone.run.sweep_folder import LOCK_FILE

    folder, _, _ = undisturbed
    lock = claim(folder / "busy" / LOCK_FILE)
    done = run(*GRID, "hydra.sweep.dir=busy", cwd=folder)
    lock.release()
    assert (
        done.process.exitcode == 1
        and "error: hydra.sweep.dir=busy: a sweep is running there" in done.said()
    ), done.said()


def test_ctrl_c_keeps_what_was_finished_and_the_same_command_goes_on(undisturbed):
    folder, reference, _ = undisturbed
    running = start(*GRID, "study=interrupted", cwd=folder, hold_at="macro F1")
    running.wait_until_held()
    os.killpg(running.process.pid, signal.SIGINT)
    running.go_on()
    assert running.wait() == 130 and "the same command goes on from there" in running.said(), (
        running.said()
    )
    store = tracking.open_store(None, "interrupted", folder / "mlflow")
    (parent,) = sweeps(store)
    assert parent.info.status == "KILLED" and not any(
        cell.info.status == "RUNNING" for cell in cells(store, parent)
    )
    done = run(*GRID, "study=interrupted", cwd=folder)
    assert done.process.exitcode == 0 and "finished before, not run again" in done.said(), (
        done.said()
    )
    (parent,) = sweeps(store)
    assert_whole(store, parent, reference)


def test_a_ctrl_c_before_the_first_cell_leaves_a_folder_that_the_same_command_can_use(tmp_path):
    grid = (*GRID, "hydra.sweep.dir=here")
    running = start(*grid, cwd=tmp_path, hold_at="Launching")
    running.wait_until_held()
    os.killpg(running.process.pid, signal.SIGINT)
    running.go_on()
    assert running.wait() == 130, running.said()
    assert (tmp_path / "here" / PARENT_FILE).exists() and not sweeps(opened(tmp_path))
    done = run(*grid, cwd=tmp_path)
    assert done.process.exitcode == 0, done.said()
    (parent,) = sweeps(opened(tmp_path))
    assert parent.info.status == "FINISHED"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["resume"], "resume: name the folder of the sweep"),
        (["-m", "hydra.sweep.dir=nowhere", "resume"], "resume: nowhere holds no sweep"),
    ],
)
def test_a_resume_that_cannot_be_is_one_line(tmp_path, arguments, said):
    done = run(*arguments, cwd=tmp_path)
    assert (
        done.process.exitcode == 1
        and done.said().startswith(f"error: {said}")
        and len(done.said().strip().splitlines()) == 1
    )


def test_resume_takes_another_launcher_and_refuses_another_grid(tmp_path):
    from touchstone.errors import UserError
    from touchstone.run import sweep

    left = {
        "run_id": "r",
        "launch": 1,
        "key": "k",
        "overrides": ["mixture=gold"],
        "hydra": ["hydra.mode=MULTIRUN", "hydra/launcher=basic"],
    }
    (tmp_path / sweep.PARENT_FILE).write_text(json.dumps(left))
    arguments = ["-m", f"hydra.sweep.dir={tmp_path}", "resume"]
    assert sweep.resume_arguments([*arguments, "hydra/launcher=joblib"]) == [
        "-m",
        f"hydra.sweep.dir={tmp_path}",
        "hydra/launcher=joblib",
        "mixture=gold",
    ]
    with pytest.raises(UserError, match="seed=2 would make it another sweep"):
        sweep.resume_arguments([*arguments, "seed=2"])


def small_disk(tmp_path: Path) -> list[str] | None:
    """A command prefix that runs a script with a small disk of its own, None where this machine
    does not allow that."""
    prefix = ["unshare", "--mount", "--map-root-user"]
    if shutil.which("unshare") is None:
        return None
    probe = subprocess.run(
        [*prefix, "mount", "-t", "tmpfs", "-o", "size=1m", "none", str(tmp_path)],
        capture_output=True,
    )
    return prefix if probe.returncode == 0 else None


@pytest.mark.parametrize(
    "on_it", ["paths.cache=disk/cache paths.store=disk/store", "hydra.sweep.dir=disk/sweep"]
)
def test_a_full_disk_is_told_in_one_line_and_the_same_command_goes_on_with_room(tmp_path, on_it):
    prefix = small_disk(tmp_path)
    if prefix is None:
        pytest.skip("this machine allows no small disk (unshare and mount)")
    grid = f"-m mixture=gold task.gold_patients=1,2,3 tracking.log_models=false {on_it}"
    left = 500 if "store" in on_it else 8  # kB
    copy_store(tmp_path / "empty")
    script = f"""
        mkdir disk && mount -t tmpfs -o size=50m none disk
        cp -r empty {"disk/store" if "store" in on_it else "mlflow"}
        room=$(df --output=avail -B 1k disk | tail -1)
        head -c $(( (room - {left}) * 1024 )) /dev/zero > disk/ballast
        {sys.executable} {ROOT}/run.py {grid}; echo "first: $?"
        rm disk/ballast
        {sys.executable} {ROOT}/run.py {grid}; echo "second: $?"
        test -d mlflow || cp -r disk/store mlflow
    """
    done = subprocess.run(
        [*prefix, "sh", "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    first, _, second = done.stdout.partition("first: ")
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert second.startswith("1") and "second: 0" in second, done.stdout + done.stderr
    assert errors and all(
        re.search("no space|No space|is full", line) and "Traceback" not in line for line in errors
    ), errors
    store = tracking.open_store(None, "two_directions", tmp_path / "mlflow")
    finished = [parent for parent in sweeps(store) if parent.info.status == "FINISHED"]
    assert len(finished) == 1
    states = Counter(cell.info.status for cell in cells(store, finished[0]))
    assert states["FINISHED"] == 3 and states["RUNNING"] == 0
