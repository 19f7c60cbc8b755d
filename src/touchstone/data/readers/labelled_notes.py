"""Read notes whose sentences experts have labelled: the notes with their reference sentence
offsets, and one label file for each pass.

Notes: JSONL with an id, a patient, the text and `sentences`, a list of [start, end) character
offsets into the text. Labels: TSV of note_id, sentence (number from 0) and labels (`none`, or
category ids separated by commas). Every sentence is labelled exactly once; anything else is an
error, never a guess. Does not segment and does not split.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from touchstone.data.examples import examples
from touchstone.data.files import find, id_field, listed, quoted, rows, text_field
from touchstone.data.labels import hear
from touchstone.digest import digest, digest_file
from touchstone.errors import UserError, no_such
from touchstone.schema import GoldFiles
from touchstone.taxonomy import NONE, Taxonomy

KEY = "corpus.gold."
KEYS = ("path", "labels", "annotators", "text_field", "doc_field", "patient_field")
LABEL_FILE = ("note_id", "sentence", "labels")
SENTENCES = "sentences"  # field of the reference offsets


def read(
    gold: GoldFiles, taxonomy: Taxonomy, data_folder: str | Path | None
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Read notes and their labels as an example table, one row a sentence.

    Parameters
    ----------
    gold : `path` (notes), `labels`, and the field names `text_field`, `doc_field`, `patient_field`
        (None: the note is the patient). A field `note_type`, where the notes have one, is kept.
    taxonomy : labels are ids of its categories.
    data_folder : where files are looked for first, see `files.find`.

    Returns
    -------
    frame : example table, unsplit; example_id is `NOTE/3` for the fourth sentence of NOTE, the text
        is that of the reference offsets with white space collapsed, labels are in the taxonomy's
        order, origin is the digest of both files.
    counted : number of notes, patients, sentences and sentences with a label.

    Raises
    ------
    UserError With file and line: malformed line, missing field, offsets outside the text or not
        increasing, unknown note, sentence or category, a sentence labelled twice or not at all.
    """
    if gold.path is None or gold.labels is None:
        raise UserError(
            f"{KEY}reader=labelled_notes needs {KEY}path (notes with sentence offsets) and "
            f"{KEY}labels (a TSV)"
        )
    notes, labels = find(gold.path, data_folder), find(gold.labels, data_folder)
    sentences = _sentences(notes, gold)
    label_lists = read_labels(labels, [row["example_id"] for row in sentences], taxonomy)
    origin = digest([digest_file(notes), digest_file(labels)])
    frame = examples(
        {**row, "labels": label_lists[row["example_id"]], "source": "gold", "origin": origin}
        for row in sentences
    )
    counted = {
        "notes": int(frame["doc_id"].nunique()),
        "patients": int(frame["patient_id"].nunique()),
        "sentences": len(frame),
        "labelled": int(frame["labels"].map(bool).sum()),
    }
    return frame, counted


def read_annotators(
    gold: GoldFiles, taxonomy: Taxonomy, data_folder: str | Path | None
) -> pd.DataFrame:
    """Read the label files from before adjudication, for agreement.

    Returns
    -------
    DataFrame of lists of category ids: one row for each sentence (index example_id, as in
    `read`), one column for each file of `gold.annotators`, named like the file
    without its ending.

    Raises
    ------
    UserError
        As `read`; and if no annotator files are named.
    """
    if gold.path is None or not gold.annotators:
        raise UserError(
            f"no label files of single annotators: set {KEY}path and {KEY}annotators=[FILE,FILE]"
        )
    ids = [row["example_id"] for row in _sentences(find(gold.path, data_folder), gold)]
    columns = {}
    for name in gold.annotators:
        path = find(name, data_folder)
        labels = read_labels(path, ids, taxonomy)
        columns[path.stem] = pd.Series(
            [labels[example_id] for example_id in ids],
            index=pd.Index(ids, name="example_id"),
            dtype=object,
        )
    return pd.DataFrame(columns)


