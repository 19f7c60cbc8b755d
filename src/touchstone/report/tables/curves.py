"""Learning curves: scores over gold size, with and without silver and bronze, and how many gold
sentences a mixture is worth.

The method is evaluate/learning.py's; here cells become curves. Gold sizes are counted in training
sentences after de-duplication.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from touchstone.digest import digest
from touchstone.evaluate.headline import main_score
from touchstone.evaluate.learning import GoldEquivalent, gold_equivalent
from touchstone.report import reading
from touchstone.report.comparisons import N_RESAMPLES, generator, of_cell
from touchstone.report.grid import Cell, Grid, flatten
from touchstone.report.tables import worth
from touchstone.report.tables.captions import caption, grouped, mixture_label, notes
from touchstone.report.tables.entries import entry_of
from touchstone.report.tables.layout import Column, Entry, Row, Table, count, word
from touchstone.report.tables.worth import Worth


@dataclass(frozen=True)
class Curve:
    """Cells of one task and classifier over gold sizes.

    Attributes
    ----------
    name : task and classifier, and prompt where several were swept.
    kind : of the task.
    gold : number of gold sentences -> gold cell; at least two.
    mixtures : label -> number of gold sentences -> cell; 0 for mixtures without gold.
    """

    name: str
    kind: str
    gold: dict[int, Cell]
    mixtures: dict[str, dict[int, Cell]]


def curves(grid: Grid) -> list[Curve]:
    """Return the learning curves that a grid holds: tasks and classifiers with gold alone at two
    sizes or more."""
    n_gold = {cell.run_id: _n_gold(grid, cell) for cell in grid.cells}
    learned = [cell for cell in grid.cells if cell.axes["mixture"] != "zero_shot"]
    out: list[Curve] = []
    for cells in grouped(learned, _apart_from_gold).values():
        for own in _one_generator(cells):
            golds = [cell for cell in own if cell.axes["mixture"] == "gold"]
            sizes = {n_gold[cell.run_id]: cell for cell in golds}
            if len(sizes) < 2:
                continue
            mixtures: dict[str, dict[int, Cell]] = {}
            for cell in own:
                if cell.axes["mixture"] != "gold":
                    mixtures.setdefault(mixture_label(cell), {})[n_gold[cell.run_id]] = cell
            out.append(Curve(_name(own, grid), own[0].kind, dict(sorted(sizes.items())), mixtures))
    return _named_apart(out)


def _apart_from_gold(cell: Cell) -> tuple[str, ...]:
    """Return what cells of one curve share: everything but gold size and mixture. Folds, classifier
    settings, test sets and seeds each have a curve of their own."""
    config = cell.config
    learner = digest([flatten(config["classifier"]), config["seed"], config["seeds"]])
    return cell.axes["task"], cell.setting, cell.dataset("test"), learner


def _one_generator(cells: Sequence[Cell]) -> list[list[Cell]]:
    """Return the cells of each prompt and LLM, with those that used none."""
    used = dict.fromkeys(
        (cell.axes["prompt"], cell.axes["llm"])
        for cell in cells
        if cell.axes["prompt"] or cell.axes["llm"]
    )
    return [
        [c for c in cells if (c.axes["prompt"], c.axes["llm"]) in (pair, ("", ""))]
        for pair in used or {("", ""): None}
    ]


def _name(cells: Sequence[Cell], grid: Grid) -> str:
    """Return task and classifier, and prompt and LLM where the grid has several."""
    parts = [cells[0].axes["task"], cells[0].axes["classifier"]]
    for axis in ("prompt", "llm"):
        if len({cell.axes[axis] for cell in grid.cells if cell.axes[axis]}) > 1:
            parts += list(dict.fromkeys(cell.axes[axis] for cell in cells if cell.axes[axis]))
    return " ".join(parts)


def _named_apart(curves: list[Curve]) -> list[Curve]:
    """Give curves of one name the setting in which they differ, or a number."""
    names = [curve.name for curve in curves]
    out = []
    for number, curve in enumerate(curves, 1):
        variants = dict.fromkeys(cell.axes["variant"] for cell in curve.gold.values())
        more = next(iter(variants), "") or f"({number})"
        several = names.count(curve.name) > 1
        out.append(replace(curve, name=f"{curve.name} {more}") if several else curve)
    return out


def curve_table(grid: Grid, scores: pd.DataFrame) -> Table:
    """Return the main score over gold size: one row a size, one column a mixture, each tested
    against gold of the same size."""
    series = curves(grid)
    labels = list(dict.fromkeys(label for curve in series for label in curve.mixtures))
    columns = (
        Column("n_gold", "gold sentences"),
        Column("gold", "gold", "", "interval"),
        *(Column(m, m, "", "interval") for m in labels),
    )
    rows = []
    for curve in series:
        score = main_score(curve.kind)
        for n, cell in curve.gold.items():
            entries = {"n_gold": count(n, cell.run_id), "gold": entry_of(scores, cell, score)}
            for label in labels:
                if other := curve.mixtures.get(label, {}).get(n):
                    entries[label] = entry_of(scores, other, score)
                elif failed := _failed(grid, label, cell):
                    entries[label] = word("missing", failed)
            rows.append(Row((curve.name, cell.axes["gold"]), entries, curve.name))
        for label in labels:
            if without := curve.mixtures.get(label, {}).get(0):
                rows.append(
                    Row((curve.name, "none"), {label: entry_of(scores, without, score)}, curve.name)
                )
    titles = {curve.kind: main_score(curve.kind).title for curve in series}
    text = f"{', '.join(dict.fromkeys(titles.values()))} on the test set. {caption(grid)}"
    heads = ("Curve", "Gold allowed")
    return Table(
        f"{grid.study}_curve",
        "Learning curve over gold size",
        text,
        heads,
        columns,
        tuple(rows),
        tuple(notes(grid, scores)),
    )


def equivalent_table(grid: Grid, scores: pd.DataFrame, found: Sequence[Worth]) -> Table:
    """Return how many gold sentences each mixture is worth (`worths`), read off the curve of gold
    alone, with an interval."""
    columns = (
        Column("n_gold", "gold in it"),
        Column("n_train", "n train"),
        Column("value", "score", "", "interval"),
        Column("worth", "worth, gold sentences"),
        Column("added", "beyond its own gold"),
    )
    rows = []
    for one in found:
        cell, gold, n = one.cell, one.gold, one.own
        entries = {
            "n_gold": count(n, cell.run_id),
            "n_train": count(cell.run.data.metrics.get("n_train", np.nan), cell.run_id),
            "value": entry_of(scores, cell, main_score(cell.kind)),
            "worth": Entry(
                gold.value, gold.low, gold.high, digits=None, word=str(gold), runs=one.runs
            ),
            "added": Entry(
                word=_added(gold, n),
                value=gold.value - n,
                low=gold.low - n,
                high=gold.high - n,
                digits=None,
                runs=one.runs,
            ),
        } | worth.entries(one)
        labels = (one.curve, one.mixture, cell.axes["gold"] or "none")
        rows.append(Row(labels, entries, f"{one.curve} {one.mixture}"))
    text = (
        "Gold-equivalent: the smallest number of gold sentences at which the curve of gold alone, "
        "made monotone and linear in the logarithm "
        "of the size between the sizes measured, reaches the mixture's score. In parentheses the "
        "95 % interval over test "
        "patients or documents, drawn alike for curve and mixture; outside of the sizes measured "
        "it says more or less than them. "
        "It covers the choice of the test set, not the draw of training patients."
    )
    if more := worth.columns(list(found)):
        text += (
            " Hours are those of an annotator for the gold sentences beyond its own, at the "
            f"{worth.MINUTES} of the run. The LLM's price is that of when the data set was made."
        )
    return Table(
        f"{grid.study}_equivalents",
        "How much gold a mixture is worth",
        text,
        ("Curve", "Mixture", "Gold allowed"),
        (*columns, *more),
        tuple(rows),
    )


def worths(grid: Grid, n_resamples: int = N_RESAMPLES) -> list[Worth]:
    """Return what each mixture of each curve is worth."""
    return [
        Worth(
            curve.name,
            label,
            cell,
            n,
            equivalent(curve, cell, n_resamples),
            worth.price_of(cell),
            worth.llm_usd(grid, cell),
            (cell.run_id, *(gold.run_id for gold in curve.gold.values())),
        )
        for curve in curves(grid)
        for label, cells in curve.mixtures.items()
        for n, cell in sorted(cells.items())
    ]


def scarcest(found: Sequence[Worth]) -> list[Worth]:
    """Return of each curve what is worth most without gold, and where gold is scarcest."""
    out = []
    for own in grouped(found, lambda one: one.curve).values():
        fewest = min((one.own for one in own if one.own), default=0)
        for n in dict.fromkeys((0, fewest)):
            if least := [one for one in own if one.own == n]:
                out.append(max(least, key=lambda one: np.nan_to_num(one.gold.value)))
    return out


def equivalent(curve: Curve, cell: Cell, n_resamples: int = N_RESAMPLES) -> GoldEquivalent:
    """Return how many gold sentences a cell is worth on a curve."""
    score = main_score(curve.kind)
    measured = {float(n): of_cell(gold) for n, gold in curve.gold.items()}
    name = f"{score.scope}_{score.metric}"
    return gold_equivalent(
        measured,
        of_cell(cell),
        name,
        rng=generator(),
        n_resamples=n_resamples,
    )


def _n_gold(grid: Grid, cell: Cell) -> int:
    """Return how many different gold sentences a cell learned from (its first seed)."""
    table = reading.table(grid.store, cell.run, "composition")
    rows = table[table["source"] == "gold"] if len(table) else table
    return int(rows["used"].iloc[0] - rows["repeated"].iloc[0]) if len(rows) else 0


def _failed(grid: Grid, label: str, gold: Cell) -> str:
    """Return the run of a mixture that failed at a gold size, '' if none did."""
    missing = grid.missing[
        (grid.missing["mixture"] == label) & (grid.missing["gold"] == gold.axes["gold"])
    ]
    return "" if missing.empty else str(missing["run_id"].iloc[0])


def _added(worth: GoldEquivalent, own: int) -> str:
    if np.isnan(worth.value):
        return "undefined"
    if np.isinf(worth.value):
        return (
            f"more than {worth.largest - own:,.0f}" if worth.value > 0 else "less than its own gold"
        )
    return f"{worth.value - own:+,.0f}".replace("-", "−")
