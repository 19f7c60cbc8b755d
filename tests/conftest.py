"""Tests run from a checkout: src and tests are importable, telemetry is off, threads are few, and
what takes long comes first."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

# Files that take long, as two equal shares of the time. xdist gives each of two workers one half of
# the tests in their order and lets who is done first take from the other's end: so both begin with
# a share, no file's fixtures are made twice, and short tests are left at the end.
LONG = (
    (
        "end_to_end/test_launchers",
        "end_to_end/test_sweep",
        "report/test_page",
        "report/test_tables",
        "report/test_grid_of_cells",
        "report/formats/test_screen",
        "report/test_figures",
        "report/test_views",  # this and what follows read the store that those before have made
        "report/test_means",
        "report/test_claims",
        "report/test_closing",
        "report/test_explorer",
        "report/test_judging",
        "report/test_publishing",
        "test_cli",
    ),
    (
        "end_to_end/test_server",
        "end_to_end/test_races",
        "end_to_end/test_sync",
        "end_to_end/test_grid",
        "end_to_end/test_synthetic_mining",
        "reproduce/test_reproduce",
        "end_to_end/test_restricted",
    ),
)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    first, second = (
        [item for name in names for item in items if _name(item) == name] for names in LONG
    )
    first.sort(key=lambda item: "_ray_" not in item.name)  # nothing takes as long as starting Ray
    short = [item for item in items if _name(item) not in sum(LONG, ())]
    middle = max(0, (len(items) + 1) // 2 - len(first))
    items[:] = [*first, *short[:middle], *second, *short[middle:]]


def _name(item: pytest.Item) -> str:
    return item.path.relative_to(Path(__file__).parent).with_suffix("").as_posix()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty working folder of a user; what is imported from it is forgotten afterwards."""
    from touchstone import plugins

    monkeypatch.chdir(tmp_path)
    modules, path, known = dict(sys.modules), list(sys.path), dict(plugins._imported)
    yield tmp_path
    sys.path[:] = path
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]
    sys.modules.update(
        {name: module for name, module in modules.items() if name not in sys.modules}
    )
    plugins._imported.clear()
    plugins._imported.update(known)
