"""Read an export of MedCATtrainer: JSON of projects with documents and their concepts.

A concept that was validated as correct, or replaced by an alternative, is a mention; its type is
the concept's code (`cui`), which `label_map` translates. Deleted, killed and irrelevant ones, and
those that nobody looked at, are left out and counted. Meta annotations (Presence, Subject, ...)
stand with the mention where `attributes` names them: `73211009/Presence=False`. Documents that
stand in several projects were annotated by several people: see data/annotators.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from touchstone.data import annotated, parts
from touchstone.data.annotated import Annotation, Document, mentions_of, table_of
from touchstone.data.annotators import Vote, settled
from touchstone.data.ids import Ids
from touchstone.data.tables import json_of
from touchstone.errors import UserError
from touchstone.schema import GoldFiles
from touchstone.taxonomy import Taxonomy

KEYS = (*parts.KEYS, *annotated.KEYS, "annotator")
LEFT_OUT = ("deleted", "killed", "irrelevant", "manually_deleted")


def read(
    files: GoldFiles, taxonomy: Taxonomy, data_folder: str | Path | None
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Read an export as an example table; the document's id is its name.

    Returns
    -------
    frame, counted : see `annotated.table_of`; `deleted`, `not_validated` concepts.

    Raises
    ------
    UserError
        With file and document: not this format, or a concept that is not at its place.
    """
    documents: list[Document] = []
    counted: Counter[str] = Counter()
    people: dict[str, Any] = {}
    for part in parts.parts_of(files, data_folder):
        chosen = settled(_votes(part, files, counted), files.annotator, part.path)
        documents += chosen.documents
        people |= chosen.counted
    frame, summary = table_of(documents, files, taxonomy, segmented=True)
    return frame, summary | people | dict(counted)


def _votes(part: parts.Part, files: GoldFiles, counted: Counter[str]) -> list[list[Vote]]:
    value = json_of(part.path)
    if not isinstance(value, Mapping) or not isinstance(value.get("projects"), list):
        raise UserError(f'{part.path}: not an export of MedCATtrainer: no list "projects"')
    drafts: list[tuple[str, Document, list[Annotation]]] = []
    for project in value["projects"]:
        for one in project.get("documents", []):
            where = f"{part.path}, document {one.get('id', '')}"
            name = Ids("name", "corpus.gold.doc_field").read(one.get("name", one.get("id")), where)
            text = one.get("text")
            if not isinstance(text, str):
                raise UserError(f"{where}: no text; export with text")
            document = Document(name, text, split=part.split, origin=part.origin, where=where)
            drafts.append((str(project.get("name", "")), document, _marks(one, where, counted)))
    placed = mentions_of(
        [(document.doc_id, document.text, marks) for _, document, marks in drafts],
        path=part.path,
        given=files.offsets,
    )
    texts: dict[str, list[Vote]] = {}
    for (project, document, _), mentions in zip(drafts, placed, strict=True):
        vote = Vote(project, replace(document, mentions=mentions))
        texts.setdefault(document.doc_id, []).append(vote)
    return list(texts.values())


def _marks(one: Mapping[str, Any], where: str, counted: Counter[str]) -> list[Annotation]:
    out = []
    for mark in one.get("annotations", []):
        if any(mark.get(name) for name in LEFT_OUT):
            counted["deleted"] += 1
            continue
        if not (mark.get("correct") or mark.get("alternative") or mark.get("manually_created")):
            counted["not_validated"] += 1
            continue
        try:
            place = (int(mark["start"]), int(mark["end"]), mark.get("value"))
            kind = str(mark["cui"])
        except (KeyError, TypeError, ValueError):
            raise UserError(f"{where}: a concept needs start, end and cui") from None
        out.append(Annotation((place,), kind, _meta(mark.get("meta_anns") or {})))
    return out


def _meta(given: Any) -> tuple[str, ...]:
    """Return meta annotations as NAME=VALUE; the export has them as an object or as a list."""
    found = list(given.values()) if isinstance(given, Mapping) else given
    return tuple(
        sorted(f"{one['name']}={one['value']}" for one in found if "name" in one and "value" in one)
    )
