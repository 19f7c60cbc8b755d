"""TF-IDF of words and character n-grams with logistic regression or a linear SVM: the baseline that
needs no pretrained model.

Does not tune anything; see heads.py for the linear models.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from touchstone.errors import UserError
from touchstone.models import ngrams
from touchstone.models.checks import Task, check_texts, check_training, labels_of, must, options_of
from touchstone.models.heads import fit_heads, linear, probabilities
from touchstone.ranges import check_options
from touchstone.schema import TfidfConfig

CHAR_MIN = 2  # shortest character n-gram


def build(config: TfidfConfig, task: Task) -> TfidfClassifier:
    """Return the classifier that a configuration names."""
    return TfidfClassifier(
        kind=task.kind, n_classes=task.n_classes, random_state=task.seed, **options_of(config)
    )


class TfidfClassifier(ClassifierMixin, BaseEstimator):
    """Classify sentences by a linear model on TF-IDF features (term frequency 1 + log, unit length
    for each kind of feature).

    Parameters
    ----------
    kind : binary, relation, multiclass or multilabel.
    n_classes : columns of `predict_proba`: 2 for binary and relation, categories + 1 for multiclass
        (0 = none), else categories.
    model : logreg or svm.
    C : inverse strength of the penalty.
    class_weight : balanced (default: with scarce gold it moves macro-F1 by up to 30 points) or
        None. Hold it fixed across mixtures.
    word_ngrams : words 1..word_ngrams are features; 2 by default, since relations hang on pairs of
        words.
    char_ngrams : character n-grams within words, of length 2..char_ngrams; 0 for none (two to five
        times as fast).
    min_df : sentences that a feature must stand in.
    random_state : of the SVM's solver.

    Attributes
    ----------
    unseen_ : columns without training examples; their score is 0 and they are never predicted.

    Examples
    --------
    >>> texts = ["forgets names", "walks daily", "forgets keys"]
    >>> model = TfidfClassifier(kind="binary", n_classes=2).fit(texts, [1, 0, 1])
    >>> model.predict(["forgets everything"])
    array([1])
    """

    def __init__(
        self,
        kind: str = "multiclass",
        n_classes: int = 2,
        model: str = TfidfConfig.model,
        C: float = TfidfConfig.C,
        class_weight: str | None = TfidfConfig.class_weight,
        word_ngrams: int = TfidfConfig.word_ngrams,
        char_ngrams: int = TfidfConfig.char_ngrams,
        min_df: int = TfidfConfig.min_df,
        random_state: int = 0,
    ) -> None:
        self.kind = kind
        self.n_classes = n_classes
        self.model = model
        self.C = C
        self.class_weight = class_weight
        self.word_ngrams = word_ngrams
        self.char_ngrams = char_ngrams
        self.min_df = min_df
        self.random_state = random_state

    @property
    def draws_nothing(self) -> bool:
        """Whether equal training data give an equal model, whatever the seed."""
        return self.model == "logreg"  # the solver of the SVM draws

    def fit(
        self, X: Sequence[str], y: Any, *, sample_weight: Any = None, dev: Any = None
    ) -> TfidfClassifier:
        """Learn from n sentences; `dev` is not used, since nothing is tuned or stopped early."""
        check_options(TfidfConfig, self)
        X, y, sample_weight = check_training(X, y, self.kind, self.n_classes, sample_weight)
        self.vectorizers_, features = fit_features(
            X, self.word_ngrams, self.char_ngrams, self.min_df
        )
        self.heads_ = fit_heads(
            features,
            y,
            self.kind,
            self.n_classes,
            make=linear(self.model, self.C, self.class_weight, self.random_state),
            sample_weight=sample_weight,
        )
        self.unseen_ = self.heads_.unseen
        self.classes_ = np.arange(self.n_classes)
        return self

    def predict_proba(self, X: Sequence[str]) -> np.ndarray:
        """Return scores in [0, 1] of shape (n, n_classes); see `heads.probabilities` for what they
        mean with an SVM."""
        check_is_fitted(self, "heads_")
        X = check_texts(X)
        if not X:
            return np.zeros((0, self.n_classes))
        return probabilities(self.heads_, features_of(self.vectorizers_, X))

    def predict(self, X: Sequence[str]) -> np.ndarray:
        """Return class numbers of shape (n,), or indicators of shape (n, n_classes) for
        multilabel."""
        return labels_of(self.predict_proba(X), self.kind)


def fit_features(
    X: list[str], word_ngrams: int, char_ngrams: int, min_df: int
) -> tuple[list[Any], Any]:
    """Learn the n-grams of sentences: the fitted vectorizers, and the matrix of shape (n, d).

    Raises
    ------
    UserError
        If no kind of n-gram is asked for, or `min_df` leaves none.
    """
    vectorizers = _vectorizers(word_ngrams, char_ngrams, min_df)
    try:
        return vectorizers, _stack([ngrams.fit_transform(one, X) for one in vectorizers])
    except ValueError as error:  # scikit-learn: empty vocabulary, or min_df that leaves no terms
        raise UserError(
            f"no feature is left of {len(X)} training sentences with classifier.min_df={min_df}; "
            "lower it or use more data"
        ) from error


def features_of(vectorizers: list[Any], X: list[str]) -> Any:
    """Return the matrix of sentences for fitted vectorizers, shape (n, d)."""
    return _stack([ngrams.transform(one, X) for one in vectorizers])


def _vectorizers(word_ngrams: int, char_ngrams: int, min_df: int) -> list[Any]:
    from sklearn.feature_extraction.text import TfidfVectorizer

    must(
        word_ngrams + char_ngrams > 0,
        "word_ngrams",
        0,
        "at least 1 where char_ngrams is 0: else there are no features",
    )
    vectorizers = []
    if word_ngrams:
        vectorizers.append(
            TfidfVectorizer(ngram_range=(1, word_ngrams), sublinear_tf=True, min_df=min_df)
        )
    if char_ngrams:
        vectorizers.append(
            TfidfVectorizer(
                analyzer="char_wb",
                ngram_range=(CHAR_MIN, char_ngrams),
                sublinear_tf=True,
                min_df=min_df,
            )
        )
    return vectorizers


def _stack(blocks: list[Any]) -> Any:
    if len(blocks) == 1:
        return blocks[0]
    from scipy.sparse import hstack

    return hstack(blocks, format="csr")
