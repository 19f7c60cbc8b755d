"""Requests that ask for a number, what asks them, and a process that does."""

from __future__ import annotations

import json
from pathlib import Path

from touchstone.llm.answers import loads
from touchstone.llm.protocol import ParseError, Request
from touchstone.schema import LLMConfig

PATHS = [str(Path(__file__).resolve().parent)]  # of processes that tests start
SCHEMA = {
    "title": "answer",
    "type": "object",
    "properties": {"n": {"type": "integer"}},
    "required": ["n"],
    "additionalProperties": False,
}


def config(server, **changes):
    url = server if isinstance(server, str) else server.url
    settings = {
        "name": "fake",
        "backend": "openai",
        "model": "fake-1",
        "endpoint": url,
        "location": "local",
        "workers": 8,
        "timeout_s": 60.0,  # what is to time out gives its own
    }
    return LLMConfig(**{**settings, **changes})


def request(number, schema=SCHEMA, **changes):
    messages = (
        {"role": "system", "content": "Count."},
        {"role": "user", "content": f"request {number}"},
    )
    return Request(messages, schema, {"max_tokens": 50}, **{"stage": "count", **changes})


def parse(request, text):
    value, _ = loads(text)
    if not isinstance(value, dict) or not isinstance(value.get("n"), int):
        raise ParseError('answer {"n": integer}')
    return value["n"]


def number_of(body):
    """The number of a request, also when it is asked again."""
    return int(body["messages"][1]["content"].split()[1])


def echo(body):
    return json.dumps({"n": number_of(body)})


def client_code(server_url, folder, n, workers):
    return f"""
import sys
sys.path[:0] = {PATHS!r}
from counting_requests import request, parse, config
from touchstone.llm.ask import ask
import logging
logging.basicConfig(format="%(message)s")
answers = ask([request(n) for n in range({n})], parse, config({server_url!r}, workers={workers}, structured="json_schema"), folder={str(folder)!r})
assert answers.values == list(range({n})), "values"
print("sent", answers.usage.sent)
"""  # noqa: E501
