"""A fitted classifier as an MLflow model: `mlflow.pyfunc.load_model(uri).predict(sentences)`.

The estimator is pickled and loaded by this module (`loader_module`), so the package must be
installed where it is used.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pandas as pd

RENAMED = {"touchstone.models.linear": "touchstone.models.tfidf"}  # module then -> now


class Loaded:
    """What MLflow calls: `predict` takes a DataFrame whose first column holds sentences, or a list
    of them."""

    def __init__(self, estimator: Any) -> None:
        self.estimator = estimator

    def get_raw_model(self) -> Any:
        """Return the estimator itself, for probabilities: `model.get_raw_model()`."""
        return self.estimator

    def predict(
        self, sentences: pd.DataFrame | list[str], params: dict[str, Any] | None = None
    ) -> Any:
        """Return the estimator's predictions, one for each sentence."""
        texts = (
            sentences.iloc[:, 0].tolist()
            if isinstance(sentences, pd.DataFrame)
            else list(sentences)
        )
        return self.estimator.predict(texts)


def save(estimator: Any, folder: Path) -> Path:
    """Store an estimator below `folder` and return the file."""
    path = folder / "classifier.pkl"
    with open(
        path, "wb"
    ) as handle:  # joblib's pickler is written in Python: a vocabulary takes it longer than the fit
        pickle.dump(estimator, handle, protocol=pickle.HIGHEST_PROTOCOL)
    return path


def _load_pyfunc(path: str) -> Loaded:
    """MLflow's entry point."""
    with open(path, "rb") as handle:
        return Loaded(_Unpickler(handle).load())


class _Unpickler(pickle.Unpickler):
    """Finds classes of models that were logged before their modules had today's names."""

    def find_class(self, module: str, name: str) -> Any:
        return super().find_class(RENAMED.get(module, module), name)
