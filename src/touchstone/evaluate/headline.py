"""Which scores each kind of task has: one name, one value, everywhere.

A score's name is the same in MLflow (`test/macro_f1`), in the tables of a run (scores.csv, trivial
rows), in the CSV of the reports and in `touchstone table`; its title is what people read. The main
score, by which cells are compared, is also logged as `test/score`.

- binary, relation: precision, recall and f1 are those of the positive class; macro_f1 and accuracy
  are over both classes; auc.
- multiclass, multilabel: macro, micro and weighted averages over the categories, f1/CATEGORY and so
  on for each, and the view any category / none (any_f1).
- ner: precision, recall and f1 over all spans of all types (micro), strict; relaxed_f1 likewise
  with overlapping spans; macro_f1 is the mean over types, f1/TYPE each.

Point estimates only; intervals and comparisons between cells are made from the same predictions by
report/comparisons.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from touchstone.evaluate import metrics
from touchstone.evaluate import predictions as rows
from touchstone.evaluate.auc import auc
from touchstone.evaluate.counts import FN, TP, indicators
from touchstone.evaluate.metrics import METRICS, safe

OWN = "own"  # the view of scores of the user's own, see evaluate/own_metrics.py
SINGLE = ("binary", "relation")  # kinds of one category: all averages are that category's own score
# Column of results.csv -> column of `compare.compare`; on a cell's run they are test/... and
# site/NAME/...
COMPARED = {
    "score": "value",
    "score_low": "low",
    "score_high": "high",
    "vs_gold": "difference",
    "vs_gold_low": "difference_low",
    "vs_gold_high": "difference_high",
    "p": "p",
    "p_holm": "p_holm",
}


@dataclass(frozen=True)
class Score:
    """A score of a kind of task.

    Attributes
    ----------
    name : in MLflow, after `test/`, and in every table that is a file.
    title : in tables, figures and pages.
    view : how the predictions are counted, see `predictions.view_of`; `auc` needs scores instead,
        and `own` is a function of the user's.
    scope, metric : where it stands among the scores of that view, see `metrics.columns`.
    main : cells are compared by it.
    shown : has a column in the score table; the others are in MLflow and scores.csv only.
    """

    name: str
    title: str
    view: str
    scope: str
    metric: str
    main: bool = False
    shown: bool = True

    @property
    def compared(self) -> bool:
        """Whether tables show its difference from gold."""
        return self.main or self.view == OWN


def _average(average: str, metric: str, shown: bool, main: bool = False) -> Score:
    letter = {"precision": "P", "recall": "R", "f1": "F1"}[metric]
    name = f"{average}_{metric}"
    return Score(name, f"{average} {letter}", "main", average, metric, main, shown)


def _three(prefix: str, title: str, view: str, scope: str, shown: bool) -> tuple[Score, ...]:
    return (
        Score(f"{prefix}precision", f"{title}P", view, scope, "precision", shown=shown),
        Score(f"{prefix}recall", f"{title}R", view, scope, "recall", shown=shown),
    )


_AVERAGES = (
    _average("macro", "precision", True),
    _average("macro", "recall", True),
    _average("macro", "f1", True, main=True),
    _average("micro", "f1", True),
    *(_average("micro", metric, False) for metric in ("precision", "recall")),
    *(_average("weighted", metric, False) for metric in METRICS),
)


def _both_classes(shown: bool) -> tuple[Score, ...]:
    return (
        *_three("", "", "main", "macro", True),
        Score("f1", "F1", "main", "macro", "f1", main=True),
        Score("macro_f1", "macro F1", "classes", "macro", "f1", shown=shown),
        Score("auc", "AUC", "auc", "class", "auc", shown=shown),
        Score("accuracy", "accuracy", "classes", "micro", "f1", shown=False),
    )


def _any(shown: bool) -> tuple[Score, ...]:
    return (
        Score("any_f1", "any F1", "any", "macro", "f1", shown=shown),
        *_three("any_", "any ", "any", "macro", False),
    )


SCORES: dict[str, tuple[Score, ...]] = {
    "binary": _both_classes(False),
    "relation": _both_classes(True),
    "multiclass": (*_AVERAGES, *_any(False)),  # grids have the binary task beside it
    "multilabel": (*_AVERAGES, *_any(True)),
    "ner": (
        *_three("", "", "main", "micro", True),
        Score("f1", "F1", "main", "micro", "f1", main=True),
        Score("relaxed_f1", "relaxed F1", "relaxed", "micro", "f1"),
        *_three("relaxed_", "relaxed ", "relaxed", "micro", False),
        *(_average("macro", metric, False) for metric in METRICS),
    ),
}


def main_score(kind: str) -> Score:
    """Return the score by which cells of a kind of task are compared."""
    return next(score for score in SCORES[kind] if score.main)


def columns_of(kind: str) -> tuple[Score, ...]:
    """Return the scores that have a column in the score table, in its order."""
    return tuple(score for score in SCORES[kind] if score.shown)


def category_score(category: str, metric: str = "f1") -> Score:
    """Return the score of one category of a task that has several."""
    title = {"precision": "P", "recall": "R", "f1": "F1"}[metric]
    return Score(f"{metric}/{safe(category)}", title, "main", "category", metric)


def own_score(name: str) -> Score:
    """Return a score of the user's own; its name is its title too."""
    return Score(name, name, OWN, OWN, name)


