"""Data-to-label over a pool in parts: the same silver as in one, and a run that was stopped goes on
with the part it was at."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from fake_annotator import NUMBERED
from fake_llm_server import FakeLLM
from grid import alzheimer, group, prompt_config, table

from touchstone.data import shards
from touchstone.data.corpus import read_pool
from touchstone.data.examples import examples
from touchstone.digest import digest_rows
from touchstone.errors import EstimateOnly, PendingRequests, UserError
from touchstone.generate import stages
from touchstone.generate.prompts import prompt_of
from touchstone.schema import CorpusConfig, GenerationConfig, LLMConfig

NONE = examples([])


def label(body: dict) -> str:
    lines = NUMBERED.findall(body["messages"][-1]["content"])
    labels = [["cognitive_impairment"] * ("memory" in text) for _, text in lines]
    return json.dumps(
        {
            "sentences": [
                {"id": int(n), "labels": found, "confidence": "high"}
                for (n, _), found in zip(lines, labels, strict=True)
            ]
        }
    )


def setting(folder: Path, **llm) -> stages.Setting:
    settings = {
        "name": "fake",
        "backend": "openai",
        "model": "fake-1",
        "endpoint": "http://127.0.0.1:9/v1",
        "structured": "json_schema",
    }
    return stages.Setting(
        prompt=prompt_of(prompt_config("guideline"), alzheimer(), "multiclass"),
        llm=LLMConfig(**{**settings, "max_tokens": 500, "batch_dir": str(folder / "batch"), **llm}),
        generation=group("generation", "default", GenerationConfig),
        cache=folder / "cache",
        corpus="ad_demo",
        restricted=False,
    )


def pool(folder: Path, **changes):
    corpus = group("corpus", "ad_demo", CorpusConfig)
    for name, value in changes.items():
        setattr(corpus.pool, name, value)
    return read_pool(corpus, 0, None, folder / "cache", NONE)


@pytest.fixture
def in_parts(monkeypatch):
    """60 notes in 9 parts."""
    monkeypatch.setattr(shards, "SHARD_NOTES", 7)


def test_parts_make_the_silver_of_the_whole(tmp_path, monkeypatch):
    with FakeLLM(answer=label) as server:
        whole = stages.silver(
            setting(tmp_path / "whole", endpoint=server.url), pool(tmp_path / "whole").parts(), NONE
        )
        monkeypatch.setattr(shards, "SHARD_NOTES", 7)
        parts = stages.silver(
            setting(tmp_path / "parts", endpoint=server.url), pool(tmp_path / "parts").parts(), NONE
        )
        calls = server.calls
        again = stages.silver(
            setting(tmp_path / "parts", endpoint=server.url), pool(tmp_path / "parts").parts(), NONE
        )
        assert server.calls == calls
    content = ["example_id", "text", "labels", "origin"]
    assert len(whole.dataset) > 1000 and whole.dataset.frame["labels"].map(bool).any()
    assert digest_rows(parts.dataset.frame[content].to_dict("records")) == digest_rows(
        whole.dataset.frame[content].to_dict("records")
    )
    made, of_whole = parts.dataset.provenance, whole.dataset.provenance
    assert (made["n_requests"], made["served_models"]) == (
        of_whole["n_requests"],
        of_whole["served_models"],
    )
    assert sorted(made["answer_keys"]) == sorted(of_whole["answer_keys"])
    assert (parts.usage.sent, parts.usage.prompt_tokens) == (
        whole.usage.sent,
        whole.usage.prompt_tokens,
    )
    assert again.reused and again.usage.sent == 0 and again.dataset.digest == parts.dataset.digest


def test_a_stopped_run_goes_on_with_the_part_it_was_at(tmp_path, in_parts):
    with FakeLLM(answer=label, latency=0.001) as server:
        parts = pool(tmp_path).parts()

        def cut():
            for number, part in enumerate(parts):
                if number == 4:
                    raise KeyboardInterrupt
                yield part

        with pytest.raises(KeyboardInterrupt):
            stages.silver(setting(tmp_path, endpoint=server.url), cut(), NONE)
        before = server.calls
        made = stages.silver(setting(tmp_path, endpoint=server.url), pool(tmp_path).parts(), NONE)
        assert 0 < before < server.calls == made.dataset.provenance["n_requests"]
    assert len(list((tmp_path / "cache" / "silver").glob("*/stage.json"))) == 9


def test_all_parts_are_exported_and_estimated_before_the_stop(tmp_path, in_parts):
    with pytest.raises(PendingRequests, match="60 requests in all, in 9 files") as stop:
        stages.silver(
            setting(tmp_path, backend="batch_file", endpoint="file"), pool(tmp_path).parts(), NONE
        )
    assert (
        stop.value.n
        == 60
        == sum(len(Path(path).read_text().splitlines()) for path in stop.value.paths)
    )
    with pytest.raises(EstimateOnly) as stop:
        stages.silver(setting(tmp_path, estimate_only=True), pool(tmp_path).parts(), NONE)
    (row,) = stop.value.estimate
    assert (row.stage, row.requests, row.calls, row.completion_tokens) == (
        "data_to_label",
        60,
        60,
        60 * 500,
    )


def test_a_pool_in_which_nothing_is_asked_about_is_told(tmp_path, in_parts):
    with pytest.raises(UserError, match="the pool has no sentences to label"):
        stages.silver(setting(tmp_path), pool(tmp_path, candidates="no such words").parts(), NONE)


def every_fifth(n, body):
    """Refuse one note in five for good."""
    return {"kind": "400", "code": "content_filter"} if hash_of(body) % 5 == 0 else None


def hash_of(body) -> int:
    return len(body["messages"][1]["content"])


def test_a_stage_that_lacks_requests_is_no_result_and_says_why(tmp_path):
    with FakeLLM(answer=label, fault=every_fifth) as server:
        with pytest.raises(UserError) as caught:
            stages.silver(setting(tmp_path, endpoint=server.url), pool(tmp_path).parts(), NONE)
        told = str(caught.value)
        assert "of 60 requests have no usable answer" in told
        assert " x HTTP ... content_filter" in told and "llm.tolerate=" in told
        calls, server.fault = server.calls, lambda n, body: None
        made = stages.silver(setting(tmp_path, endpoint=server.url), pool(tmp_path).parts(), NONE)
        lacking = int(told.split("silver: ")[1].split(" of")[0])
        assert server.calls == calls + lacking, "only what was given up is asked again"
        assert made.quarantine.empty and made.warnings == ()


def test_a_tolerated_share_is_a_warning(tmp_path):
    with FakeLLM(answer=label, fault=every_fifth) as server:
        where = setting(tmp_path, endpoint=server.url, tolerate=0.9)
        made = stages.silver(where, pool(tmp_path).parts(), NONE)
    assert len(made.quarantine) and len(made.dataset)
    assert "requests have no usable answer" in made.warnings[-1]


def test_what_lacks_a_tolerated_share_is_one_data_set_for_the_cells_of_a_sweep(tmp_path):
    """Whatever gold they have, since the requests are the same; others ask again."""
    gold = table(("g1", "Forgets names.", ["cognitive_impairment"]))

    def silver(sweep, train=NONE, **llm):
        where = setting(tmp_path, **{"endpoint": server.url, "tolerate": 0.9, **llm})
        return stages.silver(replace(where, sweep=sweep), pool(tmp_path).parts(), train)

    with FakeLLM(answer=label, fault=every_fifth) as server:
        one = silver("first")
        calls, server.fault = server.calls, lambda n, body: None
        two = silver("first", gold, workers=3)
        assert two.dataset.digest == one.dataset.digest and server.calls == calls
        assert two.reused and two.warnings == one.warnings and two.usage.sent == 0
        other = silver("second")
        assert other.quarantine.empty and len(other.dataset) > len(one.dataset)
        assert silver("first").dataset.digest == one.dataset.digest
        calls = server.calls
        third = silver("third")
        assert third.reused and third.usage.sent == 0 and server.calls == calls, "paid once"


def test_what_lacks_more_than_is_tolerated_is_asked_again_in_the_same_sweep(tmp_path):
    with FakeLLM(answer=label, fault=every_fifth) as server:
        where = replace(setting(tmp_path, endpoint=server.url, tolerate=0.01), sweep="first")
        with pytest.raises(UserError, match="so its cells are missing"):
            stages.silver(where, pool(tmp_path).parts(), NONE)
        server.fault = lambda n, body: None
        assert stages.silver(where, pool(tmp_path).parts(), NONE).quarantine.empty


def test_answers_that_cannot_be_used_lack_too(tmp_path):
    def some(body):
        return label(body) if hash_of(body) % 5 else "I would rather not."

    with (
        FakeLLM(answer=some) as server,
        pytest.raises(UserError, match="x the answer holds no JSON"),
    ):
        stages.silver(setting(tmp_path, endpoint=server.url), pool(tmp_path).parts(), NONE)


def test_files_answered_in_part_are_used_only_on_request_and_that_is_said(tmp_path):
    files = {"backend": "batch_file", "endpoint": "file"}
    with pytest.raises(PendingRequests) as stop:
        stages.silver(setting(tmp_path, **files), pool(tmp_path).parts(), NONE)
    lines = [json.loads(line) for path in stop.value.paths for line in path.open()]
    answers = [{"custom_id": line["custom_id"], "text": label(line["body"])} for line in lines[:50]]
    wrong = {"custom_id": lines[50]["custom_id"], "text": "no"}
    (tmp_path / "batch" / "answers.jsonl").write_text(
        "".join(json.dumps(answer) + "\n" for answer in [*answers, wrong])
    )
    with pytest.raises(PendingRequests, match="50 of 60 accepted, 10 remain"):
        stages.silver(setting(tmp_path, **files), pool(tmp_path).parts(), NONE)
    made = stages.silver(setting(tmp_path, **files, partial=True), pool(tmp_path).parts(), NONE)
    assert "10 of 60 requests have no usable answer" in made.warnings[-1]
    right = {"custom_id": lines[50]["custom_id"], "text": label(lines[50]["body"])}
    (tmp_path / "batch" / "answers-2.jsonl").write_text(json.dumps(right) + "\n")
    with pytest.raises(PendingRequests, match="51 of 60 accepted, 9 remain"):
        stages.silver(setting(tmp_path, **files), pool(tmp_path).parts(), NONE)
