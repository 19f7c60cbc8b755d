"""The Batch API backend against the fake server: submit, poll, collect, resubmit, survive a
restart."""

from __future__ import annotations

import json

import pytest
from fake_llm_server import FakeLLM

from touchstone.errors import BudgetExceeded, EstimateOnly, UserError
from touchstone.llm import batches
from touchstone.llm.answers import loads
from touchstone.llm.ask import ask
from touchstone.llm.backends import openai_batch
from touchstone.llm.protocol import Request
from touchstone.llm.store import Store
from touchstone.schema import LLMConfig


@pytest.fixture
def prices(tmp_path):
    path = tmp_path / "prices.yaml"
    path.write_text(
        "batch_factor: 0.5\nmodels:\n  fake-1: {input: 10.0, output: 20.0, as_of: 2026-01-01}\n"
    )
    return str(path)


def config(server, prices, **changes):
    settings = {
        "name": "fake",
        "backend": "openai_batch",
        "model": "fake-1",
        "endpoint": server.url,
        "poll_s": 0.02,
        "max_tries": 3,
    }
    return LLMConfig(**{**settings, "prices": prices, "max_tokens": 100, **changes})


def request(number, **changes):
    return Request(
        ({"role": "user", "content": f"request {number}"},),
        None,
        {"max_tokens": 100},
        **{"stage": "count", **changes},
    )


def parse(request, text):
    return loads(text)[0]["n"]


def echo(body):
    return json.dumps({"n": int(body["messages"][0]["content"].split()[1])})


def test_a_batch_is_submitted_polled_and_collected_in_order(tmp_path, prices):
    with FakeLLM(echo, batch_polls=2) as server:
        answers = ask(
            [request(n) for n in (2, 0, 1)], parse, config(server, prices), folder=tmp_path / "llm"
        )
        assert (
            answers.values == [2, 0, 1]
            and len(server.batches) == 1
            and server.batches["batch_0"]["polls"] == 3
        )
        assert server.bodies[0]["max_completion_tokens"] == 100
        usage = answers.usage
        assert usage.sent == 3 and usage.cost_usd == pytest.approx(
            (usage.prompt_tokens * 5 + usage.completion_tokens * 10) / 1e6
        )
        again = ask(
            [request(n) for n in (2, 0, 1)], parse, config(server, prices), folder=tmp_path / "llm"
        )
        assert again.values == [2, 0, 1] and len(server.batches) == 1 and again.usage.cost_usd == 0


def test_answers_of_the_online_backend_serve_the_batch_backend(tmp_path, prices):
    with FakeLLM(echo) as server:
        ask(
            [request(1)],
            parse,
            config(server, prices, backend="openai", location="local"),
            folder=tmp_path / "llm",
        )
        assert (
            ask([request(1)], parse, config(server, prices), folder=tmp_path / "llm").usage.cached
            == 1
        )
        assert not server.batches


def test_what_failed_or_expired_is_submitted_again_and_what_is_refused_is_not(tmp_path, prices):
    first = {1: "500", 2: "expired"}
    always = {3: "400", 4: "500"}

    def fault(n, body):
        number = int(body["messages"][0]["content"].split()[1])
        return first.pop(number, None) or always.get(number)

    with FakeLLM(echo, fault) as server:
        answers = ask(
            [request(n) for n in range(5)], parse, config(server, prices), folder=tmp_path / "llm"
        )
        assert answers.values == [0, 1, 2, None, None] and answers.usage.failed == 2
        assert dict(server.asked) == {
            "request 0": 1,
            "request 1": 2,
            "request 2": 2,
            "request 3": 1,
            "request 4": 3,
        }
        assert (
            "400" in answers.quarantine["reason"][0]
            and "3 tries" in answers.quarantine["reason"][1]
        )


