"""Processes that write the same data set, prompt or experiment at the same moment."""

import importlib.util
import multiprocessing
from pathlib import Path

import pandas as pd
import pytest
from preloaded import copy_store
from tracking_server import initdb, postgres

from touchstone import tracking
from touchstone.data.examples import Dataset

needs_postgres = pytest.mark.skipif(
    initdb() is None or importlib.util.find_spec("psycopg") is None,
    reason="PostgreSQL (initdb) or psycopg is not installed",
)


def digest_of(number: int) -> str:
    return f"{number:04d}".ljust(64, "0")


def write(uri: str | None, folder: Path, rounds: int, together, failures) -> None:
    """Log `rounds` data sets to a run of one's own, each at the moment at which the others do."""
    from touchstone.run import inputs

    try:
        store = tracking.open_store(uri, "races", folder)
        run_id = tracking.start_run(store, "a cell", tags={}, params={})
        for number in range(rounds):
            data = Dataset(pd.DataFrame({"text": ["x"]}), "demo/test", digest_of(number), {})
            together.wait(120)
            store.client.log_inputs(
                run_id, [inputs.described(data, "test", "file:///test.parquet")]
            )
            store.client.set_experiment_tag(store.experiment_id, f"view.{number}", "x")
        tracking.end_run(store, run_id, "FINISHED")
    except Exception as error:
        together.abort()
        failures.put(f"{type(error).__name__}: {error}")


def race(uri: str | None, folder: Path, processes: int, rounds: int) -> list[list[str]]:
    """Return the digests of the inputs of each process's run."""
    from touchstone.run import inputs  # noqa: F401, imported once, before the fork

    context = multiprocessing.get_context("fork")
    first = context.Process(target=tracking.open_store, args=(uri, "first", folder / "first"))
    first.start()  # makes the tables, as the process does that launches a sweep
    first.join()
    together, failures = context.Barrier(processes), context.Queue()
    started = [
        context.Process(
            target=write, args=(uri, folder / str(i) if uri else folder, rounds, together, failures)
        )
        for i in range(processes)
    ]
    for process in started:
        process.start()
    for process in started:
        process.join(500)
    assert failures.empty(), failures.get()
    store = tracking.open_store(uri, "races", folder)
    return [
        sorted(logged.dataset.digest for logged in run.inputs.dataset_inputs)
        for run in tracking.search(store, "", experiments=[store.experiment_id])
    ]


def test_processes_log_one_data_set_into_an_embedded_store_at_the_same_moment(tmp_path):
    copy_store(tmp_path / "mlflow")
    runs = race(None, tmp_path / "mlflow", 3, 6)
    assert runs == [[digest_of(number)[:36] for number in range(6)]] * 3


@pytest.mark.slow
@needs_postgres
def test_eight_processes_log_the_same_inputs_two_hundred_times_into_postgresql(tmp_path):
    with postgres() as uri:
        runs = race(uri, tmp_path, 8, 200)
    assert runs == [[digest_of(number)[:36] for number in range(200)]] * 8
