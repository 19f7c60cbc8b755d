"""Figures: drawn from tables and scores, readable in print and by the colour-blind.

Colours are Okabe and Ito's (2008); every series also has its own marker or line style, so nothing
is told by colour alone. Figures are vector PDF for papers, PNG for the store, SVG for pages, there
with real letters, in the page's own fonts: they can be searched and copied. Each can be drawn
`narrow`, its panels below one another, for a phone. Does not compute scores; what is drawn stands
in a table too.
"""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from touchstone.evaluate.quality.distributions import label_sets, lengths, masks
from touchstone.source_table import TABLE
from touchstone.taxonomy import NONE

# name -> colour, marker, line style
SERIES = {
    **{source.name: (source.colour, source.marker, source.line) for source in TABLE},
    "gold_silver": ("#0072B2", "D", "--"),
    "gold_bronze": ("#CC79A7", "v", "-."),
    "silver_bronze": ("#009E73", "P", ":"),
    "gold_silver_bronze": ("#000000", "X", "-"),
    "zero_shot": ("#7F7F7F", "*", ":"),
}
SPARE = (
    ("#7F7F7F", "<", ":"),
    ("#5F5F5F", ">", "--"),
    ("#9F9F9F", "h", "-."),
    ("#3F3F3F", "p", "-"),
)
STYLE: Any = {  # of matplotlib's parameters, whose names are typed one by one
    "font.family": "sans-serif",
    "font.size": 8,
    "axes.titlesize": 8.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "axes.grid": False,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "legend.frameon": False,
    "lines.linewidth": 1.3,
    "lines.markersize": 5,
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
    "svg.hashsalt": "touchstone",
    "figure.dpi": 100,
}
WIDTH = 7.2  # inches: the text width of most journals' double column
NARROW = 3.7  # inches: letters of 8 points can be read where this fills a phone


