"""The figures of a study: from cells, scores and data sets to what figures.py draws. Each is left
out where the grid has not what it shows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

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
from touchstone.report.tables.quality import Made, quality_panels
from touchstone.report.tables.scores import score_panels


@dataclass(frozen=True)
class Drawing:
    """A figure of a study.

    Attributes
    ----------
    name : of its file.
    caption : below it.
    figure : for paper and a wide page.
    narrow : draws it for a phone.
    told : what it shows, in words, for those who cannot see it; '' where the caption and a table
        say it.
    """

    name: str
    caption: str
    figure: Figure
    narrow: Callable[[], Figure]
    told: str = ""


def _drawing(
    name: str, caption: str, draw: Callable[..., Figure], *args: Any, told: str = "", **kwargs: Any
) -> Drawing:
    narrow = partial(draw, *args, **kwargs, narrow=True)
    return Drawing(name, caption, draw(*args, **kwargs), narrow, told)


def of_scores(grid: Grid, scores: pd.DataFrame) -> Iterator[Drawing]:
    """Yield the figures of what the scores show, in the order in which a reader wants them."""
    told = (
        "Main score of each mixture with its 95 % interval. The dashed line, where there is one, "
        "is gold. * p < 0.05, ** p < 0.01 against gold."
    )
    panels = score_panels(grid, scores)
    yield _drawing("scores", told, figures.score_figure, panels, told=_scores_told(panels))
    if figure := curve_figure(grid, scores):
        yield _drawing(
            "curves",
            "Learning curves over gold size; bands are 95 % intervals over the test set.",
            figures.curve_figure,
            *figure,
            told=_curves_told(figure[0]),
        )
    for task, kind in tasks_of(grid.cells).items():
        if kind in ("multiclass", "multilabel") and (gain := gain_figure(grid, scores, task)):
            yield _drawing(
                f"gain_{task}",
                f"Change of F1 against gold by category, {_named(grid, task)}, with 95 % "
                "intervals.",
                figures.gain_figure,
                *gain,
                told=_gains_told(gain[0]),
            )
        if kind == "multiclass" and (pair := confusion_figure(grid, scores, task)):
            tables, titles = pair
            yield _drawing(
                f"confusion_{task}",
                f"Confusion matrices, {_named(grid, task)}: rows are gold, columns predicted"
                + (", mean of the draws." if draws_of(grid.cells) > 1 else "."),
                figures.confusion_figure,
                *tables,
                titles=titles,
                told=_confusions_told(tables, titles),
            )


def of_data(
    grid: Grid, made: list[Made], gold: pd.DataFrame, quality: pd.DataFrame, encoder: str = "tfidf"
) -> Iterator[Drawing]:
    """Yield the figures of what the data of one corpus show.

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
    yield _drawing(
        "data",
        "Length and categories of the training gold and of the generated data.",
        figures.data_figure,
        frames,
        categories,
    )
    if len(frames) > 1:
        caption = "Gold, silver and bronze sentences on one plane; the grey is all other sources."
        yield _drawing("map", caption, figures.map_figure, *positions(frames, encoder))
    if panels := quality_panels(quality):
        yield _drawing(
            "quality",
            "Quality of the generated data beside gold; dashed: no difference from gold.",
            figures.quality_figure,
            *panels,
        )


def gain_figure(
    grid: Grid, scores: pd.DataFrame, task: str
) -> tuple[pd.DataFrame, list[str]] | None:
    """Return the change by category for the setting of a task that the figures show, and the
    categories."""
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
    return table, [category.name for category in known.categories]


def confusion_figure(
    grid: Grid, scores: pd.DataFrame, task: str
) -> tuple[list[pd.DataFrame], list[str]]:
    """Return the confusion matrices of gold and of the best other cell of a task, with titles."""
    score = main_score("multiclass")
    _, cells = _shown_setting(grid, task)
    best = sorted(cells, key=lambda cell: -np.nan_to_num(entry_of(scores, cell, score).value))
    gold = [cell for cell in cells if cell.axes["mixture"] == "gold"][:1]
    pair = (gold + [cell for cell in best if cell not in gold])[:2]
    titles = [
        f"{row_name(cell, grid)}, macro F1 {entry_of(scores, cell, score).value:.3f}"
        for cell in pair
    ]
    return [_confusion(cell) for cell in pair], titles


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


def curve_figure(
    grid: Grid, scores: pd.DataFrame
) -> tuple[dict[str, dict[str, pd.DataFrame]], str] | None:
    """Return the learning curves of a grid and their score, None where gold has one size only."""
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
    return (panels, title) if panels else None


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


def _scores_told(panels: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    return " ".join(
        f"{title}: "
        + ", ".join(f"{row['name']} {_bounded(row)}{row['mark']}" for row in rows)
        + "."
        for title, rows in panels.items()
    )


def _curves_told(panels: Mapping[str, Mapping[str, pd.DataFrame]]) -> str:
    return " ".join(
        f"{title}, {name}: "
        + ", ".join(
            f"{_bounded(row)} with {row['n']:,.0f} gold sentences"
            for row in line.to_dict("records")
        )
        + "."
        for title, lines in panels.items()
        for name, line in lines.items()
    )


def _gains_told(changes: pd.DataFrame) -> str:
    return " ".join(
        f"{mixture}: "
        + ", ".join(f"{row.category} {row.change:+.2f}{row.mark}" for row in rows.itertuples())
        + "."
        for mixture, rows in changes.groupby("mixture", sort=False)
    )


def _confusions_told(tables: Sequence[pd.DataFrame], titles: Sequence[str]) -> str:
    """Say how many of each class are predicted as such: the diagonal."""
    told = []
    for table, title in zip(tables, titles, strict=True):
        counts = table.drop(columns="gold").to_numpy(dtype=float)
        right = ", ".join(
            f"{name} {counts[at, at]:.0f} of {counts[at].sum():.0f}"
            for at, name in enumerate(table["gold"])
        )
        told.append(f"{title}, predicted as they are: {right}.")
    return " ".join(told)


def _bounded(row: Mapping[str, Any]) -> str:
    return f"{row['value']:.3f} ({row['low']:.3f} to {row['high']:.3f})"
