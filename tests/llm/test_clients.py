"""Every backend gets its client from one place: no proxy, no redirect, checked addresses, bounded
answers."""

from __future__ import annotations

import ast
import gzip
import json
from collections import Counter
from pathlib import Path

import pytest
from aiohttp import web
from fake_llm_server import FakeLLM

import touchstone.llm
from touchstone.errors import UserError
from touchstone.llm import addresses
from touchstone.llm.ask import ask
from touchstone.llm.protocol import Request
from touchstone.llm.store import Store
from touchstone.schema import LLMConfig

BACKENDS = ("openai", "openai_batch")
NETWORK = {"httpx2", "httpx", "aiohttp", "requests", "urllib3", "http.client", "urllib.request"}


def config(endpoint, backend="openai", **changes):
    settings = {
        "name": "x",
        "backend": backend,
        "model": "fake-1",
        "endpoint": endpoint,
        "location": "local",
        "max_tries": 1,
        "poll_s": 0.01,
        "timeout_s": 10,
    }
    return LLMConfig(**{**settings, **changes})


def asked(n=1):
    return [
        Request(({"role": "user", "content": f"note {i}"},), params={"max_tokens": 9}, stage="s")
        for i in range(n)
    ]


def text_of(_, text):
    return text


class Handlers(FakeLLM):
    """The server with handlers of the test's own for single questions."""

    def __init__(self, handler):
        super().__init__()
        self.handler = handler

    async def chat(self, request):
        self.calls += 1
        return await self.handler(request)

    async def upload(self, request):
        self.calls += 1
        return await self.handler(request)


def test_no_backend_makes_a_client_of_its_own():
    folder = Path(touchstone.llm.__file__).parent
    for path in folder.rglob("*.py"):
        if path.name == "clients.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                made = node.func.attr
                assert not made.endswith(("OpenAI", "Client", "ClientSession")), (path, made)
            if isinstance(node, ast.ImportFrom):
                assert node.module not in NETWORK and node.module != "openai", path


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_local_endpoint_is_reached_without_proxies(tmp_path, monkeypatch, backend):
    with FakeLLM() as proxy, FakeLLM() as server:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url.removesuffix("/v1"))
        answers = ask(asked(), text_of, config(server.url, backend), folder=tmp_path)
        assert answers.values == ['{"n": 2}'] and proxy.calls == 0


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(tmp_path, backend, status):
    with FakeLLM() as other:

        async def elsewhere(request):
            return web.Response(status=status, headers={"Location": other.url})

        with Handlers(elsewhere) as server, pytest.raises(UserError, match=str(status)):
            ask(asked(), text_of, config(server.url, backend), folder=tmp_path)
        assert other.calls == 0


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_address_that_was_checked_is_the_one_that_is_reached(tmp_path, monkeypatch, backend):
    looked_up = []

    def resolve(host):
        looked_up.append(host)
        return ["127.0.0.1"]

    monkeypatch.setattr(addresses, "resolve", resolve)
    with FakeLLM() as server:
        port = server.url.split(":")[2]
        endpoint = f"http://gpu7.ward:{port}"  # no resolver of the system knows it
        answers = ask(asked(), text_of, config(endpoint, backend), folder=tmp_path)
        assert answers.values == ['{"n": 2}']
        assert looked_up == ["gpu7.ward"]


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_name_that_leads_outside_is_refused_before_anything_is_sent(
    tmp_path, monkeypatch, backend
):
    monkeypatch.setattr(addresses, "resolve", lambda host: ["93.184.216.34"])
    with pytest.raises(UserError, match="neither this machine"):
        ask(asked(), text_of, config("http://gpu7/v1", backend), folder=tmp_path)


def test_the_next_address_is_tried_where_nobody_listens(tmp_path, monkeypatch):
    monkeypatch.setattr(addresses, "resolve", lambda host: ["127.0.0.77", "127.0.0.1"])
    with FakeLLM() as server:
        endpoint = server.url.replace("127.0.0.1", "gpu7")
        answers = ask(asked(3), text_of, config(endpoint, workers=1), folder=tmp_path)
        assert answers.values == ['{"n": 2}'] * 3


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip bomb"])
def test_an_answer_is_read_up_to_a_size_after_decompression(tmp_path, packed):
    async def large(request):
        content = json.dumps({"choices": [{"message": {"content": "a" * 30_000_000}}]}).encode()
        headers = {"Content-Type": "application/json"}
        if packed:
            content, headers = gzip.compress(content), headers | {"Content-Encoding": "gzip"}
        return web.Response(body=content, headers=headers)

    with Handlers(large) as server:
        answers = ask(asked(), text_of, config(server.url, max_answer_mb=1), folder=tmp_path)
    assert answers.values == [None] and server.calls == 1
    assert "larger than 1 MB (llm.max_answer_mb)" in answers.quarantine["reason"][0]


def test_large_answers_do_not_burden_the_store_and_the_others_are_kept(tmp_path):
    sent = iter(range(12))

    async def some(request):
        content = "a" * 5_000_000 if next(sent) < 8 else '{"n": 2}'
        return web.json_response({"model": "m", "choices": [{"message": {"content": content}}]})

    with Handlers(some) as server:
        answers = ask(asked(12), text_of, config(server.url, workers=4), folder=tmp_path)
    assert Counter(answers.values) == {None: 8, '{"n": 2}': 4}
    assert sum(path.stat().st_size for path in tmp_path.glob("*")) < 1_000_000
    with Store(tmp_path) as store:
        assert len(store) == 4
