"""Tables as Markdown with title, caption and notes, for reading and for MLflow's descriptions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from touchstone.foreign_text import markdown_cell, markdown_line
from touchstone.report.tables.layout import Column, Entry, Row, Table

if TYPE_CHECKING:
    from touchstone.report.study import Study


def write(study: Study, folder: Path) -> list[Path]:
    """Write all tables of a study to one file."""
    path = folder / f"{study.grid.study}.md"
    path.write_text("\n".join(markdown(table) for table in study.tables), encoding="utf-8")
    return [path]


def markdown(table: Table) -> str:
    """Return the table as Markdown with title, caption and notes."""
    heads = [
        *map(markdown_cell, table.heads),
        *(
            markdown_cell(f"{column.group}: {column.title}" if column.group else column.title)
            for column in table.columns
        ),
    ]
    lines = [
        f"### {markdown_line(table.title)}",
        "",
        _line(heads),
        _line(["---"] * len(table.heads) + ["---:"] * len(table.columns)),
    ]
    for row in table.rows:
        lines.append(
            _line(
                [
                    *(_italic(label, row) for label in row.labels),
                    *(_marked(row.entries.get(column.key), column) for column in table.columns),
                ]
            )
        )
    notes = (f"- {markdown_line(note)}" for note in table.notes)
    lines += ["", markdown_line(table.caption), *notes, ""]
    return "\n".join(lines)


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _italic(label: str, row: Row) -> str:
    label = markdown_cell(label)
    return f"*{label}*" if row.reference and label else label


def _marked(entry: Entry | None, column: Column) -> str:
    if entry is None:
        return ""
    text = markdown_cell(entry.shown())
    text = (f"**{text}**" if entry.best else text) + entry.mark.replace("*", "\\*")
    second = entry.second(column.second)
    return f"{text} {second}" if second else text
