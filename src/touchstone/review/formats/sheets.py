"""CSV and XLSX: one line for each sentence, labels in columns; in XLSX they drop down.

Entities are marked in a copy of the text, <Disease>flu</Disease>, in the column marked; none there,
or an unmarked copy, says that the sentence mentions none. XLSX needs the package openpyxl. A
sentence that begins with "=" is no formula: in XLSX its cell is text, in CSV an apostrophe stands
before it, which is taken off when the sheet is read.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from touchstone.errors import UserError
from touchstone.foreign_text import cell, cell_text
from touchstone.llm.marks import read_marks, write_marks
from touchstone.llm.protocol import ParseError
from touchstone.review.judgements import COLUMNS
from touchstone.review.sampling import Review
from touchstone.taxonomy import NONE

_NOT_IN_XLSX = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f]")  # control characters in a note
LABELS = ("label", "label_2", "label_3", "label_4")


def columns(review: Review) -> list[str]:
    """Return the head of the sheet."""
    shown = ["source", "llm_label"] if review.shows_labels else []
    single = review.kind in ("binary", "relation")
    judged = ["marked"] if review.kind == "ner" else list(LABELS[: 1 if single else 4])
    return ["item", "text", *shown, *judged, *review.asks, "comment", "expert"]


def write_csv(review: Review, path: Path) -> list[Path]:
    """Write the sheet as CSV; the byte order mark makes Excel read it as UTF-8."""
    with path.open("w", encoding="utf-8-sig", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(columns(review))
        writer.writerows([cell(value) for value in line] for line in _lines(review))
    return [path]


def write_xlsx(review: Review, path: Path) -> list[Path]:
    """Write the sheet as XLSX with drop-down choices; their meaning stands on a second sheet.

    Raises
    ------
    UserError
        If openpyxl is not installed.
    """
    openpyxl = _openpyxl()
    from openpyxl.styles import Alignment, Font
    from openpyxl.utils import get_column_letter
    from openpyxl.worksheet.datavalidation import DataValidation

    book = openpyxl.Workbook()
    sheet = book.active
    sheet.title = "judge"
    head = columns(review)
    sheet.append(head)
    for line in _lines(review):
        row = sheet.max_row + 1
        for column, value in enumerate(line, start=1):
            shown = _NOT_IN_XLSX.sub("\ufffd", value) if isinstance(value, str) else value
            written = sheet.cell(row=row, column=column, value=shown)
            written.data_type = "s"  # text, whatever it begins with
            written.alignment = Alignment(wrap_text=True, vertical="top")
    choices = book.create_sheet("labels")
    for name in [*review.categories, NONE]:
        title = review.categories.get(name, "no category")
        choices.append([name, title, review.definitions.get(name, "")])
    n = len(review.items) + 1
    for column, name in enumerate(head, start=1):
        letter = get_column_letter(column)
        sheet.column_dimensions[letter].width = {"text": 80, "marked": 80}.get(name, 22)
        sheet.cell(row=1, column=column).font = Font(bold=True)
        formula = None
        if name in LABELS:
            formula = f"=labels!$A$1:$A${len(review.categories) + 1}"
        elif name in review.asks:
            formula = '"yes,no"'
        if formula:
            rule = DataValidation(type="list", formula1=formula, allow_blank=True)
            rule.error = "Choose one of the list"
            sheet.add_data_validation(rule)
            rule.add(f"{letter}2:{letter}{n}")
    sheet.freeze_panes = "C2"
    book.save(path)
    return [path]


def read(path: Path, review: Review, expert: str | None) -> pd.DataFrame:
    """Read a filled sheet; lines without a label are not judged.

    Raises
    ------
    UserError
        If a column is missing, or marks in a sentence cannot be read.
    """
    rows = []
    for number, line in enumerate(_read_lines(path), start=2):
        judged = "marked" if review.kind == "ner" else "label"
        for name in ("item", judged):
            if name not in line:
                raise UserError(f"{path}: no column {name!r}; there are: {', '.join(line)}")
        if not line[judged].strip():
            continue
        row: dict[str, Any] = dict.fromkeys(COLUMNS, "") | {
            name: line.get(name, "").strip() for name in COLUMNS
        }
        row |= {"labels": [], "spans": [], "expert": expert or row["expert"] or path.stem}
        if review.kind == "ner":
            where = f"{path}, line {number}"
            row["spans"] = _spans(line, list(review.categories), where)
        else:
            row["labels"] = [value for name in LABELS if (value := line.get(name, "").strip())]
        row["realistic"], row["identifier"] = row["realistic"].lower(), row["identifier"].lower()
        rows.append(row)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _lines(review: Review) -> Iterator[list[str]]:
    for row in review.items.itertuples(index=False):
        shown = {"source": row.source, "llm_label": ", ".join(row.labels) or NONE}
        if review.kind == "ner":
            shown["llm_label"] = write_marks(row.text, row.spans)
            shown["marked"] = shown["llm_label"] if review.shows_labels else ""
        known = {"item": row.item, "text": row.text, **shown}
        yield [known.get(name, "") for name in columns(review)]


def _spans(line: Mapping[str, str], types: list[str], where: str) -> list[dict[str, Any]]:
    if line["marked"].strip() == NONE:
        return []
    try:
        text, spans = read_marks(line["marked"], types, original=line["text"])
    except ParseError as error:
        raise UserError(f"{where}, marked: {error}") from error
    if text != line["text"]:
        raise UserError(
            f"{where}: the marked copy differs from the text in more than its marks; copy it again"
        )
    return spans


def _read_lines(path: Path) -> Iterator[dict[str, str]]:
    if path.suffix.lower() != ".xlsx":
        try:
            with path.open(encoding="utf-8-sig", newline="") as handle:
                sample = handle.readline()
                handle.seek(0)
                semicolons = sample.count(";") > sample.count(",")  # a European Excel's
                for row in csv.DictReader(handle, delimiter=";" if semicolons else ","):
                    yield {
                        str(k): cell_text(v or "")
                        for k, v in row.items()
                        if isinstance(v, (str, type(None)))
                    }
        except UnicodeDecodeError as error:
            raise UserError(f'{path}: not UTF-8; save it as "CSV UTF-8", or as XLSX') from error
        return
    sheet = _openpyxl().load_workbook(path, read_only=True)["judge"]
    lines = sheet.iter_rows(values_only=True)
    head = [str(name) for name in next(lines)]
    for line in lines:
        values = ["" if value is None else str(value) for value in line]
        yield dict(zip(head, values, strict=False))


def _openpyxl() -> Any:
    try:
        import openpyxl
    except ImportError as error:
        raise UserError(
            "XLSX needs the package openpyxl: pip install 'touchstone-nlp[office]'; or take CSV"
        ) from error
    return openpyxl


def first_item(path: Path) -> str:
    """Return the item of the first line, '' where the sheet has none."""
    return next((line.get("item", "") for line in _read_lines(path)), "")
