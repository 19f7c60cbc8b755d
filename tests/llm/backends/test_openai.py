"""The openai backend against a server that fails in every way that servers fail."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from aiohttp import web
from counting_requests import PATHS, SCHEMA, client_code, config, echo, number_of, parse, request
from fake_llm_server import FakeLLM

from touchstone.errors import UserError
from touchstone.llm import facts, pool
from touchstone.llm import leases as claims
from touchstone.llm.answers import loads
from touchstone.llm.ask import ask
from touchstone.llm.backends import openai as online
from touchstone.llm.budget import spent_usd
from touchstone.llm.facts import reserve
from touchstone.llm.pool import SAME_S
from touchstone.llm.protocol import Request, Response
from touchstone.llm.store import Store


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(pool, "FIRST_WAIT_S", 0.02)


def once(kind, **more):
    """Fail the first call of every request, then answer."""
    seen = set()

    def fault(_, body):
        last = body["messages"][-1]["content"]
        if last in seen:
            return None
        seen.add(last)
        return {"kind": kind, **more}

    return fault


def test_values_stand_in_the_order_of_the_requests_and_duplicates_are_asked_once(tmp_path):
    asked = [request(n) for n in (3, 1, 2, 3, 1)]
    with FakeLLM(echo) as server:
        answers = ask(asked, parse, config(server), folder=tmp_path)
    assert answers.values == [3, 1, 2, 3, 1] and server.calls == 3
    usage = answers.usage
    assert (usage.requests, usage.sent, usage.cached, usage.failed, usage.tries) == (3, 3, 0, 0, 3)
    assert (
        usage.completion_tokens > 0
        and usage.reasoning_tokens == 3
        and usage.cached_tokens == 6
        and usage.cost_usd == 0
    )
    response = answers.responses[0]
    assert (response.model, response.fingerprint, response.tries, response.finish_reason) == (
        "fake-1",
        "fp_test",
        1,
        "stop",
    )
    assert (
        response.latency_s > 0
        and response.created
        and response.usage["completion_tokens_details"] == {"reasoning_tokens": 1}
    )


def test_a_request_is_no_line_in_the_log(tmp_path, caplog):
    caplog.set_level("INFO")
    with FakeLLM(echo) as server:
        ask([request(n) for n in range(5)], parse, config(server), folder=tmp_path)
    assert [record.getMessage() for record in caplog.records if "HTTP" in record.getMessage()] == []


def test_a_full_hit_sends_nothing_not_even_a_probe(tmp_path):
    asked = [request(n) for n in range(20)]
    with FakeLLM(echo) as server:
        first = ask(asked, parse, config(server), folder=tmp_path)
        calls = server.calls
        again = ask(asked, parse, config(server), folder=tmp_path)
        assert server.calls == calls == 20
    assert (
        again.values == first.values
        and again.usage.sent == again.usage.tries == again.usage.prompt_tokens == 0
    )
    assert again.usage.recording == first.usage.recording and again.usage.served_models == (
        "fake-1",
    )


def test_a_full_hit_does_not_import_the_client(tmp_path):
    with FakeLLM(echo) as server:
        llm = config(server)
        ask([request(1)], parse, llm, folder=tmp_path)
    code = f"""
import sys
sys.path[:0] = {PATHS!r}
from counting_requests import request, parse, config
for name in [name for name in sys.modules if name.split(".")[0] in ("openai", "httpx2", "torch", "transformers")]:
    del sys.modules[name]
