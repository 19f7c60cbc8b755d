"""Claims on work: locks that end with the process that holds them, so that a killed run can be told
from one that still works.

A file lock of the operating system is released when its process ends, however it ends; no
heartbeat, no clock, no process number that another process may have got since. Works over processes
of one machine and over machines that share a disk with locks (NFSv4, Lustre with flock). The lock
files stay; they are empty.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

log = logging.getLogger(__name__)


def claim(path: str | Path) -> FileLock | None:
    """Claim `path` for as long as this process lives, or until the returned lock is released; None
    if another holds it."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(str(path), thread_local=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return None
    return lock


def is_held(path: str | Path) -> bool:
    """Return whether a living process, this one included, holds `path`."""
    if not Path(path).exists():
        return False
    lock = claim(path)
    if lock is None:
        return True
    lock.release()
    return False


@contextmanager
def claimed(path: str | Path, what: str) -> Iterator[None]:
    """Hold `path` during the body; where another process holds it, say so in the log and wait for
    it.

    Parameters
    ----------
    what : the work in words, for the log.
    """
    lock = claim(path)
    if lock is None:
        log.info("%s: another process is at it, waiting", what)
        lock = FileLock(str(path), thread_local=False)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
