"""run.py in processes forked from one that has done the imports: what starts it dozens of times,
and kills it, need not wait for them.

The processes find an empty tracking store, copied from one that was made once: making one takes
seconds. What is about a fresh process or a new store says so (`grid.run`, `new_store`).

A process can be told to die (SIGKILL to itself) at its n-th write: a file opened for writing,
renamed or removed, a folder made, or an SQL statement. So a seed names a moment whatever the speed
of the machine. It can be told to hold (SIGSTOP to itself) where it has printed something: what
happens then to it or around it happens at that moment, however late it is noticed.
"""

from __future__ import annotations

import atexit
import io
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing import forkserver
from pathlib import Path

import psutil
from grid import ROOT

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["preloaded_imports"])
WRITES = ("os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.truncate")
PATIENCE_S = 300  # a process that takes longer hangs, however loaded the machine


@dataclass(frozen=True)
class Started:
    """A running process: itself, the files that take what it prints, and the one that takes the
    count of its writes."""

    process: multiprocessing.process.BaseProcess
    output: Path
    errors: Path
    counted: Path

    def wait(self, timeout: float = PATIENCE_S) -> int:
        """Return the exit status; -9 where it was killed."""
        self.process.join(timeout)
        if self.process.is_alive():
            self.process.kill()
            raise TimeoutError(self.said())
        return self.process.exitcode

    def wait_until_held(self) -> None:
        """Wait until it stands at the line given as `hold_at`."""
        self._wait_for(lambda: self._state() == psutil.STATUS_STOPPED)

    def wait_until_said(self, text: str) -> None:
        """Wait until it, or a process of its own, has printed a text."""
        self._wait_for(lambda: text in self.said())

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition holds."""
        self._wait_for(condition)

    def go_on(self) -> None:
        os.kill(self.process.pid, signal.SIGCONT)

    def said(self) -> str:
        """Return what it printed; where errors go to the same file, in the order in which it was
        printed."""
        return self.output.read_text() + (
            self.errors.read_text() if self.errors != self.output else ""
        )

    def writes(self) -> int:
        """How many writes it came to."""
        return int(self.counted.read_text())

    def _wait_for(self, true: Callable[[], bool]) -> None:
        end = time.monotonic() + PATIENCE_S
        while not true():
            if time.monotonic() > end or not self.process.is_alive():
                self.process.kill()
                raise TimeoutError(self.said())
            time.sleep(0.02)

    def _state(self) -> str | None:
        try:
            return psutil.Process(self.process.pid).status()
        except psutil.NoSuchProcess:
            return None


def start(
    *arguments: str,
    cwd: Path,
    die_at: int | None = None,
    hold_at: str | None = None,
    new_store: bool = False,
    environment: Mapping[str, str] | None = None,
) -> Started:
    """Start run.py in `cwd`, with `environment` beside ours.

    `die_at` is the write at which it kills itself, `hold_at` what it prints before it holds;
    `new_store` leaves the making of its store to it.
    """
    number = len(list(cwd.glob("output-*")))
    output, counted = cwd / f"output-{number}", cwd / f"writes-{number}"
    if not new_store:
        copy_store(cwd / "mlflow")
    return _start(
        "run.py", arguments, cwd, output, output, counted, die_at, hold_at, environment or {}
    )


def run(*arguments: str, cwd: Path, **options) -> Started:
    """As `start`, and wait for the end."""
    started = start(*arguments, cwd=cwd, **options)
    started.wait()
    return started


def completed(
    *arguments: str,
    cwd: Path,
    program: str = "run.py",
    python: str = sys.executable,
    **environment: str,
) -> subprocess.CompletedProcess:
    """As `grid.run`, without its start: the exit status, and what was printed by run.py or
    touchstone; `python` is its `sys.executable`, what it starts processes of its own with."""
    copy_store(cwd / "mlflow")
    with tempfile.TemporaryDirectory() as folder:  # not `cwd`: tests look at what lies there
        files = [Path(folder) / name for name in ("output", "errors", "writes")]
        started = _start(program, arguments, cwd, *files, None, None, environment, python)
        status = started.wait()
        return subprocess.CompletedProcess(
            (program, *arguments), status, started.output.read_text(), started.errors.read_text()
        )


def _start(
    program,
    arguments,
    cwd,
    output,
    errors,
    counted,
    die_at,
    hold_at,
    environment,
    python=sys.executable,
) -> Started:
    for file in (output, errors):
        file.touch()
    files = tuple(map(str, (output, errors, counted)))
    environment = {
        **os.environ,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "COLUMNS": "200",
        **environment,
    }
    command = tuple(map(str, arguments))
    process = forked(_run, program, command, str(cwd), files, die_at, hold_at, environment, python)
    process.start()
    return Started(process, output, errors, counted)


def forked(target: Callable, *arguments) -> multiprocessing.process.BaseProcess:
    """Return a process, not yet started, that calls a function after a fork from the one that has
    done the imports."""
    _serve()
    return _context.Process(target=target, args=arguments)


@lru_cache(maxsize=1)
def _serve() -> None:
    """Start the process to fork from; the standard library does not hand it our path, and says
    nothing where it finds nothing to import."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(
        map(str, (ROOT / "tests" / "harness", ROOT / "src", *filter(None, [before])))
    )
    try:
        forkserver.ensure_running()
    finally:
        del os.environ["PYTHONPATH"]
        if before is not None:
            os.environ["PYTHONPATH"] = before


