"""Reading a store takes what is asked for, however old the store is, and misses nothing."""

import time

import pytest
from large_store import CELLS, fill
from sqlalchemy.exc import OperationalError

from touchstone import tracking
from touchstone.errors import UserError
from touchstone.report import grid, reading

N_RUNS = 10_000


@pytest.fixture(scope="module")
def old(tmp_path_factory):
    return fill(tmp_path_factory.mktemp("old") / "mlflow", N_RUNS, "long_lived")


def test_a_run_is_found_by_the_beginning_of_its_id_wherever_it_stands(old):
    store, ids = old
    for run_id in (ids[0], ids[N_RUNS // 2], ids[-1]):
        assert tracking.find_run(store, run_id[:12]).info.run_id == run_id
    for unknown in ("ffffffffffff", "no_hex%", "'"):
        with pytest.raises(UserError, match="no run with an id that begins with"):
            tracking.find_run(store, unknown)
    with pytest.raises(UserError, match="several runs with an id that begins with 'a'"):
        tracking.find_run(store, "a")


def test_what_a_table_reads_does_not_grow_with_the_store(old, monkeypatch):
    store, ids = old
    read = []
    monkeypatch.setattr(grid, "grid_of", lambda store, study, sweeps, runs: (sweeps, runs))
    original = tracking.search
    monkeypatch.setattr(
        tracking, "search", lambda *a, **k: read.append(original(*a, **k)) or read[-1]
    )
    started = time.process_time()
    for sweep in (None, ids[0][:10], ids[-CELLS - 1]):
        (parent,), runs = grid.collect(store, "long_lived", sweep)
        first = ids.index(parent.info.run_id)
        assert [run.info.run_id for run in runs] == ids[first + 1 : first + 1 + CELLS]
    took = time.process_time() - started
    assert took < 3 * 0.5, f"{took:.2f} s of CPU for three tables"
    assert sum(map(len, read)) < 10 * CELLS
    assert grid.sweep_of(store, "last")[0].info.run_id == ids[-CELLS - 1]
    assert reading.studies(store) == ["long_lived"]


def test_pages_are_read_to_the_end(old, monkeypatch):
    store, ids = old
    monkeypatch.setattr(tracking, "PAGE", 7)
    assert [run.info.run_id for run in tracking.children(store, ids[0])] == ids[1 : 1 + CELLS]
    latest = tracking.search(store, "", newest_first=True, most=16)
    assert [run.info.run_id for run in latest] == ids[:-17:-1]


def test_studies_with_quotes_in_their_names_are_found(old, tmp_path):
    store, _ = fill(tmp_path / "mlflow", 20, "o'hara")
    assert reading.studies(store) == ["o'hara"]
    assert len(reading.search(store, study="o'hara", kind="cell")) == CELLS
    with pytest.raises(UserError, match="both ' and"):
        reading.search(store, study="'\"")


def test_a_database_that_is_away_is_told_at_once_and_at_the_end_in_one_line(
    tmp_path, monkeypatch, caplog
):
    def away(**_):  # as MLflow, after two minutes
        raise OperationalError("connect", {}, Exception("Connection refused\nIs it running?"))

    monkeypatch.setattr(tracking, "Client", away)
    with pytest.raises(UserError, match="cannot open the tracking store postgresql://") as caught:
        tracking.open_store("postgresql://me:secret@127.0.0.1:1/x", "study", tmp_path)
    assert "the database at 127.0.0.1:1 does not answer" in caplog.text
    assert "secret" not in str(caught.value) and "\n" not in str(caught.value)
