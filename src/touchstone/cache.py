"""Stages computed once: a content-keyed folder for each result, whichever cell or process comes
first.

The key holds everything that can change the result: the stage's config, the digests of its inputs
and a version that the stage's author raises with the code. A lock for each key lets one process
compute while others that need the same wait; other keys never wait. A result is written aside and
renamed when complete, so a killed process leaves nothing that could be taken for a result. The
digest of each file is checked before it is read: what a failing disk changed, be it one bit, is
computed again. Small results are remembered by the process too: the cells of a sweep share them,
and must not change them. Does not decide what is worth caching; the stages do.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from touchstone.digest import canonical, digest, digest_file
from touchstone.errors import UserError, no_such
from touchstone.foreign_text import tell
from touchstone.locks import claimed, is_held
from touchstone.private import close_to_others, private_folder, private_umask, write_private

T = TypeVar("T")
OF_SWEEPS = "of_sweeps"  # stages that the cells of one sweep share: generate/stages.py
MARKER = "stage.json"  # written last: a folder without it is not a result
FORMAT = 1  # of the folder of a result and its marker, not of what a stage computes
REMEMBERED, LARGEST = 64 << 20, 8 << 20  # bytes on disk: all that a process remembers, and one

log = logging.getLogger(__name__)
# folder -> inode of the marker, size, value
_remembered: OrderedDict[Path, tuple[int, int, Any]] = OrderedDict()


@dataclass(frozen=True)
class Entry:
    """One stored result: its stage, key digest, folder, size in bytes and time of last use (seconds
    since the epoch)."""

    stage: str
    digest: str
    path: Path
    size: int
    used: float


def cached(
    folder: str | Path,
    stage: str,
    key: Mapping[str, Any],
    version: int,
    compute: Callable[[], T],
    save: Callable[[T, Path], None],
    load: Callable[[Path], T],
    keep: Callable[[T], bool] = lambda _: True,
) -> tuple[T, bool]:
    """Return the result of a stage and whether it was reused.

    Parameters
    ----------
    folder : root of the cache; created 0700, since results may hold text of restricted corpora.
    stage : name of the stage, a subfolder.
    key : plain data; equal keys mean equal results.
    version : of the stage's code.
    compute : makes the result; called at most once over all processes, and not at all on a hit.
        What it raises passes through and nothing is stored.
    keep : whether a result may be stored; one that lacks something for a passing reason (a request
        that failed) must not be.
    save, load : write the result into a folder and read it back; files are made 0600.

    Raises
    ------
    UserError
        If the cache cannot be written, or a newer version wrote the result.
    """
    name = digest({"stage": stage, "key": key, "version": version})[:32]
    place = Path(folder) / stage / name
    if (found := _read(place, load)) is not None:
        return found[0], True
    with _told(folder):
        private_folder(place.parent)
        if close_to_others(folder):
            log.warning("the cache %s was open to others; it is 0700 again", folder)
    with claimed(f"{place}.lock", stage):
        if (found := _read(place, load)) is not None:
            return found[0], True
        value = compute()
        if keep(value):
            with _told(folder):
                _write(place, stage, key, version, value, save)
                _remember(place, value)
    return value, False


def _read(place: Path, load: Callable[[Path], T]) -> tuple[T] | None:
    """Return the stored value, None where there is none or it is damaged."""
    marker = place / MARKER
    try:
        inode = marker.stat().st_ino
        os.utime(marker)
    except (FileNotFoundError, NotADirectoryError):
        return None
    if place in _remembered and _remembered[place][0] == inode:
        _remembered.move_to_end(place)
        return (_remembered[place][2],)
    if not intact(place):
        return None
    value = load(place)
    _remember(place, value)
    return (value,)


def intact(place: Path) -> bool:
    """Return whether the files of a result are what was stored; where they are not, say so and take
    its mark away, so that it is computed again.

    Raises
    ------
    UserError
        If a newer version wrote it.
    """
    if not (faults := _faults(place)):
        return True
    log.warning("%s/%s: %s; computing it again", place.parent.name, place.name[:8], faults[0])
    (place / MARKER).unlink(missing_ok=True)
    return False


def _remember(place: Path, value: Any) -> None:
    size = sum(file.stat().st_size for file in place.rglob("*"))
    if size > LARGEST:
        return
    _remembered[place] = ((place / MARKER).stat().st_ino, size, value)
    while sum(size for _, size, _ in _remembered.values()) > REMEMBERED:
        _remembered.popitem(last=False)


def entries(folder: str | Path, stage: str | None = None) -> Iterator[Entry]:
    """Yield every complete result of `stage` (None: every stage) below `folder`, oldest use
    first."""
    all_entries = []
    for marker in Path(folder).glob(f"{stage or '*'}/*/{MARKER}"):
        place = marker.parent
        size = sum(file.stat().st_size for file in place.rglob("*") if file.is_file())
        all_entries.append(
            Entry(place.parent.name, place.name, place, size, marker.stat().st_mtime)
        )
    yield from sorted(all_entries, key=lambda entry: entry.used)


def prune(
    folder: str | Path, *, older_than_days: float | None = None, stage: str | None = None
) -> int:
    """Remove results not used for `older_than_days` (None: any age) of `stage` (None: every stage);
    return how many.

    What killed processes left half-written goes too.

    Raises
    ------
    UserError
        If the days are negative, infinite or no number.
    """
    if older_than_days is not None and not 0 <= older_than_days < float("inf"):
        raise UserError(
            f"--older-than {older_than_days:g}: must be a number of days, at least 0; nothing was "
            "removed"
        )
    limit = time.time() - older_than_days * 86_400 if older_than_days is not None else float("inf")
    doomed = [entry for entry in entries(folder, stage) if entry.used < limit]
    for entry in doomed:
        with claimed(f"{entry.path}.lock", entry.stage):
            (entry.path / MARKER).unlink(
                missing_ok=True
            )  # first, so that a reader never sees half of it as whole
            shutil.rmtree(entry.path, ignore_errors=True)
    for part in Path(folder).glob(f"{stage or '*'}/*.part"):
        if not is_held(f"{part.with_name(part.name.partition('.')[0])}.lock"):
            shutil.rmtree(part, ignore_errors=True)
    return len(doomed)


def verify(folder: str | Path, stage: str | None = None) -> list[tuple[Entry, str]]:
    """Return the results of `stage` (None: every stage) whose files are not what was stored, each
    with what is wrong."""
    return [(entry, fault) for entry in entries(folder, stage) for fault in _faults(entry.path)]


def _faults(place: Path) -> list[str]:
    """Return what is wrong with the files of a result.

    Raises
    ------
    UserError
        If a newer version wrote it: it is left as it is.
    """
    try:
        described = json.loads((place / MARKER).read_text())
        stored, version = dict(described["files"]), int(described.get("format", FORMAT))
    except (AttributeError, KeyError, OSError, RecursionError, TypeError, ValueError):
        return ["its description cannot be read"]
    if version > FORMAT:
        raise UserError(
            f"the cache {place.parents[1]} holds results of format {version}, written by a newer "
            f"touchstone; this one reads format {FORMAT}. Update touchstone, or set paths.cache to "
            "another folder"
        )
    faults = []
    for name, sha256 in stored.items():
        file = place / name
        if not file.is_file():
            faults.append(f"{name} is gone")
        elif digest_file(file) != sha256:
            faults.append(f"{name} has changed")
    return faults


@contextmanager
def _told(folder: str | Path) -> Iterator[None]:
    """Say in one line that the cache cannot be written: no permission, no space, not a folder."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"cannot write the cache {folder}: {error.strerror}; set paths.cache to a folder with "
            "room that you own"
        ) from error


