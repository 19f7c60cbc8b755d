"""What of the log a person sees while cells run: a line for each cell, warnings, progress and
waits.

Everything else, and the same again, is in the log file of each cell, `console.log` below the
sweep's folder. Named in conf/config.yaml as the filter and the formatter of Hydra's console
handlers.
"""

from __future__ import annotations

import logging

from touchstone.run import live

# Loggers whose news cannot wait for the end of a cell: its line, money and requests, waits.
SHOWN = (
    "touchstone.console",
    "touchstone.progress",
    "touchstone.locks",
    "touchstone.llm",
    "touchstone.run",
    "hydra",
)


class ForPeople(logging.Filter):
    """Passes warnings, and the news of the loggers in `SHOWN`; Hydra's list of jobs is left out,
    since each job has its own line."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a record is shown on the screen."""
        if record.levelno >= logging.WARNING:
            return True
        if str(record.msg).startswith("\t#"):
            return False
        if record.name == "touchstone.console" and (live.is_shown() or live.is_elsewhere()):
            return False  # it is a row of the table
        return any(record.name == name or record.name.startswith(name + ".") for name in SHOWN)


class Plain(logging.Formatter):
    """The message alone; a warning or an error says that it is one."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line that is shown."""
        text = super().format(record)
        return text if record.levelno < logging.WARNING else f"{record.levelname.lower()}: {text}"