def read_labels(path: Path, ids: list[str], taxonomy: Taxonomy) -> dict[str, list[str]]:
    """Read one label file: example_id -> category ids in the taxonomy's order, exactly one line for
    each of `ids`."""
    known, notes = set(ids), {example_id.rpartition("/")[0] for example_id in ids}
    out: dict[str, list[str]] = {}
    lines: dict[str, int] = {}
    for line, record in rows(path):
        lacking = [name for name in LABEL_FILE if not isinstance(record.get(name), str)]
        if lacking:
            raise UserError(
                f'{path}, line {line}: no field "{lacking[0]}" (fields: {listed(record)}); '
                f"a label file is a TSV with {', '.join(LABEL_FILE)}"
            )
        note = record["note_id"]
        example_id = f"{note}/{record['sentence']}"
        if note not in notes:
            raise UserError(f"{path}, line {line}: no note {quoted(note)} in the notes file")
        if example_id not in known:
            raise UserError(
                f"{path}, line {line}: note {quoted(note)} has no sentence "
                f"{quoted(record['sentence'])}; sentences are numbered from 0"
            )
        if example_id in lines:
            raise UserError(
                f"{path}, line {line}: sentence {quoted(example_id)} is labelled twice (first on "
                f"line {lines[example_id]})"
            )
        lines[example_id] = line
        out[example_id] = parse_labels(
            record["labels"].split(","), taxonomy, {}, f"{path}, line {line}"
        )
    missing = [example_id for example_id in ids if example_id not in out]
    if missing:
        raise UserError(
            f"{path}: {len(missing)} of {len(ids)} sentences have no labels, the first is "
            f"{quoted(missing[0])}; write none where none holds"
        )
    return out


def parse_labels(
    given: list[str], taxonomy: Taxonomy, synonyms: Mapping[str, str], where: str
) -> list[str]:
    """Return the category ids among labels as written in a file, in the taxonomy's order; `none` is
    [].

    Parameters
    ----------
    given : labels of one sentence; `none` must stand alone.
    synonyms : other spellings -> category id.
    where : file and line, for messages.

    Raises
    ------
    UserError
        For an unknown category (with the choices), an empty cell, or `none` beside a category.
    """
    ids = []
    for label in (label.strip() for label in given):
        label = synonyms.get(label, label)
        if label not in taxonomy.ids and label != NONE and not hear(label):
            raise UserError(f"{where}: {no_such('category', quoted(label), [*taxonomy.ids, NONE])}")
        ids.append(label)
    if NONE in ids and len(ids) > 1:
        raise UserError(f'{where}: "{NONE}" beside a category ({", ".join(ids)})')
    return [category for category in taxonomy.ids if category in ids]


def _sentences(path: Path, gold: GoldFiles) -> list[dict[str, Any]]:
    """Cut the notes at their reference offsets: rows of an example table without labels."""
    if gold.doc_field is None:
        raise UserError(f"{KEY}doc_field=null: label files name the note, so notes need an id")
    out: list[dict[str, Any]] = []
    counts: dict[str, int] = {}
    for line, record in rows(path):
        where: dict[str, Any] = {"path": path, "line": line}
        note = id_field(record, gold.doc_field, **where, key=KEY + "doc_field")
        if note in counts:
            raise UserError(
                f"{path}, line {line}: note {quoted(note)} stands twice (first on line "
                f"{counts[note]})"
            )
        counts[note] = line
        text = text_field(record, gold.text_field, **where, key=KEY + "text_field")
        patient = (
            id_field(record, gold.patient_field, **where, key=KEY + "patient_field")
            if gold.patient_field
            else note
        )
        kind = record.get("note_type") or ""
        for number, (start, end) in enumerate(_offsets(record, len(text), path, line)):
            sentence = " ".join(text[start:end].split())
            if not sentence:
                raise UserError(
                    f"{path}, line {line}: sentence {number} ({start}..{end}) of note "
                    f"{quoted(note)} is empty"
                )
            out.append(
                {
                    "example_id": f"{note}/{number}",
                    "text": sentence,
                    "doc_id": note,
                    "patient_id": patient,
                    "note_type": kind,
                }
            )
    if not out:
        raise UserError(f"{path}: no notes")
    return out


def _offsets(
    record: Mapping[str, Any], length: int, path: Path, line: int
) -> list[tuple[int, int]]:
    spans = record.get(SENTENCES)
    if not isinstance(spans, list):
        raise UserError(
            f'{path}, line {line}: no list "{SENTENCES}" of [start, end] offsets, which labels by '
            "sentence number need "
            f"(fields: {listed(record)}). Labelled sentences without their notes: "
            f"{KEY}reader=sentences_jsonl"
        )
    last = 0
    for number, span in enumerate(spans):
        if not (
            isinstance(span, list)
            and len(span) == 2
            and all(type(offset) is int for offset in span)
            and last <= span[0] < span[1] <= length
        ):
            raise UserError(
                f"{path}, line {line}: sentence {number} must be [start, end] with {last} <= "
                f"start < end <= {length}, after the one before it"
            )
        last = span[1]
    return [(start, end) for start, end in spans]
