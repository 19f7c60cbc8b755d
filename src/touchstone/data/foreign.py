"""Silver and bronze made elsewhere: weak supervision, another tool, a colleague's run, a published
synthetic set.

Any reader of gold reads them (`corpus.silver`, `corpus.bronze`); several files are one set. No LLM
is asked. Duplicates, leakage, filters and quality are seen to where our own data is
(mixture.py, evaluate/quality). Does not say how the data was made: the user does (`made_by`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import MISSING, fields, replace
from pathlib import Path
from typing import Any

import pandas as pd

from touchstone.data import parts, readers
from touchstone.data.examples import check
from touchstone.errors import UserError
from touchstone.schema import CorpusConfig, SetFiles
from touchstone.taxonomy import Taxonomy


def paths_of(corpus: CorpusConfig, source: str) -> list[str]:
    """Return the files of a set; none where the LLM is to be asked.

    Raises
    ------
    UserError
        If something else is set and no path; if `path` is neither a name nor a list of names.
    """
    files: SetFiles = getattr(corpus, source)
    if files.path is None:
        for one in fields(files):
            default = one.default_factory() if one.default_factory is not MISSING else one.default
            value = getattr(files, one.name)
            if value != default:
                raise UserError(
                    f"corpus.{source}.{one.name}={value}: changes nothing without a file. Name it: "
                    f"corpus.{source}.path=FILE"
                )
        return []
    names = [files.path] if isinstance(files.path, str) else list(files.path)
    if not names or not all(isinstance(name, str) and name for name in names):
        raise UserError(f"corpus.{source}.path must be a file or a list of files")
    return names


def read_set(
    corpus: CorpusConfig, source: str, taxonomy: Taxonomy, data_folder: str | None
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Read silver or bronze that somebody else made.

    Parameters
    ----------
    source : silver or bronze.

    Returns
    -------
    frame : example table; ids begin with the file's name, `split` is empty.
    provenance : `files` (name -> digest), `made_by`, and the readers' counts by file.

    Raises
    ------
    UserError
        As the reader, and where two files have one name.
    """
    files: SetFiles = getattr(corpus, source)
    frames: list[pd.DataFrame] = []
    provenance: dict[str, Any] = {"files": {}, "made_by": files.made_by, "counts": {}}
    names = paths_of(corpus, source)
    stems = _distinct(names)
    for name, stem in zip(names, stems, strict=True):
        one = replace(files, path=name)
        frame, counted = readers.read_gold_files(
            one,
            taxonomy,
            data_folder,
            restricted=corpus.access == "restricted",
            public=corpus.access == "public",
            place=f"corpus.{source}",
        )
        frame = frame.assign(
            source=source,
            split="",
            example_id=[f"{stem}/{example_id}" for example_id in frame["example_id"]],
        )
        check(frame, taxonomy.ids)
        frames.append(frame)
        provenance["files"][name] = parts.origin_of(parts.located(name, None, data_folder))
        provenance["counts"][name] = counted
    return pd.concat(frames, ignore_index=True), provenance


def _distinct(names: Sequence[str]) -> list[str]:
    stems = [Path(name).stem for name in names]
    repeated = [stem for stem in stems if stems.count(stem) > 1]
    if repeated:
        raise UserError(
            f"two files called {repeated[0]}: rename one, since their sentences are told apart by "
            "it"
        )
    return stems
