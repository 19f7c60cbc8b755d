"""Does a difference between two systems come out by chance? Permutation test, by cluster.

If two systems are equally good, swapping their predictions for a whole patient changes nothing. So
they are swapped for each patient or not, and p is the share of swaps whose difference is at least
as large as the one seen (two-sided). All sentences and repetitions of a patient are swapped
together. Sources: Edgington and Onghena 2007; the paired form for F1 is Yeh 2000 (approximate
randomization), here by cluster.

- Up to `EXACT` patients on which the systems differ, all swaps are enumerated: p is exact and
  depends on nothing drawn. Swapping everything only turns the sign, so 2 ** (n - 1) are enough, and
  the smallest p that n patients allow is 1 / 2 ** (n - 1): 0.0625 with five (`floor`).
- With more, `n_permutations` swaps are drawn; the error of p is then sqrt(p (1 - p) / n).
- Several repetitions (draws of gold): the difference of each draw is one more source of chance. To
  the difference of each swap Student's t with n_draws - 1 degrees of freedom, times the standard
  error of the differences of the draws, is added: as in the intervals (intervals.py). Swapping
  whole draws instead could not give a p below 0.0625 with five.

Does not correct for many comparisons and knows no tables (compare.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from scipy import special

from touchstone.errors import UserError
from touchstone.evaluate.counts import FN, FP, TP, Counts, check_aligned, stack
from touchstone.evaluate.intervals import draw_error
from touchstone.evaluate.metrics import METRICS, as_seeds, scores

EXACT = 20  # clusters: 2 ** 19 swaps
SWAPS = (
    99_999  # where they are drawn: a corrected p of 0.01 has an error below 0.001 times the tests
)
TIE = 1e-12  # differences closer than this are the same number computed in another order
BLOCK = 12  # 2 ** 12 swaps are scored at once: their sums stay in the processor's cache
BINS = 512  # of differences, where a deviation of the draws is added to each


def permutation(
    a: Counts | Sequence[Counts],
    b: Counts | Sequence[Counts],
    *,
    rng: np.random.Generator,
    n_permutations: int = SWAPS,
    exact: int = EXACT,
    tested: Sequence[str] = METRICS,
) -> tuple[np.ndarray, bool]:
    """Test whether two systems differ, by swapping them cluster by cluster.

    Parameters
    ----------
    a, b : counts of each seed, on the same test set; a system with one seed is compared with each
        seed of the other.
    rng : used only where swaps are drawn.
    n_permutations : swaps that are drawn where not all are enumerated.
    exact : with at most this many clusters on which the systems differ, all are enumerated.
    tested : of precision, recall, f1; the others are NaN.

    Returns
    -------
    p : array of shape (n_scores,), two-sided, in the order of `metrics.columns`; NaN where
        undefined. In (0, 1]; 1 where the systems do not differ. p of drawn swaps is (1 + extreme
        swaps) / (1 + n_permutations), so never 0.
    exact : whether all swaps were enumerated.
    """
    a, b = as_seeds(a), as_seeds(b)
    check_aligned([*a, *b])
    values_a, values_b = paired(stack(a).astype(float), stack(b).astype(float))
    change = (values_a - values_b) / 2
    differ = np.flatnonzero(np.any(change != 0, axis=(1, 2, 3)))
    enumerated = len(differ) <= exact
    means = (values_a + values_b).sum(axis=0) / 2
    of_draws = scores(values_a.sum(axis=0)) - scores(values_b.sum(axis=0))
    error, n_draws = draw_error(of_draws), len(of_draws)
    moves = np.stack([change[..., TP], change[..., TP] + change[..., FP]])[:, differ]
    observed = _differences(moves.sum(axis=1)[..., None], means, tested)[:, 0]
    extreme = np.zeros(len(observed))
    for moved in _all_swaps(moves) if enumerated else _drawn_swaps(moves, n_permutations, rng):
        extreme += _extreme(np.abs(observed), _differences(moved, means, tested), error, n_draws)
    total = 1 << max(len(differ) - 1, 0) if enumerated else n_permutations
    p = extreme / total if enumerated else (1 + extreme) / (1 + total)
    return np.where(np.isnan(observed), np.nan, np.minimum(p, 1.0)), enumerated


def floor(n_clusters: int, exact: int = EXACT, n_permutations: int = SWAPS) -> float:
    """Return the smallest p that this many clusters allow.

    >>> floor(5), floor(8)
    (0.0625, 0.0078125)
    """
    if n_clusters <= exact:
        return 0.5 ** max(n_clusters - 1, 0)
    return 1 / (1 + n_permutations)


def paired(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Give both the same number of seeds (axis 1): a single seed (a system that draws nothing)
    stands for each.

    Raises
    ------
    UserError
        If both have several seeds, but not the same number.
    """
    n = max(a.shape[1], b.shape[1])
    for values in (a, b):
        if values.shape[1] not in (1, n):
            raise UserError(
                f"{a.shape[1]} seeds against {b.shape[1]}: compare systems of the same number of "
                "seeds, or of one"
            )
    a, b = (v if v.shape[1] == n else np.repeat(v, n, axis=1) for v in (a, b))
    return a, b


