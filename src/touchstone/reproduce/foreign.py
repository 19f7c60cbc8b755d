"""What somebody else's run may do here: its configuration is confined before it is run again.

A store or bundle that was sent names files and code of the sender. Files are looked for below the
reader's own data folder only, recordings of the sender's disk are not read, and code of the sender
runs only when asked for. Does not judge the bundle's own package, which the reader chose to run.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from touchstone import plugins
from touchstone.errors import UserError
from touchstone.source_table import SOURCES

# Key -> the package whose modules need no trust; None: a dotted path is a class of a library
CODE = {
    "corpus.gold.reader": "touchstone.data.readers",
    "corpus.pool.reader": "touchstone.data.readers",
    "classifier.target": None,
    "metrics": None,
}
LIBRARIES = ("sklearn.", "touchstone.")


def confined(config: Mapping[str, Any], run: str, trust_code: bool) -> dict[str, Any]:
    """Return the configuration of a run that was sent, with the reader's folders for the sender's.

    Parameters
    ----------
    run : the run's id, for messages.
    trust_code : whether code of the sender may run.

    Raises
    ------
    UserError
        If a corpus file lies outside the data folder, or code would run that is not trusted.
    """
    for key, value in _files(config.get("corpus") or {}, "corpus"):
        if os.path.isabs(value) or ".." in Path(value).parts:
            raise UserError(
                f"run {run}: {key}={value} lies outside the data folder; a run that was sent reads "
                "nothing else. Bring the file into it and give the key: " + f"{key}=FILE"
            )
    code = list(_code(config))
    if code and not trust_code:
        raise UserError(
            f"run {run} would run code of its sender: {', '.join(code)}; read it first, then add "
            "--trust-code"
        )
    paths = {**config["paths"], "data": os.environ.get("TOUCHSTONE_DATA")}
    return {**config, "paths": paths, "llm": {**config["llm"], "recording": None}}


def _files(part: Any, place: str) -> Iterator[tuple[str, str]]:
    """Yield the values of a corpus that name files."""
    names = ("path", "labels", "train", "dev", "test", "annotators")
    for key, value in part.items():
        here = f"{place}.{key}"
        if isinstance(value, Mapping):
            if key in (*SOURCES, "pool", "sites"):
                yield from _files(value, here)
        elif key in names or place.endswith(".sites"):
            values = value if isinstance(value, (list, tuple)) else [value]
            yield from ((here, one) for one in values if isinstance(one, str))


def _code(config: Mapping[str, Any]) -> Iterator[str]:
    for key, folder in CODE.items():
        value: Any = config
        for part in key.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        for name in value if isinstance(value, (list, tuple)) else [value]:
            if not isinstance(name, str) or name.startswith(LIBRARIES):
                continue
            if "." in name or (folder and plugins.is_foreign(name, folder)):
                yield f"{key}={name}"
