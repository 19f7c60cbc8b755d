"""Files and folders that may hold notes: readable to their owner only from their first byte on,
whatever the umask says.

A file is created with its mode in one call, aside, and renamed when it is whole. Does not decide
what is private: the caller does. Does not encrypt; who can become the owner can read.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

FILE, FOLDER = 0o600, 0o700


def write_private(path: str | Path, text: str) -> None:
    """Write a text file, 0600."""
    write_aside(path, [text], FILE)


def write_aside(path: str | Path, parts: Iterable[str], mode: int = FILE) -> None:
    """Write text beside `path` into a file created with `mode`, then give it its name.

    Raises
    ------
    OSError
        If the folder cannot be written; what was at `path` is then as before.
    """
    path = Path(path)
    aside = path.with_name(path.name + ".part")
    aside.unlink(missing_ok=True)  # of a killed process, perhaps with another mode
    descriptor = os.open(aside, os.O_CREAT | os.O_WRONLY | os.O_EXCL, mode)
    with open(descriptor, "w", encoding="utf-8") as handle:
        for part in parts:
            handle.write(part)
        handle.flush()
        os.fsync(handle.fileno())
    aside.replace(path)


def private_folder(path: str | Path) -> Path:
    """Create a folder and its missing parents, each 0700; return it."""
    path = Path(path)
    missing = [parent for parent in (path, *path.parents) if not parent.exists()]
    for folder in reversed(missing):
        folder.mkdir(mode=FOLDER, exist_ok=True)
    return path


def close_to_others(path: str | Path) -> bool:
    """Take away what others may do with a folder or file of ours; return whether there was
    anything to take."""
    stat = os.stat(path)
    if not stat.st_mode & 0o077 or stat.st_uid != os.getuid():
        return False
    os.chmod(path, stat.st_mode & 0o700)
    return True


@contextmanager
def private_umask() -> Iterator[None]:
    """Let whatever is created in the body, by a library too, be its owner's only.

    The umask belongs to the process: other threads create private files meanwhile as well.
    """
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)
