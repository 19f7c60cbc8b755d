"""Read labelled sentences: JSONL or CSV with a document id, the text and its labels, as in the
Hallmarks of Cancer corpus.

Labels are category ids or names of the taxonomy: a list, or one string separated by commas or
semicolons; an empty list, an empty string or `none` is no category. Does not split: a corpus that
publishes its split names one file for each part. Source of the format: our JSONL of Baker et al.
2015 (doc_id, sent, text, labels).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from touchstone.data.examples import examples
from touchstone.data.files import find, id_field, quoted, rows, text_field
from touchstone.data.readers.labelled_notes import KEY, parse_labels
from touchstone.digest import digest_file
from touchstone.errors import UserError
from touchstone.schema import GoldFiles
from touchstone.taxonomy import Taxonomy

KEYS = (
    "path", "train", "dev", "test",
    "text_field", "labels_field", "doc_field", "patient_field",
)  # fmt: skip


def read(
    gold: GoldFiles, taxonomy: Taxonomy, data_folder: str | Path | None
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Read labelled sentences as an example table.

    Parameters
    ----------
    gold : `path`, or `train`, `test` and perhaps `dev`; field names `text_field`, `labels_field`,
        `doc_field`, `patient_field` (None: the document is the patient).
    taxonomy : labels are ids or names of its categories.
    data_folder : where files are looked for first, see `files.find`.

    Returns
    -------
    frame : example table; `split` is '' for `path` and the part for the others. example_id is
        `DOC/3` for the fourth sentence of DOC.
    counted : number of documents, sentences and sentences with a label.

    Raises
    ------
    UserError With file and line: malformed line, missing field, empty text, unknown category, a
        document in two parts.
    """
    parts = (
        {"": gold.path} if gold.path else {"train": gold.train, "dev": gold.dev, "test": gold.test}
    )
    if not any(parts.values()):
        raise UserError(f"{KEY}reader=sentences_jsonl needs {KEY}path, or {KEY}train and {KEY}test")
    out: list[dict[str, Any]] = []
    numbers: Counter[str] = Counter()
    part_of: dict[str, str] = {}
    for split, name in parts.items():
        if name is None:
            continue
        path = find(name, data_folder)
        origin = digest_file(path)
        for line, record in rows(path):
            row = _row(record, gold, taxonomy, path, line)
            document = row["doc_id"]
            if part_of.setdefault(document, split) != split:
                raise UserError(
                    f"{path}, line {line}: document {quoted(document)} stands in {part_of[document]} too; a document belongs to one part"
                )
            out.append(
                {
                    **row,
                    "example_id": f"{document}/{numbers[document]}",
                    "source": "gold",
                    "split": split,
                    "origin": origin,
                }
            )
            numbers[document] += 1
    if not out:
        raise UserError(f"{', '.join(str(name) for name in parts.values() if name)}: no sentences")
    frame = examples(out)
    return frame, {
        "documents": len(numbers),
        "sentences": len(frame),
        "labelled": int(frame["labels"].map(bool).sum()),
    }


def _row(
    record: Mapping[str, Any], gold: GoldFiles, taxonomy: Taxonomy, path: Path, line: int
) -> dict[str, Any]:
    where = {"path": path, "line": line}
    text = " ".join(text_field(record, gold.text_field, **where, key=KEY + "text_field").split())
    if not text:
        raise UserError(f'{path}, line {line}: field "{gold.text_field}" is empty')
    document = id_field(record, gold.doc_field, **where, key=KEY + "doc_field")
    patient = (
        id_field(record, gold.patient_field, **where, key=KEY + "patient_field")
        if gold.patient_field
        else document
    )
    given = record.get(gold.labels_field)
    if gold.labels_field in record and not (
        isinstance(given, str) or isinstance(given, list) and all(isinstance(x, str) for x in given)
    ):
        raise UserError(
            f'{path}, line {line}: field "{gold.labels_field}" must be a list of categories, or a string'
        )
    if not isinstance(given, list):
        given = text_field(record, gold.labels_field, **where, key=KEY + "labels_field")
        given = re.split(r"[,;]", given) if given.strip() else []
    names = {category.name: category.id for category in taxonomy.categories}
    return {
        "text": text,
        "doc_id": document,
        "patient_id": patient,
        "labels": parse_labels(given, taxonomy, names, f"{path}, line {line}"),
    }
