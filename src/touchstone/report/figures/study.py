"""The figures of a study: from cells, scores and data sets to what figures.py draws. Each is left
out where the grid has not what it shows."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from touchstone.evaluate.headline import category_score, main_score
from touchstone.evaluate.metrics import confusion
from touchstone.report import reading
from touchstone.report.figures import draw as figures
from touchstone.report.figures.embedding import positions
from touchstone.report.grid import Cell, Grid, taxonomy
from touchstone.report.tables.captions import draws_of, mixture_label, row_name, tasks_of
from touchstone.report.tables.categories import settings_of
from touchstone.report.tables.curves import curves
from touchstone.report.tables.entries import entry_of
from touchstone.report.tables.layout import Entry
from touchstone.report.tables.quality import Made, quality_figure
from touchstone.report.tables.scores import score_panels

Drawing = tuple[str, str, Figure]  # name, caption, figure


def of_scores(grid: Grid, scores: pd.DataFrame) -> Iterator[Drawing]:
    """Yield name, caption and figure of what the scores show, in the order in which a reader wants
    them."""
    told = (
        "Main score of each mixture with its 95 % interval. The dashed line, where there is one, "
        "is gold. * p < 0.05, ** p < 0.01 against gold."
    )
    yield "scores", told, figures.score_figure(score_panels(grid, scores))
    if found := curve_figure(grid, scores):
        yield (
            "curves",
            "Learning curves over gold size; bands are 95 % intervals over the test set.",
            found,
        )
    for task, kind in tasks_of(grid.cells).items():
        if kind in ("multiclass", "multilabel") and (gain := gain_figure(grid, scores, task)):
            yield (
                f"gain_{task}",
                f"Change of F1 against gold by category, {_named(grid, task)}, with 95 % "
                "intervals.",
                gain,
            )
        if kind == "multiclass" and (pair := confusion_figure(grid, scores, task)):
            yield (
                f"confusion_{task}",
                f"Confusion matrices, {_named(grid, task)}: rows are gold, columns predicted"
                + (", mean of the draws." if draws_of(grid.cells) > 1 else "."),
                pair,
            )


def of_data(
    grid: Grid, made: list[Made], gold: pd.DataFrame, quality: pd.DataFrame, encoder: str = "tfidf"
) -> Iterator[Drawing]:
    """Yield name, caption and figure of what the data of one corpus show.

    Parameters
    ----------
    gold : training gold, see `data_quality.training_gold`; made, quality : see there too.
    encoder : of the map, see `embedding.positions`.
    """
    frames = {"gold": gold} | {one.name: one.frame for one in made}
    frames = {
        name: frame for name, frame in frames.items() if len(frame) and not reading.withheld(frame)
    }
    if not made or not frames:
        return
    categories = {
        category.id: category.name for category in taxonomy(grid.cells[0].config).categories
    }
    yield (
        "data",
        "Length and categories of the training gold and of the generated data.",
        figures.data_figure(frames, categories),
    )
    if len(frames) > 1:
        told = "Gold, silver and bronze sentences on one plane; the grey is all other sources."
        yield "map", told, figures.map_figure(*positions(frames, encoder))
    if drawn := quality_figure(quality):
        yield (
            "quality",
            "Quality of the generated data beside gold; dashed: no difference from gold.",
            drawn,
        )


def gain_figure(grid: Grid, scores: pd.DataFrame, task: str) -> Figure | None:
    """Draw the change by category for the setting of a task that the figures show."""
    _, members = _shown_setting(grid, task)
    known = taxonomy(members[0].config)
    rows = []
    for cell in members:
        for category in cell.categories:
            entry = entry_of(scores, cell, category_score(category))
            if not np.isnan(entry.change):
                numbers = (entry.change, entry.change_low, entry.change_high, entry.mark)
                rows.append((mixture_label(cell), known[category].name, *numbers))
    if not rows:
        return None
    table = pd.DataFrame(rows, columns=["mixture", "category", "change", "low", "high", "mark"])
    return figures.gain_figure(table, [category.name for category in known.categories])


def confusion_figure(grid: Grid, scores: pd.DataFrame, task: str) -> Figure | None:
    """Draw the confusion matrices of gold and of the best other cell of a task."""
    score = main_score("multiclass")
    _, cells = _shown_setting(grid, task)
    best = sorted(cells, key=lambda cell: -np.nan_to_num(entry_of(scores, cell, score).value))
    gold = [cell for cell in cells if cell.axes["mixture"] == "gold"][:1]
    pair = (gold + [cell for cell in best if cell not in gold])[:2]
    titles = [
        f"{row_name(cell, grid)}, macro F1 {entry_of(scores, cell, score).value:.3f}"
        for cell in pair
    ]
    tables = [_confusion(cell) for cell in pair]
    return (
        figures.confusion_figure(*tables, titles=titles)
        if len(tables) == 2
        else figures.confusion_figure(tables[0], titles=titles)
    )


def _shown_setting(grid: Grid, task: str) -> tuple[str, list[Cell]]:
    """Return the setting that the figures of one setting show, and its cells: the first that has
    gold, else the first. Its name is '' where there is only one."""
    settings = settings_of([cell for cell in grid.cells if cell.axes["task"] == task])
    name = next(
        (
            name
            for name, cells in settings.items()
            if any(cell.axes["mixture"] == "gold" for cell in cells)
        ),
        next(iter(settings)),
    )
    return (name if len(settings) > 1 else ""), settings[name]


def curve_figure(grid: Grid, scores: pd.DataFrame) -> Figure | None:
    """Draw the learning curves of a grid, None where gold has one size only."""
    panels: dict[str, dict[str, pd.DataFrame]] = {}
    title = ""
    for curve in curves(grid):
        score = main_score(curve.kind)
        title = score.title
        panels[curve.name] = {
            name: pd.DataFrame(
                [_point(n, entry_of(scores, cell, score)) for n, cell in sorted(cells.items())]
            )
            for name, cells in {"gold": curve.gold, **curve.mixtures}.items()
        }
    return figures.curve_figure(panels, title) if panels else None


def _named(grid: Grid, task: str) -> str:
    """Return a task with the setting that its figures show, of several."""
    name, _ = _shown_setting(grid, task)
    return f"{task}, {name} (the table has the other settings)" if name else task


def _confusion(cell: Cell) -> pd.DataFrame:
    table = cell.predictions
    true, pred = (
        [names[0] if len(names) else "" for names in table[side]] for side in ("true", "pred")
    )
    counted = confusion(true, pred, cell.categories) / table["seed"].nunique()
    return counted.reset_index()


def _point(n: int, entry: Entry) -> dict[str, float]:
    return {"n": n, "value": entry.value, "low": entry.low, "high": entry.high}
