"""What a system says of the test sentences, one row each: a fitted classifier, or the LLM asked
directly.

Does not fit (pipeline.py), ask (generate/stages.py) or score (evaluate/).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from touchstone.data import targets
from touchstone.evaluate.counts import indicators
from touchstone.models.checks import labels_of
from touchstone.taxonomy import Taxonomy


def predict(
    model: Any, examples: pd.DataFrame, taxonomy: Taxonomy, kind: str, seed: int
) -> pd.DataFrame:
    """Return the predictions of a fitted classifier, see `Cell.predictions`."""
    texts = examples["text"].tolist()
    if kind == "ner":
        return _predictions(
            examples,
            taxonomy,
            kind,
            seed,
            targets.decode(model.predict(texts), taxonomy, kind),
            None,
        )
    scores = model.predict_proba(texts)  # once: what is predicted follows from it
    predicted = targets.decode(labels_of(scores, kind), taxonomy, kind)
    return _predictions(
        examples, taxonomy, kind, seed, predicted, targets.category_scores(scores, kind)
    )


def sample_test(test: pd.DataFrame, size: int | None, seed: int) -> pd.Series:
    """Mark the test sentences that the LLM is asked about: a seeded sample of `size`, or all."""
    sample = np.zeros(len(test), dtype=bool)
    sample[np.random.default_rng([seed, 5]).permutation(len(test))[:size]] = True
    return pd.Series(sample)


def ask_directly(
    test: pd.DataFrame, answers: pd.DataFrame, taxonomy: Taxonomy, kind: str
) -> pd.DataFrame:
    """Turn the LLM's answers for test sentences into predictions (seed 0: nothing is drawn).

    A sentence whose answer could not be used counts as one in which the LLM found nothing: every
    system is scored on the same sentences.
    """
    answered = {row.example_id: (row.labels, row.spans) for row in answers.itertuples(index=False)}
    labels, spans = zip(
        *(answered.get(example_id, ([], [])) for example_id in test["example_id"]), strict=True
    )
    predicted = targets.decode(
        targets.encode(test.assign(labels=labels, spans=spans), taxonomy, kind), taxonomy, kind
    )
    scores = (
        None
        if kind == "ner"
        else indicators(predicted, targets.categories(kind, taxonomy)).astype(float)
    )
    return _predictions(test, taxonomy, kind, 0, predicted, scores)


def _predictions(
    test: pd.DataFrame,
    taxonomy: Taxonomy,
    kind: str,
    seed: int,
    predicted: list[list[Any]],
    scores: np.ndarray | None,
) -> pd.DataFrame:
    true = targets.decode(targets.encode(test, taxonomy, kind), taxonomy, kind)
    rows = test[["example_id", "doc_id", "patient_id"]].reset_index(drop=True)
    rows.insert(0, "seed", seed)
    return rows.assign(
        true=true,
        pred=predicted,
        score=[[]] * len(test) if scores is None else [row.tolist() for row in scores],
    )
