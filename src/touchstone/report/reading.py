"""What the reports read from the tracking store: runs, their files, and frames out of them.

Works on a store of this machine, on a server, and on a folder that somebody sent: there the
artefact paths in the database are those of another machine, and the files are looked for beside the
database. Does not interpret anything (grid.py does).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from touchstone import tracking
from touchstone.artifact_places import is_fetched
from touchstone.data.examples import read_parquet
from touchstone.errors import UserError
from touchstone.evaluate.predictions import COLUMNS
from touchstone.tracking import KIND, PARENT, STUDY, Run, Store, artifacts, quoted, where

TOP_LEVEL = re.compile(r"^(?=\w)", re.MULTILINE)  # where a section of a configuration begins
YAML = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # five times faster, where libyaml is there
# what stands for restricted text, see pseudonyms.py; earlier versions told its length
WITHHELD = re.compile(r"\[withheld [0-9a-f]{16}\]|\[\d+ characters, sha256 [0-9a-f]{8}\]")


def search(
    store: Store,
    *,
    since: int | None = None,
    latest: int | None = None,
    begins: str = "",
    **tags: str,
) -> list[Run]:
    """Return the active runs of all experiments that have these tags (`kind`, `study`, `parent`, or
    a full name), oldest first.

    Parameters
    ----------
    since : only those started then or later, in milliseconds since 1970.
    latest : only so many, the newest.
    begins : only those whose id begins so.
    """
    names = {"kind": KIND, "study": STUDY, "parent": PARENT}
    filters = where({names.get(name, name): value for name, value in tags.items()}, since)
    if begins:
        filters += f" and attributes.run_id LIKE '{begins}%'"
    if latest is None:
        return tracking.search(store, filters)
    return tracking.search(store, filters, newest_first=True, most=latest)[::-1]


def studies(store: Store) -> list[str]:
    """Return the studies that the store has runs of; one question a study, however many runs."""
    known: list[str] = []
    while True:
        others = " and ".join(f"tags.`{STUDY}` != {quoted(study)}" for study in known)
        run = tracking.search(store, others or f"tags.`{STUDY}` LIKE '%'", most=1)
        if not run:
            return sorted(known)
        known.append(run[0].data.tags[STUDY])


def generations(
    store: Store, digests: Iterable[str], experiment_id: str | None = None
) -> dict[str, Run]:
    """Return digest of a generated data set -> the finished run that made it: the newest one of the
    experiment where several did."""
    by_digest: dict[str, Run] = {}
    for digest in dict.fromkeys(digests):
        runs = _finished(
            search(store, kind="generation", **dict[str, Any]({"touchstone.dataset": digest}))
        )
        if runs:
            by_digest[digest] = max(
                runs,
                key=lambda run: (run.info.experiment_id == experiment_id, run.info.start_time),
            )
    return by_digest


def _finished(runs: list[Run]) -> list[Run]:
    return [run for run in runs if run.info.status == "FINISHED"]


def file(store: Store, run: Run, path: str) -> Path | None:
    """Return a run's artefact as a local file, None where the run has none; from a server that file
    alone is downloaded.

    Raises
    ------
    UserError
        If the file is a link out of the run's folder.
    """
    if is_fetched(store.uri, run.info.artifact_uri):
        listed = {
            item.path
            for item in store.client.list_artifacts(
                run.info.run_id, str(Path(path).parent).removeprefix(".")
            )
        }
        return (
            Path(store.client.download_artifacts(run.info.run_id, path)) if path in listed else None
        )
    try:
        folder = artifacts(store, run)
    except UserError:  # a run that wrote nothing has no folder
        return None
    place = folder / path
    if not place.is_file():
        return None
    if not place.resolve().is_relative_to(folder.resolve()):
        raise UserError(
            f"run {run.info.run_id}: {path} is a link out of its folder; nothing was read"
        )
    return place


def text(store: Store, run: Run, path: str) -> str:
    """Return a text artefact, '' where the run has none."""
    place = file(store, run, path)
    return place.read_text(encoding="utf-8") if place else ""


def config(store: Store, run: Run) -> dict[str, Any]:
    """Return the composed configuration of a cell, {} where none was logged. It is not to be
    changed: cells share their sections."""
    content = text(store, run, "config.yaml")
    return {
        name: value
        for section in TOP_LEVEL.split(content)
        if section.strip()
        for name, value in _section(section).items()
    }


@lru_cache(maxsize=512)  # cells of a grid differ in a few sections; the others are read once
def _section(content: str) -> dict[str, Any]:
    return yaml.load(content, Loader=YAML)


def json_file(store: Store, run: Run, path: str) -> Any:
    """Return a JSON artefact, None where the run has none."""
    content = text(store, run, path)
    return json.loads(content) if content else None


def table(store: Store, run: Run, name: str) -> pd.DataFrame:
    """Return `tables/NAME.csv` of a run; an empty frame where it has none or an empty one."""
    return csv(store, run, f"tables/{name}.csv")


def csv(store: Store, run: Run, path: str) -> pd.DataFrame:
    """Return a CSV artefact; an empty frame where the run has none. The word `none` is a category,
    not a missing value."""
    place = file(store, run, path)
    if place is None or not place.read_text(encoding="utf-8").strip():
        return pd.DataFrame()
    return pd.read_csv(place, keep_default_na=False, na_values=[""])


def predictions(
    store: Store, run: Run, with_scores: bool = True, name: str = "predictions"
) -> pd.DataFrame:
    """Return the predictions table of a cell (see evaluate/predictions.py); an empty frame where it
    has none; `name`: `site_rural` for those at a test site.

    Ids are plain Python strings: the tables go through them one by one.
    """
    place = file(store, run, f"predictions/{name}.parquet")
    if place is None:
        return pd.DataFrame()
    table = pd.read_parquet(
        place, columns=[name for name in COLUMNS if with_scores or name != "score"]
    )
    return table.astype(dict.fromkeys(("example_id", "doc_id", "patient_id"), object))


def examples(store: Store, run: Run, path: str) -> pd.DataFrame:
    """Return an example table: `datasets/training.parquet` of a cell, `examples.parquet` of a
    generation; empty where there is none."""
    place = file(store, run, path)
    return pd.DataFrame() if place is None else read_parquet(place)


def withheld(frame: pd.DataFrame) -> bool:
    """Return whether the text of a table was replaced by digests because its corpus is
    restricted."""
    return (
        bool(len(frame))
        and "text" in frame
        and all(WITHHELD.fullmatch(str(value)) for value in frame["text"].head(5))
    )
