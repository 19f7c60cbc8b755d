"""A request as the body of a chat completion, and a chat completion as a response: the wire format
that all backends share.

The schema travels in one of three ways: `json_schema` (the endpoint enforces it), `json_object` (it
enforces JSON only) or `instruction` (it enforces nothing: the schema is told in the last message).
How it travels is not part of a request's key. Does not send (online.py, openai_batch.py) and does
not judge what an answer says.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

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
    made: dict[str, Any] = {"model": model, "messages": messages}
    if request.schema is not None:
        if structured == "json_schema":
            schema = dict(request.schema)
            name = re.sub(r"[^A-Za-z0-9_-]", "_", str(schema.get("title", "answer")))[:64]
            made["response_format"] = {
                "type": "json_schema",
                "json_schema": {"name": name, "schema": schema, "strict": _is_strict(schema)},
            }
        else:
            messages[-1]["content"] += "\n\n" + instruction(request.schema)
            if structured == "json_object":
                made["response_format"] = {"type": "json_object"}
    for name, value in request.params.items():
        if value is not None:
            made[tokens_field if name == "max_tokens" else name] = value
    return made


def instruction(schema: Mapping[str, Any]) -> str:
    """Return the sentence that tells a schema to a model whose endpoint cannot enforce it."""
    text = json.dumps(schema, ensure_ascii=False, sort_keys=True)
    return f"Answer with one JSON object that satisfies this JSON schema, and with nothing else:\n{text}"


def read(completion: Any, key: str, *, latency_s: float | None = None, tries: int = 1) -> Response:
    """Return the response that a chat completion (parsed JSON) holds.

    A refusal is an answer too: its text is '', its finish_reason `content_filter` or `refusal`.

    Raises
    ------
    Garbled
        If it is no chat completion.
    """
    try:
        choice = completion["choices"][0]
        message = choice["message"]
        content, refusal = message.get("content"), message.get("refusal")
        finish = choice.get("finish_reason") or "stop"
    except (TypeError, KeyError, IndexError, AttributeError):
        raise Garbled("the answer is no chat completion") from None
    if isinstance(content, list):  # some servers answer in parts
        content = "".join(part.get("text") or "" for part in content if isinstance(part, Mapping))
    if not isinstance(content, (str, type(None))):
        raise Garbled("the completion's content is no text")
    if not content and refusal:
        finish = "refusal"
    usage = completion.get("usage")
    return Response(
        key=key,
        text=clean(content or ""),
        finish_reason=str(finish),
        model=str(completion.get("model") or ""),
        usage=dict(usage) if isinstance(usage, Mapping) else {},
        fingerprint=str(completion.get("system_fingerprint") or ""),
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


def now() -> str:
    """Return the date and time in UTC, ISO form, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def tokens(usage: Mapping[str, Any]) -> dict[str, int]:
    """Return prompt, completion, reasoning and cached tokens of a usage object; 0 where it does not
    say.

    Reasoning tokens are part of completion tokens, cached tokens are part of prompt tokens, as
    OpenAI counts them.
    """
    details = usage.get("completion_tokens_details") or {}
    prompt_details = usage.get("prompt_tokens_details") or {}
    return {
        "prompt_tokens": int(usage.get("prompt_tokens") or 0),
        "completion_tokens": int(usage.get("completion_tokens") or 0),
        "reasoning_tokens": int(details.get("reasoning_tokens") or 0),
        "cached_tokens": int(prompt_details.get("cached_tokens") or 0),
    }


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
