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
from touchstone.models.checks import check_texts, check_training, labels_of, must
from touchstone.models.embeddings import embed
from touchstone.models.encoder import Encoder, find_encoder
from touchstone.models.heads import fit_heads, probabilities
from touchstone.models.threads import limit_threads


class EncoderLogreg(ClassifierMixin, BaseEstimator):
    """Classify sentences by logistic regression on mean-pooled encoder output of length 1.

    Parameters
    ----------
    kind, n_classes : see `linear.TfidfClassifier`.
    encoder : minilm, a folder or a Hugging Face name; see `encoder.find_encoder`.
    revision : of a Hugging Face name.
    C : inverse strength of the penalty.
    class_weight : balanced or None.
    batch_size : most sentences encoded at once; does not change the vectors.
    max_length : tokens after which a sentence is cut.
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
        encoder: str = "minilm",
        revision: str | None = None,
        C: float = 1.0,
        class_weight: str | None = "balanced",
        batch_size: int = 64,
        max_length: int = 128,
        dtype: str = "float32",
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
        must(self.batch_size >= 1, "batch_size", self.batch_size, "at least 1")
        encoder = find_encoder(self.encoder, self.revision)
        self.heads_ = fit_heads(
            self._vectors(X, encoder),
            y,
            self.kind,
            self.n_classes,
            model="logreg",
            C=self.C,
            class_weight=self.class_weight,
            sample_weight=sample_weight,
            random_state=self.random_state,
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
                f"classifier.encoder={self.encoder}: its files are not those this classifier was trained with; train it again"
            )
        return probabilities(self.heads_, self._vectors(X, encoder))

    def predict(self, X: Sequence[str]) -> np.ndarray:
        """Return class numbers of shape (n,), or indicators of shape (n, n_classes) for
        multilabel."""
        return labels_of(self.predict_proba(X), self.kind)

    def _vectors(self, X: list[str], encoder: Encoder) -> np.ndarray:
        if self.threads is not None:
            limit_threads(self.threads)
        return embed(
            X,
            encoder,
            cache_folder=self.cache_folder,
            max_length=self.max_length,
            dtype=self.dtype,
            batch_size=self.batch_size,
        ).astype(np.float64)
