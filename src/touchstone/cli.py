# PYTHON_ARGCOMPLETE_OK: shells ask this command what may follow (see completion.py)
"""The `touchstone` command: each subcommand is declared by the module that does the work.

A subcommand's module has `add_cli(subparsers)`, which adds its parser and sets `run`, a function
from the parsed arguments to an exit status. Only the module of the command that was typed is
imported. Every mistake is told in one line; `debug=true` (or HYDRA_FULL_ERROR=1) shows the
traceback.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import re
import sys
import traceback
from collections.abc import Sequence

from touchstone import __version__, commands, completion
from touchstone.errors import no_such
from touchstone.foreign_text import clean_log_lines, printable, tell

COMPLETING = "_ARGCOMPLETE"  # set by the shell that asks what may follow

COMMANDS = {
    "run": (
        "touchstone.run.console",
        "run cells of the grid: touchstone run -m mixture=gold,silver",
    ),
    "init": ("touchstone.run.init", "make a project of your own that runs at once"),
    "list": ("touchstone.run.sweeps", "the sweeps of a store: id, study, date, cells, best"),
    "ui": ("touchstone.run.ui", "show the results in a browser, with MLflow's page"),
    "doctor": (
        "touchstone.run.doctor",
        "what is installed, reachable and there: environment, keys, data, store, cache",
    ),
    "table": (
        "touchstone.report.command",
        "the paper's tables of a study, as LaTeX, Markdown, CSV and HTML",
    ),
    "claims": (
        "touchstone.report.tables.claims",
        "what a study says about the papers' claims",
    ),
    "report": ("touchstone.report.page", "one HTML page about a sweep"),
    "explore": (
        "touchstone.report.explore",
        "a page of the sentences that cells gain, lose and confuse",
    ),
    "export": ("touchstone.report.publishing", "generated data as files, with a data card"),
    "review": ("touchstone.report.judging", "have experts judge what the LLM made"),
    "reproduce": (
        "touchstone.reproduce.reproduce",
        "run a cell again from its run id and say what differs",
    ),
    "bundle": (
        "touchstone.reproduce.bundle",
        "everything a sweep needs to be reproduced elsewhere, in one archive",
    ),
    "recording": (
        "touchstone.llm.recording_commands",
        "export, import or verify recorded LLM answers",
    ),
    "sync": ("touchstone.run.sync", "copy finished runs into another store, each once"),
    "fetch": ("touchstone.data.fetch", "download a public corpus from its publisher and verify it"),
    "generate": (
        "touchstone.run.generate",
        "make silver or bronze of a pool and a taxonomy, without gold",
    ),
    "predict": (
        "touchstone.reproduce.predict",
        "label new notes with the classifier of a finished cell",
    ),
    "worth": (
        "touchstone.run.worth",
        "what silver or bronze made elsewhere is worth beside your gold",
    ),
    "inspect": (
        "touchstone.data.inspection",
        "what a file of labels is, what is odd in it, and the YAML that reads it",
    ),
    "cache": ("touchstone.cache", "list, prune or verify the stage cache"),
}


def main(arguments: Sequence[str] | None = None, program: str = "touchstone run") -> int:
    """Run a subcommand and return its exit status: 0, 1 after an error, 2 for a command line that
    cannot be read.

    Parameters
    ----------
    program : how printed commands call the one that runs cells.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == ["run"] and not os.environ.get(COMPLETING):
        os.environ[commands.PROGRAM] = program
        from touchstone.run.console import main as run_cells  # brings Hydra, which reads the rest

        return run_cells(words[1:])
    arguments = [argument for argument in words if argument != "debug=true"]
    if arguments != words:
        os.environ["HYDRA_FULL_ERROR"] = "1"  # the process that `reproduce` starts reads it too
    logging.basicConfig(format="%(message)s")  # on stderr: that a server is waited for, say
    clean_log_lines()
    try:
        return _run(arguments)
    except KeyboardInterrupt:
        tell("interrupted", file=sys.stderr)
        return 130
    except Exception as error:  # noqa: BLE001 - the one place where errors are told
        if os.environ.get("HYDRA_FULL_ERROR") == "1":
            traceback.print_exception(error)
        else:
            from touchstone.run.hydra_errors import explain  # brings Hydra

            text = re.sub(r"://[^/ @]+@", "://", explain(error))  # without user and password
            tell(f"error: {printable(text)}", file=sys.stderr)
        return 1


def _run(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="touchstone", description="What is LLM-made training data worth for a clinical model?"
    )
    parser.epilog = (
        "touchstone COMMAND --help says more. debug=true shows the traceback of an error."
    )
    parser.add_argument("--version", action="version", version=f"touchstone {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND")
    if os.environ.get(COMPLETING):
        completion.complete(parser, subparsers, COMMANDS)
    chosen = arguments[0] if arguments else ""
    if chosen in COMMANDS:
        importlib.import_module(COMMANDS[chosen][0]).add_cli(subparsers)
    else:
        for name, (_, text) in COMMANDS.items():
            subparsers.add_parser(name, help=text)
        if chosen and not chosen.startswith("-"):
            tell(f"error: {no_such('command', chosen, COMMANDS)}", file=sys.stderr)
            return 2
        if not chosen:
            parser.print_help()
            return 0
    parsed = parser.parse_args(arguments)
    return parsed.run(parsed) or 0