def _all_swaps(moves: np.ndarray) -> Iterator[np.ndarray]:
    """Yield what every swap moves, in blocks, see `_differences`; but for those that turn the first
    cluster's sign, which give the same difference the other way round.

    The last clusters' swaps are summed once, and each combination of the others is added to them.
    """
    n = moves.shape[1]
    n_low = min(max(n - 1, 0), BLOCK)
    low = _signs(np.arange(1 << n_low), n_low)
    within = np.einsum("rn,mn...->m...r", low, moves[:, n - n_low :], optimize=True)
    n_high = max(n - 1, 0) - n_low
    for code in range(1 << n_high):
        signs = np.ones(n - n_low)
        signs[1:] = _signs(np.array([code]), n_high)[0]
        yield within + np.einsum("n,mn...->m...", signs, moves[:, : n - n_low])[..., None]


def _drawn_swaps(
    moves: np.ndarray, n_permutations: int, rng: np.random.Generator
) -> Iterator[np.ndarray]:
    n = moves.shape[1]
    for start in range(0, n_permutations, 1 << BLOCK):
        rows = min(1 << BLOCK, n_permutations - start)
        bits = np.unpackbits(rng.integers(0, 256, (rows, -(-n // 8)), dtype=np.uint8), axis=1)
        yield np.einsum("rn,mn...->m...r", 1.0 - 2.0 * bits[:, :n], moves, optimize=True)


def _signs(codes: np.ndarray, n: int) -> np.ndarray:
    return 1.0 - 2.0 * ((codes[:, None] >> np.arange(n)) & 1)


def _differences(moved: np.ndarray, means: np.ndarray, tested: Sequence[str]) -> np.ndarray:
    """Return the difference of every score under swaps: (n_scores, n_swaps); those not tested are
    NaN.

    As `metrics.scores` of both sides, but gold support is the same under all swaps, so only hits
    and predictions are summed: a tenth of the time.

    Parameters
    ----------
    moved : (2, n_seeds, n_categories, n_swaps): hits and predictions that a swap moves from the
        mean of both systems to the first one.
    means : (n_seeds, n_categories, 3): mean counts of both.
    """
    n_categories, n_swaps = moved.shape[2], moved.shape[3]
    out = np.full((3 * (3 + n_categories), n_swaps), np.nan)
    gold = means[0, :, TP] + means[0, :, FN]
    defined = np.flatnonzero(gold > 0)
    if not len(defined):
        return out
    moved, means, gold = moved[:, :, defined], means, gold[defined]
    hits, said = means[..., TP][..., None], (means[..., TP] + means[..., FP])[..., None]
    moved_all, every = moved.sum(axis=2), (hits.sum(axis=1), said.sum(axis=1))
    hits, said = hits[:, defined], said[:, defined]
    for column, metric in enumerate(METRICS):
        if metric not in tested:
            continue
        by_category = _difference(metric, moved, hits, said, gold[:, None])
        out[column] = by_category.mean(axis=0)
        out[3 + column] = _difference(metric, moved_all, *every, np.array(gold.sum()))
        out[6 + column] = gold / gold.sum() @ by_category
        out[9 + column + 3 * defined] = by_category
    return out


def _difference(
    metric: str, moved: np.ndarray, hits: np.ndarray, said: np.ndarray, support: np.ndarray
) -> np.ndarray:
    """Return the metric of the first side minus that of the second, averaged over seeds (axis
    0)."""
    if metric == "recall":
        return (2 * moved[0] / support).mean(axis=0)
    if metric == "f1":  # its denominator holds the support, so it is never 0
        base, shift = said + support, moved[1]
        first = (hits + moved[0]) / (base + shift)
        first -= (hits - moved[0]) / (base - shift)
        return 2 * first.mean(axis=0)
    sides = [(hits + moved[0], said + moved[1]), (hits - moved[0], said - moved[1])]
    first, second = (
        np.divide(above, below, out=np.zeros_like(above), where=below > 0) for above, below in sides
    )
    return (first - second).mean(axis=0)


def _extreme(seen: np.ndarray, swapped: np.ndarray, error: np.ndarray, n_draws: int) -> np.ndarray:
    """Count the swaps at least as far from 0 as what was seen; with an error of the draws, the
    chance of each swap to be so, summed."""
    counted = np.zeros(len(seen))
    for row in np.flatnonzero(~np.isnan(seen)):
        values = swapped[row]
        if n_draws < 2 or error[row] <= TIE:
            counted[row] = np.count_nonzero(np.abs(values) >= seen[row] - TIE)
            continue
        edge = np.abs(values).max() + TIE
        counts, edges = np.histogram(values, bins=BINS, range=(-edge, edge))
        middle = (edges[1:] + edges[:-1]) / 2
        above = special.stdtr(n_draws - 1, -(seen[row] - middle) / error[row])
        below = special.stdtr(n_draws - 1, (-seen[row] - middle) / error[row])
        counted[row] = float(counts @ (above + below))
    return counted
