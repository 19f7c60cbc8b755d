"""What Touchstone offers to Python and notebooks: `import touchstone as ts`.

    results = ts.run("mixture=gold,gold_bronze", "task.gold_patients=5")
    results.table
    ts.errors(results.runs["run_id"].iloc[0])

Frames in, frames out. A run is the command's own, in a fresh process: what a notebook has imported
cannot change its numbers, and it may be called as often as one likes. Does not draw (the explorer
and the report do) and does not write tables to files (`touchstone table`).
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from touchstone.errors import UserError

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from touchstone.tracking import Run, Store

SCORED_KINDS = ("binary", "relation", "multiclass", "multilabel", "ner")


@dataclass(frozen=True)
class Results:
    """The finished cells of a sweep or a study.

    Attributes
    ----------
    runs : DataFrame, a row for each cell: run_id, run (its name), the axes and seeds (parameters of
        the run list), and every metric, `test/macro_f1` in [0, 1].
    """

    runs: pd.DataFrame

    @property
    def table(self) -> pd.DataFrame:
        """What people read first: the axes that differ between the cells, and the test scores.

        Intervals, tests and published numbers beside them: `touchstone table`.
        """
        axes = [
            name
            for name in self.runs
            if "/" not in name
            and name not in ("run_id", "run")
            and (name == "mixture" or self.runs[name].nunique(dropna=False) > 1)
        ]
        scores = [name for name in self.runs if name.startswith("test/") and name.count("/") == 1]
        return self.runs[[*axes, *scores]].reset_index(drop=True)


def compose(*overrides: str) -> DictConfig:
    """Compose a configuration as the command would, without running it.

    Parameters
    ----------
    overrides : as on the command line: "mixture=gold_bronze".

    Raises
    ------
    UserError
        For a name, key or value that there is not.
    """
    from touchstone.run.conf_files import composed
    from touchstone.run.hydra_errors import explain

    try:
        return composed(overrides)
    except Exception as error:
        raise UserError(explain(error, overrides)) from None


def run(*overrides: str) -> Results:
    """Run the cells that overrides span, as `touchstone run -m OVERRIDES` does.

    What is finished in the store is not run again. Progress and warnings go to standard error.

    Parameters
    ----------
    overrides : "mixture=gold,gold_bronze" spans two cells; "+experiment=two_directions" a preset.

    Raises
    ------
    UserError
        With the command's own line, if a cell fails or nothing can be run.
    """
    from touchstone.report import reading

    started = int(time.time() * 1000)
    code = "import sys; from touchstone.run.console import main; sys.exit(main(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", code, "-m", *overrides], capture_output=True, text=True
    )
    if done.returncode:
        lines = [*done.stderr.splitlines(), *done.stdout.splitlines()]
        messages = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
        raise UserError(messages[0] if messages else f"the run ended with status {done.returncode}")
    sys.stderr.write(done.stderr)
    where = [one for one in overrides if one.split("=")[0] in ("tracking.uri", "paths.store")]
    store = _store(*where)
    (parent,) = reading.search(store, kind="sweep", latest=1)
    cells = reading.search(store, kind="cell", parent=parent.info.run_id)
    launch = parent.data.tags.get("touchstone.launch")
    current = [cell for cell in cells if cell.data.tags.get("touchstone.launch") == launch]
    assert parent.info.start_time <= started or current, "the sweep that ended is the newest"
    return _results(current or cells)


def results(study: str, *overrides: str) -> Results:
    """Return the finished cells of a study, the latest of each.

    Parameters
    ----------
    study : `study=NAME` of the runs.
    overrides : "tracking.uri=..." or "paths.store=..." where the store is elsewhere.

    Raises
    ------
    UserError
        If there is no store, or no such study in it.
    """
    from touchstone import tracking
    from touchstone.errors import no_such
    from touchstone.report import reading

    store = _store(*overrides)
    cells = reading.search(store, kind="cell", study=study)
    finished = [cell for cell in cells if cell.info.status == "FINISHED"]
    if not finished:
        raise UserError(no_such("study", study, reading.studies(store)))
    latest = {cell.data.tags.get(tracking.CELL, cell.info.run_id): cell for cell in finished}
    return _results(list(latest.values()))


def predictions(run_id: str, *overrides: str) -> pd.DataFrame:
    """Return the test predictions of a cell.

    Returns
    -------
    DataFrame[seed, example_id, doc_id, patient_id, true, pred, score]: a row for each repetition
    and test example; `true` and `pred` are lists of categories (spans for entities), `score` one
    number for each category. Ids of a restricted corpus are digests.

    Raises
    ------
    UserError
        If there is no such run, or it has no predictions.
    """
    from touchstone.report import reading

    store, run = _run(run_id, overrides)
    table = reading.predictions(store, run)
    if table.empty:
        raise UserError(f"run {run_id} has no predictions: it is no finished cell")
    return table


def generated(run_id: str, *overrides: str) -> pd.DataFrame:
    """Return the synthetic examples that a cell learned from.

    Returns
    -------
    DataFrame, an example table (data/examples.py) of the sources silver and bronze; empty for a
    cell of gold alone. Text of a restricted corpus is withheld.
    """
    from touchstone.report import reading

    store, run = _run(run_id, overrides)
    frame = reading.examples(store, run, "datasets/training.parquet")
    return frame if frame.empty else frame[frame["source"] != "gold"].reset_index(drop=True)


def errors(run_id: str, *overrides: str) -> pd.DataFrame:
    """Return the test sentences that a cell has wrong.

    Returns
    -------
    DataFrame[seed, example_id, doc_id, patient_id, text, true, pred, missed, wrong]: `missed` are
    the categories (or spans) that experts gave and the classifier did not, `wrong` the other way
    round. `text` is withheld where the corpus is restricted.
    """
    from touchstone.report import reading

    store, run = _run(run_id, overrides)
    table = predictions(run_id, *overrides)
    test = reading.examples(store, run, "datasets/test.parquet")[["example_id", "text"]]
    true, pred = ([_plain(labels) for labels in table[side]] for side in ("true", "pred"))
    missed = [[one for one in t if one not in p] for t, p in zip(true, pred, strict=True)]
    wrong = [[one for one in p if one not in t] for t, p in zip(true, pred, strict=True)]
    table = table.assign(true=true, pred=pred, missed=missed, wrong=wrong).drop(columns="score")
    table = table[[bool(m or w) for m, w in zip(missed, wrong, strict=True)]]
    merged = table.merge(test, on="example_id", how="left", validate="many_to_one")
    order = [
        "seed",
        "example_id",
        "doc_id",
        "patient_id",
        "text",
        "true",
        "pred",
        "missed",
        "wrong",
    ]
    return merged[order].reset_index(drop=True)


def compare(
    predictions_by_name: Mapping[str, pd.DataFrame],
    kind: str,
    categories: Sequence[str] | None = None,
    *,
    baseline: str | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Compare systems on one test set, wherever their predictions were made.

    Parameters
    ----------
    predictions_by_name : system -> DataFrame[example_id, patient_id, true, pred], and `seed` where
        there are repetitions; lists of categories, or of spans for entities.
    kind : binary, relation, multiclass, multilabel or ner.
    categories : in the order of the table; None: all that occur, sorted.
    baseline : the system that the others are compared with; None: the first.
    seed : of the bootstrap.

    Returns
    -------
    DataFrame of systems and scores with interval, difference, p and Holm's p, see
    `evaluate.compare.compare`.
    """
    import numpy as np

    from touchstone.errors import no_such
    from touchstone.evaluate.compare import compare as compared
    from touchstone.evaluate.predictions import counts_of

    if kind not in SCORED_KINDS:
        raise UserError(no_such("kind of task", kind, SCORED_KINDS))
    if not predictions_by_name:
        raise UserError("there are no predictions to compare")
    tables = {}
    for name, table in predictions_by_name.items():
        lacking = {"example_id", "patient_id", "true", "pred"} - set(table)
        if lacking:
            raise UserError(f"predictions of {name}: no column {', '.join(sorted(lacking))}")
        tables[name] = table if "seed" in table else table.assign(seed=0)
    if categories is None:
        found = {_category(one) for t in tables.values() for labels in t["true"] for one in labels}
        categories = sorted(found)
    counts = {name: counts_of(table, kind, categories) for name, table in tables.items()}
    first = baseline or next(iter(counts))
    return compared(counts, first, rng=np.random.default_rng(seed))


