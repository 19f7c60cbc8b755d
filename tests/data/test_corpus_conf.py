"""The corpus configurations that ship: each conforms to the schema, and what no one may send is
marked so."""

from __future__ import annotations

import pytest
from grid import ROOT, group

from touchstone.data.files import find
from touchstone.data.readers.noteevents import LAYOUTS
from touchstone.schema import CorpusConfig

NAMES = sorted(path.stem for path in (ROOT / "conf" / "corpus").glob("*.yaml"))


@pytest.mark.parametrize("name", NAMES)
def test_every_corpus_conforms_to_the_schema_and_says_its_licence_and_command(name):
    corpus = group("corpus", name, CorpusConfig)
    assert corpus.name == name and corpus.license != "unknown"
    assert (ROOT / "conf" / "corpus" / f"{name}.yaml").read_text().startswith("# ")


@pytest.mark.parametrize("name", ["mimic_iii", "mimic_iv_note", "my_notes"])
def test_corpora_under_an_agreement_are_restricted(name):
    assert group("corpus", name, CorpusConfig).access == "restricted"


def test_the_mimic_categories_are_those_of_the_release():
    assert set(group("corpus", "mimic_iii", CorpusConfig).pool.categories) <= set(
        LAYOUTS["noteevents"].kinds
    )


def test_the_demo_needs_no_data_folder():
    corpus = group("corpus", "ad_demo", CorpusConfig)
    for path in (corpus.gold.path, corpus.gold.labels, *corpus.gold.annotators, corpus.pool.path):
        assert find(path, None).exists()
