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

BUNDLE, BUNDLE_FORMAT = "bundle.json", 1  # the file, and the number, that say how one is laid out
LARGEST_MB = 64  # of one file of a run that is read as text


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
            f"run {run_id} is a {kind} run with status {run.info.status}; only a finished cell "
            "can be reproduced"
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
            f"run {run_id}: its artefacts lack {', '.join(missing)}; the store and its artefact "
            "folder must be sent together"
        )
    for path in folder.rglob("*"):
        if not path.resolve().is_relative_to(folder.resolve()):
            raise UserError(f"run {run_id}: {path} is a link out of its folder; nothing was read")
    git = _json(folder / "git.json", run_id)
    text = _text(folder / "config.yaml", run_id)
    if "${" in text:  # OmegaConf would resolve it here: ${oc.env:KEY} reads the environment
        raise UserError(
            f"run {run_id}: config.yaml holds ${{...}}, which a logged configuration never does; "
            "nothing was run"
        )
    config = _config(text, run_id)
    return Record(
        name=name,
        run_id=run_id,
        config=config,
        scores=scores_table(
            _text(folder / "tables/scores.csv", run_id), (config.get("task") or {}).get("kind", "")
        ),
        digests={
            key.rpartition(".")[2]: value
            for key, value in tags.items()
            if key.startswith("touchstone.dataset.")
        },
        environment=_json(folder / "environment.json", run_id),
        code=git.get("code") or "",
        commit=git.get("commit"),
        own_code={
            file.relative_to(folder / OWN_CODE).as_posix(): _text(file, run_id)
            for file in sorted((folder / OWN_CODE).rglob("*.py"))
        },
    )


def records_of(folder: Path) -> list[Record]:
    """Read the records of an unpacked bundle.

    Raises
    ------
    UserError
        If the folder is no bundle, or one of a newer format.
    """
    cells = sorted(path for path in (folder / "cells").glob("*") if (path / "tags.json").exists())
    if not cells:
        raise UserError(f"{folder} is no unpacked bundle (cells/ is missing or empty)")
    kind = _json(folder / BUNDLE, folder.name) if (folder / BUNDLE).exists() else {}
    if kind.get("format", BUNDLE_FORMAT) != BUNDLE_FORMAT:
        raise UserError(
            f"{folder} is a bundle of format {str(kind['format'])[:20]}; this touchstone reads "
            "format "
            f"{BUNDLE_FORMAT}. Use the one that the bundle carries: make env, as its README.md says"
        )
    records = []
    for cell in cells:
        described = _json(cell / "tags.json", cell.name)
        if not isinstance(described.get("name"), str) or not isinstance(
            described.get("tags"), dict
        ):
            raise UserError(f"run {cell.name}: tags.json lacks name or tags; nothing was run")
        records.append(from_folder(cell, described["name"], cell.name, described["tags"]))
    return records


def _text(path: Path, run: str) -> str:
    """Read a file of a run, which somebody else may have written."""
    if path.stat().st_size > LARGEST_MB * 1_000_000:
        raise UserError(f"run {run}: {path.name} is larger than {LARGEST_MB} MB; nothing was read")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise UserError(f"run {run}: {path.name} is not UTF-8; nothing was run") from None


def _json(path: Path, run: str) -> dict[str, Any]:
    try:
        value = json.loads(_text(path, run))
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise UserError(f"run {run}: {path.name} is no JSON object; nothing was run")
    return value


def _config(text: str, run: str) -> dict[str, Any]:
    """Read a configuration as plain data: no tag makes an object, no alias multiplies one."""
    try:
        tokens = [type(token) for token in yaml.scan(text, Loader=yaml.SafeLoader)]
        if {yaml.AliasToken, yaml.AnchorToken, yaml.TagToken} & set(tokens):
            raise UserError(
                f"run {run}: config.yaml holds a tag (!), an anchor (&) or an alias (*), which a "
                "logged configuration never does; nothing was run"
            )
        config = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):
        raise UserError(f"run {run}: config.yaml cannot be read; nothing was run") from None
    parts = ("corpus", "task", "llm", "paths", "classifier")
    if not isinstance(config, dict) or not all(isinstance(config.get(one), dict) for one in parts):
        raise UserError(f"run {run}: config.yaml is no configuration of a cell; nothing was run")
    if place := _instantiated(config):
        raise UserError(
            f"run {run}: config.yaml holds {place}, which a logged configuration never does; "
            "nothing was run"
        )
    return config


def _instantiated(part: Any, place: str = "") -> str:
    """Return where a `_target_` stands, which Hydra would import and call; '' where none does."""
    pairs = part.items() if isinstance(part, dict) else enumerate(part)
    for key, value in pairs:
        here = f"{place}.{key}".strip(".")
        if str(key).startswith("_target_"):
            return here
        if isinstance(value, (dict, list)) and (inner := _instantiated(value, here)):
            return inner
    return ""


def scores_table(text: str, kind: str) -> pd.DataFrame:
    """Read a table of scores from the text of its CSV, one of an earlier version by the names that
    this one gives them.

    Parameters
    ----------
    kind : of the task. Earlier tables told scores apart by scope (macro, micro, weighted, category)
        and metric; those that have no name now are left out.

    Raises
    ------
    UserError
        If it is no table of scores.
    """
    try:
        table = pd.read_csv(
            StringIO(text),
            keep_default_na=False,
            na_values={"value": [""]},
            float_precision="round_trip",
        )
    except ValueError:  # pandas' own errors are such
        table = pd.DataFrame()
    if {"name", "value"} <= set(table):
        return table
    if not {"scope", "category", "metric", "value"} <= set(table) or kind not in SCORES:
        raise UserError("scores.csv is no table of scores (name, value); nothing was run")
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
