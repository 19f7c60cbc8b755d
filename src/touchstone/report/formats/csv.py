"""Tables as CSV: one file with a line for each number, in full, and one as people read it.

NAME.csv has the columns of `CSV_COLUMNS`; NAME_wide.csv the rows and columns of the printed table,
with low, high and change in columns of their own. Does not round what it stores. Text that a
spreadsheet would take for a formula has an apostrophe before it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from touchstone.foreign_text import cell
from touchstone.report.tables.csv_columns import CSV_COLUMNS
from touchstone.report.tables.layout import Table

if TYPE_CHECKING:
    from touchstone.report.study import Study


def write(study: Study, folder: Path) -> list[Path]:
    """Write NAME.csv and NAME_wide.csv of each table, and columns.csv, which explains the first."""
    files = {f"{table.name}.csv": csv(table) for table in study.tables}
    files |= {f"{table.name}_wide.csv": wide(table) for table in study.tables}
    files["columns.csv"] = columns_table()
    for name, frame in files.items():
        frame.rename(columns=cell).map(cell).to_csv(folder / name, index=False)
    return [folder / name for name in files]


def wide(table: Table) -> pd.DataFrame:
    """Return the table as it is printed, numbers in full: a column for each value, and for its
    bounds, change and star where any row has them."""
    rows = []
    for row in table.rows:
        line: dict[str, object] = dict(zip(_heads(table), row.labels, strict=True))
        for column in table.columns:
            title = f"{column.group} {column.title}".strip()
            entry = row.entries.get(column.key)
            line[title] = None if entry is None else entry.word or entry.value
            if entry is None:
                continue
            for name in ("low", "high", "change", "change_low", "change_high"):
                if not np.isnan(value := getattr(entry, name)):
                    line[f"{title} {name.replace('_', ' ')}"] = value
            if entry.mark:
                line[f"{title} star"] = entry.mark
        rows.append(line)
    names = list(dict.fromkeys(name for line in rows for name in line))
    columns = [*_heads(table), *_ordered(table, names)]  # heads stand in a table without rows, too
    return pd.DataFrame(rows, columns=columns)


def _heads(table: Table) -> list[str]:
    """Return the heads of the label columns; a column file wants each to have one."""
    return [head or f"label {number}" for number, head in enumerate(table.heads, 1)]


def _ordered(table: Table, names: list[str]) -> list[str]:
    titles = [f"{column.group} {column.title}".strip() for column in table.columns]
    more = ("", " low", " high", " change", " change low", " change high", " star")
    order = dict.fromkeys(f"{title}{end}" for title in titles for end in more)
    return [name for name in order if name in names]


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


def columns_table() -> pd.DataFrame:
    """Return what the columns of the CSV files mean: DataFrame[column, meaning]."""
    return pd.DataFrame(CSV_COLUMNS.items(), columns=["column", "meaning"])
