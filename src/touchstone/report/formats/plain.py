"""Tables as Markdown and CSV, and the sidecar that says where every number comes from.

Markdown is for reading; CSV has one line for each number, in full, with the columns of
`CSV_COLUMNS`. Does not round what it stores.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from touchstone.report.tables.layout import Column, Entry, Row, Table

CSV_COLUMNS = {
    "table": "name of the table",
    "block": "block of rows within it, empty where there is one",
    "row": "labels of the row, joined by ' | '",
    "column": "key of the column; group and title as printed follow",
    "group": "head above several columns",
    "title": "head of the column",
    "value": "the number; empty where the entry is undefined or a word",
    "word": "what stands in place of a number, e.g. missing",
    "low": "lower bound of the 95 % interval of value, over test patients or documents",
    "high": "its upper bound",
    "change": "value minus the baseline's value on the same test sentences",
    "change_low": "lower bound of the 95 % interval of change",
    "change_high": "its upper bound",
    "p": "paired permutation test of change, two-sided, not corrected",
    "p_holm": "p corrected by Holm over the grid",
    "run_id": "run (or runs, separated by spaces) of the tracking store that the number was computed from",
}


def markdown(table: Table) -> str:
    """Return the table as Markdown with title, caption and notes."""
    heads = [
        *table.heads,
        *(
            f"{column.group}: {column.title}" if column.group else column.title
            for column in table.columns
        ),
    ]
    lines = [
        f"### {table.title}",
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
    lines += ["", table.caption, *(f"- {note}" for note in table.notes), ""]
    return "\n".join(lines)


def csv(table: Table) -> pd.DataFrame:
    """Return the table's numbers in full, one line each: DataFrame with `CSV_COLUMNS`."""
    rows = []
    for row in table.rows:
        for column in table.columns:
            if (entry := row.entries.get(column.key)) is None:
                continue
            rows.append(
                {
                    **{
                        "table": table.name,
                        "block": row.block,
                        "row": " | ".join(filter(None, row.labels)),
                        "column": column.key,
                    },
                    **{
                        "group": column.group,
                        "title": column.title,
                        "value": entry.value,
                        "word": entry.word or None,
                    },
                    **{
                        name: getattr(entry, name)
                        for name in (
                            "low",
                            "high",
                            "change",
                            "change_low",
                            "change_high",
                            "p",
                            "p_holm",
                        )
                    },
                    "run_id": " ".join(entry.runs),
                }
            )
    return pd.DataFrame(rows, columns=list(CSV_COLUMNS))


def sources(table: Table) -> list[dict[str, Any]]:
    """Return for every entry that came from runs: row, column, what is shown, and the ids of the
    runs."""
    found = []
    for row in table.rows:
        for column in table.columns:
            entry = row.entries.get(column.key)
            if entry is not None and entry.runs:
                labels = dict(zip(table.heads, row.labels, strict=True))
                value = (
                    entry.value if np.isfinite(entry.value) else None
                )  # JSON knows no infinity; `shown` says it
                found.append(
                    {
                        "row": labels,
                        "block": row.block,
                        "column": column.key,
                        "shown": entry.shown(),
                        "value": value,
                        "runs": list(entry.runs),
                    }
                )
    return found


def columns_table() -> pd.DataFrame:
    """Return what the columns of the CSV files mean: DataFrame[column, meaning]."""
    return pd.DataFrame(CSV_COLUMNS.items(), columns=["column", "meaning"])


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _italic(label: str, row: Row) -> str:
    return f"*{label}*" if row.reference and label else label


def _marked(entry: Entry | None, column: Column) -> str:
    if entry is None:
        return ""
    text = entry.shown()
    text = (f"**{text}**" if entry.best else text) + entry.mark.replace("*", "\\*")
    second = entry.second(column.second)
    return f"{text} {second}" if second else text
