"""Where cells run: every launcher gives the numbers of the basic one, bit by bit, and computes what
cells share once."""

import importlib.util
import json
import os
import pickle
import re
import select
import signal
from pathlib import Path

import fake_slurm
import pandas as pd
import psutil
import pytest
import yaml
from fake_annotator import NUMBERED
from fake_llm_server import FakeLLM
from hydra.core.utils import JobReturn, JobStatus
from hydra.errors import HydraException
from preloaded import run, start
from report_store import composed
from worker_threads import pools

from touchstone import tracking
from touchstone.llm.store import Store as LLMStore
from touchstone.run.hydra_errors import explain
from touchstone.run.sweep import SweepCallback

SMALL = (
    "generation.bronze_per_category=10",
    "generation.bronze_none=10",
    "tracking.log_models=false",
)
GRID = ("-m", "mixture=gold,gold_bronze", "task.gold_patients=3,4", *SMALL)
TWO_CELLS = ("-m", "mixture=gold,gold_bronze", "task.gold_patients=3", *SMALL)
SHARING = ("-m", "mixture=gold_bronze", "task.gold_patients=3,4", *SMALL)  # gold and bronze


def sweep_of(folder: Path):
    store = tracking.open_store(None, "two_directions", folder / "mlflow")
    (parent,) = store.client.search_runs([store.experiment_id], f"tags.`{tracking.KIND}` = 'sweep'")
    return store, parent


def outcome(folder: Path) -> dict[tuple[str, str], tuple[bytes, bytes]]:
    """(mixture, patients) -> the scores as written and the predictions with their exact scores."""
    store, parent = sweep_of(folder)
    assert parent.info.status == "FINISHED"
    found = {}
    for cell in tracking.children(store, parent.info.run_id):
        if cell.info.status != "FINISHED":
            continue
        place = Path(cell.info.artifact_uri.removeprefix("file://"))
        scores = pd.read_parquet(place / "predictions" / "predictions.parquet")["score"]
        exact = b"".join(row.tobytes() for row in scores)
        found[cell.data.params["mixture"], cell.data.params["gold_patients"]] = (
            (place / "tables" / "scores.csv").read_bytes(),
            exact,
        )
    return found


@pytest.fixture(scope="module")
def basic(tmp_path_factory):
    """The four cells as the basic launcher makes them."""
    folder = tmp_path_factory.mktemp("basic")
    done = run(*GRID, cwd=folder)
    assert done.process.exitcode == 0, done.said()
    found = outcome(folder)
    assert len(found) == 4
    return found


def of_three_patients(basic):
    return {key: value for key, value in basic.items() if key[1] == "3"}


LOCAL = ("hydra/launcher=local", "hydra.launcher.n_jobs=2")


def wait_until_logged(running, folder, text):
    """Wait until the log file of a cell holds a text: details are not on the screen."""
    running.wait_until(
        lambda: any(text in log.read_text() for log in folder.glob("multirun/*/*/*/console.log"))
    )


def test_local_gives_identical_bits_and_computes_shared_stages_once(basic, tmp_path):
    done = run(*GRID, *LOCAL, cwd=tmp_path)
    assert done.process.exitcode == 0 and "Warning" not in done.said(), done.said()
    assert "Launching 4 jobs locally, 2 at a time" in done.said()
    assert outcome(tmp_path) == basic
    logs = "".join(path.read_text() for path in tmp_path.glob("multirun/*/*/*/*.log"))
    assert logs.count("sentences read and split") == 1 and logs.count("sentences reused") == 3


def test_a_local_worker_that_dies_costs_its_cell_and_resume_runs_it(basic, tmp_path):
    running = start(*TWO_CELLS, *LOCAL, cwd=tmp_path, hold_at="Launching 2 jobs")
    running.wait_until_held()
    running.go_on()
    wait_until_logged(running, tmp_path, "training, 286 dev")
    psutil.Process(running.process.pid).children()[0].send_signal(signal.SIGKILL)
    assert running.wait() == 1
    assert "the process of a cell ended with SIGKILL; the others went on" in running.said()
    store, parent = sweep_of(tmp_path)
    finished = [
        cell
        for cell in tracking.children(store, parent.info.run_id)
        if cell.info.status == "FINISHED"
    ]
    assert parent.info.status == "FAILED" and len(finished) == 1
    done = run(*TWO_CELLS, *LOCAL, cwd=tmp_path)
    assert done.process.exitcode == 0 and "continuing sweep" in done.said(), done.said()
    assert outcome(tmp_path) == of_three_patients(basic)


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_a_local_sweep_that_is_ended_takes_its_workers_along_and_goes_on(basic, tmp_path, end):
    running = start(*TWO_CELLS, *LOCAL, cwd=tmp_path)
    wait_until_logged(running, tmp_path, "training, 286 dev")
    workers = psutil.Process(running.process.pid).children()
    os.kill(running.process.pid, end)
    assert running.wait() == {signal.SIGTERM: 130, signal.SIGKILL: -9}[end]
    psutil.wait_procs(workers, timeout=60)
    assert not [worker for worker in workers if worker.is_running()]
    done = run(*TWO_CELLS, *LOCAL, cwd=tmp_path)
    assert done.process.exitcode == 0 and "continuing sweep" in done.said(), done.said()
    assert outcome(tmp_path) == of_three_patients(basic)


