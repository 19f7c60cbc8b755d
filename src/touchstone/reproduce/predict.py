"""`touchstone predict RUN_ID FILE`: label new notes with the classifier of a finished cell.

Notes are cut into sentences as in training, unless the file holds sentences. Written are label
names, probabilities and spans with offsets into the note: CSV, JSONL, or a folder of brat
stand-off. The model is a pickle, which runs code of whoever wrote it: one of a store that is named
(--store) is loaded with --trust-code only. The output
holds the notes' text and is readable by its owner alone. Does not train and does not score.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from touchstone.data import parts, targets
from touchstone.data.files import find, listed
from touchstone.data.ids import Ids
from touchstone.data.offsets import collapsed
from touchstone.data.segment import segment
from touchstone.data.tables import decoded, records
from touchstone.errors import UserError, no_such
from touchstone.foreign_text import tell
from touchstone.models.checks import labels_of
from touchstone.schema import TaxonomyConfig
from touchstone.taxonomy import Taxonomy, taxonomy_of

FORMATS = ("csv", "jsonl", "brat")
Span = dict[str, Any]

NO_MODEL = (
    "run {}: has no logged model. Models of restricted corpora and of the LLM asked directly are "
    "not logged (a vocabulary is text): tracking.log_restricted_text=true"
)


@dataclass(frozen=True)
class Sentence:
    """One sentence of a note: its place there, and where each of its characters stands."""

    note: str
    number: int
    start: int
    end: int
    text: str
    places: tuple[int, ...]  # position in `text` -> position in the note; -1 for a joining blank


def sentences_of(notes: Sequence[tuple[str, str]], whole: bool) -> list[Sentence]:
    """Cut notes (id, text) into sentences; with `whole` each text is one."""
    out = []
    for note, text in notes:
        bounds = [(0, len(text))] if whole else segment(text)
        for number, (start, end) in enumerate(bounds):
            sentence, where = collapsed(text, start, end)
            places = [-1] * len(sentence)
            for there, here in where.items():
                places[here] = there
            out.append(Sentence(note, number, start, end, sentence, tuple(places)))
    return out


def predicted(
    model: Any, sentences: Sequence[Sentence], taxonomy: Taxonomy, kind: str
) -> pd.DataFrame:
    """Label sentences.

    Returns
    -------
    DataFrame[note_id, sentence, start, end, text, labels, probabilities, spans]: offsets are
    characters of the note, end exclusive; `probabilities` is category -> value (empty for NER);
    `spans` are of the note, too.
    """
    texts = [sentence.text for sentence in sentences]
    names = targets.categories(kind, taxonomy)
    if kind == "ner":
        found = targets.decode(model.predict(texts), taxonomy, kind)
        spans = [_in_note(one, sentence) for one, sentence in zip(found, sentences, strict=True)]
        labels = [list(dict.fromkeys(span["type"] for span in one)) for one in spans]
        shares: list[dict[str, float]] = [{} for _ in sentences]
    else:
        scores = model.predict_proba(texts)
        labels = targets.decode(labels_of(scores, kind), taxonomy, kind)
        values = np.asarray(targets.category_scores(scores, kind), dtype=float)
        shares = [
            {name: round(float(value), 4) for name, value in zip(names, row, strict=True)}
            for row in values
        ]
        spans = [[] for _ in sentences]
    return pd.DataFrame(
        {
            "note_id": [sentence.note for sentence in sentences],
            "sentence": [sentence.number for sentence in sentences],
            "start": [sentence.start for sentence in sentences],
            "end": [sentence.end for sentence in sentences],
            "text": texts,
            "labels": labels,
            "probabilities": shares,
            "spans": spans,
        }
    )


def _in_note(spans: Sequence[Span], sentence: Sentence) -> list[Span]:
    return [
        {
            "start": sentence.places[span["start"]],
            "end": sentence.places[span["end"] - 1] + 1,
            "type": span["type"],
        }
        for span in spans
    ]


def notes_of(path: Path, text_field: str | None, id_field: str | None) -> list[tuple[str, str]]:
    """Return the notes (id, text) of a table, a .txt file, or a folder of .txt files.

    Raises
    ------
    UserError
        If there are none, a field is missing, or an id stands twice.
    """
    if path.is_dir():
        notes = [(one.stem, decoded(one)[0]) for one in parts.inside(path, ".txt")]
    elif path.suffix == ".txt":
        notes = [(path.stem, decoded(path)[0])]
    else:
        notes = list(_rows(path, text_field, id_field))
    if not notes:
        raise UserError(f"{path}: no notes; a table, a .txt file or a folder of them was expected")
    repeated = pd.Series([name for name, _ in notes]).duplicated()
    if repeated.any():
        raise UserError(f"{path}: {int(repeated.sum())} ids stand there before. Name unique ones")
    return notes


def _rows(path: Path, text_field: str | None, id_field: str | None) -> Iterator[tuple[str, str]]:
    look, rows = records(path)
    for option, name in (("--text-field", text_field or "text"), ("--id-field", id_field)):
        if name is not None and name not in look.columns:
            raise UserError(
                f'{path}: no field "{name}" (fields: {listed(look.columns)}). '
                f"Name the one to read: {option} FIELD"
            )
    ids = Ids(id_field or "", "--id-field")
    for line, record in rows:
        where = f"{path}, line {line}"
        text = record[text_field or "text"]
        if not isinstance(text, str) or not text.strip():
            raise UserError(f'{where}: field "{text_field or "text"}" must be a text')
        yield ids.read(record[id_field], where) if id_field else str(line), text


def write(table: pd.DataFrame, notes: Sequence[tuple[str, str]], form: str, out: Path) -> None:
    """Write predictions, readable by their owner alone.

    Raises
    ------
    UserError
        If something of that name is there.
    """
    if out.exists():
        raise UserError(f"{out} is there already; choose another name: --out NAME")
    if form == "brat":
        out.mkdir(mode=0o700, parents=True)
        for name, text in notes:
            of_note = table[table["note_id"] == name]
            _private(out / f"{name}.txt", text)
            _private(out / f"{name}.ann", _standoff(of_note, text))
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    rows = table.to_dict("records")
    if form == "jsonl":
        _private(out, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
        return
    flat = table.assign(
        labels=table["labels"].map(", ".join),
        spans=[json.dumps(one, ensure_ascii=False) if one else "" for one in table["spans"]],
    ).drop(columns="probabilities")
    shares = pd.DataFrame(list(table["probabilities"]), index=table.index).add_prefix("p_")
    _private(out, flat.join(shares).to_csv(index=False))


def _standoff(table: pd.DataFrame, text: str) -> str:
    """Return predictions as brat's .ann: spans, or the sentence for each of its labels."""
    marks = [
        (span["start"], span["end"], span["type"]) for spans in table["spans"] for span in spans
    ] or [
        (row.start, row.end, label) for row in table.itertuples(index=False) for label in row.labels
    ]
    lines = []
    for number, (start, end, kind) in enumerate(marks, start=1):
        mention = " ".join(text[start:end].split("\n"))
        lines.append(f"T{number}\t{kind.replace(' ', '_')} {start} {end}\t{mention}\n")
    return "".join(lines)


