"""A fine-tuned encoder for sentences: binary, multi-class, multi-label and relation tasks.

The mean of the encoder's last layer goes through dropout into one linear layer; of a text longer
than `max_length`, the maximum of its windows' means (long_texts.py). Two-class and multi-class
tasks learn by cross-entropy, multi-label ones by binary cross-entropy for each category. For
entities see tagger.py; for the loop training.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted
from torch import nn
from torch.utils.checkpoint import checkpoint

from touchstone.models.checks import (
    Task,
    check_texts,
    check_training,
    labels_of,
    options_of,
    unseen_classes,
)
from touchstone.models.encoder import (
    ROUND,
    batch_tokens,
    by_length,
    find_encoder,
    load_tokenizer,
    mean_pool,
    pad,
)
from touchstone.models.finetuning import PREDICT_BATCH, Head, build_seeded, plan_of, prepare
from touchstone.models.long_texts import KEPT_TOKENS, Windows, pooled_max, tell, tokenise
from touchstone.models.training import balanced_weights, train
from touchstone.ranges import check_options
from touchstone.schema import TransformerConfig


class SentenceModel(Head):
    """Encoder, mean over tokens, dropout, linear layer: token ids (n, length) to logits (n,
    n_outputs)."""

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return self.logits(self.vectors(ids, mask))

    def vectors(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return the mean over the tokens of each window: (n, length) to (n, d)."""
        hidden = self.encoder(input_ids=ids, attention_mask=mask.long()).last_hidden_state
        return mean_pool(hidden, mask)

    def logits(self, vectors: torch.Tensor) -> torch.Tensor:
        """Return what the last layer makes of vectors: (n, d) to (n, n_outputs)."""
        return self.head(self.dropout(vectors)).float()

    def of_notes(
        self, ids: torch.Tensor, mask: torch.Tensor, counts: Sequence[int]
    ) -> torch.Tensor:
        """Return the logits of texts of several windows each: windows (n_windows, length) to
        (len(counts), n_outputs)."""
        if ids.numel() <= KEPT_TOKENS:
            return self.logits(pooled_max(self.vectors(ids, mask), counts))
        size = max(1, KEPT_TOKENS // ids.shape[1])
        parts = [
            checkpoint(self.vectors, *part, use_reentrant=False)
            for part in zip(ids.split(size), mask.split(size), strict=True)
        ]
        return self.logits(pooled_max(torch.cat(parts), counts))


class TransformerClassifier(ClassifierMixin, BaseEstimator):
    """Fine-tune an encoder to classify sentences.

    Parameters
    ----------
    kind, n_classes : see `tfidf.TfidfClassifier`.
    encoder, revision : see `encoder.find_encoder`.
    learning_rate, epochs, min_steps, batch_size, warmup, weight_decay, patience, bucket : see
    `training.Plan`.
    max_length : tokens read at once; a longer text is read in windows, see long_texts.py.
    class_weight : balanced or None.
    dtype : float32, bfloat16, or auto: bfloat16 where the device has it.
    device : auto, cpu, cuda, ...
    threads : for torch; None leaves them. Changes the last bits of a sum, so it belongs to the
        result.
    random_state : of the new layer's weights, the order of the sentences and the dropout.

    Attributes
    ----------
    unseen_ : columns without training examples; their score is 0 and they are never predicted.
    history_ : see `training.History`.
    encoder_digest_ : of the pretrained encoder's files.
    model_ : the trained module, on the CPU; tokenizer_ : its tokenizer.
    """

    def __init__(
        self,
        kind: str = "multiclass",
        n_classes: int = 2,
        encoder: str = TransformerConfig.encoder,
        revision: str | None = TransformerConfig.revision,
        learning_rate: float = TransformerConfig.learning_rate,
        epochs: int = TransformerConfig.epochs,
        min_steps: int = TransformerConfig.min_steps,
        batch_size: int = TransformerConfig.batch_size,
        max_length: int = TransformerConfig.max_length,
        warmup: float = TransformerConfig.warmup,
        weight_decay: float = TransformerConfig.weight_decay,
        patience: int | None = TransformerConfig.patience,
        class_weight: str | None = TransformerConfig.class_weight,
        bucket: bool = TransformerConfig.bucket,
        dtype: str = TransformerConfig.dtype,
        device: str = TransformerConfig.device,
        threads: int | None = None,
        random_state: int = 0,
    ) -> None:
        self.kind = kind
        self.n_classes = n_classes
        self.encoder = encoder
        self.revision = revision
        self.learning_rate = learning_rate
        self.epochs = epochs
        self.min_steps = min_steps
        self.batch_size = batch_size
        self.max_length = max_length
        self.warmup = warmup
        self.weight_decay = weight_decay
        self.patience = patience
        self.class_weight = class_weight
        self.bucket = bucket
        self.dtype = dtype
        self.device = device
        self.threads = threads
        self.random_state = random_state

    def fit(
        self, X: Sequence[str], y: Any, *, sample_weight: Any = None, dev: Any = None
    ) -> TransformerClassifier:
        """Learn from n sentences; keep the weights with the best macro-F1 on `dev`, a pair (X, y),
        where it is given."""
        check_options(TransformerConfig, self)
        X, y, sample_weight = check_training(X, y, self.kind, self.n_classes, sample_weight)
        plan = plan_of(self)
        device, dtype = prepare(self)
        encoder = find_encoder(self.encoder, self.revision)
        self.encoder_digest_ = encoder.digest
        self.unseen_ = unseen_classes(y, self.kind, self.n_classes, sample_weight)
        self.classes_ = np.arange(self.n_classes)
        self.tokenizer_ = load_tokenizer(encoder, self.max_length)
        windows = tokenise(self.tokenizer_, X, self.max_length)
        tell(windows, self.max_length)
        self.model_ = build_seeded(SentenceModel, encoder, self.n_classes, self.random_state).to(
            device
        )
        criterion = _criterion(
            y, self.kind, self.n_classes, self.class_weight, sample_weight, device
        )
        filling = self.tokenizer_.pad_token_id or 0

        def loss_of(batch: np.ndarray) -> torch.Tensor:
            ids, counts = windows.of(batch)
            matrix, mask = (torch.from_numpy(one).to(device) for one in pad(ids, filling))
            if len(ids) == len(batch):
                return criterion(self.model_(matrix, mask), batch)
            return criterion(self.model_.of_notes(matrix, mask, counts), batch)

        dev_score = None
        if dev is not None and len(dev[0]):
            dev_X, dev_y, _ = check_training(dev[0], dev[1], self.kind, self.n_classes)
            dev_windows = tokenise(self.tokenizer_, dev_X, self.max_length)

            def dev_score() -> float:
                return macro_f1(
                    dev_y,
                    labels_of(self._probabilities(dev_windows, device, dtype), self.kind),
                    self.kind,
                )

        self.history_ = train(
            self.model_,
            windows.text_tokens,
            loss_of,
            plan,
            device=device,
            dtype=dtype,
            random_state=self.random_state,
            dev_score=dev_score,
        )
        self.model_.to("cpu")
        return self

    def predict_proba(self, X: Sequence[str]) -> np.ndarray:
        """Return probabilities of shape (n, n_classes); unseen classes have 0, and the rows of
        two-class and multi-class tasks sum to 1."""
        check_is_fitted(self, "model_")
        X = check_texts(X)
        if not X:
            return np.zeros((0, self.n_classes))
        device, dtype = prepare(self)
        self.model_.to(device)
        windows = tokenise(self.tokenizer_, X, self.max_length)
        tell(windows, self.max_length)
        probabilities = self._probabilities(windows, device, dtype)
        self.model_.to("cpu")
        return probabilities

    def predict(self, X: Sequence[str]) -> np.ndarray:
        """Return class numbers of shape (n,), or indicators of shape (n, n_classes) for
        multilabel."""
        return labels_of(self.predict_proba(X), self.kind)

    def _probabilities(self, windows: Windows, device: torch.device, dtype: str) -> np.ndarray:
        logits = np.empty((len(windows.ids), self.n_classes))
        filling = self.tokenizer_.pad_token_id or 0
        vectors: dict[int, torch.Tensor] = {}  # of the windows of long texts
        pooled = {
            i
            for text in windows.long
            for i in range(windows.starts[text], windows.starts[text + 1])
        }
        with (
            torch.inference_mode(),
            torch.autocast(device.type, dtype=torch.bfloat16, enabled=dtype == "bfloat16"),
        ):
            for batch in by_length(windows.tokens, PREDICT_BATCH, batch_tokens(device)):
                matrix, mask = pad([windows.ids[i] for i in batch], filling, ROUND)
                means = self.model_.vectors(
                    torch.from_numpy(matrix).to(device), torch.from_numpy(mask).to(device)
                )
                logits[batch] = self.model_.logits(means).cpu().numpy()
                vectors |= {i: means[row] for row, i in enumerate(batch.tolist()) if i in pooled}
            of_texts = logits[windows.starts[:-1]]
            for text in windows.long:
                part = range(windows.starts[text], windows.starts[text + 1])
                means = torch.stack([vectors[i] for i in part])
                of_texts[text] = self.model_.logits(pooled_max(means, [len(part)])).cpu().numpy()
        of_texts[:, self.unseen_] = -np.inf
        from scipy.special import expit, softmax

        return expit(of_texts) if self.kind == "multilabel" else softmax(of_texts, axis=1)


def build(config: TransformerConfig, task: Task) -> Any:
    """Return the classifier of sentences, or for entities the tagger, that a configuration
    names."""
    options = options_of(config) | {"threads": task.threads, "random_state": task.seed}
    if task.kind == "ner":
        from touchstone.models.tagger import Tagger

        return Tagger(types=task.types, **options)
    options.pop("viterbi")
    return TransformerClassifier(kind=task.kind, n_classes=task.n_classes, **options)


def macro_f1(true: np.ndarray, predicted: np.ndarray, kind: str) -> float:
    """Return what early stopping watches: F1 of class 1 for two classes, else the mean F1 over the
    categories that dev has."""
    if kind == "multilabel":
        pairs = [(true[:, i] == 1, predicted[:, i] == 1) for i in range(true.shape[1])]
    else:
        pairs = [
            (true == i, predicted == i)
            for i in (
                (1,) if kind in ("binary", "relation") else range(1, int(true.max(initial=0)) + 1)
            )
        ]
    scores = [2 * (t & p).sum() / (t.sum() + p.sum()) for t, p in pairs if t.any()]
    return float(np.mean(scores)) if scores else 0.0


def _criterion(
    y: np.ndarray,
    kind: str,
    n_classes: int,
    class_weight: str | None,
    sample_weight: np.ndarray | None,
    device: Any,
) -> Any:
    """Return the loss of a batch: (logits, indices) to the weighted sum over its examples divided
    by their number.

    Weights are scaled to a mean of 1 over the training set, so that they share out the gradient
    without changing its size.
    """
    weights = (
        np.ones(y.shape)
        if sample_weight is None
        else np.broadcast_to(sample_weight.reshape((-1,) + (1,) * (y.ndim - 1)), y.shape)
    )
    if class_weight == "balanced":
        columns = (
            [(y, weights)] if y.ndim == 1 else [(y[:, i], weights[:, i]) for i in range(n_classes)]
        )
        size = n_classes if y.ndim == 1 else 2
        scaled = [w * balanced_weights(c, size, w)[c] for c, w in columns]
        weights = scaled[0] if y.ndim == 1 else np.stack(scaled, axis=1)
    weight = torch.from_numpy(np.ascontiguousarray(weights / weights.mean(), dtype=np.float32)).to(
        device
    )
    target = torch.from_numpy(y.astype(np.float32) if kind == "multilabel" else y).to(device)
    function = (
        nn.functional.binary_cross_entropy_with_logits
        if kind == "multilabel"
        else nn.functional.cross_entropy
    )

    def criterion(logits: torch.Tensor, batch: np.ndarray) -> torch.Tensor:
        rows = torch.from_numpy(batch).to(device)
        return (function(logits, target[rows], reduction="none") * weight[rows]).mean()

    return criterion
