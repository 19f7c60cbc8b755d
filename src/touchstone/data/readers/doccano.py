"""Read an export of doccano: JSONL of texts with labels, spans or both, one file or one a person.

`label` holds categories, or [start, end, type]; the newer form has `entities`, `cats` and
`relations`, which are counted unless `spans_as: relations` asks for them. A folder is one file for
each annotator (see data/annotators.py), joined by the texts' `id`; `all.jsonl` beside them is not
read. Spans come without their text: where characters are such that tools differ in counting,
`corpus.gold.offsets` must say how. Each text is one example, unless `segment: true`. A CSV of
doccano: `corpus.gold.reader=table` with `label_separator: '#'`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from touchstone.data import annotated, parts, records
from touchstone.data.annotated import Annotation, mentions_of, relations_between
from touchstone.data.annotators import Vote, read_single, read_votes
from touchstone.data.files import rows
from touchstone.data.pairs import UNNAMED, Link
from touchstone.errors import UserError
from touchstone.schema import GoldFiles
from touchstone.taxonomy import Taxonomy

KEYS = (*parts.KEYS, *annotated.KEYS, *records.KEYS, "annotator")
TOGETHER = "all"  # the file of everybody's annotations together


def read(
    files: GoldFiles, taxonomy: Taxonomy, data_folder: str | Path | None
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Read an export as an example table; see `label_studio.read` for what is returned."""
    return read_votes(_votes, files, taxonomy, data_folder, left="are not used")


def read_annotators(files: GoldFiles, data_folder: str | Path | None) -> pd.DataFrame:
    """Return what each annotator said; see `annotators.single`."""
    return read_single(_votes, files, data_folder)


def _votes(part: parts.Part, files: GoldFiles, counted: Counter[str]) -> list[list[Vote]]:
    paths = [part.path]
    if part.path.is_dir():
        paths = [path for path in parts.inside(part.path, ".jsonl") if path.stem != TOGETHER]
        if not paths:
            raise UserError(f"{part.path}: no .jsonl files of annotators in this folder")
    texts: dict[str, list[Vote]] = {}
    for path in paths:
        drafts = []
        for line, record in rows(path):
            where = f"{path}, line {line}"
            document = records.document(record, files, where, part)
            labels, marks = _annotations(record, where, counted)
            key = str(record.get("id", line)) if len(paths) > 1 else str(line)
            links = _links(record, where, files, counted)
            drafts.append((key, document, labels, marks, links))
        placed = mentions_of(
            [(document.where, document.text, marks) for _, document, _, marks, _ in drafts],
            path=path,
            given=files.offsets,
        )
        for (key, document, labels, marks, links), mentions in zip(drafts, placed, strict=True):
            joined = relations_between(marks, mentions, links, document.where)
            told = records.with_annotations(document, labels, mentions, joined)
            vote = Vote(path.stem, told)
            texts.setdefault(key, []).append(vote)
    return list(texts.values())


def _annotations(
    record: Mapping[str, Any], where: str, counted: Counter[str]
) -> tuple[tuple[str, ...], list[Annotation]]:
    named = [name for name in ("label", "labels", "entities", "cats") if name in record]
    if not named:
        raise UserError(
            f'{where}: no field "label", "entities" or "cats"; doccano\'s export JSONL has one'
        )
    labels: list[str] = []
    marks: list[Annotation] = []
    for value in (one for name in named for one in _listed(record[name])):
        if isinstance(value, str):
            labels.append(value)
        elif isinstance(value, list) and len(value) == 3:
            marks.append(_mark(value[0], value[1], value[2], where))
        elif isinstance(value, Mapping) and "start_offset" in value:
            ends = value["start_offset"], value["end_offset"]
            marks.append(_mark(*ends, value["label"], where, str(value.get("id", ""))))
        else:
            raise UserError(f"{where}: a label must be a word, or [start, end, type]")
    return tuple(dict.fromkeys(labels)), marks


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _links(
    record: Mapping[str, Any], where: str, files: GoldFiles, counted: Counter[str]
) -> list[Link]:
    relations = _listed(record.get("relations"))
    if files.spans_as != "relations":
        counted["relations"] += len(relations)
        return []
    if not all(isinstance(one, Mapping) and {"from_id", "to_id"} <= set(one) for one in relations):
        raise UserError(f"{where}: a relation must have from_id, to_id and type")
    return [
        Link(str(one.get("type") or UNNAMED), str(one["from_id"]), str(one["to_id"]))
        for one in relations
    ]


def _mark(start: Any, end: Any, kind: Any, where: str, name: str = "") -> Annotation:
    if not (isinstance(start, int) and isinstance(end, int) and isinstance(kind, str)):
        raise UserError(f"{where}: a span must be [start, end, type]")
    return Annotation(((start, end, None),), kind, (), (name,) if name else ())