def _private(path: Path, text: str) -> None:
    opened = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600)
    with open(opened, "w", encoding="utf-8", newline="") as handle:
        handle.write(text)


def add_cli(subparsers: Any) -> None:
    """Declare `touchstone predict`."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "predict", help="label new notes with the classifier of a finished cell"
    )
    parser.add_argument("run_id", help="run id of a cell, or its beginning")
    parser.add_argument("file", help="notes: a table, a .txt file, or a folder of them")
    parser.add_argument("--out", help="file or folder to write (default: predictions.FORMAT)")
    parser.add_argument("--format", default="csv", help=f"one of {', '.join(FORMATS)}")
    parser.add_argument("--text-field", help="column of the text (default: text)")
    parser.add_argument("--id-field", help="column of the note's id (default: its line)")
    parser.add_argument("--sentences", action="store_true", help="each text is one sentence")
    parser.add_argument("--store", help="tracking store (default: mlflow)")
    parser.add_argument(
        "--trust-code", action="store_true", help="load the model of a store that --store names"
    )
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    if arguments.format not in FORMATS:
        raise UserError(f"--format: {no_such('format', arguments.format, FORMATS)}")
    notes = notes_of(find(arguments.file, folder=True), arguments.text_field, arguments.id_field)
    if arguments.store and not arguments.trust_code:
        raise UserError(
            f"the classifier of run {arguments.run_id} in {arguments.store} is a pickle: to load "
            "it "
            "runs code of whoever wrote the store. If that is you, or somebody you trust: "
            "--trust-code"
        )
    model, taxonomy, kind = loaded(arguments.store or "mlflow", arguments.run_id)
    sentences = sentences_of(notes, arguments.sentences)
    table = predicted(model, sentences, taxonomy, kind)
    usual = "predictions" if arguments.format == "brat" else f"predictions.{arguments.format}"
    out = Path(arguments.out or usual)
    write(table, notes, arguments.format, out)
    labelled = int(table["labels"].map(bool).sum())
    tell(f"{out}: {len(notes)} notes, {len(table)} sentences, {labelled} of them labelled")
    return 0


def loaded(store: str, run_id: str) -> tuple[Any, Taxonomy, str]:
    """Return the classifier of a cell, its taxonomy and the kind of its task.

    Raises
    ------
    UserError
        If there is no such finished cell, or it has no logged model.
    """
    import mlflow
    from omegaconf import OmegaConf

    from touchstone import tracking
    from touchstone.reproduce.record import from_store

    record = from_store(run_id, store)
    opened = tracking.open_existing(store)
    mlflow.set_tracking_uri(opened.uri)
    try:
        outputs = opened.client.get_run(record.run_id).outputs
        (logged,) = list(outputs.model_outputs) if outputs else []
        model = mlflow.pyfunc.load_model(f"models:/{logged.model_id}")
    except ValueError:
        raise UserError(NO_MODEL.format(record.run_id)) from None
    except mlflow.exceptions.MlflowException:
        raise UserError(NO_MODEL.format(record.run_id)) from None
    config = OmegaConf.merge(OmegaConf.structured(TaxonomyConfig), record.config["taxonomy"])
    taxonomy = taxonomy_of(OmegaConf.to_object(config))  # type: ignore[arg-type]
    return model.get_raw_model(), taxonomy, record.config["task"]["kind"]
