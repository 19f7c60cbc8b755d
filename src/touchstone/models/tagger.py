"""A fine-tuned encoder that tags entities: a linear layer on each word's first sub-token, IOB2
tags, legal transitions only.

Takes and gives spans {start, end, type} in characters; words and their sub-tokens come from
align.py, so long texts are read in windows and no tokenizer needs special care. Does not model
nested entities. Source: Devlin et al. 2019, section 5.3; NER on synthetic clinical text as in Tang
et al. 2023.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted
from torch import nn

from touchstone.errors import UserError
from touchstone.models.align import Window, windows
from touchstone.models.checks import check_texts, check_weights
from touchstone.models.encoder import (
    ROUND,
    batch_tokens,
    by_length,
    find_encoder,
    load_tokenizer,
    pad,
)
from touchstone.models.finetuning import PREDICT_BATCH, Head, build_seeded, plan_of, prepare
from touchstone.models.spans import (
    Span,
    check_spans,
    entity_types,
    span_f1,
    to_spans,
    to_tags,
    unseen_types,
    viterbi,
)
from touchstone.models.training import balanced_weights, train
from touchstone.ranges import check_options
from touchstone.schema import TransformerConfig


class TokenModel(Head):
    """Encoder, dropout, linear layer: token ids (n, length) to tag scores (n, length, n_tags)."""

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        hidden = self.encoder(input_ids=ids, attention_mask=mask.long()).last_hidden_state
        return self.head(self.dropout(hidden))


class Tagger(BaseEstimator):
    """Fine-tune an encoder to find entities.

    Parameters
    ----------
    types : entity types; None takes those of the training spans, sorted.
    encoder, revision : see `encoder.find_encoder`.
    learning_rate, epochs, min_steps, batch_size, warmup, weight_decay, patience, bucket : see
    `training.Plan`.
    max_length : most sub-tokens in a window; longer texts are read in several windows.
    class_weight : balanced weighs tags by 1 / frequency; None (default) does not: F1 over spans
        suffers from false alarms.
    viterbi : best legal tag sequence; False takes the best tag of each word and lets an I without a
        beginning begin a span.
    dtype, device, threads, random_state : see `transformer.TransformerClassifier`.

    Attributes
    ----------
    types_ : entity types in the order of the tags; unseen_ : indices of those without a training
        span.
    history_, encoder_digest_, model_, tokenizer_ : see `transformer.TransformerClassifier`.
    """

    def __init__(
        self,
        types: Sequence[str] | None = None,
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
        viterbi: bool = TransformerConfig.viterbi,
        dtype: str = TransformerConfig.dtype,
        device: str = TransformerConfig.device,
        threads: int | None = None,
        random_state: int = 0,
    ) -> None:
        self.types = types
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
        self.viterbi = viterbi
        self.dtype = dtype
        self.device = device
        self.threads = threads
        self.random_state = random_state

    def fit(
        self,
        X: Sequence[str],
        y: Sequence[Sequence[Span]],
        *,
        sample_weight: Any = None,
        dev: Any = None,
    ) -> Tagger:
        """Learn from n texts and their spans; keep the weights with the best strict span F1 on
        `dev`, where it is given."""
        X = check_texts(X)
        weights = check_weights(sample_weight, len(X))
        self.types_ = entity_types(self.types, y)
        y = check_spans(X, y, self.types_)
        check_options(TransformerConfig, self)
        plan = plan_of(self)
        device, dtype = prepare(self)
        self.unseen_ = unseen_types(self.types_, y, weights)
        encoder = find_encoder(self.encoder, self.revision)
        self.encoder_digest_ = encoder.digest
        self.tokenizer_ = load_tokenizer(encoder, self.max_length)
        parts = windows(self.tokenizer_, X, self.max_length)
        if not parts:
            raise UserError(
                f"none of the {len(X)} training texts holds a word that the encoder "
                f"{self.encoder} can read"
            )
        n_tags = 1 + 2 * len(self.types_)
        self.model_ = build_seeded(TokenModel, encoder, n_tags, self.random_state).to(device)
        loss_of = self._loss(parts, y, weights, n_tags, device)
        dev_score = None
        if dev is not None and len(dev[0]):
            dev_X = check_texts(dev[0])
            dev_y = check_spans(dev_X, dev[1], self.types_)
            dev_parts = windows(self.tokenizer_, dev_X, self.max_length)

            def dev_score() -> float:
                return span_f1(dev_y, self._spans(dev_parts, len(dev_X), device, dtype))

        lengths = np.array([len(part.ids) for part in parts])
        self.history_ = train(
            self.model_,
            lengths,
            loss_of,
            plan,
            device=device,
            dtype=dtype,
            random_state=self.random_state,
            dev_score=dev_score,
        )
        self.model_.to("cpu")
        return self

    def predict(self, X: Sequence[str]) -> list[list[dict[str, Any]]]:
        """Return the spans of each text, in order, not overlapping."""
        check_is_fitted(self, "model_")
        X = check_texts(X)
        device, dtype = prepare(self)
        self.model_.to(device)
        found = self._spans(windows(self.tokenizer_, X, self.max_length), len(X), device, dtype)
        self.model_.to("cpu")
        return found

    def _loss(
        self,
        parts: list[Window],
        y: list[list[Span]],
        weights: np.ndarray | None,
        n_tags: int,
        device: torch.device,
    ) -> Any:
        """Return the loss of a batch of windows: weighted cross-entropy over words, divided by
        their number."""
        tags = [to_tags(y[part.text], part.units, self.types_) for part in parts]
        of_text = np.ones(len(y)) if weights is None else weights
        of_word = np.concatenate(
            [np.full(len(t), of_text[part.text]) for t, part in zip(tags, parts, strict=True)]
        )
        of_tag = np.ones(n_tags)
        if self.class_weight == "balanced":
            of_tag = balanced_weights(np.concatenate(tags), n_tags, of_word)
        scale = (
            of_word * of_tag[np.concatenate(tags)]
        ).mean()  # so that weights share out the gradient without changing its size
        filling = self.tokenizer_.pad_token_id or 0
        tag_weight = torch.from_numpy((of_tag / scale).astype(np.float32)).to(device)

        def loss_of(batch: np.ndarray) -> torch.Tensor:
            chosen = [parts[i] for i in batch]
            matrix, mask = pad([part.ids for part in chosen], filling)
            rows = np.repeat(np.arange(len(batch)), [len(part.firsts) for part in chosen])
            columns = np.concatenate([part.firsts for part in chosen])
            scores = self.model_(
                torch.from_numpy(matrix).to(device), torch.from_numpy(mask).to(device)
            )[rows, columns].float()
            target = torch.from_numpy(np.concatenate([tags[i] for i in batch])).to(device)
            weight = (
                torch.from_numpy(
                    of_text[[part.text for part in chosen]][rows].astype(np.float32)
                ).to(device)
                * tag_weight[target]
            )
            return (nn.functional.cross_entropy(scores, target, reduction="none") * weight).mean()

        return loss_of

    def _spans(
        self, parts: list[Window], n: int, device: torch.device, dtype: str
    ) -> list[list[dict[str, Any]]]:
        scores: list[np.ndarray] = [np.zeros((0, 1 + 2 * len(self.types_)))] * len(parts)
        lengths = np.array([len(part.ids) for part in parts], dtype=np.int64)
        with (
            torch.inference_mode(),
            torch.autocast(device.type, dtype=torch.bfloat16, enabled=dtype == "bfloat16"),
        ):
            for batch in by_length(lengths, PREDICT_BATCH, batch_tokens(device)):
                matrix, mask = pad(
                    [parts[i].ids for i in batch], self.tokenizer_.pad_token_id or 0, ROUND
                )
                logits = self.model_(
                    torch.from_numpy(matrix).to(device), torch.from_numpy(mask).to(device)
                )
                found = torch.log_softmax(logits.float(), dim=-1).cpu().numpy()
                for row, i in enumerate(batch):
                    scores[i] = found[row, parts[i].firsts]
        spans: list[list[dict[str, Any]]] = [[] for _ in range(n)]
        for text, numbers in _by_text(parts).items():
            of_words = np.concatenate([scores[i] for i in numbers])
            tags = viterbi(of_words) if self.viterbi else of_words.argmax(axis=1)
            spans[text] = to_spans(
                tags, np.concatenate([parts[i].units for i in numbers]), self.types_
            )
        return spans


def _by_text(parts: list[Window]) -> dict[int, list[int]]:
    """Return the numbers of each text's windows, in order."""
    numbers: dict[int, list[int]] = {}
    for i, part in enumerate(parts):
        numbers.setdefault(part.text, []).append(i)
    return numbers
