"""Where a run's artefacts may lie: a database file that somebody sent names places of its sender.

A store that is a database file has its artefacts on this machine. So an address in it (http, s3,
ftp, ...) is never asked, and a folder counts only if it is laid out as MLflow lays out a run's:
`RUN_ID/artifacts`. What a tracking server names is fetched: whoever names a server trusts it. Does
not look into the files.
"""

from __future__ import annotations

import re
from pathlib import Path

from touchstone.errors import UserError
from touchstone.paths import path_of

_RUN_ID = re.compile(r"[0-9a-f]{32}")
_ADDRESS = re.compile(r"(?!file:)[A-Za-z][A-Za-z0-9+.-]+:")  # s3://..., mlflow-artifacts:/...


def is_fetched(store_uri: str, artifact_uri: str) -> bool:
    """Return whether artefacts are fetched through MLflow: a server names an address."""
    return bool(_ADDRESS.match(artifact_uri)) and not store_uri.startswith("sqlite")


def named_folder(run_id: str, artifact_uri: str) -> Path | None:
    """Return the folder of a run's artefacts that a store names, None where there is none on this
    machine."""
    if _ADDRESS.match(artifact_uri) or not _RUN_ID.fullmatch(run_id):
        return None
    place = path_of(artifact_uri)
    return place if place.parts[-2:] == (run_id, "artifacts") and place.exists() else None


def absent(run_id: str, artifact_uri: str, beside: Path) -> UserError:
    """Return the error for artefacts that are neither where the store says nor beside it."""
    if _ADDRESS.match(artifact_uri):
        return UserError(
            f"run {run_id}: its artefacts are said to lie at {artifact_uri[:80]}; nothing is "
            "fetched from addresses that a database file names. Send the artefact folder with the "
            f"store ({beside}), or name the tracking server: --store http://HOST:PORT"
        )
    return UserError(
        f"run {run_id}: its artefacts are neither at {path_of(artifact_uri)} nor at {beside}; send "
        "the artefact folder with the store"
    )
