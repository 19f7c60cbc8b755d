"""TF-IDF features whose n-grams are counted once for each text, however many cells use the text.

The training sets of a grid hold the same sentences again and again. What is counted stays in the
process's memory; vocabulary, document frequencies and weights are those of the texts given. Matrix
and fitted vectorizer are those of scikit-learn's `TfidfVectorizer.fit_transform`: it cuts the
texts, and its `TfidfTransformer` weighs the counts. Does not choose features (tfidf.py), and writes
nothing to disk.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

# Counts kept at a time, 8 bytes each: a quarter of a gigabyte. Beyond that texts are counted anew.
KEPT = 32_000_000


class _Counts:
    """The n-grams of texts under one setting: numbers for the n-grams as they come, and for each
    text those it has and how often."""

    def __init__(self, analyse: Any) -> None:
        self.analyse = analyse
        self.numbers: dict[str, int] = {}
        self.texts: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        self.kept = 0
        self._in_order: list[str] = []
        self._ranks = np.zeros(0, dtype=np.int64)

    def of(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the n-gram numbers of all texts in a row, their counts, and where each text
        begins, shape (n + 1,)."""
        parts = [self.texts.get(text) or self._count(text) for text in texts]
        starts = np.zeros(len(parts) + 1, dtype=np.int64)
        np.cumsum([len(numbers) for numbers, _ in parts], out=starts[1:])
        none = np.zeros(0, dtype=np.int32)
        return (
            np.concatenate([none, *(numbers for numbers, _ in parts)]),
            np.concatenate([none, *(counts for _, counts in parts)]),
            starts,
        )

    def ranks(self) -> np.ndarray:
        """Return the place of each n-gram in alphabetical order."""
        if len(self._in_order) < len(self.numbers):
            new = [*self.numbers][len(self._in_order) :]
            self._in_order = sorted([*self._in_order, *new])  # the old ones are in order already
            self._ranks = np.empty(len(self.numbers), dtype=np.int64)
            numbers = np.fromiter(
                map(self.numbers.__getitem__, self._in_order), np.int64, len(self.numbers)
            )
            self._ranks[numbers] = np.arange(len(numbers))
        return self._ranks

    def _count(self, text: str) -> tuple[np.ndarray, np.ndarray]:
        found: dict[int, int] = {}
        for gram in self.analyse(text):
            number = self.numbers.setdefault(gram, len(self.numbers))
            found[number] = found.get(number, 0) + 1
        numbers = np.fromiter(found.keys(), dtype=np.int32, count=len(found))
        counts = np.fromiter(found.values(), dtype=np.int32, count=len(found))
        if self.kept < KEPT:
            self.texts[text] = numbers, counts
            self.kept += len(found)
        return numbers, counts


_settings: dict[str, _Counts] = {}
_columns: WeakKeyDictionary[Any, tuple[_Counts, np.ndarray]] = WeakKeyDictionary()


def fit_transform(vectorizer: Any, texts: Sequence[str]) -> Any:
    """Fit a `TfidfVectorizer` and return the features of its n training texts.

    Parameters
    ----------
    vectorizer : with its own settings, `min_df` as a number of texts; fitted in place.
    texts : n texts.

    Returns
    -------
    sparse matrix of shape (n, n_features), columns in alphabetical order of the n-grams.

    Raises
    ------
    ValueError
        As scikit-learn: no n-gram at all, or none in `min_df` texts.
    """
    from sklearn.feature_extraction.text import TfidfTransformer

    counts = _counts_of(vectorizer)
    numbers, times, starts = counts.of(texts)
    frequent = np.bincount(numbers, minlength=len(counts.numbers)) >= max(1, vectorizer.min_df)
    chosen = np.flatnonzero(frequent)
    if not len(chosen):
        return vectorizer.fit_transform(texts)  # which says why
    chosen = chosen[np.argsort(counts.ranks()[chosen])]
    columns = np.full(len(counts.numbers), -1, dtype=np.int32)
    columns[chosen] = np.arange(len(chosen), dtype=np.int32)
    matrix = _matrix(numbers, times, starts, columns, len(chosen))
    weigh = TfidfTransformer(
        norm=vectorizer.norm,
        use_idf=True,
        smooth_idf=vectorizer.smooth_idf,
        sublinear_tf=vectorizer.sublinear_tf,
    ).fit(matrix)
    grams = [*counts.numbers]
    vectorizer.vocabulary_ = {grams[number]: column for column, number in enumerate(chosen)}
    vectorizer.idf_ = weigh.idf_
    _columns[vectorizer] = counts, columns
    return weigh.transform(matrix, copy=False)


def transform(vectorizer: Any, texts: Sequence[str]) -> Any:
    """Return the features of n texts under a fitted vectorizer, shape (n, n_features)."""
    from sklearn.feature_extraction.text import TfidfTransformer

    if vectorizer not in _columns:  # loaded from disk
        return vectorizer.transform(texts)
    counts, columns = _columns[vectorizer]
    numbers, times, starts = counts.of(texts)
    known = np.full(len(counts.numbers), -1, dtype=np.int32)
    known[: len(columns)] = columns
    matrix = _matrix(numbers, times, starts, known, len(vectorizer.vocabulary_))
    weigh = TfidfTransformer(norm=vectorizer.norm, sublinear_tf=vectorizer.sublinear_tf)
    weigh.idf_ = vectorizer.idf_
    return weigh.transform(matrix, copy=False)


def _counts_of(vectorizer: Any) -> _Counts:
    """Return what was counted under the vectorizer's settings; where too much is kept, begin
    anew."""
    params = vectorizer.get_params()
    setting = str([params[name] for name in ("analyzer", "ngram_range", "lowercase")])
    if sum(counts.kept for counts in _settings.values()) >= KEPT:
        _settings.clear()
    if setting not in _settings:
        _settings[setting] = _Counts(vectorizer.build_analyzer())
    return _settings[setting]


def _matrix(
    numbers: np.ndarray, times: np.ndarray, starts: np.ndarray, columns: np.ndarray, width: int
) -> Any:
    from scipy.sparse import csr_matrix

    places = columns[numbers]
    kept = places >= 0
    before = np.concatenate([[0], np.cumsum(kept)])
    matrix = csr_matrix(
        (times[kept].astype(np.float64), places[kept], before[starts].astype(np.int32)),
        shape=(len(starts) - 1, width),
    )
    matrix.sort_indices()
    return matrix
