"""Read labelled texts from a table: CSV, TSV, XLSX, Parquet, JSONL or JSON, one row an example.

A row is a sentence or a whole note (`segment: true` is refused here: labels of a note are not those
of its sentences). Labels stand in one cell (a list, or words with any separator between them, see
data/labels.py), or in columns of 0 and 1 (`label_columns`), as ids or names of the taxonomy or as
words and codes that `label_map` translates. Documents and patients are optional (`null`: each row
is its own). Does not split: a corpus that publishes its split names one file for each part.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from touchstone.data import parts
from touchstone.data.annotated import patient_of
from touchstone.data.examples import examples
from touchstone.data.files import likely_field, listed, quoted
from touchstone.data.ids import Ids
from touchstone.data.labels import categories_of, category_of, labels_in, words_of
from touchstone.data.tables import Look, records
from touchstone.errors import UserError
from touchstone.schema import GoldFiles
from touchstone.taxonomy import NONE, Taxonomy

KEYS = (
    *parts.KEYS,
    "text_field",
    "labels_field",
    "doc_field",
    "patient_field",
    "patient_pattern",
    "separator",
    "encoding",
    "label_map",
    "label_separator",
    "label_columns",
    "confidence_field",
    "origin_field",
    "subgroup_fields",
)
KEY = "corpus.gold."
SURE = {"high": 0.9, "medium": 0.7, "low": 0.0}  # least probability of each word of confidence
log = logging.getLogger(__name__)


def read(
    files: GoldFiles, taxonomy: Taxonomy, data_folder: str | Path | None
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Read a table, or one for each part of a published split, as an example table.

    Returns
    -------
    frame : example table; example_id is `DOC/3` for the fourth row of DOC, texts have white space
        collapsed, labels are in the taxonomy's order.
    counted : number of documents, sentences and sentences with a label; `looks`, how each file is
        written; `own_documents`, true where each row counts as a document.

    Raises
    ------
    UserError
        With file and line: see data/tables.py, data/labels.py and data/ids.py; a missing column
        (with those there are), an empty text, a document of two patients or in two parts.
    """
    words = words_of(taxonomy, files.label_map)
    rows: list[dict[str, Any]] = []
    numbers: Counter[str] = Counter()
    part_of: dict[str, str] = {}
    patient_by: dict[str, str] = {}
    looks: dict[str, str] = {}
    for part in parts.parts_of(files, data_folder):
        look, found = records(part.path, files.separator, files.encoding)
        looks[part.path.name] = str(look)
        if look.kind == "csv":
            log.info("%s: %s, columns %s", part.path, look, listed(look.columns))
        ids = {key: Ids(getattr(files, key) or "", KEY + key) for key in ID_FIELDS}
        for line, record in found:
            where = f"{part.path}, line {line}"
            document = _id(record, files, "doc_field", ids, where, look)
            document = document or f"row-{part.origin[:8]}-{line}"  # of no other file
            if part_of.setdefault(document, part.split) != part.split:
                raise UserError(
                    f"{where}: document {quoted(document)} stands in {part_of[document]} too; a "
                    "document belongs to one part"
                )
            patient = _id(record, files, "patient_field", ids, where, look)
            patient = patient or patient_of(document, files)
            if patient_by.setdefault(document, patient) != patient:
                raise UserError(
                    f"{where}: document {quoted(document)} belongs to patient {quoted(patient)} "
                    f"here and to {quoted(patient_by[document])} above. Name a column that tells "
                    f"documents apart: {KEY}doc_field=FIELD, or null"
                )
            rows.append(
                {
                    "example_id": f"{document}/{numbers[document]}",
                    "text": _text(record, files, where, look),
                    "labels": _labels(record, files, words, taxonomy.ids, where, look),
                    "source": "gold",
                    "doc_id": document,
                    "patient_id": patient,
                    "split": part.split,
                    "origin": _cell(record, files, "origin_field", where, look) or part.origin,
                    "confidence": _confidence(record, files, where, look),
                    "subgroups": subgroups(record, files, where, look),
                }
            )
            numbers[document] += 1
    if not rows:
        names = ", ".join(part.path.name for part in parts.parts_of(files, data_folder))
        raise UserError(f"{names}: no sentences")
    frame = examples(rows)
    counted = {
        "documents": len(numbers),
        "sentences": len(frame),
        "labelled": int(frame["labels"].map(bool).sum()),
        "looks": looks,
    }
    return frame, counted | ({"own_documents": True} if files.doc_field is None else {})


