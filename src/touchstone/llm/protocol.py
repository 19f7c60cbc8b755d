"""What every LLM backend speaks: a request, its key, a response.

The key is the digest of everything that can change the answer: endpoint, model, all messages,
response schema, all sampling parameters, sample index. Change any of them and it is another request
(tested field by field). Bookkeeping (stage, restricted) are not part of it. Does not send anything:
`llm/ask.py` does.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from touchstone.digest import digest


def normal_endpoint(endpoint: str) -> str:
    """Return an endpoint in one spelling: scheme and host lower case, no default port, no slash at
    the end. What is no URL stays.

    Examples
    --------
    >>> normal_endpoint("HTTP://LOCALHOST:80/v1/"), normal_endpoint("file")
    ('http://localhost/v1', 'file')
    """
    scheme, separator, rest = endpoint.partition("://")
    if not separator:
        return endpoint
    place, slash, path = rest.partition("/")
    scheme, place = scheme.lower(), place.lower()
    place = place.removesuffix({"http": ":80", "https": ":443"}.get(scheme, ":"))
    return f"{scheme}://{place}{slash}{path}".rstrip("/")


@dataclass(frozen=True)
class Request:
    """One chat completion to ask for.

    Attributes
    ----------
    messages : tuple of {"role": "system" | "user" | "assistant", "content": str}.
    schema : JSON schema the answer must satisfy, or None for free text. `schema["title"]` names it
        to the endpoint.
    params : sampling parameters as sent: temperature, top_p, max_tokens, seed, ...; those that are
        None are not sent.
    sample : index of the sample where the same prompt is asked several times.
    stage : which stage asks (`data_to_label`, `label_to_data`, ...): for counts, estimates and
        errors.
    restricted : whether the messages hold text of a corpus with `access: restricted`.
    context : what the parser needs to know to read the answer (which sentences were asked); kept
        when the request is asked again.
    unreadable : says why an answer cannot be read, None where it can; None where nobody wants to
        know before all are answered.
    """

    messages: tuple[Mapping[str, str], ...]
    schema: Mapping[str, Any] | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    sample: int = 0
    stage: str = ""
    restricted: bool = False
    context: Mapping[str, Any] = field(default_factory=dict, compare=False)
    unreadable: Callable[[Response], str | None] | None = field(default=None, compare=False)

    def key(self, endpoint: str, model: str) -> str:
        """Return the digest that names this request at `endpoint` for `model`: 64 hex digits."""
        return self.key_as_written(normal_endpoint(endpoint), model)

    def key_as_written(self, endpoint: str, model: str) -> str:
        """As `key`, with the endpoint as it is spelled: what earlier versions wrote."""
        parts = {
            "endpoint": endpoint,
            "model": model,
            "messages": [dict(message) for message in self.messages],
            "schema": self.schema,
            "params": {name: value for name, value in self.params.items() if value is not None},
            "sample": self.sample,
        }
        try:  # plain JSON types need no conversion: the same digest in a third of the time
            text = json.dumps(
                parts, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
            )
        except (TypeError, ValueError):
            return digest(parts)
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True)
class Response:
    """One answer as it came, before parsing.

    Attributes
    ----------
    key : the request's key.
    text : the completion, '' on refusal.
    finish_reason : `stop`, `length`, `content_filter`, ...
    model : the model that the endpoint says answered (may differ from the one asked).
    usage : the endpoint's whole usage object: prompt_tokens, completion_tokens, and reasoning or
        cached tokens where given.
    fingerprint : `system_fingerprint`, '' where there is none.
    latency_s : seconds from the last try's sending to its answer; None for recordings and batches.
    tries : how many times it was sent until it was answered.
    created : ISO date and time (UTC) of the answer.
    refused : of a stand-off recording (standoff.py) that holds no answer: why it was refused.
    """

    key: str
    text: str
    finish_reason: str = "stop"
    model: str = ""
    usage: Mapping[str, Any] = field(default_factory=dict)
    fingerprint: str = ""
    latency_s: float | None = None
    tries: int = 1
    created: str = ""
    refused: str = ""


@dataclass
class Obtained:
    """What a backend has for some requests.

    Attributes
    ----------
    responses : by key.
    new : keys of those that were paid for in this call.
    failed : key -> why the request was given up; such a request is asked again by the next call.
    tries : requests that went over the wire.
    uncounted : keys of answers of this call whose tokens the endpoint did not count.
    notes : remarks for the user, without text of requests or answers.
    """

    responses: dict[str, Response] = field(default_factory=dict)
    new: set[str] = field(default_factory=set)
    failed: dict[str, str] = field(default_factory=dict)
    tries: int = 0
    uncounted: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)


class ParseError(Exception):
    """An answer that cannot be used as it is; the text is the reason, fit to be sent back to the
    model."""
