"""Spans, words and tags: how entity spans over characters become one tag for each word, and come
back.

Words come from a regular expression, so that every model sees the same ones whatever its tokenizer:
runs of letters and digits, and every other visible character by itself. Tags are IOB2 numbers: 0 is
O, 1 + 2i is B of the i-th type, 2 + 2i its I. Does not know tokenizers: see align.py.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

Span = Mapping[str, Any]  # start, end (exclusive) in characters; type
Offsets = Sequence[tuple[int, int]]

# Half of the line breaks of Unicode count as white space to Python and stand in words all the same.
BREAKS = "\u2028\u2029"


@lru_cache(maxsize=1)
def _word() -> re.Pattern[str]:
    """Return what a word is.

    What has no width of its own (accents, vowel signs, soft hyphens, joiners, marks of direction,
    control characters) stays with the character before it, or at the beginning of a word with the
    one after it: encoders drop it, and an entity must not end or begin beside it.
    """
    kinds = ("Mn", "Mc", "Me", "Cf", "Cc")
    points = [c for c in map(chr, range(0x10000)) if unicodedata.category(c) in kinds]
    bare = "[" + "".join(re.escape(c) for c in points if not c.isspace()) + "]"
    before = rf"(?:(?<!\S)[{BREAKS}])?{bare}*"
    return re.compile(rf"{before}(?:(?:[^\W_]{bare}*)+|[^\w\s]{bare}*|_{bare}*)|{bare}+")


def words(text: str) -> list[tuple[int, int]]:
    """Return the character offsets of a text's words, in order; together they cover every character
    but white space.

    >>> words("p53-null")
    [(0, 3), (3, 4), (4, 8)]
    """
    return [match.span() for match in _word().finditer(text)]


def to_tags(spans: Sequence[Span], units: Offsets | np.ndarray, types: Sequence[str]) -> np.ndarray:
    """Return the IOB2 tag number of each unit (word), shape (len(units),).

    A unit belongs to a span if they share a character, so a span that ends inside a word is widened
    to the word. Of spans that overlap, the one that begins first counts, of those the longest; a
    unit has one tag only.

    Raises
    ------
    ValueError
        If a span has a type that is not in `types`.
    """
    number = {name: 1 + 2 * i for i, name in enumerate(types)}
    tags = np.zeros(len(units), dtype=np.int64)
    unit = 0
    for span in sorted(spans, key=lambda span: (span["start"], -span["end"])):
        if span["type"] not in number:
            raise ValueError(f"entity type {span['type']!r} is not one of {', '.join(types)}")
        while unit < len(units) and units[unit][1] <= span["start"]:
            unit += 1
        begins = True
        while unit < len(units) and units[unit][0] < span["end"]:
            tags[unit] = number[span["type"]] + (not begins)
            begins = False
            unit += 1
    return tags


def to_spans(
    tags: Sequence[int] | np.ndarray, units: Offsets | np.ndarray, types: Sequence[str]
) -> list[dict[str, Any]]:
    """Return the spans of a tag sequence over units; the inverse of `to_tags` for spans that begin
    and end with units.

    An I that follows nothing of its type begins a span of its own, as in the CoNLL evaluation.
    """
    spans: list[dict[str, Any]] = []
    open_type = -1
    for tag, (start, end) in zip(tags, units, strict=True):
        kind = (int(tag) - 1) // 2 if tag else -1
        if kind >= 0 and (tag % 2 == 1 or kind != open_type):
            spans.append({"start": int(start), "end": int(end), "type": types[kind]})
        elif kind >= 0:
            spans[-1]["end"] = int(end)
        open_type = kind
    return spans


def legal_transitions(n_types: int) -> tuple[np.ndarray, np.ndarray]:
    """Return which IOB2 tag may begin a sentence, shape (n_tags,), and which may follow which,
    shape (n_tags, n_tags)."""
    n_tags = 1 + 2 * n_types
    inside = np.arange(n_tags) % 2 == 0
    inside[0] = False
    follows = np.broadcast_to(~inside, (n_tags, n_tags)).copy()
    for i in np.flatnonzero(inside):
        follows[[i - 1, i], i] = True  # I after B or I of its own type
    return ~inside, follows


def viterbi(scores: np.ndarray) -> np.ndarray:
    """Return the legal tag sequence with the highest sum of scores, shape (n_words,).

    Parameters
    ----------
    scores : log-probability of each tag of each word, shape (n_words, n_tags); all legal
        transitions weigh the same.
    """
    n_words, n_tags = scores.shape
    if not n_words:
        return np.zeros(0, dtype=np.int64)
    begins, follows = legal_transitions((n_tags - 1) // 2)
    barrier = np.where(follows, 0.0, -np.inf)
    best = np.where(begins, scores[0], -np.inf)
    back = np.zeros((n_words, n_tags), dtype=np.int64)
    for word in range(1, n_words):
        paths = best[:, None] + barrier
        back[word] = paths.argmax(axis=0)
        best = paths.max(axis=0) + scores[word]
    tags = np.empty(n_words, dtype=np.int64)
    tags[-1] = best.argmax()
    for word in range(n_words - 1, 0, -1):
        tags[word - 1] = back[word, tags[word]]
    return tags


def check_spans(
    X: Sequence[str], y: Sequence[Sequence[Span]], types: Sequence[str]
) -> list[list[Span]]:
    """Return the spans of n texts after checking them.

    Raises
    ------
    ValueError If the numbers differ, a span is outside its text, or a type is unknown; the message
        names the position, never the text.
    """
    checked = [list(spans) for spans in y]
    if len(checked) != len(X):
        raise ValueError(f"{len(X)} texts but {len(checked)} lists of spans")
    for i, (text, spans) in enumerate(zip(X, checked, strict=True)):
        for span in spans:
            if not 0 <= span["start"] < span["end"] <= len(text):
                raise ValueError(
                    f"text {i}: span {span['start']}..{span['end']} is outside its {len(text)} "
                    "characters"
                )
            if span["type"] not in types:
                raise ValueError(
                    f"text {i}: entity type {span['type']!r} is not one of {', '.join(types)}"
                )
    return checked


def entity_types(types: Sequence[str] | None, y: Sequence[Sequence[Span]]) -> list[str]:
    """Return the entity types: those given, or those of the spans, sorted."""
    return (
        list(types)
        if types is not None
        else sorted({span["type"] for spans in y for span in spans})
    )


def unseen_types(
    types: Sequence[str], y: Sequence[Sequence[Span]], weights: np.ndarray | None
) -> list[int]:
    """Return the indices of the types without a training span in a text of weight above 0."""
    kinds = {
        span["type"]
        for i, spans in enumerate(y)
        if weights is None or weights[i] > 0
        for span in spans
    }
    return [i for i, name in enumerate(types) if name not in kinds]


def span_f1(true: Sequence[Sequence[Span]], predicted: Sequence[Sequence[Span]]) -> float:
    """Return the strict micro F1 over spans: start, end and type must agree. 0 where nothing was
    found or there was nothing to find.

    For early stopping and benchmarks; the tables come from evaluate/.
    """
    sets = [
        {(i, s["start"], s["end"], s["type"]) for i, spans in enumerate(side) for s in spans}
        for side in (true, predicted)
    ]
    total = len(sets[0]) + len(sets[1])
    return 2 * len(sets[0] & sets[1]) / total if total else 0.0
