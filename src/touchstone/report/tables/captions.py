"""The words around a table: what its rows are called, its setting, what its intervals cover, what
the reader must know.

Names are those of the configuration, so that a row can be found in the store and run again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import pandas as pd

from touchstone.evaluate.intervals import covers
from touchstone.report.comparisons import PRINT, Score, main_score, unit_of
from touchstone.report.grid import Cell, Grid

T = TypeVar("T")
HEADS = {
    "mixture": "Training data",
    "classifier": "Classifier",
    "prompt": "Prompt",
    "llm": "LLM",
    "gold": "Gold",
    "variant": "Setting",
}


def setting(cells: Sequence[Cell]) -> str:
    """Return the setting that cells share: corpus and test set, gold, classifier, prompt, LLM."""
    parts = []
    for corpus, members in grouped(cells, lambda cell: cell.config["corpus"]["name"]).items():
        table = max((cell.predictions for cell in members), key=len)
        unit = unit_of(members[0])
        parts.append(
            f"{corpus}, test set of {table['example_id'].nunique():,} sentences of {table['patient_id'].nunique():,} {unit}"
        )
    facts = [f"Corpus {'; '.join(parts)}."]
    for axis, name in (
        ("gold", "Gold"),
        ("classifier", "Classifier"),
        ("prompt", "Prompt"),
        ("llm", "LLM"),
    ):
        values = {
            (cell.axes[axis], cell.config["prompt"]["version"]) for cell in cells if cell.axes[axis]
        }
        if len(values) == 1:
            value, version = values.pop()
            facts.append(f"{name}: {value}{f' (version {version})' if axis == 'prompt' else ''}.")
    return " ".join(facts)


def coverage(cells: Sequence[Cell]) -> str:
    """Return what the intervals of cells cover: test patients or documents of each corpus."""
    seeds = max(cell.predictions["seed"].nunique() for cell in cells)
    largest = {
        cell.config["corpus"]["name"]: 0 for cell in cells
    }  # the LLM may have been asked about a sample
    for cell in cells:
        name = cell.config["corpus"]["name"]
        largest[name] = max(largest[name], cell.predictions["patient_id"].nunique())
    return covers(
        " and ".join(f"{n:,}" for n in largest.values()),
        unit_of(cells[0]),
        seeds,
        PRINT.n_resamples,
    )


def significance(cells: Sequence[Cell], scores: pd.DataFrame, chosen: Iterable[Score]) -> str:
    """Return what the stars mean, and over how many comparisons each score was corrected; '' where
    nothing was compared."""
    tests = {int(rows_of(scores, score)["p"].notna().sum()) for score in chosen} - {0}
    if not tests:
        return ""
    counted = " and ".join(f"{n}" for n in sorted(tests))
    return (
        f"* p < 0.05, ** p < 0.01 against gold: paired permutation test over test {unit_of(cells[0])}, "
        f"Holm-corrected over the {counted} comparisons of the grid."
    )


def caption(grid: Grid, scores: pd.DataFrame) -> str:
    """Return the caption of a score table: setting, what the intervals cover, what the stars
    mean."""
    chosen = {main_score(kind) for kind in tasks_of(grid.cells).values()}
    return " ".join(
        filter(
            None,
            [setting(grid.cells), coverage(grid.cells), significance(grid.cells, scores, chosen)],
        )
    )


def notes(grid: Grid, scores: pd.DataFrame) -> list[str]:
    """Return what stands below a score table: the detectable difference, what was sampled, the span
    convention, what is missing."""
    told = []
    for task, kind in tasks_of(grid.cells).items():
        score = main_score(kind)
        rows = rows_of(scores, score)
        found = rows[
            rows["run_id"].isin([cell.run_id for cell in grid.cells if cell.axes["task"] == task])
        ]["detectable"].dropna()
        if len(found):
            told.append(
                f"{task}: the smallest true difference in {score.title} from gold that this test set would show in 80 % of draws is "
                f"{_range(found.min(), found.max())} (5 %, two-sided, not corrected)."
            )
    sizes = {cell.axes["gold"] for cell in grid.cells if cell.axes["gold"]}
    if len(sizes) > 1 and any("gold" not in cell.sources for cell in grid.cells):
        told.append("Rows without gold are compared with the most gold.")
    for cell in grid.cells:
        asked = cell.config["task"].get("llm_test_sentences")
        if cell.axes["mixture"] == "zero_shot" and asked:
            told.append(
                f"{cell.axes['task']}, zero_shot: a seeded sample of {asked:,} test sentences, compared with gold on the same ones."
            )
    if any(cell.kind == "ner" for cell in grid.cells):
        told.append(
            "Spans: strict is same start, end and type (strict IOB2); relaxed is same type and at least one character in common."
        )
    return told + missing_notes(grid)


def missing_notes(grid: Grid) -> list[str]:
    """Return a line for each reason for which cells are missing, naming the cells."""
    told = []
    for reason, rows in grid.missing.groupby("reason", sort=False):
        cells = ", ".join(f"{row.mixture} of {row.task}" for row in rows.itertuples(index=False))
        told.append(f"Missing: {cells}. {reason}")
    return told


def rows_of(scores: pd.DataFrame, score: Score) -> pd.DataFrame:
    """Return the rows of one score in a table of `comparisons.compared`, all categories."""
    return scores[
        (scores["view"] == score.view)
        & (scores["scope"] == score.scope)
        & (scores["metric"] == score.metric)
    ]


def varying(rows: Sequence[Mapping[str, str]]) -> list[str]:
    """Return the axes that label the rows: the mixture, and those in which rows differ. Axes that
    do not apply ('') differ from nothing."""
    return [
        axis
        for axis in HEADS
        if axis == "mixture"
        or len({axes[axis] for axes in rows if axes[axis]}) > 1
        or axis == "variant"
        and any(axes[axis] for axes in rows)
    ]


def mixture_label(cell: Cell) -> str:
    """Return a mixture's name with the settings that tell it from others of the same name."""
    return " ".join(filter(None, [cell.axes["mixture"], cell.axes["variant"]]))


def row_name(cell: Cell, grid: Grid) -> str:
    """Return the name of a cell in a figure: the mixture and whatever else varies in the grid."""
    axes = ("classifier", "prompt", "llm", "gold")
    several = [
        axis for axis in axes if len({one.axes[axis] for one in grid.cells if one.axes[axis]}) > 1
    ]
    return " ".join(filter(None, [mixture_label(cell), *(cell.axes[axis] for axis in several)]))


def tasks_of(cells: Iterable[Cell]) -> dict[str, str]:
    """Return task -> kind; binary tasks first, as in the papers."""
    found = {cell.axes["task"]: cell.kind for cell in cells}
    return dict(sorted(found.items(), key=lambda item: (item[1] != "binary", item[0])))


def grouped(items: Iterable[T], key: Callable[[T], Any]) -> dict[Any, list[T]]:
    """Return items by key, both in order of appearance."""
    found: dict[Any, list[T]] = {}
    for item in items:
        found.setdefault(key(item), []).append(item)
    return found


def _range(low: float, high: float) -> str:
    return (
        f"{low:.3f}"
        if f"{low:.3f}" == f"{high:.3f}"
        else f"{low:.3f} to {high:.3f}, depending on the row"
    )