def styled(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    """Draw a figure in our style, whatever the caller's."""

    @wraps(draw)
    def wrapped(*args: Any, **kwargs: Any) -> Figure:
        with matplotlib.rc_context(STYLE):
            return draw(*args, **kwargs)

    return wrapped


def save(
    figure: Figure, folder: Path, name: str, formats: Sequence[str] = ("pdf", "png")
) -> list[Path]:
    """Write a figure as vector PDF and as PNG, or in one of these; the same figure gives the same
    bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    logging.getLogger("fontTools").setLevel(logging.WARNING)  # it tells every table of every font
    options: dict[str, Any] = {
        "pdf": {"metadata": {"CreationDate": None, "Producer": None, "Creator": None}},
        "png": {"dpi": 200, "metadata": {"Software": None}},
    }
    with matplotlib.rc_context(STYLE):
        for form in formats:
            figure.savefig(folder / f"{name}.{form}", **options[form])
    return [folder / f"{name}.{form}" for form in formats]


def svg(figure: Figure) -> str:
    """Return a figure as an SVG element that can stand in an HTML page."""
    buffer = io.StringIO()
    with matplotlib.rc_context(STYLE):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S)
    return re.sub(
        r'(<svg[^>]*?) width="[^"]*"',
        r"\1",
        re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1),
        count=1,
    )


def series(name: str) -> tuple[str, str, str]:
    """Return colour, marker and line style of a mixture; names that are none of the seven share
    greys, told apart by marker."""
    return SERIES.get(name) or SPARE[sum(map(ord, name)) % len(SPARE)]


def _panels(
    n: int, height: float, narrow: bool, width: float = WIDTH, **shared: Any
) -> tuple[Figure, Any]:
    """Return a figure of n panels, each `height` inches high, and its axes: beside one another, or
    below."""
    size = (NARROW, n * height) if narrow else (width, height)
    figure = Figure(figsize=size, layout="constrained")
    rows, columns = (n, 1) if narrow else (1, n)
    return figure, figure.subplots(rows, columns, squeeze=False, **shared).ravel()


@styled
def score_figure(panels: Mapping[str, Sequence[Mapping[str, Any]]], narrow: bool = False) -> Figure:
    """Draw the main score of each mixture with its interval, a panel for each task, and gold as the
    line to read the others against.

    Parameters
    ----------
    panels : title -> rows of name, mixture, value, low, high and mark, top to bottom.
    """
    most = max(len(rows) for rows in panels.values())
    figure, axes = _panels(len(panels), 0.27 * most + 0.75, narrow)
    for ax, (title, rows) in zip(axes, panels.items(), strict=True):
        gold = [row["value"] for row in rows if row["mixture"] == "gold"]
        if (
            len(gold) == 1
        ):  # several golds, of sizes or classifiers, are no one line to read against
            ax.axvline(gold[0], color="#B0B0B0", linewidth=0.8, linestyle=(0, (4, 3)), zorder=0)
        for at, row in enumerate(rows):
            colour, marker, _ = series(row["mixture"])
            ax.plot(
                [row["low"], row["high"]],
                [at, at],
                color=colour,
                linewidth=1.6,
                solid_capstyle="butt",
            )
            ax.plot(
                row["value"],
                at,
                marker=marker,
                color=colour,
                markeredgecolor="white",
                markeredgewidth=0.5,
                markersize=6.5,
            )
            if row["mark"]:
                ax.annotate(
                    row["mark"],
                    (row["high"], at),
                    xytext=(3, -3.5),
                    textcoords="offset points",
                    fontsize=9,
                )
        ax.set_yticks(range(len(rows)), [row["name"] for row in rows])
        ax.set_ylim(len(rows) - 0.5, -0.5)
        ax.tick_params(axis="y", length=0)
        ax.set_title(title)
    return figure


@styled
def gain_figure(changes: pd.DataFrame, categories: Sequence[str], narrow: bool = False) -> Figure:
    """Draw the change of F1 against gold by category: a panel for each mixture, dots with
    intervals, filled where significant.

    Parameters
    ----------
    changes : DataFrame[mixture, category, change, low, high, mark]; category is a title.
    categories : titles from top to bottom.
    """
    mixtures = list(dict.fromkeys(changes["mixture"]))
    n_rows = len(mixtures) if narrow else 1 if len(mixtures) <= 4 else 2
    columns = -(-len(mixtures) // n_rows)
    figure = Figure(
        figsize=(NARROW if narrow else WIDTH, n_rows * (0.19 * len(categories) + 0.4) + 0.5),
        layout="constrained",
    )
    axes = figure.subplots(n_rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
    for ax in axes[len(mixtures) :]:
        ax.set_visible(False)
    for ax, mixture in zip(axes, mixtures, strict=False):
        colour, marker, _ = series(mixture)
        rows = changes[changes["mixture"] == mixture].set_index("category")
        ax.axvline(0, color="#B0B0B0", linewidth=0.8, zorder=0)
        for at, category in enumerate(categories):
            if category not in rows.index or np.isnan(rows.loc[category, "change"]):
                continue
            row = rows.loc[category]
            ax.plot(
                [row["low"], row["high"]],
                [at, at],
                color=colour,
                linewidth=1.3,
                solid_capstyle="butt",
            )
            fill = colour if row["mark"] else "white"
            ax.plot(
                row["change"],
                at,
                marker=marker,
                color=colour,
                markerfacecolor=fill,
                markersize=5,
                markeredgewidth=1,
            )
        ax.set_title(mixture)
        ax.set_yticks(range(len(categories)), categories)
        ax.set_ylim(len(categories) - 0.5, -0.5)
        ax.tick_params(axis="y", length=0)
    told = "change of F1 against gold"
    breaks = "\n" if narrow else " "
    figure.supxlabel(f"{told}{breaks}(filled: significant after Holm's correction)", fontsize=8)
    return figure


@styled
def confusion_figure(
    confusion: pd.DataFrame,
    other: pd.DataFrame | None = None,
    titles: Sequence[str] = ("", ""),
    narrow: bool = False,
) -> Figure:
    """Draw a confusion matrix, or two side by side: rows are gold, columns predicted, each cell its
    count, shaded by its share of the row.

    Parameters
    ----------
    confusion, other : DataFrame with a column `gold` and one column for each predicted class.
    titles : one for each matrix.
    """
    tables = [confusion] if other is None else [confusion, other]
    labels = confusion["gold"].tolist()
    size = 0.36 * len(labels) + 1.9
    width = size * len(tables) - 1.2 * (len(tables) - 1)
    figure, axes = _panels(
        len(tables),
        0.32 * len(labels) + 1.7,
        narrow,
        min(width, NARROW) if narrow else width,
        sharey=True,
    )
    for ax, table, title in zip(axes, tables, titles, strict=False):
        matrix = table.drop(columns="gold").to_numpy(dtype=float)
        share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
        ax.imshow(share, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        shown = [label.replace("_", " ") for label in labels]
        ax.set_xticks(
            range(len(labels)), shown, rotation=45, ha="right", rotation_mode="anchor", fontsize=7
        )
        ax.set_yticks(range(len(labels)), shown, fontsize=7)
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
        ax.set_xlabel("predicted")
        ax.set_title(title, fontsize=7 if narrow else None)
        for (row, column), n in np.ndenumerate(matrix):
            if n:
                dark = share[row, column] > 0.5
                ax.text(
                    column,
                    row,
                    f"{n:.0f}",
                    ha="center",
                    va="center",
                    fontsize=5.5 if narrow else 6.5,
                    color="white" if dark else "#303030",
                )
    axes[0].set_ylabel("gold")
    return figure


@styled
def curve_figure(
    panels: Mapping[str, Mapping[str, pd.DataFrame]], score: str, narrow: bool = False
) -> Figure:
    """Draw learning curves with their bands: a panel for each task and classifier, a line for each
    mixture.

    Parameters
    ----------
    panels : title -> mixture -> DataFrame[n, value, low, high]; n is gold sentences; a mixture
        without gold (n = 0) is a level line.
    score : what the vertical axis shows.
    """
    width = WIDTH if len(panels) > 1 else 4.8
    figure, axes = _panels(len(panels), 3.0, narrow, width, sharey=True)
    for ax, (title, lines) in zip(axes, panels.items(), strict=True):
        sizes = sorted({n for line in lines.values() for n in line["n"] if n > 0})
        for name, line in lines.items():
            colour, marker, style = series(name)
            if (line["n"] == 0).all():
                ax.axhline(
                    line["value"].iloc[0],
                    color=colour,
                    linestyle=style,
                    linewidth=1,
                    label=f"{name} (no gold)",
                )
                continue
            line = line[line["n"] > 0].sort_values("n")
            ax.fill_between(
                line["n"], line["low"], line["high"], color=colour, alpha=0.13, linewidth=0
            )
            ax.plot(
                line["n"], line["value"], color=colour, marker=marker, linestyle=style, label=name
            )
        ax.set_xscale("log")
        ax.set_xticks(sizes, [f"{n:,}" for n in sizes])
        ax.minorticks_off()
        ax.set_xlabel("gold training sentences")
        ax.set_title(title)
    axes[0].set_ylabel(score)
    axes[0].legend(fontsize=7)
    return figure


@styled
def data_figure(
    frames: Mapping[str, pd.DataFrame], categories: Mapping[str, str], narrow: bool = False
) -> Figure:
    """Draw lengths (share of sentences up to so many words) and category shares of each source.

    Parameters
    ----------
    frames : source -> example table.
    categories : id -> title.
    """
    height = max(2.4, 0.2 * len(categories) + 1.0)
    ratios = None if narrow else (1, 1.1)
    figure, (left, right) = _panels(2, height, narrow, width_ratios=ratios)
    ids = [*categories, NONE]
    for name, frame in frames.items():
        colour, marker, style = series(name.partition(",")[0])
        words = np.sort(lengths(frame))
        left.step(
            words,
            np.arange(1, len(words) + 1) / len(words),
            color=colour,
            linestyle=style,
            where="post",
            label=name,
        )
        scopes = masks(label_sets(frame), ids[:-1])
        right.plot(
            [scopes[category].mean() for category in ids],
            range(len(ids)),
            marker=marker,
            color=colour,
            linestyle="",
            label=name,
        )
    longest = max(float(np.quantile(lengths(frame), 0.99)) for frame in frames.values())
    left.set_xlim(0, longest)
    left.set_ylim(0, 1)
    left.set_xlabel("words per sentence")
    left.set_ylabel("share of sentences")
    left.set_title("Lengths")
    left.legend(fontsize=7, loc="lower right")
    right.set_yticks(range(len(ids)), [*categories.values(), NONE])
    right.set_ylim(len(ids) - 0.5, -0.5)
    right.grid(axis="y", color="#E4E4E4", linewidth=0.6)
    right.set_axisbelow(True)
    right.tick_params(axis="y", length=0)
    right.set_xlabel("share of sentences" if narrow else "share of sentences with the category")
    right.set_title("Categories")
    return figure


@styled
def map_figure(positions: pd.DataFrame, method: str, narrow: bool = False) -> Figure:
    """Draw sentences on a plane: a panel for each source over the grey of all, so that overlap is
    seen without reading colours.

    Parameters
    ----------
    positions : DataFrame[source, x, y].
    method : how the positions were found, for the label.
    """
    names = list(dict.fromkeys(positions["source"]))
    height = NARROW if narrow else WIDTH / max(len(names), 2) + 0.35
    figure, axes = _panels(len(names), height, narrow, sharex=True, sharey=True)
    for ax, name in zip(axes, names, strict=True):
        colour, marker, _ = series(name.partition(",")[0])
        mine = positions["source"] == name
        ax.scatter(
            positions["x"][~mine],
            positions["y"][~mine],
            s=3,
            color="#DADADA",
            linewidths=0,
            rasterized=True,
        )
        ax.scatter(
            positions["x"][mine],
            positions["y"][mine],
            s=7,
            color=colour,
            marker=marker,
            alpha=0.65,
            linewidths=0,
            rasterized=True,
        )
        ax.set_title(f"{name} ({mine.sum():,})")
        ax.set_xticks([])
        ax.set_yticks([])
        ax.spines[:].set_visible(True)
        ax.spines[:].set_color("#C8C8C8")
    figure.supxlabel(method, fontsize=7.5)
    return figure


@styled
def quality_figure(
    panels: Mapping[str, Mapping[str, float]], ideal: Mapping[str, float], narrow: bool = False
) -> Figure:
    """Draw measures of data quality: a small panel for each, a dot for each source; a dashed line
    where a measure has an ideal.

    Parameters
    ----------
    panels : title of the measure -> source -> value.
    ideal : title -> value that means no difference from gold.
    """
    columns = 2 if narrow else 4
    n_rows = -(-len(panels) // columns)
    names = list(dict.fromkeys(name for values in panels.values() for name in values))
    figure = Figure(
        figsize=(NARROW if narrow else WIDTH, n_rows * (0.16 * len(names) + 0.62) + 0.1),
        layout="constrained",
    )
    axes = figure.subplots(n_rows, columns, squeeze=False).ravel()
    for ax in axes[len(panels) :]:
        ax.set_visible(False)
    for ax, (title, values) in zip(axes, panels.items(), strict=False):
        if title in ideal:
            ax.axvline(
                ideal[title], color="#B0B0B0", linestyle=(0, (4, 3)), linewidth=0.8, zorder=0
            )
        for at, name in enumerate(names):
            if not np.isnan(values.get(name, np.nan)):
                colour, marker, _ = series(name.partition(",")[0])
                ax.plot(values[name], at, marker=marker, color=colour, markersize=6)
        ax.set_yticks(
            range(len(names)), names if ax in axes[::columns] else [""] * len(names), fontsize=7
        )
        ax.set_ylim(len(names) - 0.5, -0.5)
        ax.margins(x=0.25)
        ax.locator_params(axis="x", nbins=4)
        ax.tick_params(axis="x", labelsize=7)
        ax.tick_params(axis="y", length=0)
        ax.grid(axis="y", color="#E8E8E8", linewidth=0.6)
        ax.set_axisbelow(True)
        ax.set_title(title, fontsize=7.5, fontweight="normal")
    return figure
