"""What the process from which `preloaded` forks imports: everything that a cell of a linear model needs."""

import alembic.command
import hydra.main
import mlflow.store.model_registry.sqlalchemy_store
import mlflow.store.tracking.sqlalchemy_store
import pyarrow.dataset
import pyarrow.parquet
import rich.progress
import sklearn.feature_extraction.text
import sklearn.linear_model
import sklearn.svm
import tabulate

import hydra_plugins.touchstone_grid
import touchstone.cell
import touchstone.console
import touchstone.logbook
import touchstone.models.linear
import touchstone.report.closing
import touchstone.sweep

__all__ = ["alembic", "hydra", "hydra_plugins", "mlflow", "pyarrow", "rich", "sklearn", "tabulate", "touchstone"]
