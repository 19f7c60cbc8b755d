"""When two sentences count as one: exact and near duplicates, and sentences too close to a test
sentence.

Texts are compared as `normalise` leaves them, by rapidfuzz's `ratio`: 100 x 2 L / (m + n), with L
the length of the longest common subsequence of two texts of m and n characters. Few pairs are
compared: a pair must be of similar length, and the characters that one has more often than the
other, which cannot be part of a common subsequence, must leave room for the ratio asked for. Both
are bounds, never guesses: the answers are those of comparing all pairs. Memory does not grow with
the number of pairs. Does not know labels, sources or what is done with a duplicate (mixture.py).
Source: bag distance, Bartolini, Ciaccia, Patella 2002; the ratio is the normalised Indel similarity
of rapidfuzz.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from rapidfuzz import fuzz, process

NGRAM = 8  # words: a run this long shared with a test sentence counts as leakage whatever the ratio
EXACT, NEAR = "exact_duplicate", "near_duplicate"
BITS = 512  # of what is compared of a text's characters
CHARACTERS = 256  # code points are folded into this many
CHUNK = 4096  # texts that are compared with all earlier ones at a time
ROWS, COLUMNS = 64, 4096  # pairs that are looked at together: small enough for a CPU's cache
FEW = 32  # where less than one pair in so many is left, pairs are looked at one by one
SAMPLE = 20_000  # texts that decide which characters are looked at
SLACK = 1e-6  # of a character: rounding must not exclude a pair that rapidfuzz would accept


@dataclass(frozen=True)
class _Coded:
    """Normalised texts in order of length: position in the caller's list, length in characters, and
    bits of shape (BITS / 64, n)."""

    forms: np.ndarray
    positions: np.ndarray
    lengths: np.ndarray
    bits: np.ndarray

    def take(self, chosen: np.ndarray) -> _Coded:
        return _Coded(
            self.forms[chosen], self.positions[chosen], self.lengths[chosen], self.bits[:, chosen]
        )


def normalise(text: str) -> str:
    """Return the form in which texts are compared: lower case, letters and digits only, single
    spaces."""
    return " ".join(re.findall(r"[^\W_]+", text.casefold()))


def duplicates(texts: Sequence[str], cutoff: float, threads: int = 1) -> dict[int, str]:
    """Return which texts repeat an earlier one that is kept: greedily, in the order given.

    Parameters
    ----------
    texts : n texts.
    cutoff : ratio, above 0 and up to 100, from which two texts count as one.
    threads : workers; they do not change the result.

    Returns
    -------
    position -> `exact_duplicate` (the same after `normalise` as an earlier text) or
    `near_duplicate` (a ratio of at least cutoff to an earlier text that is itself no duplicate).

    Examples
    --------
    >>> duplicates(["She lost her keys.", "she lost her keys", "She lost her key.", "Fell."], 90)
    {1: 'exact_duplicate', 2: 'near_duplicate'}
    """
    reasons: dict[int, str] = {}
    first: dict[str, int] = {}
    for position, text in enumerate(texts):
        form = normalise(text)
        if form in first:
            reasons[position] = EXACT
        else:
            first[form] = position
    positions = np.fromiter(first.values(), dtype=np.int64, count=len(first))
    near = _repeating([*first], cutoff, threads, kept_only=True)
    return reasons | {int(position): NEAR for position in positions[near]}


def repeating(texts: Sequence[str], cutoff: float, threads: int = 1) -> np.ndarray:
    """Return which of n texts repeat any earlier one, kept or not: bool, shape (n,); see
    `duplicates`."""
    first: dict[str, int] = {}
    repeats = np.zeros(len(texts), dtype=bool)
    for position, text in enumerate(texts):
        repeats[position] = first.setdefault(normalise(text), position) != position
    repeats[[*first.values()]] = _repeating([*first], cutoff, threads, kept_only=False)
    return repeats


def resembling(
    texts: Sequence[str], others: Collection[str], cutoff: float, threads: int = 1
) -> np.ndarray:
    """Return the positions of texts that share a run of `NGRAM` words with one of `others`, or have
    a ratio of at least cutoff to one; int, ascending."""
    forms = [normalise(text) for text in texts]
    unique = [*dict.fromkeys(normalise(other) for other in others)]
    if not forms or not unique:
        return np.array([], dtype=np.int64)
    known = {gram for other in unique for gram in _ngrams(other)}
    close = np.array([any(gram in known for gram in _ngrams(form)) for form in forms])
    code = _coder([*forms, *unique])
    rest = np.flatnonzero(~close)
    rows = code([forms[position] for position in rest])
    for matched, _ in _pairs(rows, code(unique), cutoff, threads):
        close[rest[rows.positions[matched]]] = True
    return np.flatnonzero(close)


def _repeating(forms: list[str], cutoff: float, threads: int, kept_only: bool) -> np.ndarray:
    """Return which of different normalised texts have a ratio of at least cutoff to an earlier one
    (that does not itself, with `kept_only`)."""
    repeats = np.zeros(len(forms), dtype=bool)
    if not forms:
        return repeats
    code = _coder(forms)
    earlier = code([])
    for start in range(0, len(forms), CHUNK):
        chunk = code(forms[start : start + CHUNK], start)
        for matched, _ in _pairs(chunk, earlier, cutoff, threads):
            repeats[chunk.positions[matched]] = True
        fresh = chunk.take(~repeats[chunk.positions]) if kept_only else chunk
        for later, other in _within(fresh, cutoff, threads):
            repeats[later] |= not (kept_only and repeats[other])
        earlier = _merged(earlier, chunk.take(~repeats[chunk.positions]) if kept_only else chunk)
    return repeats


def _within(chunk: _Coded, cutoff: float, threads: int) -> list[tuple[int, int]]:
    """Return the pairs of close texts of a chunk, the later one first, in order."""
    pairs: list[tuple[int, int]] = []
    for rows, columns in _pairs(chunk, chunk, cutoff, threads):
        later, other = chunk.positions[rows], chunk.positions[columns]
        pairs += zip(later[later > other].tolist(), other[later > other].tolist(), strict=True)
    return sorted(pairs)


def _merged(one: _Coded, other: _Coded) -> _Coded:
    order = np.argsort(np.concatenate([one.lengths, other.lengths]), kind="stable")
    return _Coded(
        np.concatenate([one.forms, other.forms])[order],
        np.concatenate([one.positions, other.positions])[order],
        np.concatenate([one.lengths, other.lengths])[order],
        np.concatenate([one.bits, other.bits], axis=1)[:, order],
    )


def _pairs(
    rows: _Coded, columns: _Coded, cutoff: float, threads: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the pairs with a ratio of at least cutoff, as indices of rows and of columns."""
    starts = range(0, len(rows.lengths), ROWS)

    def pairs(start: int) -> tuple[np.ndarray, np.ndarray]:
        return _pairs_of_block(rows, start, columns, cutoff)

    if threads == 1 or len(starts) < 2:
        yield from map(pairs, starts)
        return
    with ThreadPoolExecutor(threads) as pool:
        yield from pool.map(pairs, starts)


