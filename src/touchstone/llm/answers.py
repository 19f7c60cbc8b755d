"""What an answer is: the JSON that a model says after its thinking, whole.

One place for servers, batch files, the Batch API, local models and recordings. In order: the
thinking is taken off (tags, or channels as gpt-oss writes them), the text is read as strict JSON,
then the content of its last code fence, then with small slips repaired by json-repair, which is
flagged. Thinking that never ended, JSON that is still open, and a draft before the limit of tokens
are no answer. json-repair also closes cut strings without a word ("BP 14" for "BP 140/90") and
keeps the last of two equal keys, so both are refused before it gets there. Does not check what the
JSON says: the parsers of each stage do.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from touchstone.llm.protocol import ParseError, Request, Response

CUT_REASONS = frozenset({"length", "max_tokens", "max_output_tokens"})
ERROR = frozenset({"error"})  # with HTTP 200
NO_ANSWER = ERROR | {"tool_calls", "function_call"}  # without text never stored

_THINKING = r"think|thinking|thought|reasoning|analysis"
_CLOSED = re.compile(rf"(?:</(?:{_THINKING})>|\[/THINK\])", re.IGNORECASE)
_OPENED = re.compile(rf"^\s*(?:<(?:{_THINKING})>|\[THINK\])", re.IGNORECASE)
_CHANNEL = re.compile(r"<\|channel\|>\s*(\w+)[^<]*<\|message\|>")
_CHANNEL_END = re.compile(r"<\|(?:end|return|start|call)\|>")
_FENCE = re.compile(r"```[\w-]*[ \t]*\n(.*?)\n?[ \t]*```[ \t]*(?=\n|$)", re.DOTALL)
_CUT = "the answer ends in the middle; give the whole JSON object"
_NO_JSON = "the answer holds no JSON; answer with one JSON object and nothing else"


def read(parse: Callable[[Request, str], Any], request: Request, response: Response) -> Any:
    """Return what `parse` makes of an answer; nothing that an answer holds can raise anything else.

    Raises
    ------
    ParseError
        With the reason, fit to be sent back to the model.
    """
    if response.refused:
        raise ParseError(response.refused)
    if (
        request.schema is not None
        and response.finish_reason in CUT_REASONS
        and not re.match(r"\s*(?:[{\[]|```)", spoken(response.text))
    ):
        raise ParseError(_CUT)
    try:
        return parse(request, response.text)
    except ParseError:
        raise
    except Exception as error:  # noqa: BLE001 - one odd answer must not end the run
        raise ParseError(
            f"the answer has a shape that cannot be read ({type(error).__name__}); answer as shown"
        ) from error


def usable(request_schema: Any, response: Response) -> bool:
    """Tell whether an answer can be read at all: whole, and JSON where a schema was asked for."""
    if response.finish_reason in ERROR or not response.text.strip():
        return False
    if request_schema is None:
        return response.finish_reason not in CUT_REASONS
    request = Request((), request_schema)
    try:
        read(lambda _, text: loads(text), request, response)
    except ParseError:
        return False
    return True


def spoken(text: str) -> str:
    """Return what is said after the thinking; '' where the thinking never ended.

    Examples
    --------
    >>> spoken('<think>{"n": 2}? no</think>{"n": 1}'), spoken('<think>{"n": 2}')
    ('{"n": 1}', '')
    """
    text = text.removeprefix("\ufeff")
    channels = list(_CHANNEL.finditer(text))
    if channels:
        last = channels[-1]
        if last[1] != "final":
            return ""
        return _CHANNEL_END.split(text[last.end() :], maxsplit=1)[0]
    thinking = list(_CLOSED.finditer(_without_json(text)))
    if thinking:
        return text[thinking[-1].end() :]
    return "" if _OPENED.match(text) else text


def loads(text: str) -> tuple[Any, bool]:
    """Return the JSON value of an answer and whether it had to be repaired.

    Parameters
    ----------
    text : a completion. Thinking, white space and one code fence around the JSON are no repair.

    Raises
    ------
    ParseError
        If there is no JSON, if it was cut off, or if it holds NaN, a key twice in one object, or
        characters that no text can hold. The reason is fit to be sent back to the model and quotes
        nothing of the answer.

    Examples
    --------
    >>> loads('{"id": 1}')
    ({'id': 1}, False)
    >>> loads("Here you are: {'id': 1,}")
    ({'id': 1}, True)
    """
    said = spoken(text)
    if not said.strip():
        raise ParseError(_CUT if text.strip() else _NO_JSON)
    inner = _inner(said)
    try:
        value = _strict(inner)
        # plain ASCII cannot hold half of a surrogate pair
        plain = inner.isascii() and "\\u" not in inner
        return (value if plain else _checked(value)), False
    except json.JSONDecodeError:
        pass
    except (ValueError, RecursionError) as error:
        raise ParseError(f"the answer is not usable JSON: {_reason(error)}") from None
    start = _start(inner)
    if start is None:
        raise ParseError(_NO_JSON)
    if _ends_open(inner[start:]):
        raise ParseError(_CUT)
    return _checked(_repaired(inner[start:])), True


def _inner(said: str) -> str:
    """Return the content of the last code fence that holds JSON, or the text where it is JSON
    itself or has no fence."""
    if said.lstrip()[:1] in ("{", "["):
        return said
    fences = [fence for fence in _FENCE.findall(said) if _start(fence) is not None]
    return fences[-1] if fences else said


def _without_json(text: str) -> str:
    """Return a text of equal length in which an answer that is JSON from its first letter is
    blanked: a sentence in it may hold `</think>`."""
    stripped = text.lstrip()
    if stripped[:1] in ("{", "["):
        try:
            json.JSONDecoder().raw_decode(stripped)
        except (ValueError, RecursionError):
            return text
        return ""
    return text


def _strict(text: str) -> Any:
    return json.loads(text, parse_constant=_no_constant, object_pairs_hook=_no_duplicates)


def _repaired(text: str) -> Any:
    import json_repair

    if _key_twice(text):
        raise ParseError("the answer is not usable JSON: an object holds the same key twice")
    try:
        value = json_repair.loads(text, skip_json_loads=True)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, (dict, list)) or not value:
        raise ParseError(
            "the answer is not valid JSON; answer with one JSON object and nothing else"
        )
    return value


_KEY = re.compile(r"""("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[A-Za-z_]\w*)\s*:""")


