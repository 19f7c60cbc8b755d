"""The cases of ../shared/cases that are scripts: run as they are, against the modules of today.

Those that are files are read where their reader is tested (tests/data). Skipped where the folder is
absent.
"""

from __future__ import annotations

import runpy
import shutil
import sys
from types import SimpleNamespace

import pytest
from grid import ROOT

from touchstone.configuration import checked
from touchstone.generate.data_to_label import sentences
from touchstone.llm import answers
from touchstone.pipeline import run_cell
from touchstone.run.conf_files import composed

CASES = ROOT.parent / "shared" / "cases"
pytestmark = pytest.mark.skipif(not CASES.exists(), reason="shared/cases is not here")


def printed(script: str, monkeypatch, capsys) -> dict[str, str]:
    """Run a script, and return name of the case -> what it says of it."""
    loads = SimpleNamespace(loads=answers.loads)
    monkeypatch.setitem(sys.modules, "touchstone.llm.parsing", loads)
    monkeypatch.setattr("touchstone.generate.data_to_label.parse", sentences.parse, raising=False)
    runpy.run_path(str(CASES / script))
    lines = capsys.readouterr().out.splitlines()
    return {line[:28].strip(): line[28:].strip() for line in lines}


def test_answers_as_models_write_them_are_read_right_or_refused(monkeypatch, capsys):
    said = printed("parser/parsetest.py", monkeypatch, capsys)
    right = (
        "think_draft think_braces think_bracket_list think_quote_open think_schema_echo "
        "think_end_only harmony plain think fence"
    ).split()
    assert {name: said[name] for name in right if name in said} == {
        name: "RIGHT" for name in right if name in said
    }
    assert "think_draft" in said and "harmony" in said
    assert said["think_unfinished_draft"].startswith("refused")
    assert not [name for name, what in said.items() if "WRONG SILENTLY" in what]


def test_two_metrics_of_categories_without_latin_letters_are_two(tmp_path, monkeypatch):
    folder = CASES / "metric_names"
    (tmp_path / "conf" / "taxonomy").mkdir(parents=True)
    shutil.copy(folder / "taxonomy" / "zh.yaml", tmp_path / "conf" / "taxonomy")
    monkeypatch.chdir(tmp_path)
    files = [f"corpus.gold.{part}={folder}/{part}.tsv" for part in ("train", "dev", "test")]
    asked = ("task=ncbi_disease", "taxonomy=zh", "task.gold_sentences=null", *files)
    made = run_cell(checked(composed([*asked, "mixture=gold", "classifier=crf"])))
    names = [name for name in made.metrics if name.startswith("f1/")]
    assert len(names) == 2 and made.metrics["f1/疾病"] == 1
    assert 0.5 < made.metrics["f1/药物"] < 1  # the value follows the default filter of gold


def test_a_key_given_twice_is_refused_also_where_the_answer_was_repaired(monkeypatch, capsys):
    said = printed("parser/repairtest.py", monkeypatch, capsys)
    for name in ("dup key repaired", "dup key strict"):
        (line,) = [f"{key} {what}" for key, what in said.items() if key.startswith(name)]
        assert "an object holds the same key twice" in line