def labelled(body):
    """Label the sentences about memory."""
    lines = NUMBERED.findall(body["messages"][-1]["content"])
    labels = [["cognitive_impairment"] * ("memory" in text) for _, text in lines]
    rows = [
        {"id": int(n), "labels": found, "confidence": "high"}
        for (n, _), found in zip(lines, labels, strict=True)
    ]
    return json.dumps({"sentences": rows})


@pytest.mark.parametrize(
    ("launcher", "end"), [("local", signal.SIGTERM), ("joblib", signal.SIGINT)]
)
def test_cells_in_processes_of_their_own_wait_for_their_calls_in_flight(tmp_path, launcher, end):
    with FakeLLM(labelled, latency=1) as server:
        grid = (
            *("-m", "mixture=silver", "prompt=minimal,guideline", "task.gold_patients=3", *SMALL),
            *(f"hydra/launcher={launcher}", "hydra.launcher.n_jobs=2", "llm=openai"),
            *(f"llm.endpoint={server.url}", "llm.model=fake-1", "llm.api_key_env=null"),
            *("llm.workers=4", "llm.structured=json_schema"),
        )
        running = start(*grid, cwd=tmp_path)
        running.wait_until(
            lambda: len({body["messages"][0]["content"] for body in list(server.bodies)}) == 2
        )
        # a terminal tells the whole group
        (os.killpg if end == signal.SIGINT else os.kill)(running.process.pid, end)
        assert running.wait() == 130, running.said()
        calls = server.calls
        with LLMStore(tmp_path / ".cache" / "llm") as store:
            assert len(store) == calls, "what was sent was answered and kept"
        folder = re.search(r"hydra.sweep.dir=(\S+) resume", running.said())[1]
        server.latency = 0
        again = ("-m", f"hydra.sweep.dir={folder}", "resume", "hydra/launcher=basic")
        done = run(*again, cwd=tmp_path)
        assert done.process.exitcode == 0, done.said()
        with LLMStore(tmp_path / ".cache" / "llm") as store:
            assert len(store) == server.calls > calls, "nothing was asked twice"


def test_joblib_gives_identical_bits_and_computes_shared_stages_once(basic, tmp_path):
    done = run(*SHARING, "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", cwd=tmp_path)
    assert done.process.exitcode == 0 and "Warning" not in done.said(), done.said()
    shared = {key: value for key, value in basic.items() if key[0] == "gold_bronze"}
    assert len(shared) == 2 and outcome(tmp_path) == shared
    logs = "".join(path.read_text() for path in tmp_path.glob("multirun/*/*/*/*.log"))
    assert logs.count("sentences read and split") == 1 and logs.count("sentences reused") == 1
    assert (
        len(re.findall(r"bronze: \d+ examples generated", logs)) == 1
        and len(re.findall(r"bronze: \d+ examples reused", logs)) == 1
    )
    assert {
        stage.name: len(list(stage.glob("*/stage.json")))
        for stage in (tmp_path / ".cache").iterdir()
        if stage.name in ("gold", "bronze")
    } == {
        "gold": 1,
        "bronze": 1,
    }


def test_what_a_job_sends_back_goes_into_a_pipe_at_once():
    """A worker killed half-way through a longer answer would leave joblib waiting for the rest of
    it, for ever."""
    sent = JobReturn(
        overrides=["mixture=gold"], cfg=composed(), hydra_cfg=composed(), status=JobStatus.COMPLETED
    )
    assert len(pickle.dumps(sent)) > select.PIPE_BUF
    SweepCallback().on_job_end(config=composed(), job_return=sent)
    assert len(pickle.dumps(sent)) < select.PIPE_BUF and sent.overrides == ["mixture=gold"]


def test_a_worker_that_dies_ends_the_sweep_and_resume_finishes_it(basic, tmp_path):
    running = start(*TWO_CELLS, "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", cwd=tmp_path)
    wait_until_logged(running, tmp_path, "training, 286 dev")
    workers = [
        child
        for child in psutil.Process(running.process.pid).children()
        if "popen_loky" in " ".join(child.cmdline())
    ]
    workers[0].send_signal(signal.SIGKILL)
    assert running.wait() == 1
    store, parent = sweep_of(tmp_path)
    assert parent.info.status == "FAILED"
    folder = re.search(r"hydra.sweep.dir=(\S+) resume", running.said())[1]
    done = run("-m", f"hydra.sweep.dir={folder}", "resume", "hydra/launcher=basic", cwd=tmp_path)
    assert done.process.exitcode == 0 and outcome(tmp_path) == of_three_patients(basic), done.said()


