"""Linear models on a feature matrix: what the TF-IDF classifiers and the frozen encoder have in
common.

Multi-class tasks get one multinomial model, multi-label tasks one binary model for each category on
the same features. A class without training examples is never predicted. Does not make features
(linear.py, encoder_logreg.py).

The solver is newton-cg because of a measurement: on 2,000 demo sentences in ten classes (22,000
TF-IDF features) it needs 0.12 s where lbfgs needs 0.59 s and saga does not converge in 1.8 s; on
14,000 sentences 1.5 s against 6.9 s.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from touchstone.models.checks import must, unseen_classes

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
    model: str,
    C: float,
    class_weight: str | None,
    sample_weight: np.ndarray | None,
    random_state: int,
) -> Heads:
    """Fit linear models.

    Parameters
    ----------
    features : matrix of shape (n, d), sparse or dense.
    y : (n,) class numbers, or (n, n_classes) indicators for multilabel.
    model : logreg or svm (one against the rest, squared hinge).
    C : inverse strength of the penalty.
    class_weight : balanced weighs classes by 1 / frequency (sample weights counted in); None leaves
        them.
    random_state : order in which the SVM's solver visits examples; logistic regression draws
        nothing.
    """
    must(model in ("logreg", "svm"), "model", model, "logreg or svm")
    must(class_weight in (None, "balanced"), "class_weight", class_weight, "balanced or null")
    must(C > 0, "C", C, "more than 0")
    targets = list(y.T) if kind == "multilabel" else [y]
    models = tuple(
        _fit(features, target, model, C, class_weight, sample_weight, random_state)
        for target in targets
    )
    return Heads(kind, n_classes, models, unseen_classes(y, kind, n_classes, sample_weight))


def probabilities(heads: Heads, features: Any) -> np.ndarray:
    """Return scores in [0, 1] of shape (n, n_classes).

    Logistic regression: probabilities. SVM: the decision values mapped monotonically, by the
    logistic function for two classes and for multilabel (0.5 = on the hyperplane), by softmax
    otherwise; good for ranking, not calibrated. Unseen classes are 0.
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
    model: str,
    C: float,
    class_weight: str | None,
    sample_weight: np.ndarray | None,
    random_state: int,
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
    if model == "logreg":
        from sklearn.linear_model import LogisticRegression

        estimator = LogisticRegression(
            C=C, class_weight=class_weight, solver="newton-cg", max_iter=MAX_ITERATIONS
        )
    else:
        from sklearn.svm import LinearSVC

        estimator = LinearSVC(
            C=C, class_weight=class_weight, max_iter=MAX_ITERATIONS, random_state=random_state
        )
    return estimator.fit(features, y, sample_weight=sample_weight)


def _scores(model: Any, features: Any) -> np.ndarray:
    """Return scores of the classes that the model knows, shape (n, len(model.classes_))."""
    if hasattr(model, "predict_proba"):
        return model.predict_proba(features)
    from scipy.special import expit, softmax

    decision = model.decision_function(features)
    if decision.ndim == 1:
        return np.column_stack([expit(-decision), expit(decision)])
    return softmax(decision, axis=1)
