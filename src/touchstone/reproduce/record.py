"""What a run holds of its cell: configuration, scores, digests, environment, code.

Read from a store, from one that somebody sent, or from an unpacked bundle. What comes from
elsewhere is read as data: nothing of it is resolved, imported or followed out of its folder.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from touchstone.errors import UserError
from touchstone.evaluate.headline import SCORES, SINGLE
from touchstone.evaluate.metrics import safe
from touchstone.plugins import OWN_CODE


@dataclass(frozen=True)
class Record:
    """What a run holds of its cell.

    Attributes
    ----------
    name : the run's name; run_id : its id.
    config : the composed configuration as plain data.
    scores : table of name, category, metric, value; names as in `evaluate.headline`.
    digests : context (training, dev, test) -> content digest.
    environment : python, platform, cpus, packages; `code` : digest of the package's files; `commit`
        : git commit or None.
    own_code : path -> text of the user's own files (reader, classifier, metrics, backend).
    """

    name: str
    run_id: str
    config: Mapping[str, Any]
    scores: pd.DataFrame
    digests: Mapping[str, str]
    environment: Mapping[str, Any]
    code: str
    commit: str | None
    own_code: Mapping[str, str] = field(default_factory=dict)


def from_store(run_id: str, store: str | None, root: Path = Path(".")) -> Record:
    """Read the record of a finished cell from a tracking store.

    Parameters
    ----------
    run_id : or an unambiguous beginning of it.
    store : URI, path of a SQLite file, or a folder that holds `mlflow.db`; None = the project's own
        (`mlflow/` below `root`).

    Raises
    ------
    UserError
        If there is no such store or run, the run is not a finished cell, or its artefacts are gone.
    """
    from touchstone import tracking

    opened = tracking.open_existing(store or root / "mlflow")
    run = tracking.find_run(opened, run_id)
    if run.data.tags.get(tracking.KIND) != "cell" or run.info.status != "FINISHED":
        kind = run.data.tags.get(tracking.KIND, "foreign")
        raise UserError(
            f"run {run_id} is a {kind} run with status {run.info.status}; only a finished cell can be reproduced"
        )
    folder = tracking.artifacts(opened, run)
    return from_folder(folder, run.info.run_name, run.info.run_id, run.data.tags)


def from_folder(folder: Path, name: str, run_id: str, tags: Mapping[str, str]) -> Record:
    """Read a record from a run's artefacts and tags."""
    missing = [
        path
        for path in ("config.yaml", "tables/scores.csv", "environment.json", "git.json")
        if not (folder / path).exists()
    ]
    if missing:
        raise UserError(
            f"run {run_id}: its artefacts lack {', '.join(missing)}; the store and its artefact folder must be sent together"
        )
    for path in folder.rglob("*"):
        if not path.resolve().is_relative_to(folder.resolve()):
            raise UserError(f"run {run_id}: {path} is a link out of its folder; nothing was read")
    git = json.loads((folder / "git.json").read_text())
    text = (folder / "config.yaml").read_text()
    if "${" in text:  # OmegaConf would resolve it here: ${oc.env:KEY} reads the environment
        raise UserError(
            f"run {run_id}: config.yaml holds ${{...}}, which a logged configuration never does; "
            "nothing was run"
        )
    config = yaml.safe_load(text)
    return Record(
        name=name,
        run_id=run_id,
        config=config,
        scores=scores_table(
            (folder / "tables/scores.csv").read_text(), (config.get("task") or {}).get("kind", "")
        ),
        digests={
            key.rpartition(".")[2]: value
            for key, value in tags.items()
            if key.startswith("touchstone.dataset.")
        },
        environment=json.loads((folder / "environment.json").read_text()),
        code=git.get("code") or "",
        commit=git.get("commit"),
        own_code={
            file.relative_to(folder / OWN_CODE).as_posix(): file.read_text(encoding="utf-8")
            for file in sorted((folder / OWN_CODE).rglob("*.py"))
        },
    )


def records_of(folder: Path) -> list[Record]:
    """Read the records of an unpacked bundle.

    Raises
    ------
    UserError
        If the folder is no bundle.
    """
    cells = sorted(path for path in (folder / "cells").glob("*") if (path / "tags.json").exists())
    if not cells:
        raise UserError(f"{folder} is no unpacked bundle (cells/ is missing or empty)")
    records = []
    for cell in cells:
        described = json.loads((cell / "tags.json").read_text())
        records.append(from_folder(cell, described["name"], cell.name, described["tags"]))
    return records


def scores_table(text: str, kind: str) -> pd.DataFrame:
    """Read a table of scores from the text of its CSV, one of an earlier version by the names that
    this one gives them.

    Parameters
    ----------
    kind : of the task. Earlier tables told scores apart by scope (macro, micro, weighted, category)
        and metric; those that have no name now are left out.
    """
    table = pd.read_csv(
        StringIO(text),
        keep_default_na=False,
        na_values={"value": [""]},
        float_precision="round_trip",
    )
    if "name" in table:
        return table
    names = [
        _name_of(kind, row.scope, row.category, row.metric) for row in table.itertuples(index=False)
    ]
    table = table.drop(columns="scope")
    table.insert(0, "name", names)
    return table[table["name"] != ""].reset_index(drop=True)


def _name_of(kind: str, scope: str, category: str, metric: str) -> str:
    if scope == "category":
        of_its_own = kind not in SINGLE or metric == "support"
        return f"{metric}/{safe(category)}" if of_its_own else ""
    known = {(one.scope, one.metric): one.name for one in SCORES[kind] if one.view == "main"}
    return known.get((scope, metric), "")
