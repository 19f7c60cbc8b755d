"""LLM requests as MLflow traces: which are kept, what stands in them, and when there are none."""

from __future__ import annotations

import json
import logging
from dataclasses import replace

import pytest
import report_store as made
from fake_llm_server import FakeLLM
from grid import alzheimer
from mlflow.exceptions import MlflowException

from touchstone import tracking
from touchstone.generate.prompts import prompt_of
from touchstone.llm import exchanges
from touchstone.llm.answers import loads
from touchstone.llm.ask import ask
from touchstone.llm.protocol import Request
from touchstone.run import logbook
from touchstone.run.traces import log_traces
from touchstone.schema import LLMConfig

ONCE, NEVER = 25, 27  # requests whose first answer, and whose both answers, cannot be read


def parse(request, text):
    return {request.context["number"]: loads(text)[0]["n"]}


def asked(number, **changes):
    message = {"role": "user", "content": f"How many words has request {number}?"}
    return Request(
        (message,), None, {"max_tokens": 50}, stage="count", context={"number": number}, **changes
    )


def answer(body):
    first = body["messages"][0]["content"]
    again = len(body["messages"]) > 1
    if f"request {NEVER}?" in first or (f"request {ONCE}?" in first and not again):
        return "I cannot say \ud800."
    return '{"n": 5}'


def answers(tmp_path, *requests):
    with FakeLLM(answer=answer) as server:
        llm = LLMConfig(
            name="fake",
            backend="openai",
            model="fake-1",
            endpoint=server.url,
            structured="json_schema",
            location="local",
        )
        return ask(requests, parse, llm, folder=tmp_path / "llm")


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    requests = [asked(number) for number in (*range(30), 3)]
    return answers(tmp_path_factory.mktemp("asked"), *requests).exchanges


@pytest.fixture(scope="module")
def traces(sample):
    store = made.empty_study("traced")
    run_id = tracking.start_run(store, "a generation", tags={}, params={})
    prompt = store.client.register_prompt("counting", "How many words has {{ text }}?")
    link = {"name": prompt.name, "version": str(prompt.version)}
    log_traces(store, run_id, sample, [link])
    log_traces(store, run_id, sample, [link])  # a run that is written again has each once
    found = store.client.search_traces(
        locations=[store.experiment_id], run_id=run_id, max_results=100
    )
    return store, {one.info.tags["touchstone.request"]: one for one in found}


def test_the_first_twenty_requests_are_kept_and_all_that_failed_each_once(sample):
    numbers = [one.attempts[0].messages[0]["content"].split()[-1][:-1] for one in sample]
    assert numbers == [*map(str, range(20)), str(ONCE), str(NEVER)]
    assert [one.failed for one in sample[-3:]] == [False, True, True]
    assert exchanges.from_json(exchanges.as_json(sample)) == sample
    assert exchanges.sampled([*sample, *sample]) == sample


def test_nothing_of_restricted_requests_is_kept(tmp_path):
    assert answers(tmp_path, asked(1, restricted=True), asked(2)).exchanges[0].value == {"2": 5}


def test_a_trace_shows_the_request_the_answer_tokens_time_and_what_was_read(traces, sample):
    store, found = traces
    assert len(found) == 22
    trace = found[sample[0].key]
    assert trace.info.state == "OK" and trace.info.tags["mlflow.traceName"] == "count"
    tokens = trace.info.token_usage
    assert tokens["input_tokens"] > 0
    assert tokens["total_tokens"] == tokens["input_tokens"] + tokens["output_tokens"]
    root, sent, read = trace.data.spans
    assert [root.span_type, sent.span_type, read.span_type] == ["CHAIN", "CHAT_MODEL", "PARSER"]
    assert sent.inputs["messages"][0]["content"] == "How many words has request 0?"
    assert sent.inputs["max_tokens"] == 50
    assert sent.outputs["choices"][0]["message"]["content"] == '{"n": 5}'
    assert read.outputs == root.outputs == {"0": 5}
    assert 0 < sent.end_time_ns - sent.start_time_ns < 60e9
    assert sent.attributes["touchstone.latency_s"] == pytest.approx(
        (sent.end_time_ns - sent.start_time_ns) / 1e9, abs=1e-6
    )
    assert sent.model_name == "fake-1"
    of_prompt = store.client.search_traces(
        locations=[store.experiment_id], filter_string="prompt = 'counting/1'", max_results=100
    )
    assert len(of_prompt) == 22


def test_an_answer_that_could_not_be_read_says_why_and_what_came_of_asking_again(traces, sample):
    _, found = traces
    once, never = (found[one.key] for one in sample[-2:])
    assert (once.info.state, never.info.state) == ("OK", "ERROR")
    names = [span.name for span in once.data.spans]
    assert names == ["count", "ask", "read", "ask again", "read again"]
    first, second = once.data.spans[2], once.data.spans[4]
    assert first.status.status_code == "ERROR" and "JSON" in first.status.description
    assert second.status.status_code == "OK" and second.outputs == {str(ONCE): 5}
    assert first.inputs.startswith("I cannot say")
    assert never.data.spans[0].outputs == never.data.spans[-1].status.description


def test_a_generation_has_traces_unless_its_corpus_is_restricted_or_nobody_wants_any(sample):
    store = made.empty_study("traced_generations")
    gold, _ = made.demo_gold("ad_multiclass", made.cache())
    prompt = prompt_of(made.prompt("guideline"), alzheimer(), "multiclass")
    bronze = made.synthetic(gold, prompt)["bronze"]

    def logged(**changes):
        frame = bronze.dataset.frame.iloc[: len(logged.done) + 5]
        logged.done.append(1)
        one = replace(made.made("bronze", frame, prompt), exchanges=sample)
        settings = {"with_text": True, "prompt": prompt, "restricted": False, "pseudonyms": None}
        run_id = logbook.log_generation(store, one, **{**settings, **changes})
        return store.client.search_traces(
            locations=[store.experiment_id], run_id=run_id, max_results=100
        )

    logged.done = []
    assert len(traced := logged()) == 22
    linked = {one["name"] for one in json.loads(traced[0].info.tags["mlflow.linkedPrompts"])}
    assert linked == {"guideline.sentences.label_to_data", "guideline.sentences.system"}
    assert not logged(with_traces=False) and not logged(restricted=True)


def test_a_store_that_takes_no_traces_costs_a_warning(sample, monkeypatch, caplog):
    store = made.empty_study("without_traces")
    run_id = tracking.start_run(store, "a generation", tags={}, params={})

    def refuse(*_):
        raise MlflowException("REST OTLP span logging is not supported")

    monkeypatch.setattr(tracking.Client, "log_spans", refuse)
    with caplog.at_level(logging.WARNING):
        log_traces(store, run_id, sample, [])
    assert "takes no traces of LLM requests: REST OTLP" in caplog.text