def _pairs_of_block(
    rows: _Coded, start: int, columns: _Coded, cutoff: float
) -> tuple[np.ndarray, np.ndarray]:
    block = slice(start, start + ROWS)
    lengths = rows.lengths[block]
    share = 1 - cutoff / 100  # of the characters of both texts, which may stand in one alone
    reach = (1 + share) / max(1 - share, 1e-9)  # length of the longer over the shorter text
    first = np.searchsorted(columns.lengths, np.ceil(lengths[0] / reach - SLACK), side="left")
    last = np.searchsorted(columns.lengths, np.floor(lengths[-1] * reach + SLACK), side="right")
    matched_rows, matched_columns = [], []
    for tile in range(first, last, COLUMNS):
        part = slice(tile, min(tile + COLUMNS, last))
        allowed = np.floor((columns.lengths[part] + lengths[-1]) * share + SLACK)
        allowed = np.minimum(allowed, BITS).astype(np.uint16)
        differing = np.zeros((len(lengths), len(allowed)), dtype=np.uint16)
        word, possible = 0, differing <= allowed
        while word < len(rows.bits) and np.count_nonzero(possible) * FEW >= possible.size:
            one, other = rows.bits[word, block, None], columns.bits[word, None, part]
            differing += np.bitwise_count(one ^ other)
            possible = differing <= allowed
            word += 1
        pairs = np.flatnonzero(possible)
        total = differing.ravel()[pairs].astype(np.int64)
        row, column = np.divmod(pairs, possible.shape[1])
        row, column = row + start, column + tile
        limit = np.floor((rows.lengths[row] + columns.lengths[column]) * share + SLACK)
        for one, other in zip(rows.bits[word:], columns.bits[word:], strict=True):
            total += np.bitwise_count(one[row] ^ other[column])
            fits = total <= limit
            row, column, total, limit = row[fits], column[fits], total[fits], limit[fits]
        if len(row):
            scores = process.cpdist(
                rows.forms[row].tolist(),
                columns.forms[column].tolist(),
                scorer=fuzz.ratio,
                score_cutoff=cutoff,
            )
            matched_rows.append(row[scores > 0])
            matched_columns.append(column[scores > 0])
    none = np.array([], dtype=np.int64)
    return np.concatenate([none, *matched_rows]), np.concatenate([none, *matched_columns])


