"""Ranges and bookkeeping stand on the fields, and hold for what lies in lists and dicts too."""

from __future__ import annotations

import pytest
from report_store import composed

from touchstone.configuration import checked, own_code
from touchstone.digest import digest
from touchstone.errors import UserError
from touchstone.ranges import counted


def test_the_sites_of_a_corpus_decide_the_result() -> None:
    with_site = counted(checked(composed("corpus=ad_demo_sites")))
    again = counted(checked(composed("corpus=ad_demo_sites")))
    elsewhere = checked(composed("corpus=ad_demo_sites"))
    elsewhere.corpus.sites["rural"].path = "another.jsonl"
    assert digest(with_site) == digest(again) != digest(counted(elsewhere))


def test_values_of_a_site_are_checked_and_named() -> None:
    config = composed("corpus=ad_demo_sites")
    config.corpus.sites.rural.spans_as = "coin"
    with pytest.raises(UserError, match=r"corpus\.sites\.rural\.spans_as=coin: must be "):
        checked(config)


@pytest.mark.parametrize("source", ["gold", "pool", "silver", "bronze", "sites.rural"])
def test_a_reader_of_ones_own_counts_for_every_source(source, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text("def read(files, taxonomy, folder): ...\n")
    config = checked(composed("corpus=ad_demo_sites"))
    assert not own_code(config)
    part = config.corpus
    for name in source.split("."):
        part = part[name] if isinstance(part, dict) else getattr(part, name)
    if part is None:
        pytest.fail(f"the demo has no {source}")
    part.reader = "mine.py:read"
    assert list(own_code(config)) == ["mine.py"]
