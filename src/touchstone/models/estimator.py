"""Any scikit-learn estimator, or a class of the user's own, as a classifier of the grid:

    target: sklearn.naive_bayes.ComplementNB
    options: {alpha: 0.3}
    features: tfidf

`features` says what its `fit` and `predict` receive: the TF-IDF matrix of the linear classifiers,
the vectors of a frozen encoder, or the texts themselves. It needs `fit(X, y)` and `predict(X)`;
`predict_proba` or `decision_function` give scores (else 1 and 0), `sample_weight` is passed where a
source of the mixture has a weight other than 1, and `random_state` is set to the cell's seed where
the class has it. Multi-label tasks fit one model for each category. A class for entities takes
texts, and spans in place of labels. Does not tune anything.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from touchstone import plugins
from touchstone.errors import UserError, no_such
from touchstone.models.checks import (
    Task,
    check_texts,
    check_training,
    check_weights,
    labels_of,
    options_of,
)
from touchstone.models.heads import fit_heads, probabilities
from touchstone.models.spans import Span, check_spans, entity_types
from touchstone.ranges import check_options
from touchstone.schema import EstimatorConfig

KEY = "classifier.target"


def build(config: EstimatorConfig, task: Task) -> Any:
    """Return the classifier of sentences or entities around the class that a configuration names.

    Raises
    ------
    UserError
        If there is no such class, it has no such options, or entities are to be found in features.
    """
    loaded = plugins.load_path(KEY, config.target)
    check_arguments(config.target, loaded, config.options)
    if task.kind != "ner":
        return OwnClassifier(
            kind=task.kind,
            n_classes=task.n_classes,
            threads=task.threads,
            cache_folder=task.cache,
            random_state=task.seed,
            restricted=task.restricted,
            **options_of(config),
        )
    if config.features != "text":
        raise UserError(
            f"classifier.features={config.features}: must be text for entities, which stand at "
            "places in the text"
        )
    return OwnTagger(
        types=task.types,
        target=config.target,
        options=config.options,
        random_state=task.seed,
        restricted=task.restricted,
    )


def check_arguments(target: str, loaded: Any, options: Mapping[str, Any]) -> None:
    """Raise a UserError for what is no class, and for an option that it does not take."""
    if not callable(loaded):
        raise UserError(f"{KEY}={target}: must be a class, not {type(loaded).__name__}")
    parameters = inspect.signature(loaded).parameters
    if any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters.values()):
        return
    for name in options:
        if name not in parameters:
            raise UserError(f"classifier.options.{name}: {no_such('option', name, parameters)}")


class OwnClassifier(ClassifierMixin, BaseEstimator):
    """Classify sentences with the class that `target` names.

    Parameters
    ----------
    kind, n_classes : see `tfidf.TfidfClassifier`.
    target : class, as `plugins.load_path` finds it; options : its arguments.
    features : tfidf, embeddings or text.
    word_ngrams, char_ngrams, min_df : of features=tfidf, see `tfidf.TfidfClassifier`.
    encoder, revision, max_length, dtype : of features=embeddings, see `EncoderLogreg`.
    threads, cache_folder : for embeddings.
    random_state : given to the class where it has an argument of that name.
    restricted : whether an error of the class is told without its words.

    Attributes
    ----------
    unseen_ : columns without training examples; their score is 0 and they are never predicted.
    heads_ : the fitted models.
    """

    def __init__(
        self,
        kind: str = "multiclass",
        n_classes: int = 2,
        target: str = "",
        options: Mapping[str, Any] | None = None,
        features: str = EstimatorConfig.features,
        word_ngrams: int = EstimatorConfig.word_ngrams,
        char_ngrams: int = EstimatorConfig.char_ngrams,
        min_df: int = EstimatorConfig.min_df,
        encoder: str = EstimatorConfig.encoder,
        revision: str | None = EstimatorConfig.revision,
        max_length: int = EstimatorConfig.max_length,
        dtype: str = EstimatorConfig.dtype,
        threads: int | None = None,
        cache_folder: str | Path | None = None,
        random_state: int = 0,
        restricted: bool = False,
    ) -> None:
        self.kind = kind
        self.n_classes = n_classes
        self.target = target
        self.options = options
        self.features = features
        self.word_ngrams = word_ngrams
        self.char_ngrams = char_ngrams
        self.min_df = min_df
        self.encoder = encoder
        self.revision = revision
        self.max_length = max_length
        self.dtype = dtype
        self.threads = threads
        self.cache_folder = cache_folder
        self.random_state = random_state
        self.restricted = restricted

    def fit(
        self, X: Sequence[str], y: Any, *, sample_weight: Any = None, dev: Any = None
    ) -> OwnClassifier:
        """Learn from n sentences; `dev` is not used."""
        check_options(EstimatorConfig, self)
        X, y, sample_weight = check_training(X, y, self.kind, self.n_classes, sample_weight)
        loaded = plugins.load_path(KEY, self.target)
        _check_weighted(self.target, loaded, sample_weight)
        with plugins.blaming(KEY, self.target, withheld=self.restricted):
            self.dense_ = _takes_dense(_instance(loaded, self.options, self.random_state))
        features = self._fit_features(X)
        with plugins.blaming(KEY, self.target, withheld=self.restricted):
            self.heads_ = fit_heads(
                features,
                y,
                self.kind,
                self.n_classes,
                make=lambda: _instance(loaded, self.options, self.random_state),
                sample_weight=sample_weight,
            )
        self.unseen_ = self.heads_.unseen
        self.classes_ = np.arange(self.n_classes)
        return self

    def predict_proba(self, X: Sequence[str]) -> np.ndarray:
        """Return scores in [0, 1] of shape (n, n_classes); see `heads.probabilities`."""
        check_is_fitted(self, "heads_")
        X = check_texts(X)
        if not X:
            return np.zeros((0, self.n_classes))
        features = self._features(X)
        with plugins.blaming(KEY, self.target, withheld=self.restricted):
            return probabilities(self.heads_, features)

    def predict(self, X: Sequence[str]) -> np.ndarray:
        """Return class numbers of shape (n,), or indicators of shape (n, n_classes) for
        multilabel."""
        return labels_of(self.predict_proba(X), self.kind)

    def _fit_features(self, X: list[str]) -> Any:
        if self.features == "tfidf":
            from touchstone.models.tfidf import fit_features

            self.vectorizers_, matrix = fit_features(
                X, self.word_ngrams, self.char_ngrams, self.min_df
            )
            return self._as_taken(matrix)
        return self._features(X)

    def _features(self, X: list[str]) -> Any:
        if self.features == "tfidf":
            from touchstone.models.tfidf import features_of

            return self._as_taken(features_of(self.vectorizers_, X))
        if self.features == "embeddings":
            from touchstone.models.encoder_logreg import vectors

            return vectors(self, X)
        return np.array(X, dtype=object)

    def _as_taken(self, matrix: Any) -> Any:
        return matrix.toarray() if self.dense_ else matrix


class OwnTagger(BaseEstimator):
    """Find entities with the class that `target` names: its `fit` takes texts and a list of spans
    {start, end, type} for each, its `predict` gives such lists.

    Attributes
    ----------
    types_ : entity types that there are to find.
    model_ : the fitted instance.
    """

    def __init__(
        self,
        types: Sequence[str] | None = None,
        target: str = "",
        options: Mapping[str, Any] | None = None,
        random_state: int = 0,
        restricted: bool = False,
    ) -> None:
        self.types = types
        self.target = target
        self.options = options
        self.random_state = random_state
        self.restricted = restricted

    def fit(
        self,
        X: Sequence[str],
        y: Sequence[Sequence[Span]],
        *,
        sample_weight: Any = None,
        dev: Any = None,
    ) -> OwnTagger:
        """Learn from n texts and their spans; `dev` is not used."""
        X = check_texts(X)
        weights = check_weights(sample_weight, len(X))
        self.types_ = entity_types(self.types, y)
        spans = check_spans(X, y, self.types_)
        loaded = plugins.load_path(KEY, self.target)
        _check_weighted(self.target, loaded, weights)
        with plugins.blaming(KEY, self.target, withheld=self.restricted):
            self.model_ = _instance(loaded, self.options, self.random_state)
            options = {} if weights is None else {"sample_weight": weights}
            self.model_.fit(X, spans, **options)
        return self

    def predict(self, X: Sequence[str]) -> list[list[dict[str, Any]]]:
        """Return the spans of each text.

        Raises
        ------
        UserError
            If the class gives anything but spans of known types within the texts.
        """
        check_is_fitted(self, "model_")
        X = check_texts(X)
        with plugins.blaming(KEY, self.target, withheld=self.restricted):
            mentions = [[dict(span) for span in spans] for spans in self.model_.predict(X)]
        try:
            return [
                [dict(span) for span in spans] for spans in check_spans(X, mentions, self.types_)
            ]
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{KEY}={self.target}: predict must give spans (start, end, type) for each text: "
                f"{error}"
            ) from None


def _instance(loaded: Any, options: Mapping[str, Any] | None, random_state: int) -> Any:
    arguments = dict(options or {})
    if "random_state" in inspect.signature(loaded).parameters:
        arguments.setdefault("random_state", random_state)
    return loaded(**arguments)


def _takes_dense(instance: Any) -> bool:
    """Return whether an estimator says that it cannot do sparse matrices."""
    from sklearn.utils import get_tags

    return isinstance(instance, BaseEstimator) and not get_tags(instance).input_tags.sparse


def _check_weighted(target: str, loaded: Any, sample_weight: np.ndarray | None) -> None:
    """Raise a UserError where weights differ and the class cannot use them."""
    fit = getattr(loaded, "fit", None)
    if sample_weight is None or fit is None:
        return
    parameters = inspect.signature(fit).parameters.values()
    if not any(one.name == "sample_weight" or one.kind is one.VAR_KEYWORD for one in parameters):
        raise UserError(
            f"{KEY}={target}: its fit takes no sample_weight, but a source of the mixture has a "
            "weight other than 1; "
            "set mixture.SOURCE.weight=1, or choose another classifier"
        )
