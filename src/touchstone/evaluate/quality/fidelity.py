"""What a plain classifier (TF-IDF, logistic regression) can tell of synthetic text: is it unlike
gold, and which labels look wrong?

Two-sample AUC: how well it tells synthetic from gold sentences it has not seen; 0.5 is
indistinguishable, 1 is told at a glance (classifier two-sample test, Lopez-Paz and Oquab 2017).
Label errors: confident learning (Northcutt, Jiang, Chuang 2021) by cleanlab, on out-of-fold
probabilities. Groups (patients, documents, for bronze requests) are never split between folds: a
patient's notes repeat themselves. Both are estimates by a weak reader. The label-error rate is
biased upwards, the more so the fewer the sentences: on the adjudicated labels of the demo corpus it
flags 19 % of 2,846 sentences and 28 % of 800; with 10 % of them flipped at random it flags 27 and
36 % and finds 0.89 and 0.95 of those flipped. So read it against gold's own row, never as a share
of errors.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from touchstone.errors import UserError
from touchstone.evaluate.auc import auc

FOLDS = 5


class NotApplicable(UserError):
    """There is too little data for a measure; its row says so instead of a number."""


def two_sample_auc(
    gold: Sequence[str],
    gold_groups: Sequence[str],
    synthetic: Sequence[str],
    synthetic_groups: Sequence[str],
    *,
    seed: int,
) -> float:
    """Return how well a classifier tells synthetic from gold sentences, by cross-validation over
    groups.

    Parameters
    ----------
    gold, synthetic : sentences.
    gold_groups, synthetic_groups : the patient, document or request of each; never split between
        folds.
    seed : of the folds.

    Returns
    -------
    Mean AUC over the folds. 0.5: cannot be told apart; 1: always; a little below 0.5 is chance.

    Raises
    ------
    NotApplicable
        If either side has fewer than two groups.
    """
    texts = [*gold, *synthetic]
    origin = np.array([0] * len(gold) + [1] * len(synthetic))
    groups = [f"gold {name}" for name in gold_groups] + [
        f"synthetic {name}" for name in synthetic_groups
    ]
    probabilities, folds = out_of_fold(texts, origin, groups, seed=seed)
    values = [auc(origin[fold], probabilities[fold, 1]) for fold in folds]
    return float(np.nanmean(values))


def label_errors(
    texts: Sequence[str], labels: Sequence[str], groups: Sequence[str], *, seed: int
) -> np.ndarray:
    """Return which labels look wrong by confident learning.

    Parameters
    ----------
    texts : sentences.
    labels : one label each (the primary category, or `none`); every label in at least two groups.
    groups : the patient, document or request of each sentence.
    seed : of the folds.

    Returns
    -------
    bool array of shape (n_texts,).

    Raises
    ------
    UserError
        If cleanlab is not installed.
    NotApplicable
        If there is one label only, or a label stands in too few groups.
    """
    try:
        from cleanlab.filter import find_label_issues
    except ImportError:
        raise UserError(
            "estimated label errors need cleanlab, which is not installed: pip install "
            "'touchstone-nlp[noise]'"
        ) from None
    names, codes = np.unique(np.array(labels, dtype=str), return_inverse=True)
    if len(names) < 2:
        raise NotApplicable("all labels are the same")
    probabilities, _ = out_of_fold(texts, codes, groups, seed=seed)
    return find_label_issues(codes, probabilities, n_jobs=1)


def out_of_fold(
    texts: Sequence[str], codes: np.ndarray, groups: Sequence[str], *, seed: int
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return class probabilities of each text from a classifier that has not seen its group, and
    the folds.

    Returns
    -------
    probabilities : (n_texts, n_classes), rows sum to 1.
    folds : index arrays of the held-out texts.

    Raises
    ------
    NotApplicable
        If a class stands in so few groups that it cannot be both learned and held out.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold
    from sklearn.multiclass import OneVsRestClassifier
    from threadpoolctl import threadpool_limits

    units = np.array(groups, dtype=str)
    n_groups = [len(set(units[codes == code])) for code in range(int(codes.max()) + 1)]
    if min(n_groups) < 2:
        raise NotApplicable("a label stands in fewer than two documents")
    splitter = StratifiedGroupKFold(min(FOLDS, *n_groups), shuffle=True, random_state=seed)
    sentences = np.array(texts, dtype=object)
    probabilities = np.zeros((len(sentences), len(n_groups)))
    folds = []
    with threadpool_limits(
        1
    ):  # on vectors this short more BLAS threads only wait for each other, and they change bits
        for train, held_out in splitter.split(sentences, codes, units):
            vectors = TfidfVectorizer(
                ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"(?u)\b\w+\b"
            )
            model = OneVsRestClassifier(
                LogisticRegression(C=10.0, solver="liblinear")
            )  # as good here as multinomial, and 20 times faster
            model.fit(vectors.fit_transform(sentences[train]), codes[train])
            if len(model.classes_) < len(n_groups):
                raise NotApplicable(
                    "a label stands in so few documents that a fold would be judged without "
                    "having learned it"
                )
            probabilities[held_out] = model.predict_proba(vectors.transform(sentences[held_out]))
            folds.append(held_out)
    return probabilities, folds
