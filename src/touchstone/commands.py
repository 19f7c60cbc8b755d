"""Commands as they are printed for a person to run: quoted so that a shell, then Hydra, read back
exactly what was meant.

The program is the one that was started, `python run.py` or `touchstone run`; jobs of a launcher
inherit it. Does not run anything.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Sequence

PROGRAM = "TOUCHSTONE_PROGRAM"  # environment variable, set where the command starts


def program() -> str:
    """Return the command that runs cells, as this process was started."""
    return os.environ.get(PROGRAM, "python run.py")


def run_command(arguments: Sequence[str]) -> str:
    """Return a command line that runs cells, quoted for a POSIX shell.

    >>> run_command(["-m", "mixture=gold,silver", "corpus.pool.path='a b.csv'"])
    'python run.py -m mixture=gold,silver \\'corpus.pool.path=\\'"\\'"\\'a b.csv\\'"\\'"\\'\\''
    """
    return " ".join([program(), *map(shlex.quote, arguments)])


def override(key: str, value: str) -> str:
    """Return `key=value` as Hydra reads it: quoted where the value is more than a word or a path.

    >>> override("hydra.sweep.dir", "multirun/2026-11-28/10-00-00")
    'hydra.sweep.dir=multirun/2026-11-28/10-00-00'
    >>> override("hydra.sweep.dir", "out/seed=1")
    "hydra.sweep.dir='out/seed=1'"
    """
    if re.fullmatch(r"[A-Za-z/.][\w/.-]*", value, re.ASCII) and value.lower() not in (
        "true",
        "false",
        "null",
    ):
        return f"{key}={value}"
    # backslashes count only before a quote, as the grammar of Hydra has it
    escaped = re.sub(r"(\\*)'", lambda match: match[1] * 2 + r"\'", value)
    escaped = re.sub(r"(\\+)$", lambda match: match[1] * 2, escaped)
    return f"{key}='{escaped}'"


def value_of(argument: str) -> str:
    """Return the value of `key=value` without the quotes that Hydra would take off.

    >>> value_of("hydra.sweep.dir='out/seed=1'")
    'out/seed=1'
    """
    value = argument.partition("=")[2].strip()
    if len(value) < 2 or value[0] not in "'\"" or value[-1] != value[0]:
        return value
    quote = value[0]
    inner = re.sub(
        rf"(\\+){quote}", lambda match: match[1][: len(match[1]) // 2] + quote, value[1:-1]
    )
    return re.sub(r"(\\+)$", lambda match: match[1][: len(match[1]) // 2], inner)