def quality(
    frame: pd.DataFrame, gold: pd.DataFrame, categories: Sequence[str] | None = None
) -> pd.DataFrame:
    """Measure synthetic data beside the gold that it is to stand for.

    Parameters
    ----------
    frame : DataFrame[text, labels] of synthetic sentences; labels are lists of categories. A column
        `source` (silver or bronze) tells sources apart; without it all is bronze.
    gold : DataFrame[text, labels] of the training gold. Never the test split.
    categories : in the order of the table; None: all that occur, sorted.

    Returns
    -------
    DataFrame[source, category, measure, value, note], see `evaluate.quality.table.quality`.
    """
    from touchstone.evaluate.quality.table import quality as measured

    sentences, experts = _examples(frame, "bronze"), _examples(gold, "gold")
    if categories is None:
        categories = sorted(
            {one for part in (frame, gold) for row in part["labels"] for one in row}
        )
    return measured(experts, sentences, categories)


def read_corpus(name: str, *overrides: str) -> pd.DataFrame:
    """Read the expert-labelled examples of a corpus, split as a cell would split them.

    Parameters
    ----------
    name : `corpus=NAME`.
    overrides : "task=hoc", "task.split_seed=1".

    Returns
    -------
    DataFrame, an example table (data/examples.py) with `split` train, dev or test.
    """
    from touchstone.configuration import checked
    from touchstone.data.corpus import read_gold
    from touchstone.taxonomy import taxonomy_of

    config = checked(compose(f"corpus={name}", *overrides))
    taxonomy = taxonomy_of(config.taxonomy)
    gold = read_gold(config.corpus, config.task, taxonomy, config.paths.data, config.paths.cache)
    return gold.frame


