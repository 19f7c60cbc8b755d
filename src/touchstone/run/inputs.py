"""Data sets and tables of a run as MLflow shows them: the true number of rows, a source that can be
loaded, and tables that its pages draw.

Does not decide what may be shown: the logbook hands over what may be logged.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from mlflow.data.code_dataset_source import CodeDatasetSource
from mlflow.data.dataset_source_registry import resolve_dataset_source
from mlflow.entities import Dataset as DatasetEntity
from mlflow.entities import DatasetInput, InputTag
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_LOGGED_ARTIFACTS

from touchstone.data.examples import COLUMNS, Dataset

DIGEST = 36  # characters of a digest that MLflow keeps
MOST_ROWS = 5000  # of a table that is drawn; all rows are in the Parquet or CSV beside it


def described(data: Dataset, context: str, uri: str) -> DatasetInput:
    """Describe a data set by digest, schema, size and source.

    MLflow's own digest misses changes in long tables, so ours is given.

    Parameters
    ----------
    context : training, dev, test or generated.
    uri : of the Parquet file that holds it.
    """
    columns = [
        {"type": "string", "name": name, "required": True}
        for name in COLUMNS
        if name in data.frame.columns
    ]
    kind, source = _source(uri)
    entity = DatasetEntity(
        name=data.name,
        digest=data.digest[:DIGEST],
        source_type=kind,
        source=source,
        schema=json.dumps({"mlflow_colspec": columns}),
        profile=json.dumps({"num_rows": len(data), "num_elements": int(data.frame.size)}),
    )
    tags = [
        InputTag("mlflow.data.context", context),
        InputTag("touchstone.digest", data.digest),
        InputTag("touchstone.n_examples", str(len(data))),
    ]
    return DatasetInput(dataset=entity, tags=tags)


def _source(uri: str) -> tuple[str, str]:
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*can be interpreted in multiple ways")
            source = resolve_dataset_source(uri)
    except MlflowException:
        source = CodeDatasetSource(tags={"touchstone": uri})
    return source._get_source_type(), source.to_json()


def write_tables(folder: Path, tables: Mapping[str, pd.DataFrame]) -> dict[str, str]:
    """Write tables as MLflow's pages draw and compare them; return the tag that tells it of them.

    Parameters
    ----------
    tables : path below the run's artefacts, ending in .json -> table, as it may be shown.
    """
    for path, table in tables.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        table.head(MOST_ROWS).to_json(
            folder / path, orient="split", index=False, date_format="iso", force_ascii=False
        )
    listed = [{"path": path, "type": "table"} for path in tables]
    return {MLFLOW_LOGGED_ARTIFACTS: json.dumps(listed)} if listed else {}
