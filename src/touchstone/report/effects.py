"""What a claim says, as a number: an effect with interval, p and the smallest effect that the test
set could have shown.

Scores are compared as in the tables (evaluate/compare.py). The association of gain and frequency,
the gap between tasks and the measures of the generated text are bootstrapped over the same
patients, or over sentences of the training sets; p is twice the smaller share of resamples on one
side of 0. Does not choose cells or judge (claims.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from touchstone import tracking
from touchstone.controls import rarest_labels
from touchstone.evaluate.compare import compare, detectable
from touchstone.evaluate.headline import main_score
from touchstone.evaluate.intervals import (
    bootstrap_seeds,
    bounds,
    resampling,
    standard_error,
)
from touchstone.evaluate.metrics import columns
from touchstone.evaluate.quality.phi import KINDS, PATTERNS
from touchstone.report.comparisons import generator, of_cell
from touchstone.report.grid import Cell
from touchstone.tracking import Store

N_RESAMPLES = 2000
FEWEST = 4  # categories with a gain, below which a rank correlation says nothing


@dataclass(frozen=True)
class Effect:
    """An effect, its 95 % interval, p (not corrected), and the smallest effect that would have
    shown; NaN where there is none. `told` says why, or what is special."""

    value: float = float("nan")
    low: float = float("nan")
    high: float = float("nan")
    p: float = float("nan")
    detectable: float = float("nan")
    told: str = ""


def score_effect(ours: Cell, against: Cell, scores: pd.DataFrame | None = None) -> Effect:
    """Return the difference of the main score on the test sentences that both were asked about.

    `scores` are those of the tables (comparisons.compared): what is compared there already is not
    computed again.
    """
    name = (ours.run_id, main_score(ours.kind).name)
    if scores is not None and name in scores.index:
        row = scores.loc[name]
        if row["baseline_id"] == against.run_id and not np.isnan(row["difference"]):
            return _of_row(row)
    both = set(ours.predictions["example_id"]) & set(against.predictions["example_id"])
    score = main_score(ours.kind)
    systems = {
        "ours": of_cell(ours, score.view, both),
        "against": of_cell(against, score.view, both),
    }
    table = compare(systems, "against", rng=generator(), tested=(score.metric,))
    rows = table[(table["system"] == "ours") & (table["scope"] == score.scope)]
    return _of_row(rows[rows["metric"] == score.metric].iloc[0])


def _of_row(row: pd.Series) -> Effect:
    return Effect(
        value=float(row["difference"]),
        low=float(row["difference_low"]),
        high=float(row["difference_high"]),
        p=float(row["p"]),
        detectable=float(row["detectable"]),
    )


def minority_effect(store: Store, ours: Cell, against: Cell) -> Effect:
    """Return Spearman's correlation, over categories, of the gain in F1 with the number of gold
    training sentences: -1 where the rarer always gains more."""
    counts = tracking.table(store, against.run_id, "categories")
    frequency = counts[counts["source"] == "gold"].set_index("category")["n_examples"]
    names = list(ours.categories)
    if len(names) < FEWEST:
        return Effect(told=f"{len(names)} categories: too few for a rank correlation")
    n_gold = np.array([float(frequency.get(name, 0)) for name in names])
    gains, sizes = _category_gains(ours, against)
    draws = np.array([_spearman(row, n_gold) for row in gains])
    n_clusters = ours.predictions["patient_id"].nunique()
    low, high = bounds(draws[:, None], n_clusters, 0.95)
    return Effect(
        _spearman(sizes, n_gold),
        float(low[0]),
        float(high[0]),
        _two_sided(draws),
        float(detectable(standard_error(draws[:, None]), n_clusters)[0]),
    )


def gap_effect(pairs: dict[str, tuple[Cell, Cell]]) -> Effect:
    """Return the change of the main score in a multi-class task minus that in a binary one, on the
    same patients; `pairs`: kind -> the cells (ours, against)."""
    changes, values, clusters = {}, {}, set()
    for kind in ("multiclass", "binary"):
        ours, against = pairs[kind]
        score = main_score(kind)
        counts = [of_cell(cell, score.view) for cell in (ours, against)]
        at = _column(counts[0][0].categories, score.scope, score.metric)
        clusters.add(counts[0][0].clusters)
        drawn = resampling(len(counts[0][0].clusters), N_RESAMPLES, generator())
        a, b = (bootstrap_seeds(one, drawn.weights)[:, :, at].mean(axis=1) for one in counts)
        changes[kind] = a - b
        values[kind] = score_effect(ours, against).value
    if len(clusters) > 1:
        return Effect(told="the two tasks are not tested on the same patients")
    draws = changes["multiclass"] - changes["binary"]
    n_clusters = len(next(iter(clusters)))
    low, high = bounds(draws[:, None], n_clusters, 0.95)
    return Effect(
        values["multiclass"] - values["binary"],
        float(low[0]),
        float(high[0]),
        _two_sided(draws),
        float(detectable(standard_error(draws[:, None]), n_clusters)[0]),
    )


def text_effect(store: Store, cell: Cell, source: str, measure: str) -> Effect:
    """Return how one source of a training set differs from its gold: `length` in words a sentence,
    `categories` as total variation distance (0 equal, 1 disjoint), `identifiers` for each thousand
    sentences."""
    path = tracking.artifacts(store, cell.run) / "datasets" / "training.parquet"
    if not path.exists():
        return Effect(told="the training set is not in the store")
    frame = pd.read_parquet(path)
    if cell.config["corpus"]["access"] == "restricted":
        return Effect(told="restricted text is not in the store")
    texts, gold = (frame[frame["source"] == name] for name in (source, "gold"))
    if texts.empty or gold.empty:
        return Effect(told=f"there is no {source if texts.empty else 'gold'} in the training set")
    rng = generator()
    if measure == "identifiers":
        kinds = [kind for kind in KINDS if kind in PATTERNS]
        n_found = sum(any(PATTERNS[kind].search(text) for kind in kinds) for text in texts["text"])
        high = 3 / len(texts) if not n_found else float("nan")  # the rule of three
        return Effect(
            1000 * n_found / len(texts), 0.0, 1000 * high,
            told=f"{n_found} of {len(texts)} sentences; a scan of forms, which proves nothing",
        )  # fmt: skip
    if measure == "length":
        ours, theirs = ([len(text.split()) for text in part["text"]] for part in (texts, gold))
        draws = _means(ours, rng) - _means(theirs, rng)
        value = float(np.mean(ours) - np.mean(theirs))
        low, high = np.quantile(draws, [0.025, 0.975])
        return Effect(value, float(low), float(high), _two_sided(draws))
    return _distance(rarest_labels(texts), rarest_labels(gold), rng)


def _distance(ours: Sequence[str], theirs: Sequence[str], rng: np.random.Generator) -> Effect:
    """Total variation distance of two lists of categories, with a permutation test of which list
    each belongs to."""
    names, codes = np.unique([*ours, *theirs], return_inverse=True)

    def distance(order: np.ndarray) -> float:
        parts = np.split(order, [len(ours)])
        a, b = (np.bincount(part, minlength=len(names)) / len(part) for part in parts)
        return float(np.abs(a - b).sum() / 2)

    observed = distance(codes)
    swapped = [distance(rng.permutation(codes)) for _ in range(N_RESAMPLES)]
    p = (1 + sum(one >= observed for one in swapped)) / (1 + len(swapped))
    mine, other = codes[: len(ours)], codes[len(ours) :]
    draws = [
        distance(np.concatenate([rng.choice(mine, len(mine)), rng.choice(other, len(other))]))
        for _ in range(N_RESAMPLES)
    ]
    low, high = np.quantile(draws, [0.025, 0.975])
    return Effect(observed, float(low), float(high), p)


def _category_gains(ours: Cell, against: Cell) -> tuple[np.ndarray, np.ndarray]:
    """Return the gain in F1 of each category: in each resample (n, k), and as seen (k)."""
    counts = [of_cell(cell, "main") for cell in (ours, against)]
    names = counts[0][0].categories
    at = [_column(names, "category", "f1", name) for name in names]
    n_clusters = len(counts[0][0].clusters)
    drawn = resampling(n_clusters, N_RESAMPLES, generator())
    a, b = (bootstrap_seeds(one, drawn.weights)[:, :, at].mean(axis=1) for one in counts)
    whole = np.ones((1, n_clusters))
    scores = [bootstrap_seeds(one, whole)[0][:, at].mean(axis=0) for one in counts]
    return a - b, scores[0] - scores[1]


def _column(names: Sequence[str], scope: str, metric: str, category: str = "") -> int:
    """Return where a score stands among those of `metrics.columns`."""
    table = columns(tuple(names))
    chosen = (table["scope"] == scope) & (table["metric"] == metric)
    if category:
        chosen &= table["category"] == category
    return int(np.flatnonzero(chosen)[0])


def _spearman(gains: np.ndarray, frequency: np.ndarray) -> float:
    known = ~np.isnan(gains)
    if known.sum() < FEWEST:
        return float("nan")
    ranks = [rankdata(values[known]) for values in (gains, frequency)]
    if any(np.ptp(one) == 0 for one in ranks):
        return 0.0
    return float(np.corrcoef(*ranks)[0, 1])


def _means(values: Sequence[float], rng: np.random.Generator) -> np.ndarray:
    array = np.asarray(values, dtype=float)
    return np.array([rng.choice(array, len(array)).mean() for _ in range(N_RESAMPLES)])


def _two_sided(draws: np.ndarray) -> float:
    """Return twice the smaller share of resamples at one side of 0; never 0."""
    known = draws[~np.isnan(draws)]
    if not len(known):
        return float("nan")
    n = len(known) + 1
    return min(1.0, 2 * min((1 + (known <= 0).sum()) / n, (1 + (known >= 0).sum()) / n))
