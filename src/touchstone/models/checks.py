"""What every classifier is told about its task and checks before it learns, and the message for a
package that is not installed.

Does not know any model. Messages never hold the text of a sentence.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from touchstone.errors import UserError
from touchstone.schema import ClassifierConfig


@dataclass(frozen=True)
class Task:
    """What a classifier is built for, besides its own options.

    Attributes
    ----------
    kind : binary, relation, multiclass, multilabel or ner.
    n_classes : columns of `predict_proba`; not used for ner.
    seed : the estimator's random_state.
    threads : for the estimators that use torch.
    cache : root of the stage cache, where sentence vectors are kept.
    types : ner: entity types; None takes those of the training spans.
    restricted : whether an error of a user's own class is told without its words.
    """

    kind: str
    n_classes: int
    seed: int
    threads: int
    cache: Path
    types: Sequence[str] | None = None
    restricted: bool = False


def options_of(config: ClassifierConfig) -> dict[str, Any]:
    """Return the options that a schema has beside those of every classifier."""
    common = {one.name for one in fields(ClassifierConfig)}
    return {one.name: getattr(config, one.name) for one in fields(config) if one.name not in common}


SENTENCE_KINDS = ("binary", "relation", "multiclass", "multilabel")


def check_training(
    X: Sequence[str], y: Any, kind: str, n_classes: int, sample_weight: Any = None
) -> tuple[list[str], np.ndarray, np.ndarray | None]:
    """Return sentences, target and weights as a classifier of sentences uses them.

    Parameters
    ----------
    X : n sentences.
    y : integers of shape (n,) in 0..n_classes-1, or for multilabel zeros and ones of shape (n,
        n_classes).
    kind : one of `SENTENCE_KINDS`.
    sample_weight : shape (n,), at least 0; None for equal weights. Weights that are all equal to 1
        count as None, so that both train the same model, bit for bit.

    Raises
    ------
    UserError
        If there is no example with a weight above 0.
    ValueError
        If shapes or values are not as above.
    """
    if kind not in SENTENCE_KINDS:
        raise ValueError(f"kind must be one of {', '.join(SENTENCE_KINDS)}, got {kind!r}")
    X = check_texts(X)
    y = np.asarray(y)
    shape = (len(X), n_classes) if kind == "multilabel" else (len(X),)
    if y.shape != shape:
        raise ValueError(
            f"the target of a {kind} task with {len(X)} sentences must have shape {shape}, got "
            f"{y.shape}"
        )
    largest = 1 if kind == "multilabel" else n_classes - 1
    if y.size and (y.min() < 0 or y.max() > largest):
        raise ValueError(
            f"the target of a {kind} task must be in 0..{largest}, got {y.min()}..{y.max()}"
        )
    return X, y.astype(np.int64), check_weights(sample_weight, len(X))


def check_texts(X: Sequence[str]) -> list[str]:
    """Return sentences as a list of str; a frame or an array of anything else is an error."""
    X = list(X)
    wrong = next((i for i, text in enumerate(X) if not isinstance(text, str)), None)
    if wrong is not None:
        raise ValueError(f"sentence {wrong} must be a str, got {type(X[wrong]).__name__}")
    return X


def check_weights(sample_weight: Any, n: int) -> np.ndarray | None:
    """Return weights of shape (n,) as float64, or None where all are 1; see `check_training`."""
    if n == 0:
        raise UserError(
            "the training set is empty: give the mixture a source that has examples (see the "
            "composition table)"
        )
    if sample_weight is None:
        return None
    weights = np.asarray(sample_weight, dtype=np.float64)
    if weights.shape != (n,) or not np.isfinite(weights).all() or (weights < 0).any():
        raise ValueError(
            f"sample_weight must be {n} finite numbers of at least 0, got shape {weights.shape}"
        )
    if not weights.any():
        raise UserError(
            "every training example has weight 0: raise the weight of a source of the mixture"
        )
    return None if (weights == 1).all() else weights


def unseen_classes(
    y: np.ndarray, kind: str, n_classes: int, sample_weight: np.ndarray | None = None
) -> list[int]:
    """Return the columns of `predict_proba` without a training example (of weight above 0); they
    are never predicted."""
    y = y if sample_weight is None else y[sample_weight > 0]
    present = y.any(axis=0) if kind == "multilabel" else np.isin(np.arange(n_classes), y)
    return np.flatnonzero(~present).tolist()


def labels_of(probabilities: np.ndarray, kind: str) -> np.ndarray:
    """Return predictions in the shape of the target: the likeliest class, or for multilabel every
    category above 0.5."""
    return (
        (probabilities > 0.5).astype(np.int64)
        if kind == "multilabel"
        else probabilities.argmax(axis=1)
    )


def must(holds: bool, option: str, found: Any, rule: str) -> None:
    """Raise a UserError for a classifier option out of its range; `option` is the name in
    conf/classifier."""
    if not holds:
        raise UserError(f"classifier.{option}={found}: must be {rule}")


def require(package: str, extra: str, what: str) -> None:
    """Raise a UserError that names the extra to install unless `package` can be imported."""
    if importlib.util.find_spec(package) is None:
        raise UserError(
            f"{what} needs the package {package}, which is not installed: pip install "
            f"'touchstone-nlp[{extra}]'"
        )
