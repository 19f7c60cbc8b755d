"""Time the intervals and tests of a table against a loop over scikit-learn's f1_score, on the same
data in the same run.

python benchmarks/stats.py

7 mixtures, 3,000 test sentences of 150 patients, 10 categories; 2,000 clustered resamples for the
intervals of every score and for the difference of each mixture from gold, 9,999 clustered swaps for
each paired test, Holm. The loop scores the same resamples and swaps with one call of
f1_score(average=None) each, though ours gives precision, recall and three averages besides; it is
timed on the first few and scaled up, since it would take minutes. Both run on as many threads as
there are (two on the reference machine). Exit code 1 when ours takes 5 s or more, or is less than
100 times as fast, for the bootstrap alone or for everything.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import numpy as np
from sklearn.metrics import f1_score

from touchstone.evaluate.compare import compare
from touchstone.evaluate.counts import from_indicators
from touchstone.evaluate.intervals import bootstrap, bounds, resamples
from touchstone.evaluate.metrics import columns

SENTENCES, PATIENTS, CATEGORIES = 3000, 150, 10
RESAMPLES, PERMUTATIONS = 2000, 9999
MIXTURES = (
    "gold",
    "silver",
    "bronze",
    "gold_silver",
    "gold_bronze",
    "silver_bronze",
    "gold_silver_bronze",
)
LIMIT_S, LIMIT_RATIO = 5.0, 100.0
TIMED = 30  # calls of the loop that are measured


def main() -> int:
    """Print the times and return the exit code."""
    rng = np.random.default_rng(0)
    names = tuple(f"category_{i}" for i in range(CATEGORIES))
    clusters = np.repeat(np.arange(PATIENTS), SENTENCES // PATIENTS)
    true = rng.random((SENTENCES, CATEGORIES)) < 0.08
    preds = {
        name: true ^ (rng.random(true.shape) < 0.05 + 0.01 * i) for i, name in enumerate(MIXTURES)
    }

    def count() -> dict:
        return {name: from_indicators(true, pred, clusters, names) for name, pred in preds.items()}

    def intervals_only() -> dict:
        weights = resamples(PATIENTS, RESAMPLES, np.random.default_rng(1))
        return {
            name: bounds(bootstrap(counts, weights), PATIENTS, 0.95)
            for name, counts in count().items()
        }

    def everything():
        return compare(
            count(),
            rng=np.random.default_rng(1),
            n_resamples=RESAMPLES,
            n_permutations=PERMUTATIONS,
        )

    ours_bootstrap, _ = timed(intervals_only)
    ours_all, table = timed(everything)
    loop_call = time_of_a_loop_step(true, preds["silver"], clusters)
    n_bootstrap = RESAMPLES * len(MIXTURES)
    n_swaps = PERMUTATIONS * (len(MIXTURES) - 1) * 2
    check_same_numbers(true, preds["silver"], clusters, names)

    print(
        f"{RESAMPLES:,} resamples x {SENTENCES:,} sentences of {PATIENTS} patients x {CATEGORIES} "
        f"categories x {len(MIXTURES)} mixtures"
    )
    print(
        f"one step of the loop (draw, f1_score): {loop_call * 1e3:.2f} ms, median of {TIMED}; "
        "totals of the loop are scaled from it"
    )
    passed = True
    for what, ours, calls in (
        ("intervals", ours_bootstrap, n_bootstrap),
        ("intervals, differences and tests", ours_all, n_bootstrap + n_swaps),
    ):
        loop = loop_call * calls
        good = ours < LIMIT_S and loop / ours >= LIMIT_RATIO
        passed &= good
        verdict = "ok" if good else "MISSED"
        print(
            f"{what}: {ours:.2f} s (limit {LIMIT_S:g}); loop {loop:.0f} s; {loop / ours:.0f} x "
            f"(at least {LIMIT_RATIO:g}) {verdict}"
        )
    print(f"{len(table)} rows, {int(table['p'].notna().sum())} paired tests")
    return 0 if passed else 1


def timed(function: Callable) -> tuple[float, object]:
    """Return the median time in seconds of three runs, and the last result."""
    times = []
    for _ in range(3):
        start = time.perf_counter()
        result = function()
        times.append(time.perf_counter() - start)
    return float(np.median(times)), result


def time_of_a_loop_step(true: np.ndarray, pred: np.ndarray, clusters: np.ndarray) -> float:
    """Return the median time of drawing patients, taking their sentences and scoring them with
    scikit-learn."""
    rng = np.random.default_rng(2)
    rows_of = [np.flatnonzero(clusters == patient) for patient in range(PATIENTS)]
    times = []
    for _ in range(TIMED):
        start = time.perf_counter()
        rows = np.concatenate([rows_of[patient] for patient in rng.integers(0, PATIENTS, PATIENTS)])
        f1_score(true[rows], pred[rows], average=None, zero_division=0)
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def check_same_numbers(
    true: np.ndarray, pred: np.ndarray, clusters: np.ndarray, names: tuple[str, ...]
) -> None:
    """Stop if the two do not give the same F1 on the same resample."""
    weights = resamples(PATIENTS, 1, np.random.default_rng(3))
    ours = bootstrap(from_indicators(true, pred, clusters, names), weights)[0]
    kept = columns(names).query("scope == 'category' and metric == 'f1'").index
    order = [
        int(name) for name in sorted(map(str, range(PATIENTS)))
    ]  # cluster ids are sorted as text
    rows = np.concatenate(
        [
            np.repeat(np.flatnonzero(clusters == patient), n)
            for patient, n in zip(order, weights[0], strict=True)
        ]
    )
    theirs = f1_score(true[rows], pred[rows], average=None, zero_division=0)
    if not np.allclose(ours[kept], theirs):
        raise SystemExit("the loop and the counts do not give the same F1")


if __name__ == "__main__":
    sys.exit(main())