from touchstone.llm.ask import ask
assert ask([request(1)], parse, config({llm.endpoint!r}), folder={str(tmp_path)!r}).values == [1]
print(sorted(name for name in sys.modules if name in ("openai", "httpx2", "torch", "transformers", "mlflow")))
"""  # noqa: E501
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "field",
    [
        "endpoint",
        "model",
        "system",
        "user",
        "role",
        "schema",
        "no schema",
        "temperature",
        "max_tokens",
        "seed",
        "sample",
    ],
)
def test_a_change_of_any_field_is_another_request(tmp_path, field):
    base = request(1)
    messages = [dict(message) for message in base.messages]
    changed = base
    if field in ("system", "user"):
        messages[("system", "user").index(field)]["content"] += " "
        changed = request(1).__class__(tuple(messages), base.schema, base.params, 0, "count")
    elif field == "role":
        messages[0]["role"] = "user"
        changed = Request(tuple(messages), base.schema, base.params, 0, "count")
    elif field == "schema":
        changed = Request(base.messages, {**SCHEMA, "title": "other"}, base.params, 0, "count")
    elif field == "no schema":
        changed = Request(base.messages, None, base.params, 0, "count")
    elif field in ("temperature", "max_tokens", "seed"):
        changed = Request(base.messages, base.schema, {**base.params, field: 1}, 0, "count")
    elif field == "sample":
        changed = Request(base.messages, base.schema, base.params, 1, "count")
    with FakeLLM(lambda body: '{"n": 1}') as server:
        llm = config(server)
        ask([base], parse, llm, folder=tmp_path)
        other = {
            "endpoint": {"endpoint": llm.endpoint.replace("/v1", "")},
            "model": {"model": "fake-2"},
        }.get(field, {})
        ask([changed], parse, config(server, **other), folder=tmp_path)
        assert server.calls == 2
        ask([base, changed], parse, llm, folder=tmp_path)
        assert server.calls == (2 if not other else 2)


@pytest.mark.parametrize("stage, restricted", [("other", False), ("count", True)])
def test_bookkeeping_is_not_part_of_the_key(tmp_path, stage, restricted):
    with FakeLLM(echo) as server:
        ask([request(1)], parse, config(server), folder=tmp_path)
        answers = ask(
            [request(1, stage=stage, restricted=restricted)], parse, config(server), folder=tmp_path
        )
        assert server.calls == 1 and answers.usage.cached == 1


@pytest.mark.parametrize(
    "kind", ["429", "500", "503", "drop", "truncated", "garbled", "html", "empty"]
)
def test_a_fault_that_passes_is_retried_and_never_cached(tmp_path, kind):
    asked = [request(n) for n in range(6)]
    with FakeLLM(echo, once(kind)) as server:
        answers = ask(asked, parse, config(server), folder=tmp_path)
        assert answers.values == list(range(6)) and answers.quarantine.empty
        assert server.calls == 12 and answers.usage.tries == 12
        assert {response.tries for response in answers.responses} == {2}


@pytest.mark.parametrize("kind", ["hang", "trickle"])
def test_a_slow_answer_times_out_and_is_retried(tmp_path, kind):
    with FakeLLM(echo, once(kind)) as server:
        answers = ask(
            [request(n) for n in range(4)], parse, config(server, timeout_s=1.0), folder=tmp_path
        )
        assert answers.values == [0, 1, 2, 3] and server.calls == 8


def test_retry_after_is_honoured_and_the_slot_is_used_by_others_meanwhile(tmp_path):
    """One slot: while request 0 waits 1 s as it was told, the others are answered."""
    order = []

    def answer(body):
        order.append(number_of(body))
        return echo(body)

    with FakeLLM(
        answer, lambda n, body: {"kind": "429", "retry_after": 1} if n == 1 else None
    ) as server:
        llm = config(server, workers=1, structured="json_schema")
        answers = ask([request(n) for n in range(2)], parse, llm, folder=tmp_path)
        assert answers.values == [0, 1] and order == [1, 0]
        assert server.arrived[-1] - server.arrived[0] >= 1.0


def test_an_endpoint_that_asks_to_wait_for_hours_is_not_waited_for(tmp_path):
    with FakeLLM(
        echo, lambda n, body: {"kind": "429", "retry_after": 7200} if number_of(body) == 1 else None
    ) as server:
        answers = ask([request(1), request(2)], parse, config(server), folder=tmp_path)
    assert answers.values == [None, 2] and "7200" in answers.quarantine["reason"][0]


def test_when_all_wait_no_new_requests_are_started(tmp_path):
    """An endpoint that answers 429 to everything sees some 3 x workers requests a few times, not
    all 500."""
    with FakeLLM(echo, lambda n, body: "429") as server:
        with pytest.raises(UserError, match="looks down"):
            ask(
                [request(n) for n in range(500)],
                parse,
                config(server, workers=4, max_tries=3, breaker=6),
                folder=tmp_path,
            )
        assert len(server.asked) <= 6 + 3 * 4


def test_one_bad_row_never_touches_another(tmp_path):
    kinds = {1: "500", 2: "400", 3: "garbled", 5: "422"}
    asked = [request(n) for n in range(8)]
    with FakeLLM(echo, lambda n, body: kinds.get(number_of(body))) as server:
        answers = ask(asked, parse, config(server, max_tries=2), folder=tmp_path)
        assert answers.values == [0, None, None, None, 4, None, 6, 7]
        reasons = dict(zip(answers.quarantine["key"], answers.quarantine["reason"], strict=True))
        assert (
            "HTTP 500 (2 tries)" in reasons[asked[1].key(server.url, "fake-1")]
            and reasons[asked[2].key(server.url, "fake-1")] == "HTTP 400"
        )
        assert answers.usage.failed == 4
        server.fault = lambda n, body: None
        mended = ask(asked, parse, config(server), folder=tmp_path)
        assert mended.values == list(range(8)) and mended.usage.sent == 4, "errors are not cached"


@pytest.mark.parametrize(
    "kind, reason",
    [("refusal", "no JSON"), ("filtered", "no JSON"), ("length", "ends in the middle")],
)
def test_refusals_and_cut_answers_are_asked_again_once_then_quarantined(tmp_path, kind, reason):
    with FakeLLM(echo, lambda n, body: kind if number_of(body) == 1 else None) as server:
        answers = ask([request(1), request(2)], parse, config(server), folder=tmp_path)
        assert answers.values == [None, 2] and server.calls == 3
        assert (
            len(server.bodies[-1]["messages"]) == 4
            and reason in server.bodies[-1]["messages"][3]["content"]
        )
        assert reason in answers.quarantine["reason"][0]
        assert answers.responses[0].finish_reason in ("refusal", "content_filter", "length")
        again = ask([request(1), request(2)], parse, config(server), folder=tmp_path)
        assert server.calls == 3 and again.values == answers.values, (
            "what was paid for is kept, also where it is of no use"
        )


def test_a_wrong_id_is_asked_again_with_the_reason(tmp_path):
    with FakeLLM(lambda body: '{"n": "?"}' if len(body["messages"]) == 2 else echo(body)) as server:
        answers = ask([request(7)], parse, config(server), folder=tmp_path)
        assert answers.values == [7] and answers.quarantine.empty and answers.usage.requests == 2
        assert server.bodies[1]["messages"][2:] == [
            {"role": "assistant", "content": '{"n": "?"}'},
            {"role": "user", "content": 'answer {"n": integer}'},
        ]


def test_half_a_surrogate_pair_in_an_answer_can_be_stored(tmp_path):
    with FakeLLM(lambda body: "text ", lambda n, body: "surrogate") as server:
        answers = ask([request(1)], lambda request, text: text, config(server), folder=tmp_path)
    assert answers.values == ["text \ufffd"]


def test_a_served_model_that_changes_under_way_is_a_warning(tmp_path):
    with FakeLLM(echo, lambda n, body: "wrong_model" if number_of(body) == 2 else None) as server:
        answers = ask([request(n) for n in range(4)], parse, config(server), folder=tmp_path)
    assert answers.usage.served_models == ("fake-1", "other-2")
    assert answers.warnings == [
        "the served model changed under way: fake-1 (3 answers), other-2 (1 answers)"
    ]


@pytest.mark.parametrize(
    "supports, form",
    [
        (("json_schema", "json_object"), "json_schema"),
        (("json_object",), "json_object"),
        ((), None),
    ],
)
def test_what_an_endpoint_supports_is_settled_by_two_answers_that_agree(tmp_path, supports, form):
    with FakeLLM(echo, supports=supports) as server:
        answers = ask([request(n) for n in range(5)], parse, config(server), folder=tmp_path)
        assert answers.values == list(range(5))
        probes = {"json_schema": 0, "json_object": 2, None: 4}[form]
        assert server.calls == 5 + probes
        settled = server.bodies[2 + probes :]
        assert {body.get("response_format", {}).get("type") for body in settled} == {form}
        told = '"title": "answer"' in server.bodies[-1]["messages"][-1]["content"]
        assert told is (form != "json_schema") and bool(answers.warnings) is told
        ask([request(9)], parse, config(server), folder=tmp_path)
        assert server.calls == 6 + probes, "and remembered for the next run"


def test_an_endpoint_that_ignores_the_schema_is_told_it_instead(tmp_path):
    def answer(body):
        return (
            echo(body)
            if "JSON schema" in body["messages"][-1]["content"] or len(body["messages"]) > 2
            else "Sure! Seven."
        )

    with FakeLLM(answer) as server:
        answers = ask([request(n) for n in range(4)], parse, config(server), folder=tmp_path)
        assert answers.values == [0, 1, 2, 3] and server.calls == 6


@pytest.mark.parametrize("structured", ["json_schema", "json_object", "instruction"])
def test_how_the_schema_travels_can_be_set(tmp_path, structured):
    with FakeLLM(echo) as server:
        ask([request(1)], parse, config(server, structured=structured), folder=tmp_path)
    assert server.bodies[0].get("response_format", {}).get("type") == (
        structured if structured != "instruction" else None
    )


def test_a_model_that_wants_max_completion_tokens_gets_it(tmp_path):
    with FakeLLM(echo, tokens_field="max_completion_tokens") as server:
        answers = ask(
            [request(n) for n in range(4)],
            parse,
            config(server, structured="json_schema"),
            folder=tmp_path,
        )
    assert answers.values == [0, 1, 2, 3] and server.bodies[-1]["max_completion_tokens"] == 50


@pytest.mark.parametrize("kind, calls", [("401", 8), ("404", 8)])
def test_a_wrong_key_or_model_stops_at_once_with_what_to_check(tmp_path, kind, calls):
    with FakeLLM(echo, lambda n, body: kind) as server:
        with pytest.raises(UserError, match="llm.api_key_env") as caught:
            ask(
                [request(n) for n in range(100)],
                parse,
                config(server, structured="json_schema"),
                folder=tmp_path,
            )
        assert server.calls <= calls and "nothing more was sent" in str(caught.value)


def test_a_dead_endpoint_opens_the_breaker_and_what_was_answered_is_kept(tmp_path):
    with FakeLLM(echo, lambda n, body: "503" if n > 10 else None) as server:
        llm = config(server, breaker=4, max_tries=2, structured="json_schema", workers=2)
        with pytest.raises(
            UserError, match="looks down: 4 requests in a row.*Done 10, failed"
        ) as caught:
            ask([request(n) for n in range(60)], parse, llm, folder=tmp_path)
        assert "the same command goes on from here" in str(caught.value)
        server.fault = lambda n, body: None
        answers = ask([request(n) for n in range(60)], parse, llm, folder=tmp_path)
        assert answers.usage.cached == 10 and answers.usage.sent == 50


def test_a_refused_connection_is_told_in_one_line(tmp_path):
    with pytest.raises(UserError, match="no connection|timed out, or the connection was dropped"):
        ask(
            [request(1)],
            parse,
            config("http://127.0.0.1:9/v1", max_tries=2, breaker=1),
            folder=tmp_path,
        )


def test_no_more_than_workers_are_in_flight(tmp_path):
    with FakeLLM(echo, latency=0.02) as server:
        ask(
            [request(n) for n in range(60)],
            parse,
            config(server, workers=5, structured="json_schema"),
            folder=tmp_path,
        )
        assert server.most_at_once == 5


def test_a_rate_is_a_queue_that_all_processes_share(tmp_path, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(facts.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(facts.time, "time", lambda: 0.0)  # a wall clock that was set back
    with Store(tmp_path) as one, Store(tmp_path) as other:
        assert [
            round(reserve(store, "e", "m", "requests", 0.5), 6) for store in (one, other, one)
        ] == [0, 0.5, 1.0], "no burst"
        now[0] += 10
        assert (
            reserve(one, "e", "m", "requests", 0.5) == 0
            and round(reserve(other, "e", "m", "requests", 0.5), 6) == 0.5
        ), "no credit is saved up"
        reserve(one, "e", "m", "requests", -0.5)
        assert round(reserve(other, "e", "m", "requests", 0.5), 6) == 0.5, (
            "what was reserved too much is given back"
        )
        assert reserve(one, "e", "other", "requests", 0.5) == 0
        monkeypatch.setattr(facts, "_boot", lambda: "another start of the machine")
        now[0] = 5.0
        assert reserve(one, "e", "m", "requests", 0.5) == 0, "its clock begins anew"


def test_requests_and_tokens_per_minute_are_reserved_before_sending(tmp_path, monkeypatch):
    reserved = []

    def noted(store, endpoint, model, name, seconds):
        reserved.append((name, seconds))
        return 0.0

    monkeypatch.setattr(facts, "reserve", noted)
    with FakeLLM(echo) as server:
        llm = config(
            server,
            requests_per_minute=600,
            tokens_per_minute=60_000,
            structured="json_schema",
            workers=1,
        )
        ask([request(n) for n in range(3)], parse, llm, folder=tmp_path)
    assert [seconds for name, seconds in reserved if name == "requests"] == [0.1] * 3
    tokens = [seconds for name, seconds in reserved if name == "tokens"]
    assert len(tokens) == 6 and all(seconds > 0 for seconds in tokens[::2]), (
        "before, by estimate; after, corrected by what was counted"
    )


def test_a_reserved_time_is_waited_for(tmp_path):
    with FakeLLM(echo) as server:
        started = time.monotonic()
        with Store(tmp_path) as store:
            reserve(store, server.url, "fake-1", "requests", 0.4)
        ask([request(1)], parse, config(server, requests_per_minute=600), folder=tmp_path)
        assert time.monotonic() - started >= 0.39


def test_two_processes_asking_the_same_make_one_call_each(tmp_path):
    with FakeLLM(echo, latency=0.05) as server:
        code = f"""
