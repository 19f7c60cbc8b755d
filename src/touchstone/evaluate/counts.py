"""True positives, false positives and false negatives per cluster: all that precision, recall and
F1 need.

A cluster is the unit of resampling: the patient, or the document where the corpus knows no
patients. Everything later (scores, intervals, tests) works on these counts and never goes back to
the sentences. AUC needs scores, not counts (`auc.py`).

Spans are scored by two conventions, to be named in every table:
- strict: same start, same end, same type. On tags this is strict IOB2: a span that begins with I-
  does not count as a span (seqeval's default mode is lenient and counts it; seqeval with
  mode="strict", scheme=IOB2 agrees with us).
- relaxed: same type and at least one character in common; each gold span is matched with at most
  one predicted span and the other way round, so one long prediction over two gold spans is one hit
  and one miss, and TP + FN is the number of gold spans.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from touchstone.errors import UserError, no_such

TP, FP, FN = 0, 1, 2  # the last axis of Counts.values
MATCHES = ("strict", "relaxed")


@dataclass(frozen=True)
class Counts:
    """Counts of one system (one seed) on one test set.

    Attributes
    ----------
    values : int array of shape (n_clusters, n_categories, 3): TP, FP, FN.
    clusters : patient or document ids, sorted, without repetition.
    categories : category ids (entity types, classes), in the order of the tables.
    """

    values: np.ndarray
    clusters: tuple[str, ...]
    categories: tuple[str, ...]

    def __post_init__(self) -> None:
        expected = (len(self.clusters), len(self.categories), 3)
        if self.values.shape != expected:
            raise ValueError(f"counts of shape {self.values.shape}; {expected} expected")

    @property
    def total(self) -> np.ndarray:
        """Counts over all clusters, shape (n_categories, 3)."""
        return self.values.sum(axis=0)


def indicators(labels: Sequence[Sequence[str]], categories: Sequence[str]) -> np.ndarray:
    """Return which example has which category: bool array of shape (n_examples, n_categories).

    Raises
    ------
    UserError
        If a label is not one of `categories`.
    """
    column = {category: i for i, category in enumerate(categories)}
    array = np.zeros((len(labels), len(column)), dtype=bool)
    for row, names in enumerate(labels):
        for name in names:
            if name not in column:
                raise UserError(no_such("category", str(name), column))
            array[row, column[name]] = True
    return array


def from_indicators(
    true: np.ndarray,
    pred: np.ndarray,
    clusters: Sequence[Any],
    categories: Sequence[str],
    example_ids: Sequence[str] | None = None,
) -> Counts:
    """Count hits, false alarms and misses per cluster and category.

    Parameters
    ----------
    true, pred : bool arrays of shape (n_examples, n_categories), or (n_examples,) for one category.
        Multi-class: one-hot of the primary label, without `none`.
    clusters : patient or document id of each example.
    categories : ids of the columns.
    example_ids : to name the example in an error; row numbers where left out.

    Raises
    ------
    UserError If an example has no cluster id (None, NaN or ''): it could not be resampled with the
        patient it belongs to.
    """
    true, pred = (np.asarray(array, dtype=bool) for array in (true, pred))
    if true.ndim == 1:
        true, pred = true[:, None], pred[:, None] if pred.ndim == 1 else pred
    if true.shape != pred.shape or true.shape != (len(clusters), len(categories)):
        raise ValueError(
            f"true {true.shape}, pred {pred.shape}, {len(clusters)} cluster ids and "
            f"{len(categories)} categories do not match"
        )
    names, codes = cluster_codes(clusters, example_ids)
    hits = np.stack([true & pred, ~true & pred, true & ~pred], axis=-1).astype(np.int64)
    return Counts(_sum_by(codes, hits, len(names)), names, tuple(categories))


def from_spans(
    true: Sequence[Sequence[Mapping[str, Any]]],
    pred: Sequence[Sequence[Mapping[str, Any]]],
    clusters: Sequence[Any],
    types: Sequence[str],
    match: str = "strict",
    example_ids: Sequence[str] | None = None,
) -> Counts:
    """Count entity hits, false alarms and misses per cluster and entity type.

    Parameters
    ----------
    true, pred : for each sentence its spans {start, end, type}, end exclusive; a repeated span
        counts once.
    clusters : patient or document id of each sentence.
    types : entity types to score.
    match : `strict` (same start, end and type) or `relaxed` (same type, overlapping, matched one to
        one); see the module.
    example_ids : to name the sentence in an error; row numbers where left out.

    Raises
    ------
    UserError
        If a sentence has no cluster id, or a span has a type that is not in `types`.
    """
    if match not in MATCHES:
        raise UserError(no_such("span match", match, MATCHES))
    if not len(true) == len(pred) == len(clusters):
        raise ValueError(
            f"{len(true)} true, {len(pred)} predicted and {len(clusters)} cluster ids do not match"
        )
    column = {name: i for i, name in enumerate(types)}
    hits = np.zeros((len(true), len(column), 3), dtype=np.int64)
    for row, (gold, found) in enumerate(zip(true, pred, strict=True)):
        if not len(gold) and not len(found):
            continue
        gold_of, found_of = _by_type(gold, column), _by_type(found, column)
        for name in gold_of.keys() | found_of.keys():
            spans, guesses = gold_of.get(name, set()), found_of.get(name, set())
            tp = len(spans & guesses) if match == "strict" else _overlapping_pairs(spans, guesses)
            hits[row, column[name]] = tp, len(guesses) - tp, len(spans) - tp
    names, codes = cluster_codes(clusters, example_ids)
    return Counts(_sum_by(codes, hits, len(names)), names, tuple(types))


def both_classes(positive: np.ndarray) -> np.ndarray:
    """Return a binary indicator as two one-hot classes, (n,) or (n, 1) -> (n, 2): negative,
    positive.

    Macro-F1 over both classes is then the macro-F1 of these counts, and accuracy their micro-F1.
    """
    positive = np.asarray(positive, dtype=bool).reshape(-1)
    return np.stack([~positive, positive], axis=1)


def cluster_codes(
    clusters: Sequence[Any], example_ids: Sequence[str] | None = None
) -> tuple[tuple[str, ...], np.ndarray]:
    """Return the sorted cluster ids and, for each example, the number of its cluster.

    Raises
    ------
    UserError
        Naming the first example without a cluster id.
    """
    ids = list(clusters)
    for i, name in enumerate(ids):
        if name is None or name == "" or name != name:  # NaN is not equal to itself
            which = f"row {i}" if example_ids is None else f"example {example_ids[i]}"
            raise UserError(
                f"{which}: no patient or document id to resample by; give patient_id, or doc_id "
                "where there are no patients"
            )
    names, codes = np.unique(np.array([str(name) for name in ids], dtype=str), return_inverse=True)
    return tuple(names.tolist()), codes.reshape(-1)


def stack(seeds: Sequence[Counts]) -> np.ndarray:
    """Return the counts of several seeds as one array of shape (n_clusters, n_seeds, n_categories,
    3).

    Raises
    ------
    UserError If the seeds were not scored on the same clusters and categories: they cannot be
        averaged or compared.
    """
    check_aligned(seeds)
    return np.stack([counts.values for counts in seeds], axis=1)


def check_aligned(seeds: Sequence[Counts]) -> None:
    """Raise UserError unless all counts come from the same test set: same clusters, categories and
    gold in each cluster."""
    if not seeds:
        raise ValueError("no counts given")
    first = seeds[0]
    for counts in seeds[1:]:
        if counts.categories != first.categories:
            raise UserError(
                f"not the same categories: {', '.join(first.categories)} and "
                f"{', '.join(counts.categories)}"
            )
        if counts.clusters != first.clusters:
            differing = sorted(set(first.clusters) ^ set(counts.clusters))
            raise UserError(
                f"not the same test set: {len(differing)} patients or documents stand in one "
                f"only, {differing[0]!r} first"
            )
        gold = [c.values[..., TP] + c.values[..., FN] for c in (first, counts)]
        if not np.array_equal(*gold):
            where = first.clusters[int(np.argwhere(gold[0] != gold[1])[0, 0])]
            raise UserError(f"not the same test set: the gold labels of {where!r} differ")


def _sum_by(codes: np.ndarray, rows: np.ndarray, n: int) -> np.ndarray:
    """Sum rows (n_examples, ...) into n groups."""
    flat = rows.reshape(len(rows), -1)
    if not len(flat):
        return np.zeros((n, *rows.shape[1:]), dtype=np.int64)
    order = np.argsort(codes, kind="stable")
    starts = np.searchsorted(codes[order], np.arange(n))
    return np.add.reduceat(flat[order], starts, axis=0).reshape(n, *rows.shape[1:])


def _by_type(
    spans: Sequence[Mapping[str, Any]], column: Mapping[str, int]
) -> dict[str, set[tuple[int, int]]]:
    groups: dict[str, set[tuple[int, int]]] = {}
    for span in spans:
        if span["type"] not in column:
            raise UserError(no_such("entity type", span["type"], column))
        groups.setdefault(span["type"], set()).add((int(span["start"]), int(span["end"])))
    return groups


def _overlapping_pairs(spans: set[tuple[int, int]], guesses: set[tuple[int, int]]) -> int:
    """Count one-to-one matches of overlapping intervals, left to right.

    Taking for each gold span, in order of its end, the free overlapping prediction that ends first
    gives the most matches possible as long as the spans of one side do not overlap each other, as
    is the case for tagged sentences.
    """
    free = sorted(guesses, key=lambda span: (span[1], span[0]))
    n = 0
    for start, end in sorted(spans, key=lambda span: (span[1], span[0])):
        for i, (other_start, other_end) in enumerate(free):
            if start < other_end and other_start < end:
                del free[i]
                n += 1
                break
    return n
