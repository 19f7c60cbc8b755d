"""Where a short name chooses an implementation: the package's own, the user's, or another package's.

`corpus.gold.reader: brat` is `touchstone/data/readers/brat.py`: a folder of the package is named
for what it offers, a file in it for the value. Where a short name stands, three others may stand:

    my_readers.read_charts        attribute of an importable module, or of ./my_readers.py
    plugins/charts.py:read        attribute of a file, relative to the working folder
    charts                        entry point of an installed package, group `touchstone.readers`

An error in such code is the user's: it is told with the file and line where it happened.
Does not decide what an implementation must look like (the folder's README line in
docs/extending.md does) and imports nothing before it is asked for.
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from touchstone.errors import UserError, no_such


def load(key: str, name: str, folder: str, attribute: str) -> Any:
    """Return the implementation that `name` chooses.

    Parameters
    ----------
    key : the configuration key that holds `name`, for messages: `corpus.gold.reader`.
    name : a short name, dotted path, `FILE.py:ATTRIBUTE`, or entry point.
    folder : package whose modules are the short names: `touchstone.data.readers`. The last part
        is the entry-point group: `touchstone.readers`.
    attribute : what the package's own modules call it: `read`.

    Raises
    ------
    UserError
        If nothing has that name, or the code that has it cannot be imported.
    """
    if name in names(folder):
        return getattr(importlib.import_module(f"{folder}.{name}"), attribute)
    module, _, found = _split(name)
    if found:
        return _attribute(key, name, _imported(key, name, module), found)
    installed = {entry.name: entry for entry in entry_points(group=group_of(folder))}
    if name in installed:
        with blaming(key, name):
            return installed[name].load()
    choices = [*names(folder), *sorted(installed)]
    raise UserError(
        f"{key}={name}: {no_such(key.rpartition('.')[2], name, choices)}. "
        "Your own: MODULE.FUNCTION or FILE.py:FUNCTION"
    )


def names(folder: str) -> list[str]:
    """Return the short names that a package offers, sorted: its modules and packages."""
    package = importlib.import_module(folder)
    return sorted(
        module.name
        for module in pkgutil.iter_modules(package.__path__)
        if not module.name.startswith("_")
    )


def group_of(folder: str) -> str:
    """Return the entry-point group for a folder of the package.

    >>> group_of("touchstone.data.readers")
    'touchstone.readers'
    """
    return f"touchstone.{folder.rpartition('.')[2]}"


def is_foreign(name: str, folder: str) -> bool:
    """Return whether `name` stands for code outside this package."""
    return name not in names(folder)


def source_file(loaded: Any) -> Path | None:
    """Return the file that defines an implementation, None where there is none (built in C)."""
    module = sys.modules.get(getattr(loaded, "__module__", None) or "")
    file = getattr(module, "__file__", None)
    return Path(file) if file else None


@contextmanager
def blaming(key: str, name: str) -> Iterator[None]:
    """Tell an error of the user's own code as one line with its file and line.

    Raises
    ------
    UserError
        In place of any other exception of the body; a UserError passes as it is.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        ours = str(Path(__file__).parent)
        theirs = [frame for frame in frames if not frame.filename.startswith((ours, "<frozen"))]
        place = f"{theirs[-1].filename}, line {theirs[-1].lineno}: " if theirs else ""
        raise UserError(f"{key}={name}: {place}{type(error).__name__}: {error}") from error


def _split(name: str) -> tuple[str, str, str]:
    """Return module (or file), separator and attribute; no attribute for a plain word."""
    if ":" in name:
        return name.rpartition(":")
    return name.rpartition(".")


def _imported(key: str, name: str, module: str) -> ModuleType:
    file = Path(module) if module.endswith(".py") else Path(*module.split(".")).with_suffix(".py")
    if file.is_file():
        return _from_file(key, name, file)
    if module.endswith(".py"):
        raise UserError(f"{key}={name}: no file {module} in {Path.cwd()}")
    with blaming(key, name):
        return importlib.import_module(module)


def _from_file(key: str, name: str, file: Path) -> ModuleType:
    """Import a file of the user's project, once: classes pickled by one cell load in another."""
    alias = ".".join(file.with_suffix("").parts) if not file.is_absolute() else file.stem
    known = sys.modules.get(alias)
    if known is not None and getattr(known, "__file__", None) == str(file.resolve()):
        return known
    spec = importlib.util.spec_from_file_location(alias, file.resolve())
    if spec is None or spec.loader is None:
        raise UserError(f"{key}={name}: {file} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[alias] = module
    try:
        with blaming(key, name):
            spec.loader.exec_module(module)
    except UserError:
        sys.modules.pop(alias, None)
        raise
    return module


def _attribute(key: str, name: str, module: ModuleType, attribute: str) -> Any:
    if not hasattr(module, attribute):
        public = [entry for entry in vars(module) if not entry.startswith("_")]
        raise UserError(f"{key}={name}: {no_such('name', attribute, public)} in {module.__name__}")
    return getattr(module, attribute)
