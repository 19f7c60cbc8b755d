"""A bundle that is still packed: what its cells hold is unpacked, within bounds.

An archive of a stranger can be small and unpack to terabytes, hold millions of files, or name paths
outside its folder. Its list is read first, and nothing is written where it is too much. Only the
recorded runs and answers are unpacked: the bundle's own code is not looked at.
"""

from __future__ import annotations

import gzip
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from touchstone.errors import UserError

MOST_FILES = 100_000
MOST_MB = 4_000  # unpacked
MOST_TIMES = 200  # unpacked bytes for one of the archive; JSON lines come to 30
LONGEST_HEADER = 1_000_000  # bytes; files are copied in pieces of 16 kB
PARTS = ("cells", "recordings", "bundle.json")


def unpacked(archive: Path, folder: Path) -> Path:
    """Unpack a bundle's runs and answers into a folder, and return the bundle's own folder there.

    Raises
    ------
    UserError
        If it is no archive, larger than the bounds, or names a path outside its folder.
    """
    try:
        with _Archive(archive) as plain, tarfile.open(fileobj=plain, mode="r:") as packed:
            names = [member for member in _within_bounds(archive, packed) if _is_wanted(member)]
            packed.extractall(folder, members=names, filter="data")
    except tarfile.FilterError as error:
        name = error.tarinfo.name[:80]
        raise UserError(
            f"{archive}: {name} leads out of the bundle's folder; nothing was run"
        ) from None
    except (tarfile.TarError, EOFError, OSError, ValueError) as error:
        raise UserError(f"{archive}: no archive of a bundle, or a damaged one: {error}") from None
    tops = sorted({PurePosixPath(member.name).parts[0] for member in names})
    if len(tops) != 1:
        raise UserError(f"{archive} is no bundle: it holds no folder with cells/; nothing was run")
    return folder / tops[0]


class _Archive(gzip.GzipFile):
    """Refuses to be read in one piece, as names and headers of any length would be."""

    def read(self, size: int | None = -1) -> bytes:
        if size is None or not 0 <= size <= LONGEST_HEADER:
            raise tarfile.ReadError("a name or header is too long")
        return super().read(size)


def _is_wanted(member: tarfile.TarInfo) -> bool:
    parts = PurePosixPath(member.name).parts
    return len(parts) > 1 and parts[1] in PARTS


def _within_bounds(archive: Path, packed: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Yield what an archive lists, until it is too much."""
    most = min(MOST_MB * 1_000_000, max(archive.stat().st_size * MOST_TIMES, 1_000_000))
    size = 0
    for number, member in enumerate(packed, start=1):
        size += max(member.size, 0)
        if number > MOST_FILES:
            raise UserError(f"{archive} holds more than {MOST_FILES} files; nothing was unpacked")
        if size > most:
            raise UserError(
                f"{archive} unpacks to more than {most / 1e6:.0f} MB from "
                f"{archive.stat().st_size / 1e6:.1f} MB; nothing was unpacked"
            )
        yield member
