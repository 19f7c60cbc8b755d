"""How Hydra comes to our YAML files: the project's ./conf before the packaged folder, each file
parsed once.

Registered with Hydra by the command (and by whoever composes in Python), never by installation:
other Hydra programs of the environment do not know of it. Folders become part of the search path
when a command starts, so a worker of any launcher sees the same files. Source: Hydra's interfaces
`SearchPathPlugin` and `ConfigSource`, documented for plugins of an application.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.config_search_path import ConfigSearchPath, SearchPathQuery
from hydra.core.config_store import ConfigStore
from hydra.core.object_type import ObjectType
from hydra.core.plugins import Plugins
from hydra.plugins.config_source import ConfigLoadError, ConfigResult, ConfigSource
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import DictConfig, OmegaConf

from touchstone import schema
from touchstone.paths import conf_dir, conf_dirs, project_conf

_parsed: dict[tuple[str, int, int], bytes] = {}


class ConfFiles(ConfigSource):
    """A folder of YAML files, each parsed once in a process and after each change."""

    @staticmethod
    def scheme() -> str:
        return "conf"

    def load_config(self, config_path: str) -> ConfigResult:
        file = Path(self.path, self._normalize_file_name(config_path))
        try:
            status = file.stat()
            key = (str(file), status.st_mtime_ns, status.st_size)
            if key not in _parsed:
                text = file.read_text(encoding="utf-8")
                parsed = (OmegaConf.load(file), self._get_header_dict(text[:512]))
                _parsed[key] = pickle.dumps(parsed)
        except OSError as error:
            raise ConfigLoadError(f"{file}: {error.strerror}") from error
        config, header = pickle.loads(_parsed[key])  # a copy: Hydra changes what it is given
        return ConfigResult(
            provider=self.provider, path=self.full_path(), config=config, header=header
        )

    def available(self) -> bool:
        return self.is_group("")

    def is_group(self, config_path: str) -> bool:
        return Path(self.path, config_path).is_dir()

    def is_config(self, config_path: str) -> bool:
        return Path(self.path, self._normalize_file_name(config_path)).is_file()

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        names: list[str] = []
        for name in os.listdir(Path(self.path, config_path)):
            self._list_add_result(names, os.path.join(config_path, name), name, results_filter)
        return sorted(set(names))


class ConfFolders(SearchPathPlugin):
    """Puts the project's ./conf before the packaged folder, where that is the application's."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        for element in search_path.get_path():
            if (element.path or "").removeprefix("file://") == str(conf_dir()):
                element.path = f"conf://{conf_dir()}"
                if own := project_conf():
                    search_path.prepend("project", f"conf://{own}", SearchPathQuery("main", None))
                return


@contextmanager
def reading_conf() -> Iterator[None]:
    """Let Hydra find our files, and the classes that they are checked against, during the body.

    The files of conf/hydra/ stand for what the plugins of launchers and sweepers registered under
    the same names; what they registered is put back afterwards.
    """
    plugins = Plugins.instance()
    plugins.register(ConfFiles)
    plugins.register(ConfFolders)
    schema.register()
    store = ConfigStore.instance()
    store.store(
        group="hydra/callbacks",
        name="touchstone",
        node={"touchstone": {"_target_": "touchstone.run.sweep.SweepCallback"}},
        provider="touchstone",
    )
    hidden = []
    for folder in conf_dirs():
        for file in (folder / "hydra").glob("*/*.yaml"):
            group = store.repo.get("hydra", {}).get(file.parent.name, {})
            if file.name in group:
                hidden.append((group, file.name, group.pop(file.name)))
    try:
        yield
    finally:
        for group, name, node in hidden:
            group[name] = node


def composed(overrides: Sequence[str] = ()) -> DictConfig:
    """Compose a configuration as the command would, without running it.

    Parameters
    ----------
    overrides : as on the command line: `mixture=gold_bronze`.

    Examples
    --------
    >>> composed(["task.gold_patients=3"]).mixture.name
    'gold'
    """
    with reading_conf(), initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return compose("config", overrides=list(overrides))
