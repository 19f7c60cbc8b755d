"""Controls of a mixture: what a reviewer asks for before believing that synthetic data help.

    repeated     gold again and again, to the size of the mixture         more rows of the same
    oversampled  rare categories of gold again and again, until balanced  is it the balance?
    augmented    gold with words moved, dropped or doubled                any cheap variety?
    shuffled     synthetic sentences with each other's labels             is it the labels?

The first three must not help as much as real additions do, the last not at all. Each returns a
table of the same columns; nothing is dropped. Does not generate by an LLM or decide sizes
(mixture.py). Source of the word operations: Wei and Zou 2019 (EDA), without their synonyms, which
need a thesaurus; of exchanged mentions: Dai and Adel 2020.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import numpy as np
import pandas as pd

CHANGED = 0.1  # of a sentence's free words in each augmented copy, at least one: alpha of Wei, Zou
Span = dict[str, Any]


def repeated(frame: pd.DataFrame, size: int) -> pd.DataFrame:
    """Repeat whole passes over the rows, then the first rows once more, up to `size` rows; copies
    have `#2`, `#3`, ... after their example ids."""
    n = len(frame)
    return _copies(frame, [position % n for position in range(max(size, n))])


def oversampled(frame: pd.DataFrame) -> pd.DataFrame:
    """Repeat the examples of each category until it has as many as the largest one.

    An example of several categories counts for the rarest of them; those of none are a category
    too. Source of random oversampling as the first remedy: Japkowicz and Stephen 2002.
    """
    groups: dict[str, list[int]] = {}
    for position, name in enumerate(rarest_labels(frame)):
        groups.setdefault(name, []).append(position)
    largest = max(map(len, groups.values()))
    order = list(range(len(frame)))
    for _, positions in sorted(groups.items()):
        order += [positions[i % len(positions)] for i in range(largest - len(positions))]
    return _copies(frame, order)


def augmented(frame: pd.DataFrame, size: int, seed: int) -> pd.DataFrame:
    """Add `size` changed copies of the rows, in turn; they have `~1`, `~2`, ... after their ids.

    Words outside of mentions and masks are exchanged, dropped or doubled, one in ten; mentions are
    exchanged for others of their type in `frame`. Labels stay as they are.
    """
    rng = np.random.default_rng([seed, 13])
    mentions: dict[str, list[str]] = {}
    for text, spans in zip(frame["text"], frame["spans"], strict=True):
        for span in spans:
            mentions.setdefault(span["type"], []).append(text[span["start"] : span["end"]])
    turns = [position % len(frame) for position in range(size)]
    rows = frame.iloc[turns]
    changed = [
        _changed(text, list(spans), mentions, rng)
        for text, spans in zip(rows["text"], rows["spans"], strict=True)
    ]
    added = rows.assign(
        example_id=[f"{i}~{n // len(frame) + 1}" for n, i in enumerate(rows["example_id"])],
        text=[text for text, _ in changed],
        spans=[spans for _, spans in changed],
    )
    return pd.concat([frame, added], ignore_index=True)


def shuffled(frame: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Give each sentence the labels of another one; spans lie on words drawn by chance, as many as
    the other's have."""
    order = np.random.default_rng([seed, 11]).permutation(len(frame))
    spans = _moved(frame["text"].tolist(), frame["spans"].tolist(), order, seed)
    return frame.assign(labels=frame["labels"].to_numpy()[order], spans=spans)


def rarest_labels(frame: pd.DataFrame) -> list[str]:
    """Return the category of each row that fewest rows have, '' for none; a span's type counts."""
    names = [
        sorted({*labels, *(span["type"] for span in spans)})
        for labels, spans in zip(frame["labels"], frame["spans"], strict=True)
    ]
    counts = Counter(name for row in names for name in row)
    return [min(row, key=lambda name: (counts[name], name)) if row else "" for row in names]


def _copies(frame: pd.DataFrame, order: list[int]) -> pd.DataFrame:
    """Return the rows in the order given; the second copy of a row is named `#2`."""
    copies: Counter[int] = Counter()
    ids = frame["example_id"].tolist()
    names = []
    for position in order:
        copies[position] += 1
        again = f"#{copies[position]}" if copies[position] > 1 else ""
        names.append(f"{ids[position]}{again}")
    return frame.iloc[order].assign(example_id=names).reset_index(drop=True)


def _changed(
    text: str, spans: list[Span], mentions: dict[str, list[str]], rng: np.random.Generator
) -> tuple[str, list[Span]]:
    """Return one augmented copy: pieces are words, and mentions as wholes."""
    pieces: list[tuple[str, str]] = []  # the words, and the type where it is a mention
    at = 0
    for span in sorted(spans, key=lambda span: span["start"]):
        pieces += [(word, "") for word in text[at : span["start"]].split()]
        others = mentions[span["type"]]
        pieces.append((others[rng.integers(len(others))], span["type"]))
        at = span["end"]
    pieces += [(word, "") for word in text[at:].split()]
    free = [
        i for i, (word, kind) in enumerate(pieces) if not kind and not re.search(r"@\w+\$", word)
    ]
    n = min(len(free), max(1, round(CHANGED * len(free))))
    for place in (
        sorted(rng.choice(free, size=n, replace=False).tolist(), reverse=True) if n else ()
    ):
        operation = rng.integers(3)
        if operation == 0 and len(free) > 1:
            other = int(rng.choice(free))
            pieces[place], pieces[other] = pieces[other], pieces[place]
        elif operation == 1 and len(pieces) > 1:
            del pieces[place]
            free = [i - (i > place) for i in free if i != place]
        else:
            pieces.insert(place, pieces[place])
            free = [i + (i >= place) for i in free]
    placed: list[Span] = []
    words: list[str] = []
    at = 0
    for word, kind in pieces:
        if kind:
            placed.append({"start": at, "end": at + len(word), "type": kind})
        words.append(word)
        at += len(word) + 1
    return " ".join(words), placed


def _moved(
    texts: list[str], spans: list[list[Span]], order: np.ndarray, seed: int
) -> list[list[Span]]:
    """Return for each text the spans of text `order[i]`, as many words each, on words drawn by
    chance; one that finds no room is left out."""
    rng = np.random.default_rng([seed, 12])
    moved: list[list[Span]] = []
    for text, other in zip(texts, order, strict=True):
        words = [match.span() for match in re.finditer(r"\S+", text)]
        free = np.ones(len(words), dtype=bool)
        placed: list[Span] = []
        for span in spans[other]:
            n = len(texts[other][span["start"] : span["end"]].split())
            starts = [first for first in range(len(words) - n + 1) if free[first : first + n].all()]
            if starts:
                first = starts[rng.integers(len(starts))]
                free[first : first + n] = False
                placed.append(
                    {"start": words[first][0], "end": words[first + n - 1][1], "type": span["type"]}
                )
        moved.append(sorted(placed, key=lambda span: span["start"]))
    return moved
