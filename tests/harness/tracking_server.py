"""A tracking server for tests: PostgreSQL (Debian's, where it is installed) and `mlflow server` on
loopback, both stopped at the end."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

START_S = 180  # a server that is not up by then is not coming, however loaded the machine


def initdb() -> Path | None:
    """Return PostgreSQL's initdb; Debian keeps it off the PATH."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    found = debian[-1] if debian else shutil.which("initdb")
    return Path(found) if found else None


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def postgres() -> Iterator[str]:
    """Run a cluster of its own and give the URI of its database. PostgreSQL refuses root, for whom
    it runs as the user postgres."""
    programs, port = initdb().parent, free_port()
    as_user = (
        {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}
    )
    with (
        tempfile.TemporaryDirectory() as folder
    ):  # not one of pytest's, which only their owner may enter
        if as_user:
            shutil.chown(folder, "postgres", "postgres")
        data = Path(folder) / "data"
        calls = {"check": True, "stdout": subprocess.DEVNULL, "cwd": folder, **as_user}
        subprocess.run(
            [
                programs / "initdb",
                "-D",
                data,
                "-U",
                "touchstone",
                "-A",
                "trust",
                "--no-sync",
                "-E",
                "UTF8",
            ],
            **calls,
        )
        settings = (
            f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off"
        )
        subprocess.run(
            [programs / "pg_ctl", "-D", data, "-w", "-l", f"{folder}/log", "-o", settings, "start"],
            **calls,
        )
        try:
            yield f"postgresql://touchstone@127.0.0.1:{port}/postgres"
        finally:
            subprocess.run([programs / "pg_ctl", "-D", data, "-m", "immediate", "stop"], **calls)


def wait_until(
    true: Callable[[], bool], process: subprocess.Popen | None = None, said: Callable[[], str] = str
) -> None:
    """Wait for a condition, as long as a server may take to start."""
    end = time.monotonic() + START_S
    while not true():
        if time.monotonic() > end or process is not None and process.poll() is not None:
            raise TimeoutError(said())
        time.sleep(0.05)


@dataclass
class Server:
    """An `mlflow server` that can be killed and started again on the same port."""

    folder: Path
    backend: str
    options: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    process: subprocess.Popen | None = None

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        command = [
            sys.executable,
            "-m",
            "mlflow",
            "server",
            "--backend-store-uri",
            self.backend,
            "--workers",
            "1",
        ]
        command += [
            "--serve-artifacts",
            "--artifacts-destination",
            str(self.folder / "artifacts"),
            "--host",
            "127.0.0.1",
        ]
        own = {
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            **self.environment,
        }
        with open(self.folder / "server.log", "a") as said:
            self.process = subprocess.Popen(
                [*command, "--port", str(self.port), *self.options],
                cwd=self.folder,
                env={**os.environ, **own},
                stdout=said,
                stderr=said,
                start_new_session=True,
            )
        wait_until(self.answers, self.process, (self.folder / "server.log").read_text)

    def answers(self) -> bool:
        try:
            return urllib.request.urlopen(f"{self.uri}/health", timeout=2).status == 200
        except OSError:
            return False

    def kill(self) -> None:
        """SIGKILL to the server and its worker, in a process group of their own."""
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, 9)
            self.process.wait()


@contextmanager
def serving(folder: Path, backend: str, *options: str, **environment: str) -> Iterator[Server]:
    folder.mkdir(exist_ok=True)
    server = Server(folder, backend, options, environment)
    try:
        server.start()
        yield server
    finally:
        server.kill()
