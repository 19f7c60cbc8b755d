"""Classifiers as scikit-learn estimators, one file for each schema of conf/classifier: `build`
makes the one that a configuration names. Importing this loads nothing heavy.

Does not fit anything. A schema's file has `build(config, task)`; classes of a user's own come in
through the schema `estimator`.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from touchstone.errors import UserError
from touchstone.models.threads import limit_threads
from touchstone.schema import ClassifierConfig

__all__ = ["build", "limit_threads"]


def build(
    classifier: ClassifierConfig,
    kind: str,
    n_classes: int,
    *,
    seed: int,
    threads: int,
    cache: Path,
    types: Sequence[str] | None = None,
    restricted: bool = False,
) -> Any:
    """Return an unfitted estimator for a task; see `checks.Task` for the arguments.

    Raises
    ------
    UserError
        If the classifier cannot do tasks of this kind.
    """
    if classifier.kinds and kind not in classifier.kinds:
        raise UserError(
            f"classifier={classifier.name} cannot do {kind} tasks; it does "
            f"{', '.join(classifier.kinds)}"
        )
    from touchstone.models.checks import Task

    module = importlib.import_module(f"{__name__}.{classifier.schema}")
    return module.build(classifier, Task(kind, n_classes, seed, threads, cache, types, restricted))
