"""Mixtures against the controls that could explain them: more rows of the same gold, or new text
whose labels mean nothing.

Repeated gold has the size of the mixture and nothing new in it; shuffled labels have its text and
no knowledge. A mixture that is no better than its controls owes its gain to size or to wording.
Paired tests as against gold; see evaluate/compare.py.
"""

from __future__ import annotations

from touchstone.evaluate.compare import compare
from touchstone.evaluate.headline import main_score
from touchstone.report.comparisons import N_RESAMPLES, generator, of_cell
from touchstone.report.grid import Cell, Grid
from touchstone.report.tables.captions import grouped, mixture_label
from touchstone.report.tables.layout import Column, Entry, Row, Table
from touchstone.source_table import GOLD


def control_table(grid: Grid, n_resamples: int = N_RESAMPLES) -> Table | None:
    """Return each mixture against the controls that explain it by size or wording alone; None
    without controls or their mixtures.

    Repeated gold: the same number of rows, no new data. Shuffled labels: the same new text, labels
    that mean nothing.
    """
    columns = (
        Column("value", "mixture", "", "interval"),
        Column("control", "control", "", "interval"),
        Column("change", "difference", "", "interval"),
        Column("p", "p"),
    )
    rows = []
    for family in grouped(grid.cells, lambda cell: cell.family).values():
        for control in [cell for cell in family if _control(cell)]:
            for cell in [one for one in family if _explained_by(one, control)]:
                counts = {"mixture": of_cell(cell), "control": of_cell(control)}
                table = compare(
                    counts, "control", rng=generator(), n_resamples=n_resamples, tested=("f1",)
                )
                score = main_score(cell.kind)
                table = table[
                    (table["scope"] == score.scope) & (table["metric"] == score.metric)
                ].set_index("system")
                ours, theirs, ids = (
                    table.loc["mixture"],
                    table.loc["control"],
                    (cell.run_id, control.run_id),
                )
                entries = {
                    "value": Entry(ours["value"], ours["low"], ours["high"], runs=ids[:1]),
                    "control": Entry(theirs["value"], theirs["low"], theirs["high"], runs=ids[1:]),
                    "change": Entry(
                        ours["difference"],
                        ours["difference_low"],
                        ours["difference_high"],
                        signed=True,
                        runs=ids,
                    ),
                    "p": Entry(ours["p"], digits=4, runs=ids),
                }
                rows.append(
                    Row(
                        (cell.axes["task"], mixture_label(cell), mixture_label(control)),
                        entries,
                        cell.axes["task"],
                    )
                )
    if not rows:
        return None
    text = (
        "Each mixture against the control that shares its size (repeated or augmented gold), its "
        "balance (oversampled gold) or its text (shuffled labels); p is not corrected."
    )
    return Table(
        f"{grid.study}_controls",
        "Mixtures against their controls",
        text,
        ("Task", "Mixture", "Control"),
        columns,
        tuple(rows),
    )


def _control(cell: Cell) -> bool:
    """Return whether a cell is a control: gold repeated, balanced or augmented, or labels
    shuffled."""
    mixture = cell.config["mixture"]
    return cell.axes["mixture"] != "zero_shot" and any(
        any(
            mixture[name].get(key)
            for key in ("repeat_to", "augment_to", "oversample", "shuffle_labels")
        )
        for name in cell.sources
    )


def _explained_by(cell: Cell, control: Cell) -> bool:
    """Return whether a control answers for a mixture: the same sources with shuffled labels, gold
    repeated or augmented to the size it has, or balanced gold, which answers for all."""
    if _control(cell) or len(cell.sources) < 2 or GOLD not in cell.sources:
        return False
    gold = control.config["mixture"]["gold"]
    sized = {*(gold.get("repeat_to") or []), *(gold.get("augment_to") or [])}
    if gold.get("oversample"):
        return True
    return set(cell.sources) == {GOLD, *sized} if sized else cell.sources == control.sources