def _coder(forms: Sequence[str]) -> Callable[..., _Coded]:
    """Return what codes texts: one bit says whether a text has a character more than k times.

    Bits that differ between two texts are characters of one that the other lacks. Those are looked
    at that split the texts best in two, the best in the first 64 bits; the choice decides how fast
    the answer comes, not what it is.
    """
    counts = _counts(forms[:: max(1, len(forms) // SAMPLE)])
    candidates = []
    for character in np.flatnonzero(counts.any(axis=0)).tolist():
        exactly = np.bincount(counts[:, character])
        having = 1 - np.cumsum(exactly)[:-1] / len(
            counts
        )  # share of texts with more than 0, 1, ...
        worth = having * (1 - having)
        candidates += [(-value, character, k) for k, value in enumerate(worth.tolist())]
    best = sorted(candidates)[:BITS]
    characters = np.array([character for _, character, _ in best], dtype=np.int64)
    thresholds = np.array([more_than for _, _, more_than in best], dtype=np.int64)

    def code(texts: Sequence[str], start: int = 0) -> _Coded:
        array = np.empty(len(texts), dtype=object)
        array[:] = texts
        lengths = np.fromiter(map(len, texts), dtype=np.int64, count=len(texts))
        flags = np.zeros((len(texts), BITS), dtype=bool)
        for part in range(0, len(texts), CHUNK):
            counted = _counts(texts[part : part + CHUNK])
            flags[part : part + CHUNK, : len(best)] = counted[:, characters] > thresholds
        bits = np.packbits(flags, axis=1).view(np.uint64).T
        order = np.argsort(lengths, kind="stable")
        return _Coded(array[order], order + start, lengths[order], bits[:, order])

    return code


def _counts(forms: Sequence[str]) -> np.ndarray:
    """Return how often each (folded) character stands in each text, shape (n, CHARACTERS)."""
    lengths = np.fromiter(map(len, forms), dtype=np.int64, count=len(forms))
    points = np.frombuffer("".join(forms).encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    cells = np.repeat(np.arange(len(forms)) * CHARACTERS, lengths) + points % CHARACTERS
    flat = np.bincount(cells, minlength=len(forms) * CHARACTERS)
    return flat.reshape(len(forms), CHARACTERS)


def _ngrams(form: str) -> list[tuple[str, ...]]:
    words = form.split()
    return [tuple(words[start : start + NGRAM]) for start in range(len(words) - NGRAM + 1)]
