"""Classifiers in MLflow: logged with name, metrics, data set, signature and requirements that can
be installed; the best of a sweep registered with the alias `champion`.

Never of a restricted corpus unless its text may be logged: a vocabulary is text (logbook.py).
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory

import mlflow
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.models import Model

from touchstone import __version__, plugins
from touchstone.errors import UserError
from touchstone.run import served
from touchstone.run.fast import without_search_of_packages
from touchstone.run.served import Served
from touchstone.tracking import Store

CHAMPION = "champion"
DISTRIBUTION = "touchstone-nlp"


def log_model(store: Store, run_id: str, name: str, model: Served) -> str:
    """Log a classifier and return the model's id.

    By `Model.log`, which takes a run: `pyfunc.log_model` wants it active, and the run is finished
    on leaving that.
    """
    own = plugins.own_files((getattr(model.estimator, "target", ""), None))
    mlflow.set_experiment(experiment_id=store.experiment_id)  # the logged model's, too
    with (
        TemporaryDirectory() as temporary,
        warnings.catch_warnings(),
        without_search_of_packages(),
    ):
        # it would be a sentence of the corpus
        warnings.filterwarnings("ignore", "(?s).*input example")
        logged = Model.log(
            artifact_path=None,
            name=re.sub(r"[/:.%\"'\s]+", "_", name),
            flavor=mlflow.pyfunc,
            run_id=run_id,
            loader_module="touchstone.run.served",
            data_path=str(served.save(model, Path(temporary))),
            signature=model.signature(),
            pip_requirements=requirements(),
            metadata={"touchstone": __version__},
            code_paths=sorted({str(plugins.code_root(file)) for file in own}) or None,
        )
    return logged.model_id


def requirements() -> list[str]:
    """Return what a model needs, as pip can install it: this package's own requirements in the
    versions that are installed here.

    The package itself is not on an index; `metadata` of the model says its version.
    """
    try:
        lines = metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        lines = ["mlflow", "numpy", "pandas", "scikit-learn"]
    names = [
        re.match(r"[\w.-]+", line)[0]  # type: ignore[index]
        for line in lines
        if "extra ==" not in line
    ]
    return sorted(f"{name}=={metadata.version(name)}" for name in names if _is_installed(name))


def _is_installed(name: str) -> bool:
    try:
        return bool(metadata.version(name))
    except metadata.PackageNotFoundError:
        return False


def register(store: Store, name: str, best: Mapping[str, Run]) -> list[str]:
    """Register the best cell of each task as a new version with the alias `champion`; return a line
    about each.

    Parameters
    ----------
    name : of the registered model; with several tasks `NAME-TASK`.
    best : task -> run of its best cell.

    Raises
    ------
    UserError
        If a best cell has no logged model, or the name is none that MLflow takes.
    """
    lines = []
    for task, run in best.items():
        outputs = run.outputs.model_outputs if run.outputs else []
        if not outputs:
            raise UserError(
                f"tracking.register={name}: the best cell, {run.info.run_name}, has no "
                "logged model (the LLM asked directly, a restricted corpus, or "
                "tracking.log_models=false)"
            )
        called = name if len(best) == 1 else f"{name}-{task}"
        model_id = outputs[0].model_id
        try:
            try:
                store.client.create_registered_model(called)
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
            version = store.client.create_model_version(
                called, f"models:/{model_id}", run_id=run.info.run_id, model_id=model_id
            )
            store.client.set_registered_model_alias(called, CHAMPION, version.version)
        except MlflowException as error:
            first = str(error).splitlines()[0]
            raise UserError(f"tracking.register={name}: {first}") from error
        lines.append(
            f"registered: models:/{called}@{CHAMPION} is version {version.version}, "
            f"{run.info.run_name}"
        )
    return lines
