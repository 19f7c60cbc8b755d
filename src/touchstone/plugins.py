"""Where a short name chooses an implementation: the package's own, the user's, or another
package's.

`corpus.gold.reader: brat` is `touchstone/data/readers/brat.py`: a folder of the package is named
for what it offers, a file in it for the value. Where a short name stands, three others may stand:

    my_readers.read_charts        attribute of an importable module, or of ./my_readers.py
    plugins/charts.py:read        attribute of a file, relative to the working folder
    charts                        entry point of an installed package, group `touchstone.readers`

A file of the user's is read again when it changes, so a notebook always runs what stands in it.
An error in such code is the user's: it is told with the file and line where it happened.
Does not decide what an implementation must look like (docs/extending.md says it for each key) and
imports nothing before it is asked for.
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from importlib.metadata import EntryPoint, EntryPoints, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from touchstone.digest import digest, digest_file
from touchstone.errors import UserError, no_such

OWN_CODE = "code"  # folder of a run's artefacts that holds the user's own files
YOUR_OWN = "Your own: MODULE.NAME or FILE.py:NAME"
FOLDERS: list[Path] = []  # where files of the user's are looked for after the working folder
_imported: dict[str, tuple[Path, str]] = {}  # module of the user's -> its file and digest


def load(key: str, name: str, folder: str, attribute: str, also: Sequence[str] = ()) -> Any:
    """Return the implementation that `name` chooses.

    Parameters
    ----------
    key : the configuration key that holds `name`, for messages: `corpus.gold.reader`.
    name : a short name, dotted path, `FILE.py:ATTRIBUTE`, or entry point.
    folder : package whose modules are the short names: `touchstone.data.readers`. The last part
        is the entry-point group: `touchstone.readers`.
    attribute : what the package's own modules call it: `read`.
    also : names that the caller has looked for itself, for messages.

    Raises
    ------
    UserError
        If nothing has that name, the module that has it offers no `attribute`, or the code cannot
        be imported.
    """
    if name in names(folder):
        module = importlib.import_module(f"{folder}.{name}")
        if not hasattr(module, attribute):
            fitting = sorted([*names(folder, attribute), *also, *_installed(folder)])
            raise UserError(f"{key}={name}: not for this key. There are: {', '.join(fitting)}")
        return getattr(module, attribute)
    if is_path(name):
        return load_path(key, name)
    entries = _installed(folder)
    if name in entries:
        with blaming(key, name):
            return entries[name].load()
    choices = [*names(folder, attribute), *also, *entries]
    raise UserError(f"{key}={name}: {no_such(key.rpartition('.')[2], name, choices)}. {YOUR_OWN}")


def load_path(key: str, name: str) -> Any:
    """Return what a dotted path or `FILE.py:ATTRIBUTE` names.

    Raises
    ------
    UserError
        If there is no such file, module or attribute, or the code cannot be imported.
    """
    module_name, _, attribute = _split(name)
    if not module_name or not attribute:
        raise UserError(f"{key}={name}: not of the form MODULE.NAME or FILE.py:NAME")
    module = _module(key, name, module_name)
    if not hasattr(module, attribute):
        public = [entry for entry in vars(module) if not entry.startswith("_")]
        lacking = no_such("name", attribute, public) if len(public) <= 40 else f"no {attribute}"
        raise UserError(f"{key}={name}: {lacking} in {module.__name__}")
    return getattr(module, attribute)


def names(folder: str, attribute: str | None = None) -> list[str]:
    """Return the short names that a package offers, sorted: its modules, or those of them that
    have `attribute`."""
    package = importlib.import_module(folder)
    modules = sorted(
        module.name
        for module in pkgutil.iter_modules(package.__path__)
        if not module.name.startswith("_")
    )
    if attribute is None:
        return modules
    return [
        name for name in modules if hasattr(importlib.import_module(f"{folder}.{name}"), attribute)
    ]


def group_of(folder: str) -> str:
    """Return the entry-point group for a folder of the package.

    >>> group_of("touchstone.data.readers")
    'touchstone.readers'
    """
    return f"touchstone.{folder.rpartition('.')[2]}"


def is_path(name: str) -> bool:
    """Return whether `name` is a dotted path or names a file, so no short name.

    >>> is_path("bio_tsv"), is_path("my_readers.read"), is_path("plugins/charts.py:read")
    (False, True, True)
    """
    return "." in name or ":" in name


def is_foreign(name: str, folder: str) -> bool:
    """Return whether `name` stands for code outside this package."""
    return name not in names(folder)


def source_file(name: str, folder: str | None = None) -> Path | None:
    """Return the file behind a name without importing it, None where there is none to read.

    Parameters
    ----------
    name : as for `load`; a dotted path into an installed package has that package's file.
    folder : as for `load`; None where only paths are names.
    """
    if not is_path(name):
        entry = _installed(folder).get(name) if folder else None
        return _file_of(entry.module) if entry else None
    return _file_of(_split(name)[0])


def known(key: str, name: str, folder: str, attribute: str, also: Sequence[str] = ()) -> None:
    """Check that there is something behind a name, without importing it.

    Raises
    ------
    UserError
        As `load`, if a short name is not known or a file is not there.
    """
    if is_path(name):
        module, _, member = _split(name)
        if not module or not member or _file_of(module) is None:
            load_path(key, name)
    elif name not in (*names(folder), *_installed(folder)):
        load(key, name, folder, attribute, also)


def own_files(*chosen: tuple[str, str | None]) -> list[Path]:
    """Return the files of the user's project behind names and folders, see `source_file`.

    A file belongs to the project if it is in no `site-packages` and not Python's own: such files
    join the cell key and travel with models and bundles; packages are named by their versions.
    Of a package all files belong to it.
    """
    own: set[Path] = set()
    for name, folder in chosen:
        file = source_file(name, folder)
        if file is not None and _is_own(file):
            root = code_root(file.resolve())
            own |= {root} if root.is_file() else set(root.rglob("*.py"))
    return sorted(own)


def texts(files: Sequence[Path]) -> dict[str, str]:
    """Return path -> text of the user's own files; the path is relative to the working folder, or
    to the folder of the outermost package for files elsewhere."""
    sources = {}
    for file in files:
        tops = [
            top.resolve() for top in (*FOLDERS, Path.cwd()) if file.is_relative_to(top.resolve())
        ]
        top = tops[0] if tops else code_root(file).parent
        sources[file.relative_to(top).as_posix()] = file.read_text(encoding="utf-8")
    return sources


def digests(sources: Mapping[str, str]) -> dict[str, str]:
    """Return path -> digest of the text, for `texts`."""
    return {path: digest(text) for path, text in sources.items()}


def code_root(file: Path) -> Path:
    """Return what must be copied for a file's module to be imported elsewhere: the outermost
    package it is in, or the file alone."""
    root = file
    while (root.parent / "__init__.py").exists():
        root = root.parent
    return root


@contextmanager
def blaming(key: str, name: str, *, withheld: bool = False) -> Iterator[None]:
    """Tell an error of the user's own code as one line with its file and line.

    Parameters
    ----------
    withheld : whether the error's own words are left out, since they may hold restricted text.

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
        raise UserError(f"{key}={name}: {_place(error)}{_words(error, withheld)}") from error