import sys
sys.path[:0] = {PATHS!r}
from counting_requests import request, parse, config
from touchstone.llm.ask import ask
answers = ask([request(n) for n in range(60)], parse, config({server.url!r}), folder={str(tmp_path)!r})
assert answers.values == list(range(60))
print(answers.usage.sent)
"""  # noqa: E501
        both = [
            subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
            for _ in range(2)
        ]
        sent = [int(process.communicate(timeout=60)[0]) for process in both]
        assert server.calls == 60 and sum(sent) == 60


def test_two_threads_asking_the_same_make_one_call_each(tmp_path):
    values = {}
    with FakeLLM(echo, latency=0.05) as server:

        def work(name):
            values[name] = ask(
                [request(n) for n in range(30)], parse, config(server), folder=tmp_path
            ).values

        threads = [threading.Thread(target=work, args=(name,)) for name in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert server.calls == 30 and values == {0: list(range(30)), 1: list(range(30))}


def test_a_claim_of_a_dead_process_does_not_block(tmp_path):
    with FakeLLM(echo) as server:
        key = request(1).key(server.url, "fake-1")
        code = f"""
import os
from touchstone.llm import leases as claims
from touchstone.llm.store import Store
assert claims.claim(Store({str(tmp_path)!r}), [({key!r}, 0.0)], claims.new_owner())[0]
os._exit(9)
"""
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 9
        with Store(tmp_path) as store:
            assert store.db.execute("SELECT count(*) FROM claims").fetchone() == (1,)
        assert ask([request(1)], parse, config(server), folder=tmp_path).values == [1]


def test_a_claim_of_another_machine_holds_until_nothing_was_heard_of_it(tmp_path):
    key, other = "ab" * 32, '["another machine", 1, 1.0, ""]'
    with Store(tmp_path) as store:
        ours = claims.new_owner()
        assert claims.claim(store, [(key, 0.0)], other) == ([key], [], False)
        assert claims.claim(store, [(key, 0.0)], ours) == ([], [key], False) and claims.elsewhere(
            store, [key], ours
        ) == {key}
        store.db.execute("UPDATE claims SET heard = heard - ?", (claims.CLAIM_S + 1,))
        assert claims.elsewhere(store, [key], ours) == set()
        claims.heartbeat(store, other)
        assert claims.elsewhere(store, [key], ours) == {key}
        claims.release(store, other, [key])
        assert claims.claim(store, [(key, 0.0)], ours) == ([key], [], False)


def test_claims_reserve_money_for_all_processes(tmp_path):
    with Store(tmp_path) as store:
        keys = [f"{number:064x}" for number in range(4)]
        one, other = claims.new_owner(), claims.new_owner()
        assert claims.claim(store, [(keys[0], 0.6)], one, lambda: 1.0) == ([keys[0]], [], False)
        assert claims.claim(store, [(keys[1], 0.3), (keys[2], 0.3)], other, lambda: 1.0) == (
            [keys[1]],
            [],
            True,
        )
        claims.release(store, one)
        assert claims.claim(store, [(keys[2], 0.3)], other, lambda: 1.0) == ([keys[2]], [], False)


def test_a_store_that_cannot_be_written_stops_the_run_and_keeps_what_was_written(
    tmp_path, monkeypatch
):
    put, written = Store.put, []

    def full_disk(self, response, **more):
        if len(written) == 5:
            raise UserError("cannot write the response store: database or disk is full")
        written.append(put(self, response, **more))
        return True

    with FakeLLM(echo) as server:
        monkeypatch.setattr(Store, "put", full_disk)
        with pytest.raises(UserError, match="disk is full.*left"):
            ask([request(n) for n in range(50)], parse, config(server, workers=2), folder=tmp_path)
        assert server.calls < 12
        monkeypatch.setattr(Store, "put", put)
        assert (
            ask(
                [request(n) for n in range(50)], parse, config(server), folder=tmp_path
            ).usage.cached
            == 5
        )


def test_it_works_inside_a_running_event_loop(tmp_path):
    import asyncio

    async def notebook(llm):
        return ask([request(1)], parse, llm, folder=tmp_path).values

    with FakeLLM(echo) as server:
        assert asyncio.run(notebook(config(server))) == [1]


def test_an_azure_endpoint_is_asked_by_deployment_with_its_own_header(tmp_path, monkeypatch):
    monkeypatch.setenv("MY_AZURE_KEY", "azure-secret-1")
    with FakeLLM(echo) as server:
        llm = config(
            server.url.removesuffix("/v1"),
            api_version="2024-10-21",
            api_key_env="MY_AZURE_KEY",
            model="my-deployment",
        )
        assert ask([request(1)], parse, llm, folder=tmp_path).values == [1]
        assert server.headers[0]["api-key"] == "azure-secret-1"


def test_no_ambient_key_is_sent_to_an_endpoint_that_names_none(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-ambient-secret-000000000000")
    monkeypatch.setenv("MY_HEADER", "tenant-7")
    with FakeLLM(echo) as server:
        ask(
            [request(1)],
            parse,
            config(server, headers_env={"X-Tenant": "MY_HEADER"}),
            folder=tmp_path,
        )
        assert (
            "ambient" not in json.dumps(server.headers)
            and server.headers[0]["x-tenant"] == "tenant-7"
        )


def test_a_local_endpoint_ignores_proxies(tmp_path, monkeypatch):
    with FakeLLM(echo) as proxy, FakeLLM(echo) as server:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("http_proxy", proxy.url)
        assert ask([request(1)], parse, config(server), folder=tmp_path).values == [1]
        assert proxy.calls == 0 and server.calls == 1


@pytest.mark.parametrize(
    "headers, seconds",
    [
        ({"retry-after": "2"}, 2.0),
        ({"retry-after-ms": "1500"}, 1.5),
        ({}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-3"}, None),
    ],
)
def test_retry_after_is_read_in_all_its_forms(headers, seconds):
    assert online.retry_after(headers) == seconds


def test_retry_after_may_be_a_date():
    from email.utils import formatdate

    assert (
        80 < online.retry_after({"retry-after": formatdate(time.time() + 100, usegmt=True)}) <= 100
    )


def test_killed_at_half_three_times_it_repeats_at_most_what_was_in_flight(tmp_path):
    n, workers = 1000, 32
    with FakeLLM(echo, latency=0.05, keep_bodies=False) as server:
        for _ in range(3):
            before, left = server.calls, n - len(server.asked)
            process = subprocess.Popen(
                [sys.executable, "-c", client_code(server.url, tmp_path, n, workers)],
                start_new_session=True,
            )
            while server.calls - before < left / 2 and process.poll() is None:
                time.sleep(0.005)
            assert process.poll() is None
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        done = subprocess.run(
            [sys.executable, "-c", client_code(server.url, tmp_path, n, workers)],
            capture_output=True,
            text=True,
            check=True,
        )
        assert "sent" in done.stdout
        assert len(server.asked) == n and n <= server.calls <= n + 3 * workers


def test_ctrl_c_drains_what_is_in_flight_and_says_done_failed_left(tmp_path):
    n, workers = 100, 8
    with FakeLLM(echo, latency=0.2) as server:
        process = subprocess.Popen(
            [sys.executable, "-c", client_code(server.url, tmp_path, n, workers)],
            stderr=subprocess.PIPE,
            text=True,
        )
        while server.calls < 30 and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        told = process.communicate(timeout=120)[1]
        calls = server.calls
        assert process.returncode != 0 and calls < n
        assert f"done {calls}, failed 0, left {n - calls}" in told
        with Store(tmp_path) as store:
            assert len(store) == calls, "everything that was sent was answered and written"
        subprocess.run(
            [sys.executable, "-c", client_code(server.url, tmp_path, n, workers)], check=True
        )
        assert server.calls == n


def test_a_second_ctrl_c_drops_what_is_in_flight(tmp_path):
    with FakeLLM(echo, latency=30) as server:
        process = subprocess.Popen(
            [sys.executable, "-c", client_code(server.url, tmp_path, 4, 4)],
            stderr=subprocess.PIPE,
            text=True,
        )
        while server.calls < 4 and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        assert "Ctrl-C again drops them" in process.stderr.readline()
        time.sleep(2 * SAME_S)  # sooner it would be the same
        process.send_signal(signal.SIGINT)
        assert "left 4" in process.communicate(timeout=25)[1], "before the answers came"


def test_a_model_none_of_whose_first_answers_can_be_read_is_asked_no_more(tmp_path):
    with FakeLLM(lambda body: "I would rather not.") as server:
        llm = config(server, workers=2, structured="json_schema")
        with pytest.raises(
            UserError, match=r"none of the first 10 answers .*\(10 times: .*no JSON"
        ):
            ask([request(n) for n in range(60)], parse, llm, folder=tmp_path)
        assert 10 <= server.calls <= 12
        server.answer = lambda body: echo(body) if server.calls % 3 else "I would rather not."
        answers = ask([request(n) for n in range(60)], parse, llm, folder=tmp_path)
        assert answers.usage.cached >= 10, "what was answered is kept"


def test_an_endpoint_that_hangs_at_first_contact_is_asked_no_more(tmp_path, monkeypatch):
    monkeypatch.setattr(online, "FIRST_CONTACT_S", 0.3)
    with FakeLLM(echo, lambda n, body: "hang") as server:
        llm = config(server, timeout_s=0.2, max_tries=50, workers=1)
        with pytest.raises(UserError, match=r"answered nothing within \d+ s.*llm.timeout_s"):
            ask([request(n) for n in range(50)], parse, llm, folder=tmp_path)
        assert server.calls <= 6


def test_one_odd_answer_does_not_settle_how_an_endpoint_is_asked(tmp_path):
    odd = iter(["Sure! Zero."])
    with FakeLLM(lambda body: next(odd, None) or echo(body)) as server:
        answers = ask([request(n) for n in range(6)], parse, config(server), folder=tmp_path)
        assert answers.values == list(range(6)) and answers.warnings == []
        assert server.bodies[-1]["response_format"]["type"] == "json_schema"


def test_a_fact_expires(tmp_path, monkeypatch):
    with Store(tmp_path) as store:
        assert facts.observe(store, "http://E:80/v1/", "m", "n", "v") is None
        assert facts.observe(store, "http://e/v1", "m", "n", "v") == "v"
        assert facts.fact(store, "http://e/v1", "m", "n") == "v"
        later = time.time() + 8 * 86_400
        monkeypatch.setattr(facts.time, "time", lambda: later)
        assert facts.fact(store, "http://e/v1", "m", "n") is None


ERRORS = {
    "openai": (
        400,
        {"error": {"message": "json_schema not supported", "param": "response_format"}},
    ),
    "fastapi list": (
        422,
        {"detail": [{"loc": ["body", "response_format"], "msg": "Extra inputs"}]},
    ),
    "fastapi text": (400, {"detail": "response_format is not supported"}),
    "object": (400, {"object": "error", "message": "response_format json_schema", "code": 400}),
    "error text": (400, {"error": "json_schema response_format not supported"}),
    "message": (400, {"message": "response_format not supported"}),
    "errors": (400, {"errors": [{"message": "response_format not supported"}]}),
    "plain": (400, "response_format not supported"),
    "html": (400, "<html>response_format</html>"),
    "501": (501, {"error": {"message": "json_schema not implemented"}}),
    "500": (500, {"error": {"message": "json_schema grammar failed"}}),
    "404": (404, {"error": {"message": "response_format json_schema not supported"}}),
    "max_tokens": (422, {"detail": [{"loc": ["max_tokens"], "msg": "use max_completion_tokens"}]}),
}


@pytest.mark.parametrize("form", ERRORS)
def test_a_refused_form_is_understood_in_every_wording(tmp_path, form):
    status, said = ERRORS[form]

    class Picky(FakeLLM):
        async def _respond(self, request, body, number):
            asked = (body.get("response_format") or {}).get("type") == "json_schema"
            if "max_tokens" in body if form == "max_tokens" else asked:
                text = said if isinstance(said, str) else json.dumps(said)
                kind = "text/plain" if isinstance(said, str) else "application/json"
                return web.Response(status=status, text=text, content_type=kind)
            return await super()._respond(request, body, number)

    with Picky(echo) as server:
        answers = ask([request(n) for n in range(3)], parse, config(server), folder=tmp_path)
    assert answers.values == [0, 1, 2] and answers.quarantine.empty


def test_a_schema_that_the_model_missed_is_asked_for_again(tmp_path):
    failing = {"code": "json_validate_failed", "message": "no valid JSON"}
    with FakeLLM(echo, once("400", **failing)) as server:
        answers = ask([request(1)], parse, config(server), folder=tmp_path)
    assert answers.values == [1] and server.calls == 2


BODIES = {
    "error reason": {"choices": [{"message": {"content": "x"}, "finish_reason": "error"}]},
    "error object": {"error": {"message": "overloaded"}, "choices": []},
    "tool call": {
        "choices": [
            {"message": {"content": None, "tool_calls": [{}]}, "finish_reason": "tool_calls"}
        ]
    },
}


@pytest.mark.parametrize("name", BODIES)
def test_an_error_with_status_200_is_asked_again_and_never_stored(tmp_path, name):
    class Sick(FakeLLM):
        async def _respond(self, request, body, number):
            if number == 1:
                return web.json_response(BODIES[name])
            return await super()._respond(request, body, number)

    with Sick(echo) as server:
        answers = ask([request(1)], parse, config(server), folder=tmp_path)
        assert answers.values == [1] and server.calls == 2
    with Store(tmp_path) as store:
        assert len(store) == 1


USAGES = {
    "none": None,
    "list": [1, 2],
    "words": {"prompt_tokens": "many", "completion_tokens": "few"},
    "negative": {"prompt_tokens": -100_000, "completion_tokens": -5},
    "infinite": {"prompt_tokens": 1e400, "completion_tokens": 1},
    "half": {"prompt_tokens": 10},
}


@pytest.mark.parametrize("name", USAGES)
def test_a_usage_that_cannot_be_is_estimated_from_above_and_its_cost_unknown(tmp_path, name):
    class Odd(FakeLLM):
        async def _respond(self, request, body, number):
            answer = await super()._respond(request, body, number)
            made = json.loads(answer.text) | {"usage": USAGES[name]}
            return web.Response(text=json.dumps(made), content_type="application/json")

    prices = tmp_path / "prices.yaml"
    prices.write_text("models: {fake-1: {input: 10, output: 10}}\nbatch_factor: 1\n")
    with Odd(echo) as server:
        llm = config(server, location="remote", prices=str(prices))
        answers = ask([request(1), request(2)], parse, llm, folder=tmp_path)
        assert answers.values == [1, 2] and answers.usage.cost_usd is None
        assert "did not count the tokens of 2 answers" in answers.warnings[0]
        with Store(tmp_path) as store:
            assert spent_usd(llm, store) > 0


def test_an_answer_of_an_odd_shape_touches_no_other(tmp_path):
    def shaky(asked, text):
        return loads(text)[0]["n"].strip()  # as a parser that trusts a shape

    answers_of = {0: '{"n": "a"}', 1: '{"n": {"value": 1}}', 2: '{"n": [1]}', 3: "[1]"}
    with FakeLLM(
        lambda body: answers_of[int(body["messages"][1]["content"].split()[-1])]
    ) as server:
        llm = config(server, structured="json_schema")
        answers = ask([request(n) for n in range(4)], shaky, llm, folder=tmp_path)
    assert answers.values == ["a", None, None, None]
    assert answers.quarantine["reason"].str.contains("shape that cannot be read").sum() == 3


@pytest.mark.parametrize("spelling", ["{}/", "HTTP{}"])
def test_an_endpoint_has_one_key_however_it_is_spelled(tmp_path, spelling):
    with FakeLLM(echo) as server:
        ask([request(1)], parse, config(server), folder=tmp_path)
        other = spelling.format(server.url if "/" in spelling else server.url[4:])
        answers = ask([request(1)], parse, config(server, endpoint=other), folder=tmp_path)
        assert answers.usage.cached == 1 and server.calls == 1


def test_answers_under_keys_of_earlier_versions_are_found(tmp_path):
    with FakeLLM(echo) as server:
        spelled = server.url + "/"
        with Store(tmp_path) as store:
            key = request(1).key_as_written(spelled, "fake-1")
            response = Response(key, '{"n": 1}')
            store.put(response, endpoint=spelled, model="fake-1", request=request(1))
        for endpoint in (spelled, server.url):
            answers = ask([request(1)], parse, config(server, endpoint=endpoint), folder=tmp_path)
            assert answers.values == [1] and server.calls == 0
