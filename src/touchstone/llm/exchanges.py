"""Requests one by one, as they are looked at: what was asked, what came back, and what the parser
made of it.

A sample: the first `FIRST` requests of a generation, and every one with an answer that could not
be used. Never of restricted requests. Does not ask or parse (ask.py), and does not log
(run/traces.py).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from touchstone.llm import chat
from touchstone.llm.protocol import Request, Response

FIRST = 20  # requests of a generation that are kept whatever became of them


@dataclass(frozen=True)
class Attempt:
    """One sending of a request.

    Attributes
    ----------
    messages : as asked; of a second attempt with the first answer and the reason.
    answer : the completion; None where there was none.
    reason : why it could not be used, or why there was none; '' where it could.
    model : that answered, '' if unknown.
    finish_reason, created, latency_s, tries : as in `protocol.Response`.
    tokens : prompt_tokens, completion_tokens, ... as the endpoint counted them; empty where it did
        not.
    """

    messages: tuple[Mapping[str, str], ...]
    answer: str | None
    reason: str = ""
    model: str = ""
    finish_reason: str = ""
    created: str = ""
    latency_s: float | None = None
    tries: int = 0
    tokens: Mapping[str, int] | None = None


@dataclass(frozen=True)
class Exchange:
    """A request with its one or two attempts.

    Attributes
    ----------
    key : of the request, see `protocol.Request.key`.
    stage : that asked.
    params : sampling parameters as sent.
    attempts : the first, and the second where the answer to the first could not be read.
    value : what the parser read, as plain JSON; None where neither answer could be used.
    """

    key: str
    stage: str
    params: Mapping[str, Any]
    attempts: tuple[Attempt, ...]
    value: Any = None

    @property
    def failed(self) -> bool:
        """Return whether an answer could not be used, the first of two included."""
        return any(attempt.reason for attempt in self.attempts)


def attempt(request: Request, response: Response | None, reason: str) -> Attempt:
    """Return what came of sending a request once."""
    messages = tuple(dict(message) for message in request.messages)
    if response is None:
        return Attempt(messages, None, reason or "no answer")
    return Attempt(
        messages,
        response.text,
        reason,
        response.model,
        response.finish_reason,
        response.created,
        response.latency_s,
        response.tries,
        chat.tokens(response.usage) or {},
    )


def sampled(exchanges: Iterable[Exchange]) -> tuple[Exchange, ...]:
    """Return the first `FIRST` exchanges and all that failed, in their order, each key once."""
    kept: dict[str, Exchange] = {}
    keys: set[str] = set()
    for one in exchanges:
        if len(keys) < FIRST or one.failed:
            kept.setdefault(one.key, one)
        keys.add(one.key)
    return tuple(kept.values())


def as_json(exchanges: Sequence[Exchange]) -> str:
    """Return exchanges as text that `from_json` reads."""
    return json.dumps([asdict(one) for one in exchanges])  # ASCII: half a surrogate is no UTF-8


def from_json(text: str) -> tuple[Exchange, ...]:
    """Return the exchanges that `as_json` wrote."""
    return tuple(
        Exchange(
            **{
                **one,
                "attempts": tuple(
                    Attempt(**{**each, "messages": tuple(each["messages"])})
                    for each in one["attempts"]
                ),
            }
        )
        for one in json.loads(text)
    )


def plain(value: Any) -> Any:
    """Return what a parser read as plain JSON: keys are texts, sets and tuples are lists."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted(plain(item) for item in value)
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)