def _write(
    place: Path,
    stage: str,
    key: Mapping[str, Any],
    version: int,
    value: T,
    save: Callable[[T, Path], None],
) -> None:
    for remains in place.parent.glob(
        f"{place.name}.*.part"
    ):  # of a process that was killed: the lock is ours now
        shutil.rmtree(remains, ignore_errors=True)
    aside = place.with_name(f"{place.name}.{os.getpid()}.part")
    aside.mkdir(mode=0o700)
    with private_umask():
        save(value, aside)
    files = sorted(file for file in aside.rglob("*") if file.is_file())
    for file in files:
        file.chmod(0o600)
    described = {
        "format": FORMAT,
        "stage": stage,
        "version": version,
        "key": json.loads(canonical(key)),
        "files": {str(f.relative_to(aside)): digest_file(f) for f in files},
    }
    write_private(aside / MARKER, json.dumps(described, indent=1, ensure_ascii=False) + "\n")
    for file in [
        *files,
        aside / MARKER,
    ]:  # on disk before the name is there: a node may lose its power
        with open(file, "rb") as handle:
            os.fsync(handle.fileno())
    shutil.rmtree(place, ignore_errors=True)  # a half-removed folder without its marker
    aside.replace(place)


def add_cli(subparsers: Any) -> None:
    """Add `touchstone cache list|prune|verify`."""
    parser = subparsers.add_parser("cache", help="list, prune or verify the stage cache")
    parser.add_argument("action", choices=("list", "prune", "verify"))
    parser.add_argument(
        "--folder", default=".cache", help="paths.cache of the runs (default: %(default)s)"
    )
    parser.add_argument("--stage", help="only results of this stage")
    parser.add_argument(
        "--older-than",
        type=float,
        metavar="DAYS",
        help="prune: only results not used for so many days",
    )
    parser.set_defaults(run=_run_cli)


def _run_cli(arguments: Any) -> int:
    folder, stage = arguments.folder, arguments.stage
    if not Path(folder).is_dir():
        raise UserError(f"no cache in {folder}; name paths.cache of the runs: --folder FOLDER")
    if stage is not None and stage not in (there := _stages(folder)):
        raise UserError(
            f"--stage: {no_such('stage', stage, there)}"
            if there
            else f"the cache {folder} has no results"
        )
    if arguments.action == "prune":
        tell(f"removed {prune(folder, older_than_days=arguments.older_than, stage=stage)} results")
        return 0
    if arguments.action == "verify":
        wrong = verify(folder, stage)
        for entry, fault in wrong:
            tell(f"{entry.stage} {entry.digest}: {fault}")
        tell(f"{len(wrong)} damaged of {len(list(entries(folder, stage)))} results")
        return 1 if wrong else 0
    for entry in entries(folder, stage):
        used = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.used))
        size = f"{entry.size / 1e6:9.2f} MB"
        tell(f"{entry.stage:<12} {entry.digest} {size}  last used {used}")
    return 0


def _stages(folder: str | Path) -> set[str]:
    """Return the stages that have results in a cache, or what killed processes left of some."""
    return {
        place.parent.name
        for place in Path(folder).glob("*/*")
        if place.suffix == ".part" or (place / MARKER).exists()
    }
