"""The default sweeper: Hydra's own, which checks a grid by its values before it starts.

Hydra instantiates sweepers only from this package, `hydra_plugins`. The class does nothing unless
a configuration names it as `hydra/sweeper`: other Hydra programs of the environment are not touched
(a test runs one). What it saves is measured in `touchstone/run/fast.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper


class GridSweeper(BasicSweeper):
    """Hydra's sweeper, which checks beforehand that every value composes, not every combination: 9
    configurations for a grid of 28."""

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """Compose the fewest jobs, taken in order, that together hold every override of the
        batch."""
        seen: set[str] = set()
        chosen = []
        for overrides in batch:
            if not seen.issuperset(overrides):
                chosen.append(overrides)
                seen.update(overrides)
        super().validate_batch_is_legal(chosen)

    def get_job_batch(self) -> Sequence[Sequence[str]]:
        """Return the next jobs; before the first, leave in the sweep's folder how many there are in
        all, for the lines that cells print, and show their table on a terminal."""
        if self.batch_index == 0:
            from touchstone.run import live, places

            assert self.config is not None and self.overrides is not None
            folder = Path(str(self.config.hydra.sweep.dir))
            places.note_cells(folder, [job for batch in self.overrides for job in batch])
            live.start(folder, str(self.config.hydra.launcher._target_))
        return super().get_job_batch()
