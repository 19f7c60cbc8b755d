"""Logistic regression on the sentence vectors of a frozen encoder: what a pretrained encoder gives
without fine-tuning.

The vectors come from the cache where another cell has made them (embeddings.py). Does not change
the encoder.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from touchstone.errors import UserError
from touchstone.models.checks import Task, check_texts, check_training, labels_of, options_of
from touchstone.models.embeddings import embed
from touchstone.models.encoder import Encoder, find_encoder
from touchstone.models.heads import fit_heads, linear, probabilities
from touchstone.models.threads import limit_threads
from touchstone.ranges import check_options
from touchstone.schema import EncoderLogregConfig


def build(config: EncoderLogregConfig, task: Task) -> EncoderLogreg:
    """Return the classifier that a configuration names."""
    return EncoderLogreg(
        kind=task.kind,
        n_classes=task.n_classes,
        threads=task.threads,
        cache_folder=task.cache,
        random_state=task.seed,
        **options_of(config),
    )


class EncoderLogreg(ClassifierMixin, BaseEstimator):
    """Classify sentences by logistic regression on mean-pooled encoder output of length 1.

    Parameters
    ----------
    kind, n_classes : see `tfidf.TfidfClassifier`.
    encoder : minilm, a folder or a Hugging Face name; see `encoder.find_encoder`.
    revision : of a Hugging Face name.
    C : inverse strength of the penalty.
    class_weight : balanced or None.
    batch_size : most sentences encoded at once; does not change the vectors.
    max_length : tokens read at once; a longer text is read in windows, see long_texts.py.
    dtype : float32, bfloat16 or auto; see `encoder.encode`.
    threads : for torch and BLAS; None leaves them as they are.
    cache_folder : where vectors are kept; None keeps none.
    random_state : not used, since nothing is drawn; there because every classifier has it.

    Attributes
    ----------
    unseen_ : columns without training examples; their score is 0 and they are never predicted.
    encoder_digest_ : of the encoder's files.
    """

    def __init__(
        self,
        kind: str = "multiclass",
        n_classes: int = 2,
        encoder: str = EncoderLogregConfig.encoder,
        revision: str | None = EncoderLogregConfig.revision,
        C: float = EncoderLogregConfig.C,
        class_weight: str | None = EncoderLogregConfig.class_weight,
        batch_size: int = EncoderLogregConfig.batch_size,
        max_length: int = EncoderLogregConfig.max_length,
        dtype: str = EncoderLogregConfig.dtype,
        threads: int | None = None,
        cache_folder: str | Path | None = None,
        random_state: int = 0,
    ) -> None:
        self.kind = kind
        self.n_classes = n_classes
        self.encoder = encoder
        self.revision = revision
        self.C = C
        self.class_weight = class_weight
        self.batch_size = batch_size
        self.max_length = max_length
        self.dtype = dtype
        self.threads = threads
        self.cache_folder = cache_folder
        self.random_state = random_state

    @property
    def draws_nothing(self) -> bool:
        """Whether equal training data give an equal model, whatever the seed."""
        return True

    def fit(
        self, X: Sequence[str], y: Any, *, sample_weight: Any = None, dev: Any = None
    ) -> EncoderLogreg:
        """Learn from n sentences; `dev` is not used, since nothing is tuned or stopped early."""
        X, y, sample_weight = check_training(X, y, self.kind, self.n_classes, sample_weight)
        check_options(EncoderLogregConfig, self)
        encoder = find_encoder(self.encoder, self.revision)
        self.heads_ = fit_heads(
            vectors(self, X, encoder),
            y,
            self.kind,
            self.n_classes,
            make=linear("logreg", self.C, self.class_weight, self.random_state),
            sample_weight=sample_weight,
        )
        self.encoder_digest_ = encoder.digest
        self.unseen_ = self.heads_.unseen
        self.classes_ = np.arange(self.n_classes)
        return self

    def predict_proba(self, X: Sequence[str]) -> np.ndarray:
        """Return probabilities of shape (n, n_classes)."""
        check_is_fitted(self, "heads_")
        X = check_texts(X)
        if not X:
            return np.zeros((0, self.n_classes))
        encoder = find_encoder(self.encoder, self.revision)
        if encoder.digest != self.encoder_digest_:
            raise UserError(
                f"classifier.encoder={self.encoder}: its files are not those this classifier was "
                "trained with; train it again"
            )
        return probabilities(self.heads_, vectors(self, X, encoder))

    def predict(self, X: Sequence[str]) -> np.ndarray:
        """Return class numbers of shape (n,), or indicators of shape (n, n_classes) for
        multilabel."""
        return labels_of(self.predict_proba(X), self.kind)


def vectors(estimator: Any, X: list[str], encoder: Encoder | None = None) -> np.ndarray:
    """Return the sentence vectors for the options of an estimator, shape (n, d), float64."""
    if estimator.threads is not None:
        limit_threads(estimator.threads)
    return embed(
        X,
        encoder or find_encoder(estimator.encoder, estimator.revision),
        cache_folder=estimator.cache_folder,
        max_length=estimator.max_length,
        dtype=estimator.dtype,
        batch_size=getattr(estimator, "batch_size", EncoderLogregConfig.batch_size),
    ).astype(np.float64)