def test_submitit_runs_a_cell_as_a_job_on_this_machine(basic, tmp_path):
    """More than one: the test with Slurm, whose jobs submitit starts alike."""
    one = ("-m", "mixture=gold", "task.gold_patients=3", *SMALL)
    done = run(*one, "hydra/launcher=submitit_local", cwd=tmp_path)
    assert done.process.exitcode == 0, done.said()
    assert outcome(tmp_path) == {("gold", "3"): basic["gold", "3"]}
    assert len(list(tmp_path.glob("multirun/*/*/.submitit/*/*_log.out"))) == 1


def test_slurm_is_asked_for_an_array_with_time_memory_and_partition(basic, tmp_path):
    environment = fake_slurm.install(tmp_path / "slurm")
    asked = (
        "hydra/launcher=submitit_slurm",
        "hydra.launcher.partition=long",
        "hydra.launcher.timeout_min=30",
        "hydra.launcher.mem_gb=4",
    )
    done = run(*TWO_CELLS, *asked, cwd=tmp_path, environment=environment)
    assert done.process.exitcode == 0, done.said() + "".join(
        path.read_text() for path in (tmp_path / "slurm").glob("task-*.log")
    )
    assert outcome(tmp_path) == of_three_patients(basic)
    script = (tmp_path / "slurm" / "submitted.sh").read_text()
    for flag in (
        "array=0-1%2",
        "partition=long",
        "time=30",
        "mem=4GB",
        "cpus-per-task=1",
        "nodes=1",
    ):
        assert f"#SBATCH --{flag}\n" in script, script


@pytest.mark.skipif(
    importlib.util.find_spec("ray") is None,
    reason="ray is not installed: pip install 'touchstone-nlp[ray]'",
)
def test_ray_runs_cells_as_tasks(basic, tmp_path):
    """More tasks than processors: some wait for others."""
    grid = ("-m", "mixture=gold", "task.gold_patients=3,4,5", *SMALL)
    done = run(*grid, "hydra/launcher=ray", "hydra.launcher.ray.init.num_cpus=2", cwd=tmp_path)
    assert done.process.exitcode == 0, done.said()
    found = outcome(tmp_path)
    assert len(found) == 3
    assert all(found["gold", patients] == basic["gold", patients] for patients in "34")


def test_a_launcher_that_is_not_installed_says_what_to_install():
    raised = HydraException(
        "Unknown plugin class : 'hydra_plugins.hydra_ray_launcher.ray_launcher.RayLauncher'"
    )
    assert explain(raised).startswith(
        "hydra-ray-launcher is not installed: pip install 'touchstone-nlp[ray]'"
    )


def test_a_search_sees_dev_only_and_its_trials_carry_what_was_tried(tmp_path):
    grid = (
        "-m",
        "hydra/sweeper=optuna",
        "hydra.sweeper.n_trials=3",
        "mixture=gold",
        "classifier.C=tag(log,interval(0.01,100))",
        *SMALL,
    )
    done = run(*grid, cwd=tmp_path)
    assert done.process.exitcode == 0, done.said()
    store, parent = sweep_of(tmp_path)
    cells = tracking.children(store, parent.info.run_id)
    dev = {cell.data.params["classifier.C"]: cell.data.metrics["dev/score"] for cell in cells}
    (found,) = tmp_path.glob("multirun/*/*/optimization_results.yaml")
    best = yaml.safe_load(found.read_text())
    assert len(dev) == 3 and best["best_value"] == pytest.approx(max(dev.values()), abs=1e-4)
    assert dev[str(best["best_params"]["classifier.C"])] == max(dev.values())
    assert best["best_value"] not in [cell.data.metrics["test/score"] for cell in cells]


def test_a_search_without_a_dev_set_is_refused(tmp_path):
    grid = (
        "-m",
        "hydra/sweeper=optuna",
        "mixture=gold",
        "classifier.C=choice(0.1,1)",
        "task.dev_fraction=0",
        *SMALL,
    )
    done = run(*grid, cwd=tmp_path)
    assert done.process.exitcode == 1 and "a search needs a dev set to look at" in done.said(), (
        done.said()
    )


@pytest.mark.parametrize("threads", [1, 2])
def test_a_cell_computes_with_the_threads_of_its_configuration_in_a_worker_too(threads):
    from joblib import Parallel, delayed

    (found,) = Parallel(n_jobs=2)([delayed(pools)(threads)])
    assert found and set(found) == {threads}
