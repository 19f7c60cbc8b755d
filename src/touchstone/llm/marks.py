"""Inline marks: spans written into a text as <Type>mention</Type>, and read back.

Marks are how an LLM shows where an entity stands: it copies text well and counts characters badly.
Reading gives back the text without marks and the spans by offset; marks that do not pair, nest or
hold nothing are refused. Does not ask or judge anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from touchstone.llm.protocol import ParseError

Span = dict[str, Any]  # {"start", "end", "type"}: character offsets, end exclusive


def write_marks(text: str, spans: Iterable[Mapping[str, Any]]) -> str:
    """Return the text with each span between <type> and </type>.

    Parameters
    ----------
    spans : {"start", "end", "type"}, not overlapping, in any order; none leaves the text as it is.

    Examples
    --------
    >>> write_marks("No flu here.", [{"start": 3, "end": 6, "type": "Disease"}])
    'No <Disease>flu</Disease> here.'
    """
    pieces, at = [], 0
    for span in sorted(spans, key=lambda span: span["start"]):
        pieces += [
            text[at : span["start"]],
            f"<{span['type']}>",
            text[span["start"] : span["end"]],
            f"</{span['type']}>",
        ]
        at = span["end"]
    return "".join([*pieces, text[at:]])


def read_marks(
    marked: str, types: Sequence[str], original: str | None = None
) -> tuple[str, list[Span]]:
    """Return the text without marks, and the spans in order.

    Parameters
    ----------
    marked : text with marks of `types`; upper and lower case count as equal. White space at the
        edges of a mention is left out of it.
    original : the text that was to be marked, where there is one. What looks like a mark and stands
        there already is text, so a sentence that holds "<Disease>" can be marked like any other.

    Raises
    ------
    ParseError If a mark is not closed, closes nothing, stands inside another, or holds no mention.
        The reason quotes nothing of the text.
    """
    pieces, spans = [], []
    position = at = 0  # in the marked and in the plain text
    opened: tuple[str, int] | None = None
    canonical = {name.casefold(): name for name in types}
    for match in _pattern(tuple(types)).finditer(marked):
        pieces.append(marked[position : match.start()])
        at += match.start() - position
        position = match.end()
        if original is not None and original.startswith(match[0], at):
            pieces.append(match[0])
            at += len(match[0])
            continue
        name = canonical[match[2].casefold()]
        if not match[1]:
            if opened is not None:
                raise ParseError(
                    f"a mark stands inside another; mentions do not overlap, close </{opened[0]}> "
                    "first"
                )
            opened = (name, at)
            continue
        if opened is None or opened[0] != name:
            raise ParseError(f"</{name}> closes no <{name}>")
        spans.append({"start": opened[1], "end": at, "type": name})
        opened = None
    if opened is not None:
        raise ParseError(f"<{opened[0]}> is not closed")
    text = "".join([*pieces, marked[position:]])
    return text, [_trimmed(text, span) for span in spans]


def _trimmed(text: str, span: Span) -> Span:
    mention = text[span["start"] : span["end"]]
    start = span["start"] + len(mention) - len(mention.lstrip())
    end = span["end"] - len(mention) + len(mention.rstrip())
    if start >= end:
        raise ParseError(f"<{span['type']}> marks nothing; put the mention between the marks")
    return {"start": start, "end": end, "type": span["type"]}


@lru_cache(maxsize=64)
def _pattern(types: tuple[str, ...]) -> re.Pattern[str]:
    names = "|".join(re.escape(name) for name in sorted(types, key=len, reverse=True))
    return re.compile(f"<(/?)({names})>", re.IGNORECASE)
