"""The formats of a review: written for judges, read back from them.

page           a self-contained HTML page; judgements come back as the JSON it saves
label_studio   tasks and labelling configuration; its JSON export
doccano        JSONL; its JSONL export, a file for each annotator
csv, xlsx      a sheet, with drop-downs in XLSX
"""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from touchstone.errors import UserError, no_such
from touchstone.review.formats import doccano, label_studio, page, sheets
from touchstone.review.judgements import checked
from touchstone.review.sampling import Review

FORMATS = {
    "page": (".html", page.write),
    "label_studio": (".json", label_studio.write),
    "doccano": (".jsonl", doccano.write),
    "csv": (".csv", sheets.write_csv),
    "xlsx": (".xlsx", sheets.write_xlsx),
}


def write(review: Review, path: Path, name: str | None = None) -> list[Path]:
    """Write a review for its judges and return the files.

    Parameters
    ----------
    name : of `FORMATS`; None goes by the end of the path.

    Raises
    ------
    UserError
        If there is no such format, or the end of the path is of none.
    """
    ends = {end: key for key, (end, _) in FORMATS.items()}
    if name is None:
        name = ends.get(path.suffix.lower())
        if name is None:
            raise UserError(
                f"--out {path}: no format ends so; use {', '.join(ends)}, or name it: --format"
            )
    if name not in FORMATS:
        raise UserError(f"--format: {no_such('format', name, FORMATS)}")
    return FORMATS[name][1](review, path)


def read(path: Path, review: Review, expert: str | None = None) -> pd.DataFrame:
    """Read judgements in any of the formats, and check them.

    Parameters
    ----------
    expert : who judged; None takes the name in the file, else the file's own name.

    Raises
    ------
    UserError
        If the file cannot be read, is of no format, or holds judgements that do not fit the review.
    """
    end = path.suffix.lower()
    try:
        if end == ".json":
            content = json.loads(path.read_text(encoding="utf-8"))
            if isinstance(content, dict):
                rows = page.read(content, review, str(path), expert)
            else:
                rows = label_studio.read(content, review, str(path), expert)
        elif end == ".jsonl":
            rows = doccano.read(path, review, expert)
        elif end in (".csv", ".xlsx"):
            rows = sheets.read(path, review, expert)
        else:
            raise UserError(
                f"{path}: judgements come as .json (judging page, Label Studio), .jsonl (doccano), "
                ".csv or .xlsx"
            )
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise UserError(f"{path}: no JSON: {type(error).__name__}") from error
    return checked(rows, review, str(path))