ID_FIELDS = ("doc_field", "patient_field")


def subgroups(record: Mapping[str, Any], files: GoldFiles, where: str, look: Look | None) -> str:
    """Return the row's values of `subgroup_fields` as one JSON object, '' where none is named."""
    values = {}
    for name in files.subgroup_fields:
        value = _named(record, name, f"{KEY}subgroup_fields", where, look)
        missing = value is None or value != value
        values[name] = "" if missing else str(value).strip()
    return json.dumps(values, sort_keys=True, ensure_ascii=False) if values else ""


def _named(
    record: Mapping[str, Any], name: str, key: str, where: str, look: Look | None = None
) -> Any:
    if name in record:
        return record[name]
    alone = look is not None and look.kind == "csv" and len(record) == 1
    hint = f". Another separator: {KEY}separator=';'" if alone else ""
    raise UserError(
        f'{where}: no field "{name}" (fields: {listed(record)}). '
        f"Name the one to read: {key}={likely_field(record, key)}{hint}"
    )


def _id(
    record: Mapping[str, Any],
    files: GoldFiles,
    field: str,
    ids: Mapping[str, Ids],
    where: str,
    look: Look,
) -> str | None:
    name = getattr(files, field)
    if name is None:
        return None
    return ids[field].read(_named(record, name, KEY + field, where, look), where)


def _text(record: Mapping[str, Any], files: GoldFiles, where: str, look: Look) -> str:
    value = _named(record, files.text_field, f"{KEY}text_field", where, look)
    if not isinstance(value, str):
        raise UserError(f'{where}: field "{files.text_field}" must be a string')
    text = " ".join(value.split())
    if not text:
        raise UserError(f'{where}: field "{files.text_field}" is empty')
    return text


def _labels(
    record: Mapping[str, Any],
    files: GoldFiles,
    words: Mapping[str, str],
    order: tuple[str, ...],
    where: str,
    look: Look,
) -> list[str]:
    if not files.label_columns:
        cell = _named(record, files.labels_field, f"{KEY}labels_field", where, look)
        unsaid = cell is None and look.kind in ("json", "jsonl")  # null is not "none of them"
        if unsaid or isinstance(cell, Mapping):
            raise UserError(
                f'{where}: field "{files.labels_field}" must be a list of categories, or a string'
            )
        labels = labels_in(cell, words, files.label_separator, where)
        return categories_of(labels, words, order, where)
    present = set()
    for name in files.label_columns:
        value = _named(record, name, f"{KEY}label_columns", where, look)
        mark = str(value).strip().lower()
        if mark in ("1", "1.0", "true"):
            present.add(category_of(name, words, where))
        elif mark not in ("0", "0.0", "false", "", "none", "nan"):
            raise UserError(f'{where}: the label column "{quoted(name)}" must hold 0 or 1')
    return [category for category in order if category in present - {NONE}]


def _cell(record: Mapping[str, Any], files: GoldFiles, field: str, where: str, look: Look) -> str:
    name = getattr(files, field)
    value = _named(record, name, KEY + field, where, look) if name else None
    return "" if value is None else str(value).strip()


def _confidence(record: Mapping[str, Any], files: GoldFiles, where: str, look: Look) -> str:
    cell = _cell(record, files, "confidence_field", where, look).lower()
    if cell in ("", *SURE):
        return cell
    try:
        share = float(cell)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise UserError(
            f'{where}: field "{files.confidence_field}" must be high, medium or low, or a '
            "probability between 0 and 1"
        )
    return next(word for word, least in SURE.items() if share >= least)