def copy_store(folder: Path) -> Path:
    """Put an empty store into a folder that is not there, as run.py would make one, and return the
    folder."""
    if not folder.exists():
        folder.mkdir(parents=True)
        shutil.copy(_empty_store(), folder / "mlflow.db")
    return folder


@lru_cache(maxsize=1)
def _empty_store() -> Path:
    from touchstone import tracking

    folder = Path(tempfile.mkdtemp(prefix="touchstone-store-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    tracking.create(folder / "mlflow.db")
    return folder / "mlflow.db"


class _Holding(io.TextIOWrapper):
    """Standard output that stops its process once, where it has printed a text."""

    def __init__(self, text: str) -> None:
        super().__init__(
            open(1, "wb", buffering=0, closefd=False),
            encoding="utf-8",
            line_buffering=True,
            write_through=True,
        )
        self.text: str | None = text

    def write(self, printed: str) -> int:
        written = super().write(printed)
        if self.text is not None and self.text in printed:
            self.text = None
            self.flush()
            os.kill(os.getpid(), signal.SIGSTOP)
        return written


def _run(
    program: str,
    arguments: tuple[str, ...],
    cwd: str,
    files: tuple[str, str, str],
    die_at: int | None,
    hold_at: str | None,
    environment: dict[str, str],
    python: str,
) -> None:
    assert "preloaded_imports" in sys.modules, "nothing was imported before the fork"
    os.setpgrp()  # a Ctrl-C to the group reaches the workers too, as from a terminal
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    sys.executable = python
    for stream, file in enumerate(files[:2], 1):
        out = os.open(file, os.O_WRONLY | os.O_APPEND)
        os.dup2(out, stream)
        os.close(out)
    sys.stdout = _Holding(hold_at) if hold_at else open(1, "w", closefd=False, buffering=1)
    sys.stderr = open(2, "w", closefd=False, buffering=1)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    count = _count_writes(die_at)
    if program == "run.py":
        from touchstone.run.console import main
    else:
        from touchstone.cli import main

    sys.argv = [str(ROOT / program), *arguments]
    try:
        status = main(list(arguments))
    except SystemExit as stop:  # argparse
        status = stop.code
    Path(files[2]).write_text(str(count()))
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
        if (
            name in WRITES
            or name == "open"
            and isinstance(arguments[2], int)
            and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        ):
            one()

    sys.addaudithook(audit)
    event.listen(Engine, "before_cursor_execute", one)
    event.listen(Engine, "commit", one)
    return lambda: seen
