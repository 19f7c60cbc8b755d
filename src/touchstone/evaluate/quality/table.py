"""The quality of synthetic data, per source and category, as one table.

Puts together what the neighbouring modules measure: distributions, diversity, copied runs,
identifiers, what a classifier can tell, and how far the labels hold. Gold has the rows that need no
comparison, for reference. What cannot be said is a row with NaN and the reason in `note`, never a
missing row. Does not decide what is good enough.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from touchstone.errors import UserError
from touchstone.evaluate.agreement import cohen_kappa
from touchstone.evaluate.counts import from_indicators, indicators
from touchstone.evaluate.metrics import score_table
from touchstone.evaluate.quality.copied import longest_copied
from touchstone.evaluate.quality.distributions import (
    ALL,
    category_distribution,
    jensen_shannon,
    label_sets,
    length_distance,
    lengths,
    masks,
)
from touchstone.evaluate.quality.diversity import (
    distinct_n,
    near_duplicates,
    novel_ngrams,
    self_bleu,
    vendi,
    vocabulary_overlap,
)
from touchstone.evaluate.quality.fidelity import FOLDS, NotApplicable, label_errors, two_sample_auc
from touchstone.evaluate.quality.phi import KINDS, identifiers
from touchstone.taxonomy import NONE

MIN_SENTENCES = 20  # fewer say too little for diversity and for the two-sample test
SAMPLE = 200  # sentences per source and category for the measures that depend on how many there are
COPIED_WORDS = 8  # a run this long is copied, not chance: the same length as the leakage guard's
COLUMNS = ("source", "category", "measure", "value", "note")

MEASURES = {
    "count": "sentences",
    "share": "of the source's sentences",
    "length_mean": "words per sentence",
    "length_sd": "standard deviation of words per sentence",
    "length_median": "median words per sentence",
    "length_distance": "Kolmogorov-Smirnov distance of the lengths from gold's: 0 same, 1 disjoint",
    "category_divergence": (
        "Jensen-Shannon divergence of the category distribution from gold's, bits: 0 same, 1 "
        "disjoint"
    ),
    "vocabulary_overlap": "Jaccard index of the vocabulary with gold's",
    "novel_2grams": "share of the different word pairs that gold does not have",
    "novel_3grams": "share of the different word triples that gold does not have",
    "distinct_1": (
        "different words / words, on the same number of sentences of each source (at most "
        f"{SAMPLE})"
    ),
    "distinct_2": "different word pairs / word pairs, same sample",
    "self_bleu": "mean BLEU-4 of a sentence against the others, same sample: 1 repeats itself",
    "vendi": (
        "Vendi score / sentences, same sample: effective share of different sentences, 1 nothing "
        "in common"
    ),
    "diversity_n": "sentences in that sample",
    "near_duplicates": (
        "share of sentences that repeat an earlier one of the source (ratio of at least 90 of 100)"
    ),
    "two_sample_auc": (
        "cross-validated AUC of a classifier telling the source from gold: 0.5 "
        "indistinguishable, 1 told at a glance"
    ),
    "copied_longest": "longest run of words that stands in the named reference",
    "copied_share": (
        f"share of sentences with a run of {COPIED_WORDS} words or more that stands in the named "
        "reference"
    ),
    "identifiers": (
        "sentences in which the scan found what looks like an identifier (of the named kind): a "
        "guard, not de-identification"
    ),
    "label_error_rate": (
        "share of primary labels that look wrong by confident learning: biased upwards, read it "
        "against gold's own row"
    ),
    "true_precision": "of the source's labels against adjudicated ones",
    "true_recall": "of the source's labels against adjudicated ones",
    "true_f1": "of the source's labels against adjudicated ones",
    "true_n": "sentences with adjudicated labels",
    "round_trip": (
        "share of sentences to which the LLM, not shown the label, gives it again; for all: the "
        "same label set"
    ),
    "round_trip_kappa": "Cohen's kappa of the label and the LLM's second one",
    "round_trip_n": "sentences labelled a second time",
}

Row = tuple[str, str, float, str]  # category, measure, value, note


def quality(
    gold: pd.DataFrame,
    synthetic: pd.DataFrame,
    categories: Sequence[str],
    *,
    references: Mapping[str, Mapping[str, Sequence[str]]] | None = None,
    adjudicated: Mapping[str, Sequence[str]] | None = None,
    round_trip: Mapping[str, Sequence[str]] | None = None,
    precedence: Sequence[str] | None = None,
    near_duplicate: float = 90.0,
    seed: int = 0,
    threads: int = 1,
) -> pd.DataFrame:
    """Measure each source of `synthetic`, and gold beside it.

    Parameters
    ----------
    gold : example table of the training gold: what synthetic data is compared with. Never the test
        split.
    synthetic : example table of silver, bronze or both.
    categories : ids (entity types) in the order of the tables.
    references : source -> name -> texts that its sentences could have been copied from, e.g.
        {"bronze": {"prompt_examples": [...], "pool": [...]}}. Silver is source text, so its own
        notes are no reference for it.
    adjudicated : example id -> true category ids, for synthetic examples whose truth is known.
    round_trip : example id -> category ids that the LLM gave without seeing the label.
    precedence : order in which the primary label of a sentence is chosen; `categories` where left
        out.
    near_duplicate : ratio, 0 to 100, from which two sentences count as one.
    seed : of samples and folds.
    threads : workers of the string comparison; does not change the result.

    Returns
    -------
    DataFrame[source, category, measure, value, note]: category is an id, `all` or `none`; measure
    is a key of `MEASURES`, those with a reference or a kind as `copied_longest/pool`,
    `identifiers/date`; where value is NaN, note says why.
    """
    frames = {"gold": gold} | {
        str(source): rows.reset_index(drop=True)
        for source, rows in synthetic.groupby("source", sort=False)
    }
    labels = {source: label_sets(frame) for source, frame in frames.items()}
    scopes = {source: masks(names, categories) for source, names in labels.items()}
    rows: list[tuple[str, *Row]] = []
    for source, frame in frames.items():
        parts = [
            _distribution(frame, labels[source], scopes[source], categories),
            _per_sentence(
                frame, scopes[source], (references or {}).get(source, {}), near_duplicate, threads
            ),
            _label_errors(frame, labels[source], [*(precedence or categories)], seed),
        ]
        if source != "gold":
            parts.append(
                _against_gold(
                    frame,
                    scopes[source],
                    labels[source],
                    gold,
                    scopes["gold"],
                    labels["gold"],
                    categories,
                    seed,
                )
            )
            parts += [
                _truth(frame, labels[source], categories, adjudicated),
                _round_trip(frame, labels[source], scopes[source], round_trip),
            ]
        rows += [(source, *row) for part in parts for row in part]
    rows += _diversity(frames, scopes, seed)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _distribution(
    frame: pd.DataFrame,
    labels: list[set[str]],
    scopes: dict[str, np.ndarray],
    categories: Sequence[str],
) -> Iterator[Row]:
    n_words = lengths(frame)
    for scope, mask in scopes.items():
        n = int(mask.sum())
        yield scope, "count", float(n), ""
        yield (
            scope,
            "share",
            n / len(frame) if len(frame) else np.nan,
            "" if len(frame) else "no sentences",
        )
        for measure, statistic in (
            ("length_mean", np.mean),
            ("length_sd", np.std),
            ("length_median", np.median),
        ):
            yield (
                scope,
                measure,
                float(statistic(n_words[mask])) if n else np.nan,
                "" if n else "no sentences",
            )


def _per_sentence(
    frame: pd.DataFrame,
    scopes: dict[str, np.ndarray],
    references: Mapping[str, Sequence[str]],
    cutoff: float,
    threads: int,
) -> Iterator[Row]:
    """Measures that each sentence has by itself, aggregated by scope."""
    texts = frame["text"].tolist()
    kinds = [{item.kind for item in identifiers(text)} for text in texts]
    has = {kind: np.array([kind in found for found in kinds], dtype=bool) for kind in KINDS}
    has_any = np.array([bool(found - {"placeholder"}) for found in kinds], dtype=bool)
    repeats = near_duplicates(texts, cutoff, threads)
    runs = {name: longest_copied(texts, list(reference)) for name, reference in references.items()}
    for scope, mask in scopes.items():
        note = "" if mask.any() else "no sentences"
        yield scope, "near_duplicates", _mean(repeats[mask]), note
        yield scope, "identifiers", float(has_any[mask].sum()), ""
        for kind in KINDS if scope == ALL else ():
            yield scope, f"identifiers/{kind}", float(has[kind].sum()), ""
        for name, longest in runs.items():
            yield (
                scope,
                f"copied_longest/{name}",
                float(longest[mask].max()) if mask.any() else np.nan,
                note,
            )
            yield scope, f"copied_share/{name}", _mean(longest[mask] >= COPIED_WORDS), note


def _against_gold(
    frame: pd.DataFrame,
    scopes: dict[str, np.ndarray],
    labels: list[set[str]],
    gold: pd.DataFrame,
    gold_scopes: dict[str, np.ndarray],
    gold_labels: list[set[str]],
    categories: Sequence[str],
    seed: int,
) -> Iterator[Row]:
    divergence = jensen_shannon(
        *(category_distribution(side, categories) for side in (labels, gold_labels))
    )
    yield (
        ALL,
        "category_divergence",
        divergence,
        "gold has no sentences" if np.isnan(divergence) else "",
    )
    for scope, mask in scopes.items():
        ours, theirs = frame[mask], gold[gold_scopes[scope]]
        texts, gold_texts = ours["text"].tolist(), theirs["text"].tolist()
        note = "no sentences" if not texts else "" if gold_texts else "gold has no sentences"
        for measure, value in (
            ("length_distance", lambda a=ours, b=theirs: length_distance(lengths(a), lengths(b))),
            ("vocabulary_overlap", lambda a=texts, b=gold_texts: vocabulary_overlap(a, b)),
            ("novel_2grams", lambda a=texts, b=gold_texts: novel_ngrams(a, b, 2)),
            ("novel_3grams", lambda a=texts, b=gold_texts: novel_ngrams(a, b, 3)),
        ):
            yield scope, measure, np.nan if note else value(), note
        if min(len(texts), len(gold_texts)) < MIN_SENTENCES:
            yield scope, "two_sample_auc", np.nan, f"fewer than {MIN_SENTENCES} sentences"
        else:
            sides = (gold_texts, theirs["patient_id"].tolist(), texts, ours["patient_id"].tolist())
            yield scope, "two_sample_auc", *_or_note(partial(two_sample_auc, *sides, seed=seed))


def _label_errors(
    frame: pd.DataFrame, labels: list[set[str]], precedence: list[str], seed: int
) -> Iterator[Row]:
    """Judge primary labels; those in fewer than FOLDS groups cannot be both learned and held out,
    and are left out."""
    primary = np.array(
        [next((name for name in precedence if name in names), NONE) for names in labels],
        dtype=object,
    )
    groups = frame["patient_id"].to_numpy()
    scopes = [*precedence, NONE]
    judged = [scope for scope in scopes if len(set(groups[primary == scope])) >= FOLDS]
    rows = np.isin(primary, judged)
    wrong, note = np.zeros(len(frame), dtype=bool), ""
    if len(judged) < 2:
        note = f"fewer than two labels in {FOLDS} documents or more"
    else:
        try:
            texts = frame["text"].to_numpy()
            wrong[rows] = label_errors(
                texts[rows].tolist(), primary[rows].tolist(), groups[rows].tolist(), seed=seed
            )
        except UserError as error:
            note = str(error)
    yield ALL, "label_error_rate", np.nan if note else _mean(wrong[rows]), note
    for scope in scopes:
        if scope in judged or note:
            yield (
                scope,
                "label_error_rate",
                np.nan if note else _mean(wrong[primary == scope]),
                note,
            )
        else:
            yield scope, "label_error_rate", np.nan, f"in fewer than {FOLDS} documents"


def _truth(
    frame: pd.DataFrame,
    labels: list[set[str]],
    categories: Sequence[str],
    truth: Mapping[str, Sequence[str]] | None,
) -> Iterator[Row]:
    known = (
        [] if truth is None else [i for i, name in enumerate(frame["example_id"]) if name in truth]
    )
    if not known:
        yield ALL, "true_n", 0.0, "no adjudicated labels"
        return
    assert truth is not None  # something is known
    true = indicators([truth[frame["example_id"].iloc[i]] for i in known], categories)
    matrix = indicators([sorted(labels[i]) for i in known], categories)
    table = score_table(from_indicators(true, matrix, ["all"] * len(known), categories))
    yield ALL, "true_n", float(len(known)), ""
    for row in table[table["scope"].isin(["micro", "category"])].itertuples(index=False):
        scope, measure = (
            row.category or ALL,
            "true_n" if row.metric == "support" else f"true_{row.metric}",
        )
        yield (
            scope,
            measure,
            row.value,
            "no adjudicated sentence has it" if np.isnan(row.value) else "",
        )


def _round_trip(
    frame: pd.DataFrame,
    labels: list[set[str]],
    scopes: dict[str, np.ndarray],
    second: Mapping[str, Sequence[str]] | None,
) -> Iterator[Row]:
    rows = np.array(
        [second is not None and name in second for name in frame["example_id"]], dtype=bool
    )
    if not rows.any():
        yield ALL, "round_trip_n", 0.0, "not labelled a second time"
        return
    again = [
        set(second[name]) if has and second is not None else set()
        for name, has in zip(frame["example_id"], rows, strict=True)
    ]
    for scope, mask in scopes.items():
        chosen = np.flatnonzero(mask & rows)
        if scope == ALL:
            kept = np.array([labels[i] == again[i] for i in chosen])
            pair: list[list[Any]] = [
                [tuple(sorted(side[i])) for i in chosen] for side in (labels, again)
            ]
        else:
            given, repeated = (
                [not names if scope == NONE else scope in names for names in side]
                for side in (labels, again)
            )
            kept = np.array([repeated[i] for i in chosen])
            pair = [[side[i] for i in np.flatnonzero(rows)] for side in (given, repeated)]
        yield scope, "round_trip_n", float(len(chosen)), ""
        yield scope, "round_trip", _mean(kept), "" if len(chosen) else "no sentences"
        kappa = cohen_kappa(*pair)
        yield scope, "round_trip_kappa", kappa, "the label never varies" if np.isnan(kappa) else ""


def _diversity(
    frames: dict[str, pd.DataFrame], scopes: dict[str, dict[str, np.ndarray]], seed: int
) -> Iterator[tuple[str, *Row]]:
    """Diversity of each source on the same number of sentences: the smallest source that has enough
    of them sets it."""
    measures = (
        ("distinct_1", lambda t: distinct_n(t, 1)),
        ("distinct_2", lambda t: distinct_n(t, 2)),
        ("self_bleu", self_bleu),
    )
    for scope in scopes["gold"]:
        sizes = {source: int(by_scope[scope].sum()) for source, by_scope in scopes.items()}
        size = min([SAMPLE, *(n for n in sizes.values() if n >= MIN_SENTENCES)])
        for source, frame in frames.items():
            if sizes[source] < MIN_SENTENCES:
                for measure in ("distinct_1", "distinct_2", "self_bleu", "vendi"):
                    yield source, scope, measure, np.nan, f"fewer than {MIN_SENTENCES} sentences"
                continue
            texts = frame["text"].to_numpy()[scopes[source][scope]]
            sample = np.random.default_rng(seed).choice(texts, size=size, replace=False).tolist()
            yield source, scope, "diversity_n", float(size), ""
            for measure, statistic in measures:
                yield source, scope, measure, statistic(sample), ""
            yield source, scope, "vendi", vendi(sample) / size, ""


def _mean(values: np.ndarray) -> float:
    return float(np.mean(values)) if len(values) else np.nan


def _or_note(measure: Callable[[], float]) -> tuple[float, str]:
    try:
        return measure(), ""
    except NotApplicable as reason:
        return np.nan, str(reason)
