"""Hydra plugins for grids of many cells: each file of conf/ is parsed once, and a sweep is checked
by its values before it starts.

Hydra composes the configuration of every job twice, and parses some twenty files each time: a third
of a second a cell, more than a linear model takes to learn. Hydra finds the classes here by the
name of the package, `hydra_plugins`.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.plugins.config_source import ConfigResult
from hydra.plugins.search_path_plugin import SearchPathPlugin


class KeptFiles(FileConfigSource):
    """Files of conf/, parsed once in a process and after each change."""

    @staticmethod
    def scheme() -> str:
        return "kept"

    def load_config(self, config_path: str) -> ConfigResult:
        file = Path(self.path) / self._normalize_file_name(config_path)
        stat = file.stat() if file.exists() else None
        key = (str(file), stat.st_mtime_ns, stat.st_size) if stat else None
        if key not in _parsed:
            _parsed[key] = pickle.dumps(
                super().load_config(config_path)
            )  # Hydra changes what it is given
        return pickle.loads(_parsed[key])


_parsed: dict[tuple[str, int, int] | None, bytes] = {}


class KeepFiles(SearchPathPlugin):
    """Makes conf/ be read through `KeptFiles`, and its launchers and sweepers count instead of the
    defaults of their plugins."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        registered = ConfigStore.instance().repo
        for element in search_path.get_path():
            folder = element.path.removeprefix("file://")
            if element.provider != "main" or "://" in folder:
                continue
            element.path = f"kept://{folder}"
            for file in Path(folder, "hydra").glob(
                "*/*.yaml"
            ):  # Hydra would merge a file with what is registered by its name
                registered.get("hydra", {}).get(file.parent.name, {}).pop(file.name, None)


class GridSweeper(BasicSweeper):
    """Hydra's sweeper, which checks beforehand that every value composes, not every combination: 9
    configurations for a grid of 28."""

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """Compose the fewest jobs, taken in order, that together hold every override of the
        batch."""
        seen: set[str] = set()
        chosen = []
        for overrides in batch:
            if not seen.issuperset(overrides):
                chosen.append(overrides)
                seen.update(overrides)
        super().validate_batch_is_legal(chosen)
