"""The command line of run.py: hands over to Hydra, and tells every mistake in one line.

Hydra prints tracebacks and several lines for a wrong override; here its exceptions are caught,
boiled down to what was wrong, where, and what there is instead. `debug=true` (or
HYDRA_FULL_ERROR=1) shows the traceback. Imports nothing heavy before a cell runs.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Sequence
from contextlib import nullcontext

import hydra
from omegaconf import DictConfig

from touchstone.errors import EstimateOnly, MissingRecording, PendingRequests, UserError
from touchstone.foreign_text import clean_log_lines, printable, tell
from touchstone.llm.secrets import refuse_pasted
from touchstone.paths import conf_dir
from touchstone.run import live
from touchstone.run.conf_files import reading_conf
from touchstone.run.fast import collect_seldom
from touchstone.run.help_text import help_text
from touchstone.run.hydra_errors import explain, options_of

kept_error: list[Exception] = []  # of a single run, from the job to main


EXIT_OK, EXIT_ERROR, EXIT_INTERRUPTED = 0, 1, 130

# Hydra's flags that take the argument after them
VALUED = (
    "--config-name",
    "-cn",
    "--config-path",
    "-cp",
    "--config-dir",
    "-cd",
    "--package",
    "-p",
    "--cfg",
    "-c",
    "--experimental-rerun",
)
INFOS = (
    "all",
    "config",
    "defaults",
    "defaults-tree",
    "plugins",
    "searchpath",
)  # what may follow --info


def main(arguments: Sequence[str]) -> int:
    """Run Hydra with `arguments` and return the exit status: 0, 1 after an error, 130 after
    Ctrl-C."""
    if "--help" in arguments or "-h" in arguments:
        tell(help_text())
        return EXIT_OK
    debug = os.environ.get("HYDRA_FULL_ERROR") == "1" or any(
        argument.replace(" ", "").lower() == "debug=true" for argument in arguments
    )
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises instead of printing and exiting
    collect_seldom()
    clean_log_lines()
    signal.signal(signal.SIGTERM, _interrupt)  # a scheduler's way to ask for an end: as Ctrl-C
    from touchstone.run import sweep  # light: mlflow is imported when a sweep starts

    status, unrecorded = EXIT_ERROR, False
    error: BaseException | None = None
    kept_error.clear()
    try:
        refuse_pasted(arguments)
        words = [_one_value(argument) for argument in sweep.resume_arguments(arguments)]
        _refuse_empty_globs(words)
        sys.argv = [sys.argv[0], *_overrides_first(words)]
        with reading_conf():
            hydra.main(config_path=str(conf_dir()), config_name="config", version_base="1.3")(
                _job
            )()
        status = EXIT_OK
        if kept_error:
            raise kept_error[0]
    except KeyboardInterrupt:
        status = EXIT_INTERRUPTED
        tell(
            "interrupted: what was finished is kept; the same command goes on from there",
            file=sys.stderr,
        )
    except (PendingRequests, EstimateOnly) as stop:
        tell(stop)
        status = EXIT_OK if not sweep.is_multirun() else EXIT_ERROR
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else EXIT_ERROR
    except MissingRecording as stop:
        status, error = EXIT_ERROR, None if sweep.is_multirun() else stop
        unrecorded = True
    except sweep.Stopped as stop:
        status, error = EXIT_ERROR, stop.__cause__
    except Exception as raised:  # noqa: BLE001 - the one place where errors are told
        status, error = EXIT_ERROR, raised
    live.stop()
    if error is not None:
        _tell(error, arguments, debug)
    try:
        return max(
            status,
            sweep.close(
                failed=error is not None or unrecorded, interrupted=status == EXIT_INTERRUPTED
            ),
        )
    except Exception as second:  # noqa: BLE001 - as above: the store cannot be written now
        _tell(second, arguments, debug)
        return EXIT_ERROR


def _tell(error: BaseException, arguments: Sequence[str], debug: bool) -> None:
    if debug:
        traceback.print_exception(error)
    else:
        tell(f"error: {printable(explain(error, arguments))}", file=sys.stderr)


def _interrupt(*_: object) -> None:
    """Handle SIGTERM as a Ctrl-C: by whoever handles that now, so that calls in flight are awaited.
    What a shell started with `&`, cron and job scripts, ignores Ctrl-C and obeys SIGTERM."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        raise KeyboardInterrupt
    signal.raise_signal(signal.SIGINT)


def _one_value(argument: str) -> str:
    """Quote PATH,PATH of llm.recording: two files to replay, where Hydra would read two values of
    an axis.

    >>> _one_value("llm.recording=a.jsonl,b.jsonl")
    'llm.recording="a.jsonl,b.jsonl"'
    """
    key, equals, value = argument.partition("=")
    if key != "llm.recording" or "," not in value or value[:1] in "'\"":
        return argument
    return f'{key}{equals}"{value}"'


def _overrides_first(arguments: Sequence[str]) -> list[str]:
    """Put the flags behind the overrides, since Hydra does not read overrides on both sides of a
    flag.

    >>> _overrides_first(["task=ad_binary", "-m", "mixture=gold,silver", "--cfg", "job"])
    ['task=ad_binary', 'mixture=gold,silver', '-m', '--cfg', 'job']
    """
    if "--" in arguments:
        return list(arguments)
    overrides: list[str] = []
    flags: list[str] = []
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        (flags if argument.startswith("-") else overrides).append(argument)
        valued = any(
            argument == flag or argument.startswith("--") and flag.startswith(argument)
            for flag in VALUED
        )
        if rest and (valued or argument in ("--info", "-i") and rest[0] in INFOS):
            flags.append(rest.pop(0))
    return overrides + flags


def _refuse_empty_globs(arguments: Sequence[str]) -> None:
    """Refuse a glob(...) over the values of an axis that matches none: it would be a sweep of no
    cells."""
    if any(
        argument.startswith(("--config-dir", "-cd", "--config-path", "-cp"))
        for argument in arguments
    ):
        return  # values of another folder, too
    for argument in arguments:
        group, _, pattern = argument.partition("=")
        options = options_of(group) if pattern.startswith("glob(") else []
        if not options:
            continue
        from hydra.core.override_parser.overrides_parser import OverridesParser
        from hydra.core.override_parser.types import Glob
        from hydra.errors import HydraException

        try:
            value = OverridesParser.create().parse_override(argument).value()
        except HydraException:
            continue  # told where Hydra reads it
        if isinstance(value, Glob) and not value.filter(options):
            raise UserError(f"{argument}: matches nothing. There are: {', '.join(options)}")


def _job(composed: DictConfig):
    """What Hydra calls for each cell, in this process or in one of a launcher's."""
    collect_seldom()
    clean_log_lines()
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    from touchstone.run import sweep
    from touchstone.run.interruption import heeded
    from touchstone.run.job import run_job

    if HydraConfig.get().mode == RunMode.MULTIRUN:
        # Hydra must see the failure, to go on with the other cells and exit with 1
        launcher = HydraConfig.get().launcher["_target_"]
        with nullcontext() if sweep.launched_here() else heeded(launcher):
            return run_job(composed)
    try:
        return run_job(composed)
    except Exception as error:  # noqa: BLE001 - told by main, without the lines that Hydra would add
        kept_error.append(error)
        return None
