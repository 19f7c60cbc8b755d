"""The quality of generated data: measured once for each generated data set, and kept as metrics and
a table on the generation's own run.

Measured when `touchstone table` or `touchstone report` first needs it, not in the cells: it takes a
few seconds for each data set, which would hold up a grid, and every cell that shares the data would
pay them. Text of a restricted corpus is not in the store; it is then taken from this machine's
stage cache and corpus files, and only numbers are written. What cannot be measured is said with the
reason.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import pandas as pd
from omegaconf.errors import OmegaConfBaseException

from touchstone import tracking
from touchstone.cache import OF_SWEEPS
from touchstone.configuration import checked, typed
from touchstone.data.examples import read_parquet
from touchstone.data.split import scarce_gold
from touchstone.digest import digest
from touchstone.errors import UserError
from touchstone.evaluate.metrics import safe
from touchstone.evaluate.quality.distributions import ALL
from touchstone.evaluate.quality.table import quality
from touchstone.llm.guard import logged_id
from touchstone.paths import path_of_sqlite
from touchstone.report import reading
from touchstone.report.figures import draw as figures
from touchstone.report.grid import Cell, Grid, taxonomy
from touchstone.schema import Config
from touchstone.source_table import SYNTHETIC
from touchstone.tracking import KIND, Run, Store

VERSION = 1  # of what is measured: raise it to measure stored data sets again
TABLE = "quality/quality.csv"
STAMP = "touchstone.quality"
DRAWN = {  # what the figure shows: measure -> title, value that means no difference from gold
    "length_mean": ("words per sentence", None),
    "category_divergence": ("category divergence, bits", 0.0),
    "two_sample_auc": ("told from gold (AUC)", 0.5),
    "vocabulary_overlap": ("vocabulary shared with gold", None),
    "distinct_2": ("distinct word pairs", None),
    "self_bleu": ("self-BLEU", None),
    "near_duplicates": ("near duplicates", None),
}


@dataclass(frozen=True)
class Made:
    """A generated data set that a grid uses.

    Attributes
    ----------
    run : its own run.
    stage : silver, bronze, zero_shot or round_trip.
    name : stage, with the prompt where the grid has several.
    frame : its examples, empty where their text is out of reach; `reason` then says why.
    """

    run: Run
    stage: str
    name: str
    frame: pd.DataFrame
    reason: str = ""


def generated(grid: Grid, stages: Sequence[str] = SYNTHETIC) -> list[Made]:
    """Return the generated data sets that the cells of a grid used, in the order of `stages`."""
    used = {
        (stage, name): cell
        for cell in grid.cells
        for stage, name in cell.generations().items()
        if stage in stages
    }
    digests = [name for _, name in used]
    runs = reading.generations(grid.store, digests, grid.cells[0].run.info.experiment_id)
    several = {stage for stage in stages if len([1 for other, _ in used if other == stage]) > 1}
    out: list[Made] = []
    for (stage, name), cell in sorted(used.items(), key=lambda item: stages.index(item[0][0])):
        if (run := runs.get(name)) is None:
            continue
        params = run.data.params
        title = f"{stage}, {params.get('prompt', '')}" if stage in several else stage
        frame, reason = _examples(grid.store, run, stage, cell.config)
        out.append(
            Made(
                run,
                stage,
                title if title not in [one.name for one in out] else f"{title}, {name[:6]}",
                frame,
                reason,
            )
        )
    return out


def training_gold(grid: Grid) -> tuple[pd.DataFrame, Cell | None, str]:
    """Return the largest training gold of a grid, the cell that has it, and why it is empty if it
    is."""
    cells = [cell for cell in grid.cells if "gold" in cell.sources]
    best: tuple[pd.DataFrame, Cell | None] = (pd.DataFrame(), None)
    for one in {cell.axes["gold"]: cell for cell in reversed(cells)}.values():
        frame = reading.examples(grid.store, one.run, "datasets/training.parquet")
        frame = (
            frame[(frame["source"] == "gold") & ~frame["example_id"].str.contains("#")]
            if len(frame)
            else frame
        )
        if len(frame) > len(best[0]):
            best = (frame.reset_index(drop=True), one)
    frame, cell = best
    if len(frame) and not reading.withheld(frame):
        return frame, cell, ""
    source = cell or (grid.cells[0] if grid.cells else None)
    if source is None:
        return frame, None, "no finished cell"
    try:
        config = configuration(source)
        gold = corpus_gold(config)
        return (
            scarce_gold(
                gold,
                patients=config.task.gold_patients,
                sentences=config.task.gold_sentences,
                seed=config.task.split_seed,
            ),
            cell,
            "",
        )
    except UserError as error:
        return pd.DataFrame(), cell, f"the training gold is out of reach: {error}"


def measured(grid: Grid) -> pd.DataFrame:
    """Return the quality of every generated data set of a grid, measuring those that were not
    measured yet.

    Returns
    -------
    DataFrame with the columns of `evaluate.quality.COLUMNS` and name, run_id; gold's own rows have
    the name `gold`.
    """
    sets = generated(grid)
    gold, cell, reason = training_gold(grid) if sets else (pd.DataFrame(), None, "")
    pool = [text for one in sets if one.stage == "silver" for text in one.frame.get("text", [])]
    parts = []
    for one in sets:
        if why := one.reason or reason:
            row = {
                "source": one.stage,
                "category": "all",
                "measure": "count",
                "value": float("nan"),
                "note": why,
            }
            parts.append(pd.DataFrame([row]).assign(name=one.name, run_id=one.run.info.run_id))
            continue
        table = _measured(grid.store, one, gold, cell or grid.cells[0], pool)
        names = [one.name if source != "gold" else "gold" for source in table["source"]]
        parts.append(table.assign(name=names, run_id=one.run.info.run_id))
    if not parts:
        return pd.DataFrame(
            columns=["source", "category", "measure", "value", "note", "name", "run_id"]
        )
    table = pd.concat(parts, ignore_index=True)
    return table.drop_duplicates(["name", "category", "measure"]).reset_index(drop=True)


def quality_panels(
    table: pd.DataFrame,
) -> tuple[dict[str, dict[str, float]], dict[str, float]] | None:
    """Return what `draw.quality_figure` draws: the measures of `DRAWN` for the sources of a table
    of `measured`; None where there are none."""
    panels = {}
    for measure, (title, _) in DRAWN.items():
        rows = table[
            (table["category"] == ALL) & (table["measure"] == measure) & table["value"].notna()
        ]
        if len(rows):
            panels[title] = dict(zip(rows["name"], rows["value"], strict=True))
    ideal = {title: best for title, best in DRAWN.values() if best is not None}
    return (panels, ideal) if panels else None


def configuration(cell: Cell) -> Config:
    """Return the configuration of a cell as the dataclasses that the pipeline reads.

    Raises
    ------
    UserError
        If another version of the product logged it, with keys that this one does not know.
    """
    try:
        return checked(
            typed(
                {
                    name: value
                    for name, value in cell.config.items()
                    if name not in ("hydra", "tracking")
                }
            )
        )
    except OmegaConfBaseException as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"run {cell.run_id} was logged by another version: {reason}") from error


def corpus_gold(config: Config) -> pd.DataFrame:
    """Read the expert labels of a configuration's corpus from its files, with splits; UserError
    where they are gone."""
    from touchstone.data.corpus import read_gold
    from touchstone.taxonomy import taxonomy_of

    return read_gold(
        config.corpus,
        config.task,
        taxonomy_of(config.taxonomy),
        config.paths.data,
        config.paths.cache,
    ).frame


def _measured(
    store: Store, made: Made, gold: pd.DataFrame, cell: Cell, pool: Sequence[str]
) -> pd.DataFrame:
    again = _round_trip(store, made)
    truth = _adjudicated(made, cell)
    compared_with = digest(
        [
            VERSION,
            sorted(gold["example_id"]),
            digest(sorted(gold["text"])),
            len(pool),
            again is not None,
            truth is not None,
        ]
    )
    if made.run.data.tags.get(STAMP) == compared_with and len(
        stored := reading.csv(store, made.run, TABLE)
    ):
        return stored.assign(note=stored["note"].fillna(""))
    known = taxonomy(cell.config)
    examples = [text for category in known.categories for text in category.examples] + [
        example.text for example in known.examples
    ]
    references = {"gold": gold["text"].tolist()}
    if made.stage == "bronze":
        references |= {"prompt_examples": examples} | ({"pool": list(pool)} if pool else {})
    table = quality(
        gold,
        made.frame,
        known.ids,
        references={str(made.frame["source"].iloc[0]): references},
        adjudicated=truth,
        round_trip=again,
        precedence=known.precedence,
    )
    _keep(store, made, table, compared_with)
    return table


def _keep(store: Store, made: Made, table: pd.DataFrame, stamp: str) -> None:
    """Write table, figure and metrics to the generation's run; a store that cannot be written
    (somebody sent it) stays as it is."""
    if store.uri.startswith("sqlite") and not os.access(path_of_sqlite(store.uri), os.W_OK):
        return
    run_id = made.run.info.run_id
    tracking.log_text(store, run_id, table.to_csv(index=False), TABLE)
    if panels := quality_panels(table.assign(name=table["source"])):
        drawn = figures.svg(figures.quality_figure(*panels))
        tracking.log_text(store, run_id, drawn, "quality/quality.svg")
    ours = table[(table["source"] != "gold") & table["value"].notna()]
    tracking.log_metrics(
        store,
        run_id,
        {
            f"quality/{safe(row.category)}/{row.measure}": row.value
            for row in ours.itertuples(index=False)
        },
    )
    tracking.set_tags(store, run_id, {STAMP: stamp})


def _examples(
    store: Store, run: Run, stage: str, config: Mapping[str, Any]
) -> tuple[pd.DataFrame, str]:
    """Return the examples of a generation with their text: from the store, else from the stage
    cache of the machine that made them."""
    frame = reading.examples(store, run, "examples.parquet")
    if len(frame) and not reading.withheld(frame):
        return frame, ""
    if frame.empty:
        return frame, "the data set is empty"
    cache = Path(config["paths"]["cache"])
    for described in chain.from_iterable(
        cache.glob(f"{folder}/*/generated.json") for folder in (stage, OF_SWEEPS)
    ):
        if json.loads(described.read_text())["digest"] == run.data.tags["touchstone.dataset"]:
            return read_parquet(described.parent / "examples.parquet"), ""
    return (
        pd.DataFrame(),
        "the corpus is restricted: its text is not in the store, and the stage cache of this "
        "machine does not have it",
    )


def _round_trip(store: Store, made: Made) -> dict[str, list[str]] | None:
    """Return example id -> the labels that the LLM gave bronze without seeing the label, where some
    cell asked for them."""
    if made.stage != "bronze":
        return None
    name = made.run.data.tags["touchstone.dataset"]
    for cell in reversed(
        reading.search(
            store, **dict[str, Any]({KIND: "cell", "touchstone.generation.bronze": name})
        )
    ):
        if again := cell.data.tags.get("touchstone.generation.round_trip"):
            runs = reading.generations(store, [again], made.run.info.experiment_id)
            frame = reading.examples(store, runs[again], "examples.parquet")
            return dict(zip(frame["example_id"], frame["labels"], strict=True))
    return None


def _adjudicated(made: Made, cell: Cell) -> dict[str, list[str]] | None:
    """Return example id -> expert labels of silver sentences, where the pool is training gold that
    was left out."""
    pool = (cell.config["corpus"].get("pool") or {}).get("reader")
    if made.stage != "silver" or pool != "rest_of_train":
        return None
    try:
        frame = corpus_gold(configuration(cell))
    except UserError:
        return None
    shown = logged_id(cell.config)
    return {
        shown(row.example_id): list(row.labels) or sorted({span["type"] for span in row.spans})
        for row in frame.itertuples(index=False)
    }
