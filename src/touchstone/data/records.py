"""One record of an annotation tool (a JSON object with a text) as a document without annotations.

Text, document, patient and subgroups are fields of the record, or of an object of it (`meta`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from touchstone.data.annotated import Document, Mention
from touchstone.data.files import listed
from touchstone.data.ids import Ids
from touchstone.data.pairs import Relation
from touchstone.data.parts import Part
from touchstone.errors import UserError
from touchstone.schema import GoldFiles

KEYS = ("text_field", "doc_field", "patient_field")
KEY = "corpus.gold."


def document(record: Mapping[str, Any], files: GoldFiles, where: str, part: Part) -> Document:
    """Return the text of a record with its ids.

    Raises
    ------
    UserError
        If a field is missing (listing those there are), the text is none, or an id is none.
    """
    text = named(record, files.text_field, "text_field", where)
    if not isinstance(text, str):
        raise UserError(f'{where}: field "{files.text_field}" must be a string')
    ids = {
        key: Ids(name, KEY + key).read(named(record, name, key, where), where)
        for key, name in (("doc_field", files.doc_field), ("patient_field", files.patient_field))
        if name is not None
    }
    own = f"{part.split}{where.rpartition(' ')[2]}"
    return Document(
        ids.get("doc_field", own),
        text,
        patient_id=ids.get("patient_field"),
        split=part.split,
        origin=part.origin,
        where=where,
    )


def named(record: Mapping[str, Any], name: str, key: str, where: str) -> Any:
    """Return a field of a record, or of an object in it."""
    inner = [value for value in record.values() if isinstance(value, Mapping)]
    for place in (record, *inner):
        if name in place:
            return place[name]
    optional = "" if key == "text_field" else f", or {KEY}{key}=null where there is none"
    raise UserError(
        f'{where}: no field "{name}" (fields: {listed(record)}). Name the one to read: '
        f"{KEY}{key}=FIELD{optional}"
    )


def with_annotations(
    found: Document,
    labels: tuple[str, ...],
    mentions: tuple[Mention, ...],
    relations: tuple[Relation, ...] = (),
) -> Document:
    """Return a document with what one annotator said of it."""
    return replace(found, labels=labels, mentions=mentions, relations=relations)
