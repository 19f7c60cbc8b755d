"""`touchstone ui`: MLflow's page on the results of this folder, or of any store on this machine.

Starts MLflow's own server with one worker, without telemetry and without its job queue, and leaves
the port beside the store, so that printed links lead to it. Does not serve a network: a server for
several people is described in docs/scaling.md.
"""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from touchstone.errors import UserError
from touchstone.foreign_text import tell
from touchstone.report.closing import PORT, PORT_FILE

QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
}


def add_cli(subparsers: Any) -> None:
    """Declare `touchstone ui`."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "ui", help="show the results in a browser, with MLflow's page"
    )
    parser.add_argument("--store", default="mlflow", help="folder (default: %(default)s)")
    parser.add_argument("--port", type=int, default=int(PORT), help="(default: %(default)s)")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from touchstone import tracking
    from touchstone.report.formats.screen import say

    store = tracking.open_existing(arguments.store)
    if not is_free(arguments.port):
        raise UserError(
            f"--port {arguments.port}: something is served there already; choose another port"
        )
    port_file = Path(store.folder) / PORT_FILE
    port_file.write_text(f"{arguments.port}\n", encoding="utf-8")
    tell("Ctrl-C ends it")
    address = f"http://127.0.0.1:{arguments.port}"
    say("", address, address)
    try:
        return subprocess.run(
            command(store.uri, arguments.port), env={**os.environ, **QUIET}, check=False
        ).returncode
    except KeyboardInterrupt:
        return 0


def command(uri: str, port: int) -> list[str]:
    """Return the command line that serves a store."""
    server = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri]
    return [*server, "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]


def is_free(port: int) -> bool:
    """Return whether nothing answers on a port of this machine."""
    with socket.socket() as tried:
        tried.settimeout(1)
        return tried.connect_ex(("127.0.0.1", port)) != 0
