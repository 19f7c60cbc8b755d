"""Classifiers as scikit-learn estimators: `build` makes the one that a configuration names.
Importing this loads nothing heavy.

Does not fit anything, and does not make the LLM classifier, which asks instead of learning
(pipeline.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from touchstone.errors import UserError
from touchstone.models.threads import limit_threads
from touchstone.schema import (
    ClassifierConfig,
    CrfConfig,
    EncoderLogregConfig,
    TfidfConfig,
    TransformerConfig,
)

__all__ = ["build", "limit_threads"]


def build(
    classifier: ClassifierConfig,
    kind: str,
    n_classes: int,
    *,
    seed: int,
    threads: int,
    cache: Path,
    types: Sequence[str] | None = None,
) -> Any:
    """Return an unfitted estimator for a task.

    Parameters
    ----------
    classifier : configuration; its class chooses the estimator.
    kind : binary, relation, multiclass, multilabel or ner.
    n_classes : columns of `predict_proba`; not used for ner.
    seed : the estimator's random_state.
    threads : for the estimators that use torch.
    cache : root of the stage cache, where sentence vectors are kept.
    types : ner: entity types; None takes those of the training spans.

    Raises
    ------
    UserError
        If the classifier cannot do tasks of this kind, or does not learn.
    """
    if classifier.kinds and kind not in classifier.kinds:
        raise UserError(
            f"classifier={classifier.name} cannot do {kind} tasks; it does {', '.join(classifier.kinds)}"
        )
    options = {
        field.name: getattr(classifier, field.name)
        for field in fields(classifier)
        if field.name not in ("name", "kinds")
    }
    common = {"random_state": seed}
    sentences = {"kind": kind, "n_classes": n_classes}
    if isinstance(classifier, TfidfConfig):
        from touchstone.models.tfidf import TfidfClassifier

        return TfidfClassifier(**sentences, **common, **options)
    if isinstance(classifier, EncoderLogregConfig):
        from touchstone.models.encoder_logreg import EncoderLogreg

        return EncoderLogreg(**sentences, **common, **options, threads=threads, cache_folder=cache)
    if isinstance(classifier, TransformerConfig) and kind == "ner":
        from touchstone.models.tagger import Tagger

        return Tagger(types, **common, **options, threads=threads)
    if isinstance(classifier, TransformerConfig):
        from touchstone.models.transformer import TransformerClassifier

        options.pop("viterbi")
        return TransformerClassifier(**sentences, **common, **options, threads=threads)
    if isinstance(classifier, CrfConfig):
        from touchstone.models.crf import CrfTagger

        return CrfTagger(types, **common, **options)
    raise UserError(
        f"classifier={classifier.name} does not learn from examples: it cannot be fitted"
    )