def _key_twice(text: str) -> bool:
    """Tell whether some object of a JSON with slips holds a key twice, by walking its brackets and
    strings."""
    keys: list[set[str]] = []
    position = 0
    while position < len(text):
        character = text[position]
        if character in "{[":
            keys.append(set())
        elif character in "}]":
            if keys:
                keys.pop()
        elif (key := _KEY.match(text, position)) is not None and keys:
            name = key[1].strip("\"'")
            if name in keys[-1]:
                return True
            keys[-1].add(name)
            position = key.end()
            continue
        elif character == '"':
            end = _end_of_string(text, position)
            position = end
            continue
        position += 1
    return False


def _end_of_string(text: str, start: int) -> int:
    position = start + 1
    while position < len(text):
        if text[position] == "\\":
            position += 2
            continue
        if text[position] == '"':
            return position + 1
        position += 1
    return position


def _checked(value: Any) -> Any:
    """Return the value if every string in it can be written as UTF-8: an escaped half of a
    surrogate pair cannot."""
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        raise ParseError(
            "the answer holds characters that are no text (half of a surrogate pair)"
        ) from None
    except RecursionError:
        raise ParseError("the answer is not usable JSON: it is nested too deeply") from None
    return value


def _start(text: str) -> int | None:
    places = [index for index in (text.find("{"), text.find("[")) if index >= 0]
    return min(places) if places else None


def _ends_open(text: str) -> bool:
    """Tell whether a string or a bracket is still open at the end; what follows the outermost
    closing bracket does not count."""
    depth, inside, escaped = 0, False, False
    for character in text:
        if inside:
            if escaped:
                escaped = False
            elif character == "\\":
                escaped = True
            elif character == '"':
                inside = False
        elif character == '"':
            inside = True
        elif character in "{[":
            depth += 1
        elif character in "}]":
            depth -= 1
            if depth == 0:
                return False
    return True


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("an object holds the same key twice")
    return value


def _reason(error: Exception) -> str:
    return "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
