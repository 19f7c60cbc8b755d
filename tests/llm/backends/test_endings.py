"""How an endpoint may end a run that has begun, and a machine hold one up: what was answered is
kept, the reason is one line, and the same command goes on."""

from __future__ import annotations

import shutil
import signal
import ssl
import subprocess
import sys
import time

import pytest
from counting_requests import client_code, config, echo, number_of, parse, request
from fake_llm_server import FakeLLM

from touchstone.errors import UserError
from touchstone.llm import pool
from touchstone.llm.ask import ask
from touchstone.llm.store import Store

REQUESTS = [request(number) for number in range(30)]


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(pool, "FIRST_WAIT_S", 0.02)


def kept(folder) -> int:
    with Store(folder) as store:
        return len(store)


@pytest.mark.parametrize("status", ["401", "402"])
def test_a_key_that_is_withdrawn_or_out_of_money_half_way_stops_the_run(tmp_path, status):
    with FakeLLM(echo, lambda n, body: status if n > 12 else None) as server:
        llm = config(server, workers=2, structured="json_schema")
        with pytest.raises(UserError, match=f"HTTP {status}.*llm.api_key_env.*[Dd]one 12, failed"):
            ask(REQUESTS, parse, llm, folder=tmp_path)
        assert kept(tmp_path) == 12 and server.calls <= 14
        server.fault = lambda n, body: None  # a new key
        answers = ask(REQUESTS, parse, llm, folder=tmp_path)
        assert answers.values == list(range(30)) and answers.usage.cached == 12


def test_a_request_that_is_too_long_for_the_model_touches_no_other(tmp_path):
    def too_long(_, body):
        said = {"message": "maximum context length is 4096 tokens"}
        if number_of(body) == 7:
            return {"kind": "400", "code": "context_length_exceeded", **said}
        return None

    with FakeLLM(echo, too_long) as server:
        answers = ask(REQUESTS, parse, config(server, structured="json_schema"), folder=tmp_path)
    assert [n for n, value in enumerate(answers.values) if value is None] == [7]
    assert "context_length_exceeded" in answers.quarantine["reason"][0]
    assert kept(tmp_path) == 29


@pytest.fixture
def tls(tmp_path):
    """(certificate, what a server needs to show it); nobody vouches for it."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    pair = ["-keyout", key, "-out", certificate, "-subj", "/CN=127.0.0.1"]
    named = ["-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", *pair, *named],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return certificate, context


@pytest.mark.parametrize("backend", ["openai", "openai_batch"])
def test_a_certificate_that_nobody_vouches_for_is_refused_at_once(tmp_path, tls, backend):
    with FakeLLM(echo, tls=tls[1]) as server:
        llm = config(server, backend=backend, max_tries=2, poll_s=0.01)
        with pytest.raises(UserError, match="certificate is refused .*self-signed.*SSL_CERT_FILE"):
            ask(REQUESTS[:5], parse, llm, folder=tmp_path / "llm")
        assert server.calls == 0 and kept(tmp_path / "llm") == 0


def test_an_authority_of_the_house_is_accepted_where_it_is_named(tmp_path, tls, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(tls[0]))
    with FakeLLM(echo, tls=tls[1]) as server:
        llm = config(server, structured="json_schema")
        assert ask(REQUESTS[:5], parse, llm, folder=tmp_path / "llm").values == [0, 1, 2, 3, 4]


def test_a_process_that_is_held_for_a_while_goes_on_and_asks_nothing_twice(tmp_path):
    with FakeLLM(echo, latency=0.05) as server:
        process = subprocess.Popen(
            [sys.executable, "-c", client_code(server.url, tmp_path, 60, 4)],
            stderr=subprocess.PIPE,
            text=True,
        )
        while server.calls < 20 and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGSTOP)
        time.sleep(1)
        process.send_signal(signal.SIGCONT)
        assert process.wait(timeout=60) == 0, process.stderr.read()
        assert server.calls == 60 == kept(tmp_path)


@pytest.mark.parametrize("size", [0, 100, 5000], ids=["empty", "cut in its head", "cut"])
def test_a_store_that_was_cut_is_one_line_or_is_begun_anew(tmp_path, size):
    with FakeLLM(echo) as server:
        llm = config(server, structured="json_schema")
        ask(REQUESTS, parse, llm, folder=tmp_path)
        path = tmp_path / "responses.sqlite"
        for left in tmp_path.glob("responses.sqlite-*"):
            left.unlink()
        with open(path, "r+b") as handle:
            handle.truncate(size)
        before = server.calls
        if size == 0:  # an empty file is an empty store
            assert ask(REQUESTS, parse, llm, folder=tmp_path).values == list(range(30))
            return
        with pytest.raises(UserError, match=r"response store .*responses\.sqlite") as caught:
            ask(REQUESTS, parse, llm, folder=tmp_path)
        assert "\n" not in str(caught.value) and server.calls == before
