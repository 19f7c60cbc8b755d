"""The NOTEEVENTS benchmark compares like with like: every reader that is installed finds the same
rows."""

from __future__ import annotations

import importlib.util

import pytest
from grid import ROOT
from synthetic_noteevents import write_noteevents


@pytest.fixture(scope="module")
def bench():
    spec = importlib.util.spec_from_file_location(
        "bench_noteevents", ROOT / "benchmarks" / "noteevents.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_all_readers_find_the_same_rows(bench, tmp_path):
    path = tmp_path / "NOTEEVENTS.csv.gz"
    write_noteevents(path, megabytes=3)
    installed = [
        name for name in bench.READERS if name == "touchstone" or importlib.util.find_spec(name)
    ]
    rows = {name: bench.READERS[name](str(path)) for name in installed}
    assert {"touchstone", "pyarrow", "pandas"} <= set(rows)
    assert len(set(rows.values())) == 1 and rows["touchstone"] > 10, rows


def test_a_reader_that_is_not_installed_is_named(bench, tmp_path, capsys, monkeypatch):
    path = tmp_path / "NOTEEVENTS.csv.gz"
    write_noteevents(path, megabytes=1)
    monkeypatch.setattr(bench, "READERS", {"touchstone": bench.touchstone, "missing_one": None})
    monkeypatch.setattr(bench, "REPEATS", 1)
    found = bench.reading(path)
    assert "missing_one not installed" in " ".join(capsys.readouterr().out.split())
    assert found["reading"] == 1.0 and 50 < found["peak RSS MB"] < 500