def _store(*overrides: str) -> Store:
    from touchstone import tracking

    config = compose(*overrides)
    return tracking.open_existing(config.tracking.uri or config.paths.store)


def _run(run_id: str, overrides: Sequence[str]) -> tuple[Store, Run]:
    from touchstone import tracking

    store = _store(*overrides)
    return store, tracking.find_run(store, run_id)


def _results(cells: Sequence[Run]) -> Results:
    rows = [
        {
            "run_id": cell.info.run_id,
            "run": cell.info.run_name,
            **cell.data.params,
            **dict(sorted(cell.data.metrics.items())),
        }
        for cell in cells
        if cell.info.status == "FINISHED"
    ]
    return Results(pd.DataFrame(rows))


def _plain(labels: Any) -> list[Any]:
    return [dict(one) if isinstance(one, Mapping) else str(one) for one in labels]


def _category(label: Any) -> str:
    return str(label["type"] if isinstance(label, Mapping) else label)


def _examples(frame: pd.DataFrame, source: str) -> pd.DataFrame:
    """Return sentences and labels as an example table."""
    from touchstone.data.examples import examples

    lacking = {"text", "labels"} - set(frame)
    if lacking:
        raise UserError(f"the {source} sentences: no column {', '.join(sorted(lacking))}")
    rows = frame.to_dict("records")
    return examples(
        {
            "example_id": str(row.get("example_id", f"{source}-{number}")),
            "doc_id": str(row.get("doc_id", f"{source}-{number}")),
            "patient_id": str(row.get("patient_id", f"{source}-{number}")),
            "text": row["text"],
            "labels": list(row["labels"]),
            "source": row.get("source", source),
            "origin": str(row.get("origin", "")),
        }
        for number, row in enumerate(rows)
    )
