"""run.py in processes forked from one that has done the imports: what starts it dozens of times, and kills it, need not wait for them.

A process can be told to die (SIGKILL to itself) at its n-th write: a file opened for writing, renamed or removed, a folder made, or
an SQL statement. So a seed names a moment whatever the speed of the machine.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from grid import ROOT

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["preloaded_imports"])
WRITES = ("os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.truncate")


@dataclass(frozen=True)
class Started:
    """A running run.py: its process and the file that takes what it prints."""

    process: multiprocessing.process.BaseProcess
    output: Path
    counted: Path

    def wait(self, timeout: float = 120) -> int:
        """Return the exit status; -9 where it was killed."""
        self.process.join(timeout)
        if self.process.is_alive():
            self.process.kill()
            raise TimeoutError(self.output.read_text())
        return self.process.exitcode

    def said(self) -> str:
        return self.output.read_text()

    def writes(self) -> int:
        """How many writes it came to."""
        return int(self.counted.read_text())


def start(*arguments: str, cwd: Path, die_at: int | None = None, environment: Mapping[str, str] | None = None) -> Started:
    """Start run.py in `cwd`; `die_at` is the write at which it kills itself."""
    number = len(list(cwd.glob("output-*")))
    output, counted = cwd / f"output-{number}", cwd / f"writes-{number}"
    output.touch()
    process = _context.Process(target=_run, args=(arguments, str(cwd), str(output), str(counted), die_at, dict(environment or {})))
    process.start()
    return Started(process, output, counted)


def run(*arguments: str, cwd: Path, **options) -> Started:
    """As `start`, and wait for the end."""
    started = start(*arguments, cwd=cwd, **options)
    started.wait()
    return started


def _run(arguments: tuple[str, ...], cwd: str, output: str, counted: str, die_at: int | None, environment: dict[str, str]) -> None:
    os.setpgrp()  # a Ctrl-C to the group reaches the workers too, as from a terminal
    os.chdir(cwd)
    os.environ.update({"COLUMNS": "200", **environment})
    out = os.open(output, os.O_WRONLY | os.O_APPEND)
    os.dup2(out, 1)
    os.dup2(out, 2)
    sys.stdout, sys.stderr = open(1, "w", closefd=False, buffering=1), open(2, "w", closefd=False, buffering=1)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    count = _count_writes(die_at)
    from touchstone.console import main

    sys.argv = [str(ROOT / "run.py"), *arguments]
    status = main(list(arguments))
    Path(counted).write_text(str(count()))
    sys.stdout.flush()
    os._exit(status)


def _count_writes(die_at: int | None):
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    seen = 0

    def one(*_) -> None:
        nonlocal seen
        seen += 1
        if seen == die_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def audit(name: str, arguments: tuple) -> None:
        if name in WRITES or name == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR):
            one()

    sys.addaudithook(audit)
    event.listen(Engine, "before_cursor_execute", one)
    event.listen(Engine, "commit", one)
    return lambda: seen
