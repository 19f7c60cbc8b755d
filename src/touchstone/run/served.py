"""A cell's classifier as a model that others serve: sentences in, names of categories and
probabilities out.

    mlflow.pyfunc.load_model(uri).predict(["MoCA 17/30."])
    -> DataFrame[labels, CATEGORY, ...]: names of categories, and the probability of each
    -> DataFrame[labels, spans] for named entities: their types, and the entities as JSON

The estimator is pickled with the names of its categories and loaded by this module, so the package
must be installed where it is used. Models of older runs are loaded by `models/serving.py`.
"""

from __future__ import annotations

import json
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, Schema, TensorSpec
from mlflow.types.schema import Array

from touchstone.data import targets
from touchstone.models.checks import labels_of
from touchstone.taxonomy import Taxonomy


@dataclass(frozen=True)
class Served:
    """A fitted estimator, the kind of its task, and the taxonomy whose categories it predicts."""

    estimator: Any
    kind: str
    taxonomy: Taxonomy

    def get_raw_model(self) -> Any:
        """Return the estimator itself."""
        return self.estimator

    def predict(
        self, sentences: pd.DataFrame | list[str], params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Return a row for each sentence: names of its categories (none: an empty list), and a
        column with the probability of each category; for entities their types and spans.

        Parameters
        ----------
        sentences : a list, or a DataFrame whose first column holds them.
        """
        if isinstance(sentences, pd.DataFrame):
            sentences = sentences.iloc[:, 0].tolist()
        texts = list(sentences)
        if self.kind == "ner":
            spans = targets.decode(self.estimator.predict(texts), self.taxonomy, self.kind)
            types = [list(dict.fromkeys(span["type"] for span in row)) for row in spans]
            return pd.DataFrame({"labels": types, "spans": [json.dumps(row) for row in spans]})
        scores = self.estimator.predict_proba(texts)
        labels = targets.decode(labels_of(scores, self.kind), self.taxonomy, self.kind)
        values = np.asarray(targets.category_scores(scores, self.kind), dtype=float)
        names = list(targets.categories(self.kind, self.taxonomy))
        probabilities = pd.DataFrame(values, columns=names)
        return pd.concat([pd.Series(labels, name="labels"), probabilities], axis=1)

    def signature(self) -> ModelSignature:
        """Return what goes in and what comes out, as MLflow states it."""
        labels = ColSpec(Array(DataType.string), "labels")
        outputs: list[ColSpec | TensorSpec]
        if self.kind == "ner":
            outputs = [labels, ColSpec(DataType.string, "spans")]
        else:
            names = targets.categories(self.kind, self.taxonomy)
            outputs = [labels, *(ColSpec(DataType.double, name) for name in names)]
        # no name of the input column: with one, MLflow would refuse a list of sentences
        return ModelSignature(inputs=Schema([ColSpec(DataType.string)]), outputs=Schema(outputs))


def save(served: Served, folder: Path) -> Path:
    """Store a model below `folder` and return the file."""
    path = folder / "classifier.pkl"
    with open(path, "wb") as handle:  # not joblib's pickler: written in Python, slower than a fit
        pickle.dump(served, handle, protocol=pickle.HIGHEST_PROTOCOL)
    return path


def _load_pyfunc(path: str) -> Served:
    """MLflow's entry point."""
    with open(path, "rb") as handle:
        return pickle.load(handle)
