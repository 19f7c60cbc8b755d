"""What a file of labels is: which reader reads it, and with which keys.

Looks at names, first lines and columns; the reader itself then says whether the guess holds. Does
not read labels.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from touchstone.data import parts
from touchstone.data.files import rows
from touchstone.data.tables import decoded, json_of, records
from touchstone.errors import UserError
from touchstone.schema import GoldFiles

ROWS = 2000  # of a table that are looked at
PATIENT = re.compile(r"patient|subject|person|\bmrn\b|\bpid\b", re.IGNORECASE)
DOCUMENT = re.compile(
    r"(doc|note|report|letter|document|text|hadm|visit)[ _-]?(id|nr|no)?$", re.IGNORECASE
)
LABELS = re.compile(r"label|class|categor|annotation|target|finding|code", re.IGNORECASE)
TAG = re.compile(r"(?:O|[BIESLU](?:[-_]\S+)?)")
BY_ENDING = {
    ".ann": "brat",
    ".xmi": "uima_cas",
    ".arrow": "huggingface",
    ".parquet": "huggingface",
    ".jsonl": "doccano",
}  # of the files in a folder


def recognised(path: Path) -> GoldFiles:
    """Return the files as `corpus.gold` would name them.

    Raises
    ------
    UserError
        If it is nothing that a reader reads.
    """
    reader = _of_folder(path) if path.is_dir() else _of_file(path)
    files = GoldFiles(reader=reader, path=str(path), doc_field=None)
    if reader == "table":
        return _table(path, files)
    if reader in ("label_studio", "doccano", "prodigy", "huggingface"):
        return _fields(path, files)
    return GoldFiles(reader=reader, path=str(path))


def _of_folder(path: Path) -> str:
    endings = Counter(one.suffix.lower() for one in parts.inside(path))
    for ending, reader in BY_ENDING.items():
        if endings[ending]:
            return reader
    for ending in (".xml", ".json", ".tsv"):
        if endings[ending]:
            return _of_file(parts.inside(path, ending)[0])
    raise UserError(
        f"{path}: a folder of no known format ({', '.join(map(str, endings)) or 'empty'}). Read "
        "are brat, i2b2 XML, MedTator, BioC, UIMA CAS, WebAnno TSV and Hugging Face folders"
    )


def _of_file(path: Path) -> str:
    ending = path.with_suffix("").suffix.lower() if path.suffix == ".gz" else path.suffix.lower()
    if ending == ".xmi":
        return "uima_cas"
    if ending == ".xml":
        head = decoded(path)[0][:2000]
        return "bioc" if "<collection" in head else "i2b2_xml"
    if ending == ".json":
        return _of_json(json_of(path))
    if ending in (".jsonl", ".ndjson"):
        first = next(iter(rows(path)), (0, {}))[1]
        return _of_record(first)
    if ending in (".xlsx", ".xls", ".ods", ".parquet", ".csv"):
        return "table"
    text = decoded(path)[0]
    lines = [line for line in text[:20_000].splitlines() if line.strip()][:200]
    if lines and lines[0].startswith("#FORMAT=WebAnno TSV 3"):
        return "webanno_tsv"
    if lines and re.match(r"[^|\t]+\|[ta]\|", lines[0]):
        return "pubtator"
    cells = [
        re.split(r"[\t ]+", line.strip()) for line in lines if not line.startswith(("#", "-D"))
    ]
    tagged = [one for one in cells if len(one) > 1 and TAG.fullmatch(one[-1])]
    if cells and len(tagged) > 0.95 * len(cells):
        return "conll"
    return "table"


def _of_json(value: Any) -> str:
    if isinstance(value, Mapping):
        if "projects" in value:
            return "medcattrainer"
        if "documents" in value:
            return "bioc"
        if "%TYPES" in value or "%FEATURE_STRUCTURES" in value:
            return "uima_cas"
        return "table"
    first = value[0] if isinstance(value, list) and value else {}
    if isinstance(first, Mapping) and ("annotations" in first or "annotation_id" in first):
        return "label_studio"
    return "table"


def _of_record(first: Mapping[str, Any]) -> str:
    if {"_task_hash", "_input_hash", "answer"} & set(first):
        return "prodigy"
    label = first.get("label")
    spans = isinstance(label, list) and (not label or isinstance(label[0], list))
    if spans or {"entities", "cats"} & set(first):
        return "doccano"
    return "table"


def _fields(path: Path, files: GoldFiles) -> GoldFiles:
    """Name the document and patient fields of an annotation tool's records, where they have
    some."""
    names: list[str] = []
    if files.reader == "label_studio":
        first = json_of(path)[0]
        names = list(first.get("data", first))
    elif path.suffix == ".jsonl":
        first = next(iter(rows(path)), (0, {}))[1]
        inner = [value for value in first.values() if isinstance(value, Mapping)]
        names = [*first, *(name for value in inner for name in value)]
    elif files.reader == "huggingface":
        from touchstone.data.arrow import splits_of

        names = list(next(iter(splits_of(str(path), None, {}).values())).columns)
    files.patient_field = next((name for name in names if PATIENT.search(name)), None)
    files.doc_field = next(
        (name for name in names if DOCUMENT.match(name) and name not in ("text", "id")), None
    )
    return files


def _table(path: Path, files: GoldFiles) -> GoldFiles:
    look, rows = records(path)
    sample = [record for _, record in islice(rows, ROWS)]
    columns = [name for name in look.columns if name]
    text = max(columns, key=lambda name: _length(sample, name), default=None)
    if text is None or not sample:
        raise UserError(f"{path}: a table without rows")
    rest = [name for name in columns if name != text]
    files.text_field = text
    files.patient_field = next((name for name in rest if PATIENT.search(name)), None)
    rest = [name for name in rest if name != files.patient_field]
    files.doc_field = next((name for name in rest if DOCUMENT.match(name)), None)
    rest = [name for name in rest if name != files.doc_field]
    binary = [name for name in rest if _binary(sample, name)]
    labels = next((name for name in rest if LABELS.search(name) and name not in binary), None)
    labels = labels or min(
        (name for name in rest if name not in binary and 1 < _distinct(sample, name) <= 50),
        key=lambda name: _distinct(sample, name),
        default=None,
    )
    if labels is not None:
        files.labels_field = labels
    elif binary:
        files.label_columns = binary
    return files


def _length(sample: Sequence[Mapping[str, Any]], name: str) -> float:
    texts = [value for record in sample if isinstance(value := record.get(name), str)]
    return sum(map(len, texts)) / len(texts) if texts else 0.0


def _distinct(sample: Sequence[Mapping[str, Any]], name: str) -> int:
    return len({str(record.get(name)) for record in sample})


def _binary(sample: Sequence[Mapping[str, Any]], name: str) -> bool:
    values = {str(record.get(name)).strip() for record in sample}
    return bool(values & {"1", "1.0", "True"}) and values <= {
        "0", "1", "0.0", "1.0", "True", "False", "", "None",
    }  # fmt: skip
