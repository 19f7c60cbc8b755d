"""Tests run from a checkout: src and tests are importable, telemetry is off, threads are few, and what takes long comes first."""

import os
import sys
from pathlib import Path

import pytest

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1] / "src")]

# Files that take long, as two equal shares of the time. xdist gives each of two workers one half of the tests in their order and lets who
# is done first take from the other's end: so both begin with a share, no file's fixtures are made twice, and short tests are left at the end.
LONG = (
    (
        "test_sweep",
        "test_launchers",
        "test_report_page",
        "test_report_tables",
        "test_report_grid",
        "test_report_closing",
        "test_report_figures",
    ),
    ("test_server", "test_grid", "test_synthetic_mining", "test_reproduce", "test_restricted"),
)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    first, second = ([item for name in names for item in items if item.path.stem == name] for names in LONG)
    short = [item for item in items if item.path.stem not in sum(LONG, ())]
    middle = max(0, (len(items) + 1) // 2 - len(first))
    items[:] = [*first, *short[:middle], *second, *short[middle:]]
