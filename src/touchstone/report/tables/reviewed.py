"""The table of the experts' review: how many of the LLM's labels they confirmed.

One row for each review, source and category: the share of sentences whose whole label is right, and
precision and recall of each category, with the intervals of the sample. Nothing is computed here
(review/results.py), and no text is shown.
"""

from __future__ import annotations

from touchstone.report import reading
from touchstone.report.grid import Grid
from touchstone.report.reviewed import reviews
from touchstone.report.tables.layout import Column, Entry, Row, Table, count

TOLD = (
    "Right: sentences whose whole label the experts confirmed. Precision and recall of the LLM's "
    "labels by category. Brackets: 95 % intervals of the stratified sample."
)


def review_table(grid: Grid) -> Table | None:
    """Return the table of the reviews of what a grid's cells used; None where nobody judged."""
    rows = []
    for run in reviews(grid):
        name = run.data.tags["touchstone.review"]
        quality = reading.csv(grid.store, run, "review/quality.csv")
        quality = quality[quality["n"] > 0]
        for (source, category), part in quality.groupby(["source", "category"], sort=False):
            entries = {
                row.measure: Entry(row.value, row.low, row.high, runs=(run.info.run_id,))
                for row in part.itertuples(index=False)
            }
            entries["n"] = count(part["n"].max(), run.info.run_id)
            rows.append(Row((name, str(source), str(category)), entries, f"{name} {source}"))
    columns = (
        Column("n", "judged"),
        Column("correct", "right", "", "interval"),
        Column("precision", "precision", "", "interval"),
        Column("recall", "recall", "", "interval"),
    )
    heads = ("Review", "Source", "Category")
    name = f"{grid.study}_review"
    return Table(name, "Experts' review", TOLD, heads, columns, tuple(rows)) if rows else None
