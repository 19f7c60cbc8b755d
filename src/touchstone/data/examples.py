"""The example table: the one shape in which sentences, spans and relations pass from stage to
stage.

A pandas frame with the columns of `COLUMNS`, checked by `check`, plus a content digest and its
provenance (`Dataset`). Does not read corpora (`data/notes.py`, `data/sentences.py`, ...), split
(`data/split.py`) or mix (`mixture.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from touchstone.data.files import quoted
from touchstone.digest import digest_columns
from touchstone.errors import UserError, no_such
from touchstone.source_table import SOURCES

# name -> (what it holds, default). Lists are Python lists of plain values.
COLUMNS: dict[str, tuple[str, Any]] = {
    "example_id": (
        "unique id, stable across runs: corpus/document/sentence for gold and silver, "
        "request/number for bronze",
        None,
    ),
    "text": ("the sentence, whitespace collapsed to single spaces", None),
    "labels": (
        "list of category ids; [] is `none`. Relation tasks: ['related'] style ids of the "
        "relation that holds, [] if none",
        None,
    ),
    "spans": (
        "list of {start, end, type}: character offsets into text, end exclusive; [] outside NER",
        list,
    ),
    "source": (" | ".join(SOURCES), None),
    "doc_id": ("note, abstract or (bronze) request the sentence comes from", None),
    "patient_id": (
        "patient the document belongs to; the document's id where the corpus knows no patients",
        None,
    ),
    "split": ("train | dev | test, or '' while unsplit (pool, synthetic)", ""),
    "origin": ("digest of the file or of the LLM response it came from", ""),
    "confidence": (
        "how sure the LLM said it was: high | medium | low, '' where nobody was asked",
        "",
    ),
    "weight": ("sample weight in training", 1.0),
    "note_type": ("kind of document, '' if unknown; shown to the LLM as context", ""),
    "subgroups": ("JSON object of the columns that scores are told apart by, '' if none", ""),
}
SPLITS = ("train", "dev", "test", "")
CONTENT = (
    "example_id",
    "text",
    "labels",
    "spans",
    "source",
    "doc_id",
    "patient_id",
    "split",
)  # what the digest covers


@dataclass(frozen=True)
class Dataset:
    """A checked example table with its name, content digest and provenance.

    Attributes
    ----------
    frame : DataFrame of shape (n_examples, len(COLUMNS)).
    name : for people and for MLflow, e.g. `ad_demo/gold` or `guideline/bronze`.
    digest : sha256 over `CONTENT`, independent of row order and of the pandas version.
    provenance : plain data: files and their digests, prompt, model, counts.
    """

    frame: pd.DataFrame
    name: str
    digest: str
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.frame)


def examples(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Build an example table from rows; columns that a row leaves out take their default.

    Raises
    ------
    ValueError
        If a row misses a column without a default, or has one that is not in `COLUMNS`.
    """
    full = []
    for row in rows:
        unknown = set(row) - set(COLUMNS)
        if unknown:
            raise ValueError(
                f"unknown columns {sorted(unknown)}; the example table has {list(COLUMNS)}"
            )
        out = {}
        for name, (_, default) in COLUMNS.items():
            if name in row:
                out[name] = row[name]
            elif default is None:
                raise ValueError(f"an example needs {name!r}")
            else:
                out[name] = default() if callable(default) else default
        full.append(out)
    frame = pd.DataFrame(full, columns=list(COLUMNS))
    return frame.astype({"weight": float})


def check(frame: pd.DataFrame, categories: Iterable[str] | None = None) -> pd.DataFrame:
    """Return the frame if it is a valid example table.

    Parameters
    ----------
    frame : the table to check.
    categories : allowed ids in `labels` and span types; None skips that check.

    Raises
    ------
    UserError Naming the first offending example by its id (never by its text): duplicate or empty
        id, unknown source, split or category, empty text, span outside the text or of an unknown
        type.
    """
    missing = [name for name in COLUMNS if name not in frame.columns]
    if missing:
        raise UserError(f"the example table lacks the columns {missing}")
    repeated = frame.loc[frame["example_id"].duplicated(), "example_id"]
    if len(repeated):
        raise UserError(
            f"example id '{quoted(repeated.iloc[0])}' stands twice in the table; ids must be unique"
        )
    known = None if categories is None else set(categories)
    for row in frame.itertuples(index=False):
        where = f"example {quoted(row.example_id)}"
        if row.source not in SOURCES:
            raise UserError(f"{where}: {no_such('source', row.source, SOURCES)}")
        if row.split not in SPLITS:
            raise UserError(f"{where}: {no_such('split', row.split, SPLITS)}")
        if not row.text.strip():
            raise UserError(f"{where}: empty text")
        for label in row.labels:
            if known is not None and label not in known:
                raise UserError(f"{where}: {no_such('category', quoted(label), known)}")
        for span in row.spans:
            if not 0 <= span["start"] < span["end"] <= len(row.text):
                raise UserError(
                    f"{where}: span {span['start']}..{span['end']} is outside the text of "
                    f"{len(row.text)} characters"
                )
            if known is not None and span["type"] not in known:
                raise UserError(f"{where}: {no_such('entity type', quoted(span['type']), known)}")
    return frame


def dataset(frame: pd.DataFrame, name: str, **provenance: Any) -> Dataset:
    """Wrap a checked frame as a `Dataset`, computing its content digest."""
    return Dataset(frame.reset_index(drop=True), name, digest_columns(frame, CONTENT), provenance)


def write_parquet(frame: pd.DataFrame, path: str | Path) -> None:
    """Write an example table as Parquet, atomically: aside first, then renamed."""
    path = Path(path)
    aside = path.with_name(path.name + ".part")
    frame.to_parquet(aside, index=False)
    aside.replace(path)


def read_parquet(path: str | Path) -> pd.DataFrame:
    """Read an example table written by `write_parquet`, lists as Python lists."""
    frame = pd.read_parquet(path)
    frame["labels"] = [list(labels) for labels in frame["labels"]]
    frame["spans"] = [
        [{"start": int(s["start"]), "end": int(s["end"]), "type": s["type"]} for s in spans]
        if spans is not None
        else []
        for spans in frame["spans"]
    ]
    return frame


def contradictory(frame: pd.DataFrame) -> int:
    """Return how many texts stand several times in an example table with different labels."""
    again = frame[frame["text"].duplicated(keep=False)]
    return int((again["labels"].map(tuple).groupby(again["text"]).nunique() > 1).sum())


def sorted_by_label(frame: pd.DataFrame) -> list[str]:
    """Return the splits whose rows stand in blocks of one label each, so that a row's place tells
    its label; splits of 20 rows or fewer are not looked at.

    Raises nothing; rows are taken in the order of the file.
    """
    warnings = []
    for split, rows in frame.groupby("split", sort=False):
        said = [
            (*labels, *sorted({span["type"] for span in spans}))
            for labels, spans in zip(rows["labels"], rows["spans"], strict=True)
        ]
        blocks = 1 + sum(one != other for one, other in zip(said, said[1:], strict=False))
        if len(said) > 20 and 1 < blocks <= len(set(said)):
            warnings.append(str(split))
    return warnings