def _place(error: Exception) -> str:
    """Return `FILE, line N: ` of the deepest line in the user's own code, else of the deepest
    outside this package."""
    ours = (str(Path(__file__).parent), "<frozen")
    frames = [
        (frame.filename, frame.lineno)
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith(ours) and not frame.filename.endswith("contextlib.py")
    ]
    if isinstance(error, SyntaxError) and error.filename:
        frames = [(error.filename, error.lineno)]
    chosen = [frame for frame in frames if _is_own(Path(frame[0]))] or frames
    return f"{chosen[-1][0]}, line {chosen[-1][1]}: " if chosen else ""


def _words(error: Exception, withheld: bool) -> str:
    if withheld:
        return f"{type(error).__name__} (its message is withheld: the corpus is restricted)"
    message = error.msg if isinstance(error, SyntaxError) else str(error)
    return f"{type(error).__name__}: {' '.join(message.split())}"


def _split(name: str) -> tuple[str, str, str]:
    """Return module (or file), separator and attribute; no attribute for a plain word."""
    return name.rpartition(":") if ":" in name else name.rpartition(".")


def _installed(folder: str) -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in _entries(group_of(folder))}


@lru_cache(maxsize=32)
def _entries(group: str) -> EntryPoints:
    """Return a group's entry points: a look into the files of every package, so once a process, not
    for each name of each cell."""
    return entry_points(group=group)


def _own_file(module: str) -> Path | None:
    """Return the user's file for `FILE.py` or a dotted module, in the working folder or one of
    `FOLDERS`."""
    file = Path(module) if module.endswith(".py") else Path(*module.split(".")).with_suffix(".py")
    below = Path(file.name) if file.is_absolute() else file
    for candidate in (file, *(folder / below for folder in FOLDERS)):
        if candidate.is_file():
            return candidate.resolve()
    return None


def _file_of(module: str) -> Path | None:
    if (own := _own_file(module)) is not None:
        return own
    try:
        spec = None if module.endswith(".py") else importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return None
    return Path(spec.origin) if spec and spec.origin and Path(spec.origin).is_file() else None


def _is_own(file: Path) -> bool:
    import sysconfig

    if file.name.startswith("<") or "site-packages" in file.parts:
        return False
    python = (sysconfig.get_path("stdlib"), str(Path(__file__).parent))
    return not str(file.resolve()).startswith(python)


def _module(key: str, name: str, module: str) -> ModuleType:
    file = _own_file(module)
    if file is not None:
        return _import_file(key, name, file, file.stem if module.endswith(".py") else module)
    if module.endswith(".py"):
        raise UserError(f"{key}={name}: no file {module} in {Path.cwd()}")
    with blaming(key, name):
        try:
            return importlib.import_module(module)
        except ModuleNotFoundError as error:
            if not error.name or not f"{module}.".startswith(f"{error.name}."):
                raise
            raise UserError(
                f"{key}={name}: no module {error.name} in {Path.cwd()} or among the installed "
                "packages"
            ) from None


def _import_file(key: str, name: str, file: Path, alias: str) -> ModuleType:
    """Import a file of the user's project, once for each content; what it imports from beside it
    is found too."""
    earlier_file, content = _imported.get(alias), digest_file(file)
    if earlier_file == (file, content) and alias in sys.modules:
        return sys.modules[alias]
    other = getattr(sys.modules.get(alias), "__file__", None)
    if earlier_file is None and other and Path(other).resolve() != file:
        raise UserError(
            f"{key}={name}: Python has a module {alias} already ({other}); rename {file}"
        )
    top = file.parents[alias.count(".")]
    if str(top) not in sys.path:
        sys.path.append(str(top))
    spec = importlib.util.spec_from_file_location(alias, file)
    assert spec is not None and spec.loader is not None  # the name ends in .py
    module = importlib.util.module_from_spec(spec)
    earlier = sys.modules.get(alias)
    sys.modules[alias] = module
    try:
        with blaming(key, name):
            if "." in alias:
                importlib.import_module(alias.rpartition(".")[0])
            spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(alias, None)
        if earlier is not None:
            sys.modules[alias] = earlier
        raise
    _imported[alias] = (file, content)
    return module
