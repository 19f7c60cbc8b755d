"""Tables as an Excel workbook: one sheet a table, numbers as numbers, for people who go on in
Excel.

Each number is stored in full and shown as in the other formats; interval, change and star stand in
columns beside it (as csv.wide). Needs openpyxl: pip install openpyxl.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from touchstone.errors import UserError
from touchstone.foreign_text import cell
from touchstone.report.formats.csv import wide
from touchstone.report.tables.layout import Table

if TYPE_CHECKING:
    from touchstone.report.study import Study

FORBIDDEN = str.maketrans(dict.fromkeys("[]:*?/\\", "_"))  # in the name of a sheet
LONGEST = 31  # characters of such a name


def write(study: Study, folder: Path) -> list[Path]:
    """Write one workbook with a sheet for each table.

    Raises
    ------
    UserError
        If openpyxl is not installed.
    """
    try:
        from openpyxl import Workbook
    except ImportError as error:
        raise UserError("--format xlsx needs openpyxl: pip install openpyxl") from error
    book = Workbook()
    book.remove(book.active)
    names: list[str] = []
    for table in study.tables:
        short = table.name.removeprefix(f"{study.grid.study}_").translate(FORBIDDEN)[:LONGEST]
        name = short if short not in names else f"{short[: LONGEST - 3]}_{len(names)}"
        names.append(name)
        _sheet(book.create_sheet(name), table)
    path = folder / f"{study.grid.study}.xlsx"
    book.save(path)
    return [path]


def _sheet(sheet: Any, table: Table) -> None:
    from openpyxl.styles import Font

    frame = wide(table)
    sheet.append([cell(table.title)])
    sheet["A1"].font = Font(bold=True, size=13)
    sheet.append([cell(table.caption)])
    sheet.append([cell(name) for name in frame.columns])
    for head in sheet[3]:
        head.font = Font(bold=True)
    for values, row in zip(frame.to_numpy(dtype=object), table.rows, strict=True):
        sheet.append([cell(None if pd.isna(value) else value) for value in values])
        for written in sheet[sheet.max_row]:
            if isinstance(written.value, float):
                written.number_format = "#,##0" if written.value.is_integer() else "0.000"
            if row.reference:
                written.font = Font(italic=True, color="808080")
    for note in table.notes:
        sheet.append([cell(note)])
    sheet.freeze_panes = sheet.cell(row=4, column=len(table.heads) + 1)
    for number, name in enumerate(frame.columns, 1):
        letter = sheet.cell(row=3, column=number).column_letter
        longest = max([len(str(name)), *(len(str(v)) for v in frame[name].head(50) if _text(v))])
        sheet.column_dimensions[letter].width = min(longest + 2, 40)


def _text(value: Any) -> bool:
    return isinstance(value, str)
