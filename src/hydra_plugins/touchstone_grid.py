"""The default sweeper: every combination of the values given, checked by its values before the
grid starts.

Hydra instantiates sweepers only from this package, `hydra_plugins`. The class does nothing unless
a configuration names it as `hydra/sweeper`: other Hydra programs of the environment are not touched
(a test runs one). Takes the same arguments as Hydra's `basic` and gives the same jobs in the same
order (a test compares them). What the check by values saves is measured in
`touchstone/run/fast.py`. Source: the interface `hydra.plugins.sweeper.Sweeper` and Hydra's example
of a sweeper plugin.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn
from hydra.errors import HydraException
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf


class GridSweeper(Sweeper):
    """Launches the combinations of a grid, in the order of its axes.

    Parameters
    ----------
    max_batch_size : jobs that are launched together; None: all.
    params : axis -> its values, as on the command line, which goes before them.
    """

    def __init__(self, max_batch_size: int | None, params: Mapping[str, str] | None = None) -> None:
        if max_batch_size is not None and max_batch_size < 1:
            raise HydraException(f"hydra.sweeper.max_batch_size={max_batch_size}: at least 1")
        self.max_batch_size = max_batch_size
        self.params = dict(params or {})
        self.config: DictConfig | None = None
        self.hydra_context: HydraContext | None = None
        self.launcher: Launcher | None = None

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Keep what Hydra hands over, and make the launcher."""
        self.hydra_context, self.config = hydra_context, config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> list[Sequence[JobReturn]]:
        """Launch the jobs and return what each gave.

        Before the first, their number is left in the sweep's folder, for the lines that cells
        print, and on a terminal their table is shown.
        """
        from touchstone.run import interruption, live, places

        assert self.config is not None and self.hydra_context and self.launcher
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        defaults = [f"{key}={values}" for key, values in self.params.items()]
        jobs = combinations(parser.parse_overrides([*defaults, *arguments]))
        folder = Path(str(self.config.hydra.sweep.dir))
        folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(self.config, folder / "multirun.yaml")
        places.note_cells(folder, jobs)
        launcher = str(self.config.hydra.launcher._target_)
        live.start(folder, launcher)
        size, results = self.max_batch_size or len(jobs), []
        for first in range(0, len(jobs), size):
            batch = jobs[first : first + size]
            self.validate_batch_is_legal(batch)
            with interruption.passed_on(launcher):
                results.append(self.launcher.launch(batch, initial_job_idx=first))
            for result in results[-1]:
                _ = result.return_value  # raises what the job raised
        return results

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """Compose the fewest jobs, taken in order, that together hold every override of the batch:
        9 configurations for a grid of 28."""
        seen: set[str] = set()
        chosen = []
        for overrides in batch:
            if not seen.issuperset(overrides):
                chosen.append(overrides)
                seen.update(overrides)
        super().validate_batch_is_legal(chosen)


def combinations(overrides: Sequence[Override]) -> list[list[str]]:
    """Return the overrides of each job, the last axis changing fastest; where an axis is named
    twice, the later values stand.

    Raises
    ------
    HydraException
        If an axis has no listed values, only a range of numbers.
    """
    axes: dict[Any, list[str]] = {}
    for override in overrides:
        key = override.get_key_element()
        if not override.is_sweep_override():
            axes[key] = [f"{key}={override.get_value_element_as_str()}"]
        elif override.is_discrete_sweep():
            axes[key] = [f"{key}={value}" for value in override.sweep_string_iterator()]
        else:
            raise HydraException(
                f"{override.input_line}: a grid needs listed values, 0.1,1,10; an interval is for "
                "a search: hydra/sweeper=optuna"
            )
    return [list(job) for job in itertools.product(*axes.values())]
