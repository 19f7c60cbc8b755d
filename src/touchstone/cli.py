"""The `touchstone` command: everything that is not a run of the grid. Each subcommand is declared by the module that does the work.

A subcommand's module has `add_cli(subparsers)`, which adds its parser and sets `run`, a function from the parsed arguments to an exit
status. Only the module of the command that was typed is imported.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

from touchstone.errors import UserError, no_such

COMMANDS = {
    "table": ("touchstone.report.tables", "the paper's tables of a study, as LaTeX, Markdown, CSV and HTML"),
    "report": ("touchstone.report.page", "one HTML page about a sweep"),
    "reproduce": ("touchstone.reproduce", "run a cell again from its run id and say what differs"),
    "bundle": ("touchstone.bundle", "everything a sweep needs to be reproduced elsewhere, in one archive"),
    "recording": ("touchstone.llm.recording", "export, import or verify recorded LLM answers"),
    "fetch": ("touchstone.data.fetch", "download a public corpus from its publisher and verify it"),
    "cache": ("touchstone.cache", "list, prune or verify the stage cache"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a subcommand and return its exit status: 0, 1 after an error, 2 for a command line that cannot be read."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(prog="touchstone", description="What is LLM-made training data worth for a clinical model?")
    parser.epilog = "To run cells of the grid: python run.py (see the README)."
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND")
    chosen = arguments[0] if arguments else ""
    if chosen in COMMANDS:
        importlib.import_module(COMMANDS[chosen][0]).add_cli(subparsers)
    else:
        for name, (_, text) in COMMANDS.items():
            subparsers.add_parser(name, help=text)
        if chosen and not chosen.startswith("-"):
            print(f"error: {no_such('command', chosen, COMMANDS)}", file=sys.stderr)
            return 2
        if not chosen:
            parser.print_help()
            return 0
    parsed = parser.parse_args(arguments)
    try:
        return parsed.run(parsed) or 0
    except UserError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
