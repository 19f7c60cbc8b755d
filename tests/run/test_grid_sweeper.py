"""The jobs of a grid: those of Hydra's own sweeper in its order, checked by values."""

from __future__ import annotations

import pytest
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.plugins.sweeper import Sweeper

from hydra_plugins.touchstone_grid import GridSweeper, combinations

GRIDS = {
    "one axis": ["mixture=gold,bronze"],
    "two axes and a fixed key": ["mixture=gold,bronze", "seed=1", "prompt=minimal,guideline"],
    "ranges and choices": ["task.gold_patients=range(1,7,2)", "classifier.C=choice(0.1,1)"],
    "added and removed keys": ["+experiment=hoc", "~tracking", "++seeds=1,2"],
    "quoted values and lists": ["a='x,y',z", "b=[1,2],[3]", "c={d:1},{d:2}"],
    "an axis named twice": ["mixture=gold,bronze", "seed=1,2", "mixture=silver"],
    "nothing to vary": ["seed=3"],
}


@pytest.mark.parametrize("overrides", GRIDS.values(), ids=GRIDS)
def test_jobs_are_those_of_hydras_own_sweeper(overrides):
    parsed = OverridesParser.create().parse_overrides(overrides)
    (theirs,) = BasicSweeper.split_arguments(parsed, None)
    assert combinations(parsed) == theirs


def test_an_interval_is_for_a_search():
    parsed = OverridesParser.create().parse_overrides(["classifier.C=interval(0.1,1)"])
    with pytest.raises(HydraException, match="hydra/sweeper=optuna"):
        combinations(parsed)


def test_every_value_is_composed_and_not_every_combination(monkeypatch):
    composed = []
    monkeypatch.setattr(Sweeper, "validate_batch_is_legal", lambda _, jobs: composed.extend(jobs))
    parsed = OverridesParser.create().parse_overrides(["a=1,2,3", "b=4,5", "c=6,7"])
    jobs = combinations(parsed)
    GridSweeper(None).validate_batch_is_legal(jobs)
    assert {value for job in composed for value in job} == {value for job in jobs for value in job}
    assert len(composed) < len(jobs) / 2
