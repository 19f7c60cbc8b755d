"""Cross-validation: each fold is a cell of its own; together they are one row.

`task.folds=all` runs the folds that the publisher cut (BioBERT's ten of GAD and EU-ADR),
`task.folds=5` cuts the patients of a corpus without a published split into five. The row is scored
on the predictions of all folds together, clustered by patient or document: of the ways to sum up
folds the one without bias where positives are few (Forman and Scholz 2010, SIGKDD Explorations
12(1)). The mean over folds, which the papers report, stands beside it in a table, a metric and a
note. Each fold draws its own gold from its own training part; the test parts of all folds do not
overlap. Does not run cells (pipeline.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass

import pandas as pd

from touchstone.data.files import fold_file
from touchstone.errors import UserError
from touchstone.schema import Config

IDS = ("example_id", "doc_id", "patient_id")


@dataclass(frozen=True)
class Fold:
    """One fold: its number from 1, of how many, and the configuration of its cell."""

    number: int
    of: int
    config: Config
    by_patient: bool

    @property
    def cut(self) -> tuple[int, int] | None:
        """Which of how many parts of the patients are the test set; None where files say it."""
        return (self.number, self.of) if self.by_patient else None


def folds_of(config: Config) -> list[Fold]:
    """Return the folds that `task.folds` asks for; none where it is null.

    Raises
    ------
    UserError
        If `all` is asked for and the files name no {fold}, if a number is asked for and they do,
        or if the value is neither.
    """
    asked = config.task.folds
    if asked is None:
        return []
    if config.corpus.sites:
        raise UserError(
            f"task.folds={asked}: corpus.sites are scored by one split of the corpus; leave out "
            "one "
            "of the two"
        )
    gold = config.corpus.gold
    names = [name for name in (gold.train, gold.test) if name] if gold else []
    published = any("{fold}" in name for name in names)
    if asked == "all":
        if not published:
            raise UserError(
                f"task.folds=all: the files of corpus={config.corpus.name} name no {{fold}}; write "
                "task.folds=5 to cut its patients into five, or null"
            )
        numbers = _present(names, config.paths.data)
        if len(numbers) < 2:
            raise UserError(
                f"task.folds=all: {len(numbers)} fold of corpus={config.corpus.name} is there; "
                f"`touchstone fetch {config.corpus.name}` gets all"
            )
    elif asked.isdigit() and int(asked) >= 2:
        if names:
            raise UserError(
                f"task.folds={asked}: corpus={config.corpus.name} has a published split, which is "
                "kept; " + ("write task.folds=all" if published else "leave it null")
            )
        numbers = list(range(1, int(asked) + 1))
    else:
        raise UserError(f"task.folds={asked}: must be all, a number from 2, or null")
    return [
        Fold(
            number,
            len(numbers),
            _of_fold(config, number if asked == "all" else None),
            asked != "all",
        )
        for number in numbers
    ]


def pooled(parts: Sequence[tuple[Fold, pd.DataFrame]], *, shared: bool = False) -> pd.DataFrame:
    """Return the rows of all folds as one table.

    Ids begin with the fold where files of their own number them anew, and where the folds share
    rows (`shared`: training sets).
    """
    return pd.concat(
        [
            frame.assign(**_ids(frame, fold.number)) if shared or not fold.by_patient else frame
            for fold, frame in parts
        ],
        ignore_index=True,
    )


def fold_table(metrics: Mapping[int, Mapping[str, float]]) -> pd.DataFrame:
    """Return the scores of each fold: fold, metric, value; and their mean as fold `mean`."""
    rows = [
        {"fold": str(number), "metric": name, "value": value}
        for number, values in metrics.items()
        for name, value in values.items()
    ]
    table = pd.DataFrame(rows)
    mean = table.groupby("metric", sort=False)["value"].mean().reset_index()
    return pd.concat([table, mean.assign(fold="mean")], ignore_index=True)[list(table.columns)]


def _present(names: Sequence[str], data_folder: str | None) -> list[int]:
    """Return the fold numbers, from 1, for which every file is there."""
    numbers: list[int] = []
    while True:
        try:
            for name in names:
                fold_file(name, len(numbers) + 1, data_folder)
        except UserError:
            return numbers
        numbers.append(len(numbers) + 1)


def _of_fold(config: Config, number: int | None) -> Config:
    one = deepcopy(config)
    one.task.folds = None
    if number is not None and one.corpus.gold is not None:
        one.corpus.gold.fold = number
    return one


def _ids(frame: pd.DataFrame, number: int) -> dict[str, pd.Series]:
    return {name: f"fold{number}/" + frame[name].astype(str) for name in IDS if name in frame}
