"""The speed tricks of a cell: what Hydra, YAML, MLflow and Python do that a cell does not need.

Each stands with its worth, measured on 2 cores with the demo's default grid, for a cell of a warm
process or for the first cell of a process. Each can be taken away without another result: only time
is lost. Two stand where Hydra wants a class of ours, and are only named here.

- A grid is checked by its values, not by every combination (`hydra_plugins/touchstone_grid.py`):
  0.35 s for each cell, before the first one starts.
- Each YAML of conf/ is parsed once in a process (`conf_files.ConfFiles`): 0.1 s for each cell.
- `as_yaml`: 0.08 s for each cell.
- `collect_seldom`: 0.8 s of the first cell.
- `without_search_of_packages`: 1.07 s of the first cell.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# New objects before Python looks for cycles among them, and such rounds before it looks among older
# ones. With its own 700 it looks through all that was imported and composed again and again and
# finds nothing: a tenth of the time of a single cell, for no memory.
COLLECTED_AFTER = (50_000, 20, 20)


def collect_seldom() -> None:
    """Let Python look for cycles among new objects after 50,000 of them: 0.8 s less in the first
    cell."""
    gc.set_threshold(*COLLECTED_AFTER)


def as_yaml(plain: dict[str, Any]) -> str:
    """Return a plain configuration as `OmegaConf.to_yaml` would, written by libyaml where PyYAML
    has it: 0.08 s less for each cell."""
    import yaml

    fastest: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    Dumper: Any = type("Dumper", (fastest,), {})

    def text(dumper: Any, value: str) -> Any:
        try:  # 1e5 is text to YAML 1.1 and a number to OmegaConf
            style = "'" if float(value) is not None else None
        except ValueError:
            style = None
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)

    Dumper.add_representer(str, text)
    return yaml.dump(
        plain, Dumper=Dumper, default_flow_style=False, allow_unicode=True, sort_keys=False
    )


@contextmanager
def without_search_of_packages() -> Iterator[None]:
    """Keep MLflow from reading the file list of every installed package to check that touchstone
    and mlflow are there: 1.07 s less in the first cell that logs a model."""
    from mlflow.utils import environment

    name = "warn_dependency_requirement_mismatches"
    # private: where MLflow renames it, it just takes longer
    check = getattr(environment, name, None)
    if check is not None:
        setattr(environment, name, lambda requirements: None)
    try:
        yield
    finally:
        if check is not None:
            setattr(environment, name, check)
