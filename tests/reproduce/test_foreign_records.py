"""Bundles and stores of strangers: read as data, one line where they hold anything else."""

import json

import pytest

from touchstone import cli
from touchstone.errors import UserError
from touchstone.llm import recording
from touchstone.llm.protocol import Request
from touchstone.reproduce.record import records_of

CONFIG = "{corpus: {name: x}, task: {kind: binary}, llm: {}, paths: {}, classifier: {name: y}}\n"


@pytest.fixture
def bundle(tmp_path):
    """A bundle of one cell, as small as it can be read."""
    cell = tmp_path / "cells" / "abc"
    (cell / "tables").mkdir(parents=True)
    (cell / "tables" / "scores.csv").write_text("name,value\nf1,0.5\n")
    (cell / "config.yaml").write_text(CONFIG)
    for name, value in {
        "environment.json": {},
        "git.json": {"code": "", "commit": None},
        "tags.json": {"name": "gold", "tags": {}},
    }.items():
        (cell / name).write_text(json.dumps(value))
    return tmp_path


def test_a_plain_bundle_is_read_with_and_without_its_format(bundle):
    assert [record.run_id for record in records_of(bundle)] == ["abc"]
    (bundle / "bundle.json").write_text('{"format": 1}')
    assert [record.name for record in records_of(bundle)] == ["gold"]


def test_a_bundle_of_a_newer_format_is_one_clear_line(bundle):
    (bundle / "bundle.json").write_text('{"format": 2}')
    with pytest.raises(UserError, match="a bundle of format 2; this touchstone reads format 1"):
        records_of(bundle)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (CONFIG + "x: !!python/object/apply:os.system [touch owned]\n", "holds a tag"),
        ("!!python/object/apply:os.system [touch owned]", "holds a tag"),
        ("a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n", "an alias"),
        ("[" * 5000, "cannot be read"),
        ("a: b: c", "cannot be read"),
        ("just words", "no configuration of a cell"),
        ("corpus: []", "no configuration of a cell"),
        (CONFIG.replace("llm: {}", "llm: {a: [{_target_: os.system}]}"), r"llm.a.0._target_"),
        (CONFIG.replace("x}", "x, b: '${oc.env:HOME}'}"), "never does"),
        ("\xff\xfe", "not UTF-8"),
    ],
)
def test_a_configuration_is_plain_data_or_nothing(bundle, text, said, monkeypatch):
    monkeypatch.chdir(bundle)
    (bundle / "cells/abc/config.yaml").write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError, match=said) as raised:
        records_of(bundle)
    assert "\n" not in str(raised.value) and not (bundle / "owned").exists()


@pytest.mark.parametrize("name", ["tags.json", "git.json", "environment.json"])
@pytest.mark.parametrize("text", ["[" * 100_000, "[]", "{", "null", "1" * 5000, '{"name": 3}'])
def test_json_of_any_shape_is_one_line(bundle, name, text):
    (bundle / "cells/abc" / name).write_text(text)
    if text == '{"name": 3}' and name != "tags.json":
        assert records_of(bundle)  # keys that nobody reads
        return
    with pytest.raises(UserError, match=name):
        records_of(bundle)


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", '"', "name\nf1\n", "scope,category,metric\n"])
def test_a_file_that_is_no_table_of_scores_is_told(bundle, text):
    (bundle / "cells/abc/tables/scores.csv").write_text(text)
    with pytest.raises(UserError, match="scores.csv is no table of scores"):
        records_of(bundle)


def test_a_file_of_any_size_is_not_read_into_memory(bundle):
    with open(bundle / "cells/abc/git.json", "r+") as handle:
        handle.truncate(10_000_000_000)  # sparse
    with pytest.raises(UserError, match="git.json is larger than 64 MB"):
        records_of(bundle)


def test_a_pickled_model_of_a_named_store_is_loaded_only_when_asked_for(tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("Well today.")
    arguments = ["predict", "abc", str(tmp_path / "notes.txt"), "--store", str(tmp_path)]
    assert cli.main(arguments) == 1
    said = capsys.readouterr().err
    assert "is a pickle" in said and "--trust-code" in said
    assert cli.main([*arguments, "--trust-code"]) == 1
    assert "no tracking store in" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("[" * 100_000, "not JSON"),
        (json.dumps({"key": "a" * 64, "response": "", "format": 2}), "format 2; .* reads format 1"),
        (json.dumps({"key": "../../x", "response": ""}), "64 hex digits"),
        (json.dumps({"key": "a" * 64, "response": {"x": 1}}), "needs"),
    ],
)
def test_a_recording_of_a_stranger_is_one_line_with_its_place(tmp_path, line, said):
    (tmp_path / "r.jsonl").write_text(line + "\n")
    with pytest.raises(UserError, match=f"r.jsonl, line 1: .*{said}"):
        recording.replay(str(tmp_path / "r.jsonl"), {"a" * 64: Request(())})
