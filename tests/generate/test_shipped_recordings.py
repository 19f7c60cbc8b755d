"""The shipped recordings answer what the presets ask, at every gold size, without text of
corpora."""

from __future__ import annotations

import pytest
from grid import DATA
from report_store import composed

from touchstone.configuration import checked
from touchstone.data.corpus import read_gold
from touchstone.pipeline import drawn_gold, generate
from touchstone.taxonomy import taxonomy_of


def stage(tmp_path, *overrides: str):
    """Return what the LLM answered for one cell of a preset, replayed."""
    config = checked(
        composed(*overrides, f"paths.cache={tmp_path / 'cache'}", f"paths.data={DATA}")
    )
    taxonomy = taxonomy_of(config.taxonomy)
    gold = read_gold(config.corpus, config.task, taxonomy, config.paths.data, config.paths.cache)
    return generate(config, taxonomy, gold, drawn_gold(gold, config), gold.part("test"), {})


@pytest.mark.skipif(not (DATA / "gad").exists(), reason="needs the corpora in TOUCHSTONE_DATA")
@pytest.mark.parametrize(
    ("name", "n", "overrides"),
    [
        ("zero_shot", 534, ("task=gad", "mixture=baseline/zero_shot")),
        ("silver", 800, ("task=gad", "mixture=gold_silver", "task.gold_sentences=50")),
        ("silver", 800, ("task=gad", "mixture=silver", "task.gold_sentences=1000")),
        ("silver", 1000, ("task=ncbi_disease", "mixture=silver", "task.gold_sentences=50")),
        ("silver", 1000, ("task=ncbi_disease", "mixture=silver", "task.gold_sentences=1000")),
        ("zero_shot", 940, ("task=ncbi_disease", "mixture=baseline/zero_shot")),
        ("zero_shot", 300, ("task=bc5cdr_disease", "mixture=baseline/zero_shot")),
        ("bronze", 240, ("task=bc5cdr_disease", "mixture=bronze")),
        ("silver", 1443, ("task=hoc", "mixture=silver")),
        ("silver", 1443, ("task=hoc_binary", "mixture=silver", "task.gold_patients=20")),
    ],
)
def test_every_llm_answer_of_the_presets_is_shipped(tmp_path, name, n, overrides) -> None:
    made = stage(tmp_path, *overrides)[name]
    assert len(made.dataset) == n
    assert made.usage.failed == 0 and made.quarantine.empty
