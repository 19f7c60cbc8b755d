"""What the process from which `preloaded` forks imports: everything that a cell of a linear model
needs, with the plugins that Hydra looks for."""

import gc

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
import touchstone.data.readers.labelled_notes
import touchstone.llm.backends.openai
import touchstone.models.tfidf
import touchstone.report.article
import touchstone.report.closing
import touchstone.report.command
import touchstone.report.comparisons
import touchstone.report.figures.scores_svg
import touchstone.report.page
import touchstone.report.tables.captions
import touchstone.report.tables.scores
import touchstone.reproduce.bundle
import touchstone.reproduce.reproduce
import touchstone.run.conf_files
import touchstone.run.console
import touchstone.run.job
import touchstone.run.logbook
import touchstone.run.sweep

Plugins.instance()
gc.collect()
gc.freeze()  # no process looks through what all share

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
