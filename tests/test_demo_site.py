"""The demo's test site: notes of a country practice, never learned from."""

from __future__ import annotations

from pathlib import Path

from report_store import composed

from touchstone.configuration import checked
from touchstone.data.corpus import read_gold, read_sites
from touchstone.pipeline import run_cell
from touchstone.taxonomy import taxonomy_of


def cell(corpus: str, cache: Path):
    overrides = (f"corpus={corpus}", "mixture=gold", f"paths.cache={cache}")
    return run_cell(checked(composed(*overrides)))


def test_the_site_is_scored_and_changes_nothing_else(tmp_path: Path) -> None:
    with_site, without = (cell(name, tmp_path) for name in ("ad_demo_sites", "ad_demo"))
    assert with_site.predictions.equals(without.predictions)
    assert round(with_site.metrics["macro_f1"], 3) == 0.273  # the default number
    rural = with_site.datasets["site_rural"].frame
    assert len(rural) == 63 and rural["patient_id"].nunique() == 6
    assert with_site.metrics["site/rural/n"] == 63
    assert 0 < with_site.metrics["site/rural/macro_f1"] < 1
    assert not any(name.startswith("site/") for name in without.metrics)
    learned = set(with_site.datasets["training"].frame["text"])
    assert not learned & set(rural["text"])


def test_every_category_stands_in_the_site(tmp_path: Path) -> None:
    config = checked(composed("corpus=ad_demo_sites"))
    taxonomy = taxonomy_of(config.taxonomy)
    gold = read_gold(config.corpus, config.task, taxonomy, None, str(tmp_path))
    _, sites = read_sites(gold, config.corpus, config.task, taxonomy, None)
    labels = {label for row in sites["rural"]["labels"] for label in row}
    assert labels == {category.id for category in taxonomy.categories}
