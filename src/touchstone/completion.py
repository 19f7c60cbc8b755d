"""Shell completion of the touchstone command, by the package argcomplete.

`eval "$(register-python-argcomplete touchstone)"` in a shell's start file switches it on. Completes
subcommands, their options, and for `run` the axes of the grid with their values
(`mixture=gold_silver`), the project's own among them. Does not complete single keys.
"""

from __future__ import annotations

import argparse
import importlib
import os
from collections.abc import Mapping
from typing import Any

from touchstone.paths import conf_dirs, conf_names


def complete(
    parser: argparse.ArgumentParser, subparsers: Any, commands: Mapping[str, tuple[str, str]]
) -> None:
    """Answer the shell and end the process; only the chosen command's module is imported."""
    import argcomplete

    words = os.environ.get("COMP_LINE", "").split()
    for name, (module, text) in commands.items():
        if name == "run":
            run = subparsers.add_parser(name, help=text)
            overrides: Any = run.add_argument("overrides", nargs="*")
            overrides.completer = axis_values
        elif name in words[1:2]:
            importlib.import_module(module).add_cli(subparsers)
        else:
            subparsers.add_parser(name, help=text)
    argcomplete.autocomplete(parser)


def axis_values(prefix: str, **_: Any) -> list[str]:
    """Return what an override that begins with `prefix` may be.

    >>> axis_values("mix")
    ['mixture=']
    >>> axis_values("tracking=")
    ['tracking=default']
    """
    axis, equals, _value = prefix.partition("=")
    if equals:
        return [
            f"{axis}={name}" for name in conf_names(axis) if f"{axis}={name}".startswith(prefix)
        ]
    groups = {path.name for folder in conf_dirs() for path in folder.iterdir() if path.is_dir()}
    return sorted(f"{group}=" for group in groups - {"hydra"} if group.startswith(prefix))
