"""What the process from which `preloaded` forks imports: everything that a cell of a linear model needs, with the plugins that Hydra looks for."""

import alembic.command
import hydra.main
import mlflow.pyfunc
import mlflow.store.model_registry.sqlalchemy_store
import mlflow.store.tracking.sqlalchemy_store
import mlflow.store.tracking.sqlalchemy_workspace_store
import openai
import pandas.io.formats.csvs
import preloaded
import pyarrow.dataset
import pyarrow.parquet
import rich.progress
import sklearn.feature_extraction.text
import sklearn.linear_model
import sklearn.svm
import sqlalchemy.dialects.sqlite
import tabulate
from hydra.core.plugins import Plugins

import hydra_plugins.touchstone_grid
import touchstone.bundle
import touchstone.cell
import touchstone.console
import touchstone.data.labelled
import touchstone.llm.online
import touchstone.logbook
import touchstone.models.linear
import touchstone.report.captions
import touchstone.report.closing
import touchstone.report.comparisons
import touchstone.report.scores_svg
import touchstone.report.studies
import touchstone.reproduce
import touchstone.sweep

Plugins.instance()

__all__ = [
    "alembic",
    "hydra",
    "hydra_plugins",
    "mlflow",
    "openai",
    "pandas",
    "preloaded",
    "pyarrow",
    "rich",
    "sklearn",
    "sqlalchemy",
    "tabulate",
    "touchstone",
]
