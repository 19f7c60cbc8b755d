"""A `python` that need not import: what it is given runs in a process forked from the one that
`preloaded` forks from, in the folder, environment and streams of who called it.

It is a program like any other, for a PATH, a shell script or `sys.executable`, and takes `-c CODE`,
`-m touchstone`, the kernel of a notebook, and scripts. What it does not know (other modules and
flags, another checkout first on PYTHONPATH) goes to the real interpreter. What is about a fresh
process itself, what it imports or how it ends, starts the real one: `grid.run`, test_wheel.py.
"""

from __future__ import annotations

import atexit
import io
import marshal
import os
import runpy
import select
import shlex
import shutil
import signal
import socket
import sys
import tempfile
import threading
import warnings
from functools import lru_cache
from pathlib import Path

import preloaded
from grid import ROOT

REAL = sys.executable
FLAGS = ("-P", "-B", "-u")
MODULES = ("touchstone", "ipykernel_launcher")
ENDED_BADLY = 70

# What stands in the file `python`: the standard library's os, socket and marshal are all it loads.
CLIENT = f"""
import marshal, os, socket, sys

address, real, source = sys.argv[1:4]
arguments = sys.argv[4:]
rest = list(arguments)
while rest and rest[0] in {FLAGS!r}:
    del rest[0]
path = os.environ.get("PYTHONPATH", "").split(os.pathsep)
ours = next((one for one in path if os.path.isdir(os.path.join(one, "touchstone"))), None) == source
program = rest and (
    rest[0] == "-c" or rest[0] == "-m" and rest[1].startswith({MODULES!r})
    or not rest[0].startswith("-")
)
if not (ours and program):
    os.execv(real, [real, *arguments])
message = marshal.dumps((os.getcwd(), dict(os.environ), "-P" in arguments, rest))
with socket.socket(socket.AF_UNIX) as server:
    server.connect(address)
    socket.send_fds(server, [b"."], [0, 1, 2])
    server.sendall(message)
    server.shutdown(socket.SHUT_WR)
    answer = server.recv(1)
sys.exit(answer[0] if answer else {ENDED_BADLY})
"""


@lru_cache(maxsize=1)
def program() -> str:
    """Return the path of this `python`, after starting what it asks."""
    folder = Path(tempfile.mkdtemp(prefix="touchstone-python-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    client, address, python = folder / "client.py", folder / "socket", folder / "python"
    client.write_text(CLIENT)
    command = [REAL, "-I", "-S", str(client), str(address), REAL, str(ROOT / "src")]
    python.write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n')
    python.chmod(0o755)
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(address))
    listening.listen(64)
    server = preloaded.forked(_listen, listening, str(python))
    server.start()
    listening.close()
    atexit.register(server.kill)
    return str(python)


def _listen(listening: socket.socket, python: str) -> None:
    """Answer each caller in a process of its own, for as long as there is somebody to call."""
    parent = os.getppid()
    listening.settimeout(1)
    while os.getppid() == parent:
        _reap()
        try:
            connection, _ = listening.accept()
        except TimeoutError:
            continue
        if os.fork() == 0:
            listening.close()
            _answer(connection, python)
        connection.close()


def _reap() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def _answer(connection: socket.socket, python: str) -> None:
    """Run what is asked for in a child, and send back its exit status (128 and the signal's number
    where one ended it, as a shell says it). Who asked is killed: so is the child."""
    _, streams, _, _ = socket.recv_fds(connection, 1, 3)
    parts = []
    while part := connection.recv(1 << 20):
        parts.append(part)
    child = os.fork()
    if child == 0:
        os.setpgrp()
        connection.close()
        _run(streams, python, *marshal.loads(b"".join(parts)))
    for stream in streams:
        os.close(stream)
    ended, events = os.pidfd_open(child), select.poll()
    events.register(ended, select.POLLIN)
    events.register(connection, 0)  # tells of POLLHUP only: its other end is gone
    if ended not in dict(events.poll()):
        os.killpg(child, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    try:
        connection.sendall(bytes([status if status >= 0 else 128 - status]))
    except OSError:  # who asked is gone
        pass
    os._exit(0)


def _run(
    streams: list[int],
    python: str,
    cwd: str,
    environment: dict[str, str],
    is_safe: bool,
    arguments: list[str],
) -> None:
    os.chdir(cwd)
    imported = {key: value for key, value in os.environ.items() if key.startswith("MLFLOW_")}
    os.environ.clear()
    os.environ.update({**imported, **environment})
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    sys.stdin, sys.stdout = open(0, closefd=False), open(1, "w", closefd=False)
    sys.stderr = open(2, "w", closefd=False, buffering=1)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.executable = python
    entries = [entry for entry in environment["PYTHONPATH"].split(os.pathsep) if entry]
    installed = (sys.prefix, sys.base_prefix)
    sys.path[:] = [*entries, *(one for one in sys.path if one.startswith(installed))]
    status = 1
    try:
        _start(arguments, is_safe)
        status = 0
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        if isinstance(stop.code, str):
            print(stop.code, file=sys.stderr)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        threading._shutdown()
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            _flush(stream)
        os._exit(status)


def _flush(stream: io.TextIOBase) -> None:
    try:
        stream.flush()
    except OSError:  # a pipe whose reader is gone
        pass


def _start(arguments: list[str], is_safe: bool) -> None:
    """Run `-c CODE`, `-m MODULE` or a script as the interpreter would."""
    what, *rest = arguments
    first = "" if what == "-c" else os.getcwd() if what == "-m" else str(_folder(what))
    if not is_safe:
        sys.path.insert(0, first)
    if what == "-c":
        sys.argv = ["-c", *rest[1:]]
        namespace = {"__name__": "__main__", "__builtins__": __builtins__}
        exec(compile(rest[0], "<string>", "exec"), namespace)
    elif what == "-m":
        sys.argv = [rest[0], *rest[1:]]
        warnings.filterwarnings("ignore", module="runpy")  # that it is imported already
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    else:
        sys.argv = [what, *rest]
        runpy.run_path(what, run_name="__main__")


def _folder(script: str) -> Path:
    return Path(script).resolve().parent
