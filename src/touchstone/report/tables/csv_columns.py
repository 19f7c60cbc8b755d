"""The columns of the CSV of a table, and what each means.

Written beside every CSV and into the sidecar (provenance.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass


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
    "run_id": (
        "run (or runs, separated by spaces) of the tracking store that the number was computed from"
    ),
}