def test_requests_are_split_by_the_limits(tmp_path, prices):
    with FakeLLM(echo) as server:
        answers = ask(
            [request(n) for n in range(5)],
            parse,
            config(server, prices, batch_max_requests=2),
            folder=tmp_path / "llm",
        )
        assert answers.values == list(range(5)) and len(server.batches) == 3


@pytest.mark.parametrize("when", ["before creation", "after creation", "while polling"])
def test_a_killed_process_finds_its_batches_again_and_submits_nothing_twice(
    tmp_path, prices, monkeypatch, when
):
    class Killed(BaseException):
        pass

    def killed(*_, **__):
        raise Killed

    with FakeLLM(echo) as server:
        llm = config(server, prices)
        with monkeypatch.context() as patched:
            if when == "before creation":
                begin = batches.begin
                patched.setattr(batches, "begin", lambda *arguments: begin(*arguments) and killed())
            elif when == "after creation":
                patched.setattr(batches, "name", killed)
            else:
                patched.setattr(openai_batch._Run, "_collected", killed)
            with pytest.raises(Killed):
                ask([request(n) for n in range(3)], parse, llm, folder=tmp_path / "llm")
        with Store(tmp_path / "llm") as store:  # the owner of what was interrupted is gone
            store.db.execute("UPDATE batches SET heard = 0")
        assert ask([request(n) for n in range(3)], parse, llm, folder=tmp_path / "llm").values == [
            0,
            1,
            2,
        ]
        assert len(server.batches) == 1 and set(server.asked.values()) == {1}


def test_answers_to_requests_of_another_call_in_the_same_batch_are_kept(
    tmp_path, prices, monkeypatch
):
    with FakeLLM(echo) as server:
        llm = config(server, prices)
        with monkeypatch.context() as patched:
            patched.setattr(
                openai_batch.time, "sleep", lambda seconds: (_ for _ in ()).throw(KeyboardInterrupt)
            )
            with pytest.raises(KeyboardInterrupt):
                ask([request(n) for n in range(3)], parse, llm, folder=tmp_path / "llm")
        assert ask([request(1)], parse, llm, folder=tmp_path / "llm").values == [1]
        assert ask([request(n) for n in range(3)], parse, llm, folder=tmp_path / "llm").values == [
            0,
            1,
            2,
        ]
        assert len(server.batches) == 1


def test_the_estimate_shows_half_the_price(tmp_path, prices):
    with FakeLLM(echo) as server:
        costs = {}
        for backend in ("openai", "openai_batch"):
            with pytest.raises(EstimateOnly) as caught:
                ask(
                    [request(1)],
                    parse,
                    config(server, prices, backend=backend, estimate_only=True),
                    folder=tmp_path / "llm",
                )
            costs[backend] = caught.value.estimate[0].cost_usd
        assert (
            costs["openai_batch"] == pytest.approx(costs["openai"] / 2)
            and server.calls == 0
            and not server.batches
        )


def test_the_budget_stops_submission(tmp_path, prices):
    with FakeLLM(echo) as server:
        llm = config(server, prices, budget_usd=0.0015)
        with pytest.raises(BudgetExceeded, match="raise llm.budget_usd"):
            ask([request(n) for n in range(20)], parse, llm, folder=tmp_path / "llm")
        with Store(tmp_path / "llm") as store:
            (spent,) = store.spent(server.url, "fake-1")
            assert 0 < server.calls == len(store) < 20
        assert (spent["prompt_tokens"] * 5 + spent["completion_tokens"] * 10) / 1e6 <= 0.0015


def test_a_refused_batch_is_one_clear_line(tmp_path, prices, monkeypatch):
    with FakeLLM(echo) as server:
        monkeypatch.setattr(
            server,
            "_complete",
            lambda batch: batch.update(
                status="failed", errors={"data": [{"code": "model_not_found"}]}
            ),
        )
        with pytest.raises(UserError, match="refused batch batch_0 .model_not_found."):
            ask([request(1)], parse, config(server, prices), folder=tmp_path / "llm")