def views_of(kind: str, shown: bool = False) -> tuple[str, ...]:
    """Return the views of a kind of task, see `Score.view`, `main` first; only those of scores that
    are `shown`, where asked."""
    scores = columns_of(kind) if shown else SCORES[kind]
    return tuple(dict.fromkeys(score.view for score in scores))


def names_of(kind: str, view: str, categories: Sequence[str]) -> list[str]:
    """Return the name of each score of a view, in the order of `metrics.columns`; '' for those that
    the kind does not have, or that another name has."""
    known = {(s.scope, s.metric): s.name for s in SCORES[kind] if s.view == view}
    own = view == "main" and kind not in SINGLE
    return [
        category_score(row.category, row.metric).name
        if own and row.scope == "category"
        else known.get((row.scope, row.metric), "")
        for row in metrics.columns(categories).itertuples(index=False)
    ]


def values(predictions: pd.DataFrame, categories: Sequence[str], kind: str) -> dict[str, float]:
    """Return name -> value of every score, averaged over seeds; undefined ones are left out.

    Parameters
    ----------
    predictions : one row per seed and test example, see evaluate/predictions.py.
    categories : scored categories, or entity types, in the order of the tables.
    kind : of the task.

    Returns
    -------
    dict of names without `test/`; `score` is the main score.
    """
    out: dict[str, float] = {}
    for view in views_of(kind):
        if view == "auc":
            true, scores, _ = rows.scores_of(predictions, kind, categories[0])
            out["auc"] = float(np.mean([auc(true, one) for one in scores]))
            continue
        seeds = rows.view_of(predictions, kind, categories, view)
        named = zip(
            names_of(kind, view, seeds[0].categories), metrics.averaged(seeds).tolist(), strict=True
        )
        out |= {name: value for name, value in named if name}
    out["score"] = out[main_score(kind).name]
    return {name: value for name, value in out.items() if not np.isnan(value)}


def score(
    predictions: pd.DataFrame, categories: Sequence[str], kind: str
) -> tuple[dict[str, float], dict[str, pd.DataFrame]]:
    """Score the predictions of one cell.

    Parameters
    ----------
    predictions, categories, kind : as in `values`.

    Returns
    -------
    values : name -> value, averaged over seeds; `score` is the main score, and `score_sd` its
        standard deviation over several seeds.
    tables : `scores` (name, category, metric, value), `seeds` (every score of each seed),
        `trivial` (systems that read nothing; not for ner), `confusion` (multiclass: the first
        seed's).
    """
    scores = values(predictions, categories, kind)
    parts = rows.seeds_of(predictions)
    seeds = (
        {seed: values(part, categories, kind) for seed, part in parts}
        if len(parts) > 1
        else {parts[0][0]: scores}
    )
    tables = {
        "scores": score_table(scores, predictions, categories, kind),
        "seeds": pd.DataFrame(
            [
                {"seed": seed, "metric": name, "value": value}
                for seed, named in seeds.items()
                for name, value in named.items()
            ]
        ),
    }
    if len(seeds) > 1:
        main = [named["score"] for named in seeds.values() if "score" in named]
        scores["score_sd"] = float(np.std(main, ddof=1)) if len(main) > 1 else 0.0
    first = parts[0][1]
    if kind != "ner":
        tables["trivial"] = trivial(first, categories, kind)
    if kind == "multiclass":
        one = [
            [names[0] if len(names) else "" for names in first[side]] for side in ("true", "pred")
        ]
        tables["confusion"] = metrics.confusion(one[0], one[1], categories).reset_index()
    return scores, tables


def score_table(
    found: Mapping[str, float], predictions: pd.DataFrame, categories: Sequence[str], kind: str
) -> pd.DataFrame:
    """Return scores.csv of a run: DataFrame[name, category, metric, value].

    `name` is that of MLflow. Besides its scores each category has a row `support/CATEGORY`: its
    gold examples in the test set (all labels of an example count). An undefined score is empty.
    """
    known = [(one.name, "", one.metric) for one in SCORES[kind]]
    if kind not in SINGLE:
        known += [
            (category_score(category, metric).name, category, metric)
            for category in categories
            for metric in METRICS
        ]
    table = [(*row, found.get(row[0], np.nan)) for row in known]
    total = rows.counts_of(predictions, kind, categories)[0].total
    support = (total[:, TP] + total[:, FN]).astype(float).tolist()
    table += [
        (f"support/{safe(category)}", category, "support", n)
        for category, n in zip(categories, support, strict=False)  # single: one column
    ]
    return pd.DataFrame(table, columns=["name", "category", "metric", "value"])


def trivial(test: pd.DataFrame, categories: Sequence[str], kind: str) -> pd.DataFrame:
    """Score systems that read nothing on a test set: DataFrame[system, metric, value].

    Parameters
    ----------
    test : predictions of any one seed; only `true` and the ids are used.
    """
    true = indicators(list(test["true"]), categories)
    table = []
    for system, guessed in metrics.trivial(true, exclusive=kind == "multiclass").items():
        labels = [[categories[int(column)] for column in np.flatnonzero(row)] for row in guessed]
        one = test.assign(pred=labels, score=guessed.astype(float).tolist())
        table += [
            {"system": system, "metric": name, "value": value}
            for name, value in values(one, categories, kind).items()
        ]
    return pd.DataFrame(table)
