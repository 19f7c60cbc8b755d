"""Words and sub-tokens: which sub-token stands for which word, once for each text, for any fast
tokenizer.

A text is tokenised as it stands and words are matched by character offsets, so white space, case
and accents need no special care. A unit is what one sub-token can label: a word, or several words
that share their first sub-token (byte-level tokenizers join punctuation). Words that the tokenizer
drops (control characters) belong to no unit. Long texts are cut into windows between units: no word
is lost. Source: first-sub-token labels, Devlin et al. 2019, section 5.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from touchstone.models.spans import words


@dataclass(frozen=True)
class Window:
    """Part of a text as the encoder reads it.

    Attributes
    ----------
    text : index of the text.
    ids : token ids with special tokens, shape (length,).
    units : character offsets [start, end) into the text of each unit, shape (n_units, 2).
    firsts : position in `ids` of each unit's first sub-token, shape (n_units,).
    """

    text: int
    ids: np.ndarray
    units: np.ndarray
    firsts: np.ndarray


def windows(tokenizer: Any, texts: Sequence[str], max_length: int) -> list[Window]:
    """Return each text's windows in order; a text without words has none.

    Parameters
    ----------
    tokenizer : a fast Hugging Face tokenizer.
    max_length : most sub-tokens in a window, special tokens included; of a word that alone is
        longer the end is left out.
    """
    if not texts:
        return []
    before, after = special_tokens(tokenizer)
    room = max_length - len(before) - len(after)
    if room < 1:
        raise ValueError(
            f"max_length must be at least {len(before) + len(after) + 1}, got {max_length}"
        )
    encoded = tokenizer(
        list(texts),
        add_special_tokens=False,
        return_offsets_mapping=True,
        return_attention_mask=False,
        return_token_type_ids=False,
    )
    parts = []
    for number, text in enumerate(texts):
        ids = np.asarray(encoded["input_ids"][number], dtype=np.int64)
        units, firsts = align(words(text), encoded["offset_mapping"][number])
        for first, last in _cuts(firsts, len(ids), room):
            start = firsts[first]
            stop = firsts[last] if last < len(firsts) else len(ids)
            part = np.concatenate([before, ids[start : min(stop, start + room)], after])
            parts.append(
                Window(number, part, units[first:last], firsts[first:last] - start + len(before))
            )
    return parts


def align(
    found: Sequence[tuple[int, int]], offsets: Sequence[tuple[int, int]]
) -> tuple[np.ndarray, np.ndarray]:
    """Match words to sub-tokens by character offsets.

    Parameters
    ----------
    found : offsets of the words, in order, not overlapping.
    offsets : offsets of the sub-tokens, in order; sub-tokens of one character may share theirs.

    Returns
    -------
    units : character offsets, shape (n_units, 2).
    firsts : index of each unit's first sub-token, shape (n_units,), strictly rising.
    """
    units: list[list[int]] = []
    firsts: list[int] = []
    token = 0
    for start, end in found:
        while token < len(offsets) and offsets[token][1] <= start:
            token += 1
        if token == len(offsets):
            break
        if offsets[token][0] >= end:
            continue  # the tokenizer dropped this word
        if firsts and firsts[-1] == token:
            units[-1][1] = end
        else:
            units.append([start, end])
            firsts.append(token)
    return np.array(units, dtype=np.int64).reshape(-1, 2), np.array(firsts, dtype=np.int64)


def special_tokens(tokenizer: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the ids that the tokenizer puts before and after a text."""
    encoded = tokenizer("a", return_special_tokens_mask=True)
    ids, special = (
        np.asarray(encoded["input_ids"], dtype=np.int64),
        np.asarray(encoded["special_tokens_mask"], dtype=bool),
    )
    inner = np.flatnonzero(~special)
    return ids[: inner[0]], ids[inner[-1] + 1 :]


def _cuts(firsts: np.ndarray, n_tokens: int, room: int) -> list[tuple[int, int]]:
    """Return the ranges of units [first, last) whose sub-tokens fit into `room`."""
    ends = np.append(firsts[1:], n_tokens)
    cuts, first = [], 0
    while first < len(firsts):
        last = max(first + 1, int(np.searchsorted(ends, firsts[first] + room, side="right")))
        cuts.append((first, last))
        first = last
    return cuts
