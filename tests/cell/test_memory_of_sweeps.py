"""Cells of one sweep train on one data set of a stage, whichever of them asked for it first."""

from __future__ import annotations

import pandas as pd
import pytest
from grid import table

from touchstone.cell import memory
from touchstone.configuration import checked
from touchstone.data.examples import dataset
from touchstone.generate.stages import Generated
from touchstone.llm.usage import Usage
from touchstone.run.conf_files import composed


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "_stages", type(memory._stages)())
    return checked(composed(["llm.tolerate=0.5", f"paths.cache={tmp_path / 'cache'}"]))


def lacking(n: int):
    """A stage of n sentences whose other requests were given up, and how often it was run."""

    def run() -> Generated:
        run.times += 1
        rows = [(f"p{i}", f"Forgets name {i}.", ["memory"]) for i in range(n)]
        made = dataset(table(*rows, source="silver", split=""), "silver", stage="silver")
        quarantine = pd.DataFrame(columns=["stage", "key", "reason", "text"])
        return Generated("silver", made, quarantine, Usage(failed=1), ("told",), (), False)

    run.times = 0
    return run


def test_what_lacks_a_tolerated_share_is_one_data_set_for_a_sweep_and_none_for_others(config):
    first, later = lacking(3), lacking(5)
    inputs = [{"pool": 1}]
    one = memory.remembered(config, "silver", inputs, first, "sweep-1")
    memory._stages.clear()  # another process
    two = memory.remembered(config, "silver", inputs, later, "sweep-1")
    assert one.dataset.digest == two.dataset.digest and later.times == 0
    assert two.warnings == ("told",) and two.reused and two.usage.sent == 0
    other = memory.remembered(config, "silver", inputs, later, "sweep-2")
    assert len(other.dataset) == 5, "another sweep asks again"
    alone = memory.remembered(config, "silver", inputs, lacking(7))
    assert len(alone.dataset) == 7


def test_a_stage_that_lacks_more_than_is_tolerated_is_asked_again_by_the_next_cell(config):
    def run() -> Generated:
        raise KeyError("too much is lacking")

    with pytest.raises(KeyError):
        memory.remembered(config, "silver", [{"pool": 1}], run, "sweep-1")
    again = lacking(4)
    assert len(memory.remembered(config, "silver", [{"pool": 1}], again, "sweep-1").dataset) == 4
