"""A request as the body of a chat completion, and a chat completion as a response: the wire format
that all backends share.

The schema travels in one of three ways: `json_schema` (the endpoint enforces it), `json_object` (it
enforces JSON only) or `instruction` (it enforces nothing: the schema is told in the last message).
How it travels is not part of a request's key. Does not send (backends/) and does
not judge what an answer says.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from touchstone.llm.answers import NO_ANSWER
from touchstone.llm.protocol import Request, Response

STRUCTURED = ("json_schema", "json_object", "instruction")  # from strict to loose


class Garbled(Exception):
    """An answer of the endpoint that is no chat completion: worth another try."""


def body(
    request: Request, model: str, structured: str = "json_schema", tokens_field: str = "max_tokens"
) -> dict[str, Any]:
    """Return the JSON body of a chat completion request.

    Parameters
    ----------
    structured : one of `STRUCTURED`.
    tokens_field : name under which `max_tokens` is sent; newer OpenAI models want
        `max_completion_tokens`.
    """
    messages = [dict(message) for message in request.messages]
    request_body: dict[str, Any] = {"model": model, "messages": messages}
    if request.schema is not None:
        if structured == "json_schema":
            schema = dict(request.schema)
            name = re.sub(r"[^A-Za-z0-9_-]", "_", str(schema.get("title", "answer")))[:64]
            request_body["response_format"] = {
                "type": "json_schema",
                "json_schema": {"name": name, "schema": schema, "strict": _is_strict(schema)},
            }
        else:
            messages[-1]["content"] += "\n\n" + instruction(request.schema)
            if structured == "json_object":
                request_body["response_format"] = {"type": "json_object"}
    for name, value in request.params.items():
        if value is not None:
            request_body[tokens_field if name == "max_tokens" else name] = value
    return request_body


def instruction(schema: Mapping[str, Any]) -> str:
    """Return the sentence that tells a schema to a model whose endpoint cannot enforce it."""
    text = json.dumps(schema, ensure_ascii=False, sort_keys=True)
    return (
        "Answer with one JSON object that satisfies this JSON schema, and with nothing "
        f"else:\n{text}"
    )


def read(completion: Any, key: str, *, latency_s: float | None = None, tries: int = 1) -> Response:
    """Return the response that a chat completion (parsed JSON) holds.

    A refusal is an answer too: its text is '', its finish_reason `content_filter` or `refusal`. An
    error that comes with HTTP 200 is none.

    Raises
    ------
    Garbled
        If it is no chat completion, an error, or a call of a tool.
    """
    if isinstance(completion, Mapping) and completion.get("error"):
        raise Garbled("the endpoint answered with an error in place of a completion")
    try:
        choice = completion["choices"][0]
        message = choice["message"]
        content, refusal = message.get("content"), message.get("refusal")
        finish = choice.get("finish_reason") or "stop"
    except (TypeError, KeyError, IndexError, AttributeError):
        raise Garbled("the answer is no chat completion") from None
    if isinstance(content, list):  # some servers answer in parts
        texts = [part.get("text") or "" for part in content if isinstance(part, Mapping)]
        if not all(isinstance(text, str) for text in texts):
            raise Garbled("a part of the completion's content is no text")
        content = "".join(texts)
    if not isinstance(content, (str, type(None))):
        raise Garbled("the completion's content is no text")
    if not content and refusal:
        finish = "refusal"
    elif str(finish) == "error":
        raise Garbled("the endpoint ended the answer with an error")
    elif not content and str(finish) in NO_ANSWER:
        raise Garbled("the model called a tool in place of an answer")
    usage = completion.get("usage")
    return Response(
        key=key,
        text=clean(content or ""),
        finish_reason=word(finish),
        model=word(completion.get("model")),
        usage=dict(usage) if isinstance(usage, Mapping) else {},
        fingerprint=word(completion.get("system_fingerprint")),
        latency_s=latency_s,
        tries=tries,
        created=now(),
    )


def clean(text: str) -> str:
    """Replace halves of surrogate pairs, which JSON may carry and no file can."""
    try:
        text.encode("utf-8")
        return text
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def word(value: Any) -> str:
    """Return a name that a server sent as one line without control characters, at most 200 long:
    it is shown on terminals."""
    text = "".join(c if c.isprintable() else " " for c in clean(str(value or ""))[:200])
    return text.strip()


def now() -> str:
    """Return the date and time in UTC, ISO form, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def tokens(usage: Mapping[str, Any]) -> dict[str, int] | None:
    """Return prompt, completion, reasoning and cached tokens of a usage object; None where it does
    not say how many tokens were used, or says what cannot be.

    Reasoning tokens are part of completion tokens, cached tokens are part of prompt tokens, as
    OpenAI counts them. `input_tokens` and `output_tokens` are other names of the first two.

    Examples
    --------
    >>> tokens({"input_tokens": "12", "output_tokens": 3})["prompt_tokens"], tokens({})
    (12, None)
    """
    prompt = _first_count(usage, "prompt_tokens", "input_tokens")
    completion = _first_count(usage, "completion_tokens", "output_tokens")
    if prompt is None or completion is None:
        return None
    reasoning = _count(_inside(usage, "completion_tokens_details", "reasoning_tokens")) or 0
    cached = _count(_inside(usage, "prompt_tokens_details", "cached_tokens")) or 0
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "reasoning_tokens": min(reasoning, completion),
        "cached_tokens": min(cached, prompt),
    }


def _first_count(usage: Mapping[str, Any], *names: str) -> int | None:
    return next((count for name in names if (count := _count(usage.get(name))) is not None), None)


def _inside(usage: Mapping[str, Any], details: str, name: str) -> Any:
    inner = usage.get(details)
    return inner.get(name) if isinstance(inner, Mapping) else None


def _count(value: Any) -> int | None:
    """Return a number of tokens; None for what is none: a word, a list, NaN, a negative number."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return int(number) if 0 <= number < 1e12 else None


def _is_strict(schema: Mapping[str, Any]) -> bool:
    """Tell whether OpenAI's strict mode takes the schema: every object closed, every property
    required."""
    if schema.get("type") == "object" or "properties" in schema:
        properties = schema.get("properties", {})
        if schema.get("additionalProperties") is not False or set(
            schema.get("required", ())
        ) != set(properties):
            return False
    children = [
        *schema.get("properties", {}).values(),
        *schema.get("$defs", {}).values(),
        *schema.get("anyOf", ()),
    ]
    if isinstance(schema.get("items"), Mapping):
        children.append(schema["items"])
    return all(_is_strict(child) for child in children)
