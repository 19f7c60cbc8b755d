"""Read JSON out of a model's answer: strictly first, repaired where that is safe, never from an
answer that was cut off.

In order: the text as strict JSON; the content of its only code fence; a repair of small slips
(single quotes, trailing commas, text around the object) by json-repair, which is flagged.
json-repair also closes cut strings without a word ("BP 14" for "BP 140/90"), so an answer whose
last string or bracket is still open is refused before it gets there. Does not check what the JSON
says: the parsers of each stage do.
"""

from __future__ import annotations

import json
import re
from typing import Any

from touchstone.llm.protocol import ParseError

_FENCE = re.compile(r"^\s*```[\w-]*[ \t]*\n(.*?)\n?[ \t]*```\s*$", re.DOTALL)
_CUT = "the answer ends in the middle; give the whole JSON object"


def loads(text: str) -> tuple[Any, bool]:
    """Return the JSON value of an answer and whether it had to be repaired.

    Parameters
    ----------
    text : a completion. White space and one code fence around the JSON are no repair.

    Raises
    ------
    ParseError If there is no JSON, if it was cut off, or if it holds NaN, a key twice in one
        object, or characters that no text can hold. The reason is fit to be sent back to the model
        and quotes nothing of the answer.

    Examples
    --------
    >>> loads('{"id": 1}')
    ({'id': 1}, False)
    >>> loads("Here you are: {'id': 1,}")
    ({'id': 1}, True)
    """
    fenced = _FENCE.match(text)
    inner = fenced.group(1) if fenced else text
    try:
        value = _strict(inner)
        plain = (
            inner.isascii() and "\\u" not in inner
        )  # then there can be no half of a surrogate pair
        return (value if plain else _checked(value)), False
    except json.JSONDecodeError:
        pass
    except (ValueError, RecursionError) as error:
        raise ParseError(f"the answer is not usable JSON: {_reason(error)}") from None
    start = _start(inner)
    if start is None:
        raise ParseError("the answer holds no JSON; answer with one JSON object and nothing else")
    if _ends_open(inner[start:]):
        raise ParseError(_CUT)
    return _checked(_repaired(inner[start:])), True


def _strict(text: str) -> Any:
    return json.loads(text, parse_constant=_no_constant, object_pairs_hook=_no_duplicates)


def _repaired(text: str) -> Any:
    import json_repair

    try:
        value = json_repair.loads(text, skip_json_loads=True)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, (dict, list)) or not value:
        raise ParseError(
            "the answer is not valid JSON; answer with one JSON object and nothing else"
        )
    return value


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
    found = [index for index in (text.find("{"), text.find("[")) if index >= 0]
    return min(found) if found else None


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
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("an object holds the same key twice")
    return made


def _reason(error: Exception) -> str:
    return "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
