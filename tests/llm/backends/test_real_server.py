"""The online backend against `transformers serve`, a server of somebody else: a tiny model of
random
weights, so answers are noise, and what is tested is how they come."""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager

import pytest
from tiny_llm import tiny_llm

from touchstone.llm import pool
from touchstone.llm.ask import ask
from touchstone.llm.protocol import ParseError, Request
from touchstone.llm.store import Store
from touchstone.schema import LLMConfig

NEEDED = ("accelerate", "fastapi", "uvicorn")
LACKING = [name for name in NEEDED if importlib.util.find_spec(name) is None]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(LACKING), reason=f"transformers serve needs {', '.join(LACKING)}"),
]
START_S = 120
SCHEMA = {
    "title": "labels",
    "type": "object",
    "properties": {"id": {"type": "integer"}},
    "required": ["id"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_llm(tmp_path_factory.mktemp("served"))


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@contextmanager
def served(folder: str, port: int):
    """`transformers serve FOLDER` on loopback, until the body ends."""
    command = [sys.executable, "-c", "from transformers.cli.transformers import main; main()"]
    command += ["serve", folder, "--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        until = time.monotonic() + START_S
        while time.monotonic() < until and process.poll() is None:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2):
                    break
            except OSError:
                time.sleep(0.3)
        else:
            pytest.fail(f"transformers serve did not start (exit status {process.poll()})")
        yield process
    finally:
        process.kill()
        process.wait(30)


def config(folder: str, port: int, name: str, **changes) -> LLMConfig:
    settings = {
        "name": name,
        "backend": "openai",
        "model": folder,
        "endpoint": f"http://127.0.0.1:{port}/v1",
        "location": "local",
        "workers": 2,
        "timeout_s": 60,
        "temperature": 0.0,
    }
    return LLMConfig(**{**settings, **changes})


def requests(first: int, n: int, schema=None) -> list[Request]:
    return [
        Request(
            ({"role": "user", "content": f"He forgets name {number}."},),
            schema,
            {"max_tokens": 12, "temperature": 0.0},
            stage="silver",
        )
        for number in range(first, first + n)
    ]


def text_of(request, text):
    return text


def test_answers_of_a_real_server_are_stored_with_usage_and_model(folder, tmp_path):
    port = free_port()
    with served(folder, port):
        llm = config(folder, port, "vllm")
        answers = ask(requests(0, 6), text_of, llm, folder=tmp_path)
        assert answers.quarantine.empty and all(isinstance(text, str) for text in answers.values)
        assert answers.usage.sent == 6 and answers.usage.failed == 0
        assert 0 < answers.usage.completion_tokens <= 6 * 13
        assert answers.usage.prompt_tokens > 6
        again = ask(requests(0, 6), text_of, llm, folder=tmp_path)
        assert again.values == answers.values and again.usage.sent == 0


@pytest.mark.parametrize("structured", ["auto", "instruction"])
def test_a_schema_is_sent_and_noise_is_quarantined_without_ending_the_run(
    folder, tmp_path, structured
):
    def parse(request, text):
        raise ParseError("noise")

    port = free_port()
    with served(folder, port):
        llm = config(folder, port, "openai", structured=structured)
        answers = ask(requests(0, 3, SCHEMA), parse, llm, folder=tmp_path)
    assert answers.values == [None] * 3 and len(answers.quarantine) == 3
    assert answers.usage.failed == 0, "every form was answered, or refused and asked in the next"


def test_a_server_that_is_killed_and_comes_back_loses_nothing(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(pool, "LONGEST_WAIT_S", 1.0)
    port = free_port()
    llm = config(folder, port, "vllm", max_tries=2, breaker=2)
    with served(folder, port) as process:
        ask(requests(0, 4), text_of, llm, folder=tmp_path)
        process.kill()
        process.wait(30)
        with pytest.raises(Exception, match="looks down"):
            ask(requests(0, 12), text_of, llm, folder=tmp_path)
    with served(folder, port):
        answers = ask(requests(0, 12), text_of, llm, folder=tmp_path)
    assert answers.usage.cached == 4 and answers.usage.sent == 8
    with Store(tmp_path) as store:
        assert len(store) == 12
