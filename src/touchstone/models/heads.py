"""Models on a feature matrix: what the TF-IDF classifiers, the frozen encoder and estimators of
the user's have in common.

Multi-class tasks get one multinomial model, multi-label tasks one binary model for each category on
the same features. A class without training examples is never predicted. Does not make features
(tfidf.py, encoder_logreg.py, estimator.py).

The solver is newton-cg because of a measurement: on 2,000 demo sentences in ten classes (22,000
TF-IDF features) it needs 0.12 s where lbfgs needs 0.59 s and saga does not converge in 1.8 s; on
14,000 sentences 1.5 s against 6.9 s.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from touchstone.models.checks import unseen_classes

MAX_ITERATIONS = 10_000  # far above what any of our sets needs, so that the tolerance decides


@dataclass(frozen=True)
class Heads:
    """Fitted linear models.

    Attributes
    ----------
    models : one, or one for each category (multilabel). An int in place of a model is the only
        class there was to learn.
    unseen : columns of the probabilities without training examples.
    """

    kind: str
    n_classes: int
    models: tuple[Any, ...]
    unseen: list[int]


def fit_heads(
    features: Any,
    y: np.ndarray,
    kind: str,
    n_classes: int,
    *,
    make: Callable[[], Any],
    sample_weight: np.ndarray | None,
) -> Heads:
    """Fit one model, or one for each category.

    Parameters
    ----------
    features : matrix of shape (n, d), sparse or dense; or an array of n texts.
    y : (n,) class numbers, or (n, n_classes) indicators for multilabel.
    make : returns a new, unfitted model. With a weight that differs from 1 its `fit` gets
        `sample_weight`.
    """
    targets = list(y.T) if kind == "multilabel" else [y]
    models = tuple(_fit(features, target, make, sample_weight) for target in targets)
    return Heads(kind, n_classes, models, unseen_classes(y, kind, n_classes, sample_weight))


def linear(model: str, C: float, class_weight: str | None, random_state: int) -> Callable[[], Any]:
    """Return what makes a linear model.

    Parameters
    ----------
    model : logreg or svm (one against the rest, squared hinge).
    C : inverse strength of the penalty.
    class_weight : balanced weighs classes by 1 / frequency (sample weights counted in); None leaves
        them.
    random_state : order in which the SVM's solver visits examples; logistic regression draws
        nothing.
    """

    def make() -> Any:
        if model == "logreg":
            from sklearn.linear_model import LogisticRegression

            return LogisticRegression(
                C=C, class_weight=class_weight, solver="newton-cg", max_iter=MAX_ITERATIONS
            )
        from sklearn.svm import LinearSVC

        return LinearSVC(
            C=C, class_weight=class_weight, max_iter=MAX_ITERATIONS, random_state=random_state
        )

    return make


def probabilities(heads: Heads, features: Any) -> np.ndarray:
    """Return scores in [0, 1] of shape (n, n_classes).

    Where a model has `predict_proba`: its probabilities. An SVM: the decision values mapped
    monotonically, by the logistic function for two classes and for multilabel (0.5 = on the
    hyperplane), by softmax otherwise; good for ranking, not calibrated. A model with neither: 1 for
    the class that it predicts. Unseen classes are 0.
    """
    scores = np.zeros((features.shape[0], heads.n_classes))
    if heads.kind == "multilabel":
        for column, model in enumerate(heads.models):
            scores[:, column] = model if isinstance(model, int) else _scores(model, features)[:, 1]
        return scores
    (model,) = heads.models
    if isinstance(model, int):
        scores[:, model] = 1.0
    else:
        scores[:, model.classes_] = _scores(model, features)
    return scores


def _fit(
    features: Any,
    y: np.ndarray,
    make: Callable[[], Any],
    sample_weight: np.ndarray | None,
) -> Any:
    if (
        sample_weight is not None and not sample_weight.all()
    ):  # weight 0 must not make a class look seen
        features, y, sample_weight = (
            features[sample_weight > 0],
            y[sample_weight > 0],
            sample_weight[sample_weight > 0],
        )
    classes = np.unique(y)
    if len(classes) == 1:
        return int(classes[0])
    model = make()
    weights = {} if sample_weight is None else {"sample_weight": sample_weight}
    model.fit(features, y, **weights)
    if not hasattr(model, "classes_"):  # a class of the user's
        model.classes_ = classes
    return model


def _scores(model: Any, features: Any) -> np.ndarray:
    """Return scores of the classes that the model knows, shape (n, len(model.classes_)).

    Raises
    ------
    ValueError
        If a model gives scores of another shape, or predicts what is none of its classes.
    """
    n, classes = features.shape[0], np.asarray(model.classes_)
    if hasattr(model, "predict_proba"):
        scores = np.asarray(model.predict_proba(features), dtype=float)
    elif hasattr(model, "decision_function"):
        scores = _squashed(np.asarray(model.decision_function(features), dtype=float))
    else:
        scores = (np.asarray(model.predict(features))[:, None] == classes).astype(float)
        if not scores.any(axis=1).all():
            raise ValueError(f"predicts what is none of its classes {classes.tolist()}")
    if scores.shape != (n, len(classes)):
        raise ValueError(
            f"scores of {n} sentences in {len(classes)} classes have the shape {scores.shape}"
        )
    return scores


def _squashed(decision: np.ndarray) -> np.ndarray:
    from scipy.special import expit, softmax

    if decision.ndim == 1:
        return np.column_stack([expit(-decision), expit(decision)])
    return softmax(decision, axis=1)
