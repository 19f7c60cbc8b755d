"""The words around a table: what its rows are called, its setting, what its intervals cover, what
the reader must know.

Names are those of the configuration, so that a row can be found in the store and run again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import pandas as pd

from touchstone.evaluate.headline import Score, main_score
from touchstone.evaluate.intervals import covers
from touchstone.evaluate.permutation import EXACT, SWAPS, floor
from touchstone.report import reading
from touchstone.report.comparisons import N_RESAMPLES, n_draws, unit_of
from touchstone.report.grid import Cell, Grid
from touchstone.report.own_scores import own_notes

T = TypeVar("T")
HEADS = {
    "mixture": "Training data",
    "classifier": "Classifier",
    "prompt": "Prompt",
    "llm": "LLM",
    "gold": "Gold",
    "variant": "Setting",
}


def test_set(cells: Sequence[Cell]) -> str:
    """Return the corpora of cells and their test sets in one sentence."""
    parts = []
    for corpus, members in grouped(cells, lambda cell: cell.config["corpus"]["name"]).items():
        table = max((cell.predictions for cell in members), key=len)
        n, unit = table["example_id"].nunique(), unit_of(members[0])
        of = f" of {table['patient_id'].nunique():,} {unit}" if unit != "sentences" else ""
        parts.append(f"{corpus}, {n:,} sentences{of}")
    return f"Test set: {'; '.join(parts)}."


def setting(cells: Sequence[Cell]) -> str:
    """Return the setting that cells share: corpus and test set, gold, classifier, prompt, LLM."""
    facts = [test_set(cells)]
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


def title_of(task: str, cells: Sequence[Cell], axes: Collection[str]) -> str:
    """Return the setting that all rows of a task share, in one line; `axes` label the rows."""
    facts = [task]
    for axis in ("classifier", "prompt", "llm", "gold"):
        values = {cell.axes[axis] for cell in cells if cell.axes[axis]}
        if axis not in axes and len(values) == 1:
            facts.append(f"gold of {values.pop()}" if axis == "gold" else values.pop())
    draws = draws_of(cells)
    facts.append(f"{draws} draws" if draws > 1 else "one draw")
    n = max(cell.predictions["example_id"].nunique() for cell in cells)
    return ", ".join([*facts, f"{n:,} test sentences"])


def draws_of(cells: Sequence[Cell]) -> int:
    """Return how many repetitions cells have that differ in what they drew; 1 where none do."""
    return max(n_draws(cell) for cell in cells)


def coverage(cells: Sequence[Cell]) -> str:
    """Return what the intervals of cells cover: test patients (documents, sentences) of each
    corpus, and draws."""
    largest = {
        cell.config["corpus"]["name"]: 0 for cell in cells
    }  # the LLM may have been asked about a sample
    for cell in cells:
        name = cell.config["corpus"]["name"]
        largest[name] = max(largest[name], cell.predictions["patient_id"].nunique())
    sizes, draws = " and ".join(f"{n:,}" for n in largest.values()), draws_of(cells)
    uncovered = "another answer of the LLM" + (
        "" if draws > 1 else ", nor another draw of training data"
    )
    return (
        f"{covers(sizes, unit_of(*cells), draws, N_RESAMPLES)} Percentiles are taken further out "
        "by the t distribution (expanded), for the few that are resampled; not covered: "
        f"{uncovered}."
    )


def significance(cells: Sequence[Cell], scores: pd.DataFrame, chosen: Iterable[Score]) -> str:
    """Return what the stars mean, and over how many comparisons each score was corrected; '' where
    nothing was compared."""
    tests = {int(rows_of(scores, score)["p"].notna().sum()) for score in chosen} - {0}
    if not tests:
        return ""
    unit = unit_of(*cells)
    counted = " and ".join(f"{n}" for n in sorted(tests))
    corrected = (
        "one comparison, so not corrected"
        if tests == {1}
        else f"Holm-corrected over {counted} comparisons"
    )
    most = max(cell.predictions["patient_id"].nunique() for cell in cells)
    how = (
        "all swaps enumerated"
        if most <= EXACT
        else f"{SWAPS:,} swaps drawn where more than {EXACT} {unit} differ"
    )
    return (
        f"* p < 0.05, ** p < 0.01 against gold: paired permutation test over test {unit} ({how}), "
        f"{corrected}."
    )


def caption(grid: Grid) -> str:
    """Return the caption of a score table, two lines: test set, brackets and stars. The rest is in
    the notes."""
    unit = unit_of(*grid.cells)
    over = f"{unit} and draws" if draws_of(grid.cells) > 1 else unit
    compared = any(cell.axes["mixture"] == "gold" for cell in grid.cells) and len(grid.cells) > 1
    stars = " Stars: against gold, * p < 0.05, ** p < 0.01." if compared else ""
    first = " The LLM's examples and pool: first draw." if _asked_once(grid.cells) else ""
    return f"{test_set(grid.cells)} Brackets: 95 % intervals over test {over}.{stars}{first}"


def _asked_once(cells: Sequence[Cell]) -> bool:
    """Return whether draws share what the LLM was shown and asked about."""
    return draws_of(cells) > 1 and any(cell.generations() for cell in cells)


def notes(grid: Grid, scores: pd.DataFrame) -> list[str]:
    """Return what stands below a score table: setting, method, the detectable difference, what was
    sampled, the span convention, what is missing."""
    kinds = tasks_of(grid.cells)
    chosen = dict.fromkeys(main_score(kind) for kind in kinds.values())
    lines = [
        setting(grid.cells)
        .removeprefix(f"{test_set(grid.cells)} ")
        .removeprefix(test_set(grid.cells)),
        coverage(grid.cells),
        significance(grid.cells, scores, chosen),
    ]
    if _asked_once(grid.cells):
        lines.append(
            "Draws: each has its own scarce gold, sampled sources and initialisation. Few-shot "
            "examples and the LLM's pool are those of the first; what another draw has as gold "
            "leaves its silver."
        )
    if any(cell.config["task"].get("folds") for cell in grid.cells):
        lines.append(
            "Folds: scores and intervals are those of the predictions of all folds together; the "
            "mean of folds is what papers report."
        )
    for task, kind in kinds.items():
        ids = [cell.run_id for cell in grid.cells if cell.axes["task"] == task]
        rows = rows_of(scores, main_score(kind))
        lines += _sensitivity(task, main_score(kind).title, rows[rows["run_id"].isin(ids)], grid)
    sizes = {cell.axes["gold"] for cell in grid.cells if cell.axes["gold"]}
    if len(sizes) > 1 and any("gold" not in cell.sources for cell in grid.cells):
        lines.append("Rows without gold are compared with the most gold.")
    for cell in grid.cells:
        n_asked = cell.config["task"].get("llm_test_sentences")
        if cell.axes["mixture"] == "zero_shot" and n_asked:
            lines.append(
                f"{cell.axes['task']}, zero_shot: a seeded sample of {n_asked:,} test sentences, "
                "compared with gold on the same ones."
            )
    lines += _read_from_files(grid)
    if any(cell.kind == "ner" for cell in grid.cells):
        lines.append(
            "Spans: strict is same start, end and type (strict IOB2); relaxed is same type and at "
            "least one character in common."
        )
    return [*filter(None, lines), *own_notes(grid, scores), *missing_notes(grid)]


def _read_from_files(grid: Grid) -> list[str]:
    """Say of each set of silver or bronze that files hold: which files, and what is known of their
    making."""
    used = {
        made: (source, str(cell.config["corpus"][source].get("made_by") or ""))
        for cell in grid.cells
        for source, made in cell.generations().items()
        if (cell.config["corpus"].get(source) or {}).get("path")
    }
    if not used:
        return []
    runs = reading.generations(grid.store, list(used), grid.cells[0].run.info.experiment_id)
    return [
        f"{source}: read from {runs[made].data.params.get('read_from', 'files')}, "
        f"{f'made by: {made_by}' if made_by else 'whose making is not stated'}; no LLM was asked."
        for made, (source, made_by) in used.items()
        if made in runs
    ]


def _sensitivity(task: str, title: str, rows: pd.DataFrame, grid: Grid) -> list[str]:
    """Say what difference the test set could have shown: the detectable one, the floor of p, and
    scores at the edge of their interval."""
    lines = []
    tested = rows[rows["p"].notna()]
    sizes = tested["detectable"].dropna()
    if len(sizes):
        lines.append(
            f"{task}: the smallest true difference in {title} from gold that this test set would "
            f"show in 80 % of draws is {_range(sizes.min(), sizes.max())} (5 %, two-sided, not "
            "corrected)."
        )
    if len(tested):
        n, unit = int(tested["n_clusters"].min()), unit_of(*grid.cells)
        lowest, tests = floor(n), int(rows["p"].notna().sum())
        if lowest > 0.05:
            lines.append(
                f"{task}: {n} test {unit} allow no p below {lowest:g}, so no difference can get a "
                "star, however large, and none is called detectable."
            )
        elif lowest * tests > 0.05:
            lines.append(
                f"{task}: {n} test {unit} allow no p below {lowest:.2g}, after correction over "
                f"{tests} comparisons none below {min(lowest * tests, 1):.2g} for the best of "
                "them: "
                "no star is possible unless most rows differ."
            )
    unsure = tested[[_near_threshold(row) for row in tested.to_dict("records")]]
    if len(unsure):
        lines.append(
            f"{task}: {len(unsure)} of the stars could change with other swaps: their p lies "
            "within three Monte-Carlo errors of 0.05 or 0.01."
        )
    edge = rows[(rows["value"] <= rows["low"]) | (rows["value"] >= rows["high"])]
    edge = edge[(edge["low"] < edge["high"])]
    if len(edge):
        lines.append(
            f"{task}: {len(edge)} scores lie at the edge of their interval: resamples that hold no "
            "example of a rare category average over the others only."
        )
    return lines


def _near_threshold(row: Mapping[Hashable, Any]) -> bool:
    """Return whether the star of a drawn p could be another with other swaps."""
    if bool(row["exact"]) or not row["p"] > 0:
        return False
    times = row["p_holm"] / row["p"]
    error = 3 * times * (row["p"] * (1 - row["p"]) / SWAPS) ** 0.5
    return any(abs(row["p_holm"] - edge) < error for edge in (0.01, 0.05))


def missing_notes(grid: Grid) -> list[str]:
    """Return a line for each reason for which cells are missing, naming the cells."""
    lines = []
    for reason, rows in grid.missing.groupby("reason", sort=False):
        cells = ", ".join(f"{row.mixture} of {row.task}" for row in rows.itertuples(index=False))
        lines.append(f"Missing: {cells}. {reason}")
    return lines


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
    kinds = {cell.axes["task"]: cell.kind for cell in cells}
    return dict(sorted(kinds.items(), key=lambda item: (item[1] != "binary", item[0])))


def grouped(items: Iterable[T], key: Callable[[T], Any]) -> dict[Any, list[T]]:
    """Return items by key, both in order of appearance."""
    groups: dict[Any, list[T]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups


def _range(low: float, high: float) -> str:
    return (
        f"{low:.3f}"
        if f"{low:.3f}" == f"{high:.3f}"
        else f"{low:.3f} to {high:.3f}, depending on the row"
    )
