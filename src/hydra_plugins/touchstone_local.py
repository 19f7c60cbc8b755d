"""The launcher `local`: cells side by side on this machine, in processes forked after the imports.

Hydra instantiates launchers only from this package, `hydra_plugins`. The class does nothing unless
a configuration names it as `hydra/launcher`: other Hydra programs of the environment are not
touched.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

log = logging.getLogger(__name__)


class LocalLauncher(Launcher):
    """Runs jobs in forked processes.

    Parameters
    ----------
    n_jobs : processes at a time; None is one for each processor.
    gpus : whether each process sees one GPU of its own, where there are any; then there are no more
        processes than GPUs.
    """

    def __init__(self, n_jobs: int | None = None, gpus: bool = True) -> None:
        self.n_jobs = n_jobs
        self.gpus = gpus

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Keep what a job needs; called by Hydra."""
        self.hydra_context = hydra_context
        self.task_function = task_function
        self.config = config

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Run the jobs and return what they return, in their order."""
        from touchstone.run.local import launch

        return launch(self, job_overrides, initial_job_idx)

    def job(self, overrides: Sequence[str], number: int) -> Any:
        """Compose one job and run it in this process."""
        from hydra.core.utils import run_job
        from omegaconf import open_dict

        composed = self.hydra_context.config_loader.load_sweep_config(self.config, list(overrides))
        with open_dict(composed):
            composed.hydra.job.id = composed.hydra.job.num = number
        return run_job(
            hydra_context=self.hydra_context,
            task_function=self.task_function,
            config=composed,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
        )
