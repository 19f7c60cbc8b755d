"""Tables and figures as a Word document: what a clinician pastes into a manuscript.

Title and caption above each table, interval below its number in small type, notes below the table,
figures at the end. Needs python-docx: pip install python-docx.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from touchstone.errors import UserError
from touchstone.report.tables.layout import Column, Entry, Table, labels_shown

if TYPE_CHECKING:
    from touchstone.report.study import Study

FIGURES = ("png",)


def write(study: Study, folder: Path) -> list[Path]:
    """Write one document; the figures are taken from `folder`/figures, where they were saved.

    Raises
    ------
    UserError
        If python-docx is not installed.
    """
    try:
        from docx import Document
        from docx.enum.section import WD_ORIENT
        from docx.shared import Cm, Pt
    except ImportError as error:
        raise UserError("--format docx needs python-docx: pip install python-docx") from error
    document = Document()
    document.styles["Normal"].font.size = Pt(9)
    section = document.sections[0]
    section.orientation = WD_ORIENT.LANDSCAPE
    section.page_width, section.page_height = Cm(29.7), Cm(21)
    section.left_margin = section.right_margin = Cm(1.8)
    for table in study.tables:
        _add(document, table)
    for drawing in study.figures:
        picture = folder / "figures" / f"{study.grid.study}_{drawing.name}.png"
        if picture.is_file():
            document.add_picture(str(picture), width=Cm(18))
            document.add_paragraph(drawing.caption)
    path = folder / f"{study.grid.study}.docx"
    document.save(str(path))
    return [path]


def _add(document: Any, table: Table) -> None:
    from docx.shared import Pt

    document.add_heading(table.title, level=2)
    document.add_paragraph(table.caption)
    heads = [*table.heads, *(f"{c.group} {c.title}".strip() for c in table.columns)]
    grid = document.add_table(rows=1, cols=len(heads), style="Light List Accent 1")
    for cell, head in zip(grid.rows[0].cells, heads, strict=True):
        cell.text = head
    for row, labels in zip(table.rows, labels_shown(table), strict=True):
        cells = grid.add_row().cells
        for cell, label in zip(cells, labels, strict=False):
            _run(cell, label, bold=False, italic=row.reference)
        for cell, column in zip(cells[len(labels) :], table.columns, strict=True):
            entry = row.entries.get(column.key)
            if entry is not None:
                _fill(cell, entry, column)
    for note in table.notes:
        document.add_paragraph(note).runs[0].font.size = Pt(7)


def _fill(cell: Any, entry: Entry, column: Column) -> None:
    from docx.enum.text import WD_ALIGN_PARAGRAPH
    from docx.shared import Pt

    _run(cell, entry.shown(), bold=entry.best, italic=bool(entry.word))
    paragraph = cell.paragraphs[0]
    paragraph.alignment = WD_ALIGN_PARAGRAPH.RIGHT
    if entry.mark:
        paragraph.add_run(entry.mark).font.superscript = True
    if second := entry.second(column.second):
        paragraph.add_run(f"\n{second}").font.size = Pt(6.5)


def _run(cell: Any, text: str, bold: bool, italic: bool) -> None:
    run = cell.paragraphs[0].add_run(text)
    run.bold, run.italic = bold, italic
