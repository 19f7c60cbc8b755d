"""The order in which sentences that stand alone are asked about, so that it tells no answer.

Files of relations are often sorted by label, and they hold one source sentence once for each pair
of entities in it, so that one copy shows what the other masks. Here sentences are drawn in an order
of their own by seed, and copies of one source sentence are kept in different requests. Does not
order the sentences of notes, abstracts or entity corpora: those are read in context, as they stand.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
from rapidfuzz import fuzz, process
from rapidfuzz.distance import LCSseq

from touchstone.similarity import normalise

SHARED_WORDS = 0.75  # of the shorter sentence, in order: from here two are copies of one sentence
# (on GAD, copies that differ in which pair is masked share 0.9, two sentences of other papers 0.7)
LIKELY = 50.0  # rapidfuzz ratio of letters from which words are compared: bounds the time
BLOCK = 512  # rows compared at a time


def shuffled_requests(
    texts: Sequence[str], marks: Sequence[str], per_request: int, seed: int
) -> list[list[int]]:
    """Return the positions of `texts` that each request asks about.

    Parameters
    ----------
    texts : sentences in which entities are masked.
    marks : how they are masked, such as @GENE$; left out of the comparison.
    per_request : sentences in one request at most.
    seed : of the order.

    Returns
    -------
    list of requests, each a list of positions; every position stands in one request. Sizes differ
    by one at most. There are as many requests as `per_request` asks for, and more only where one
    source sentence has more copies than that.
    """
    groups = siblings(texts, marks)
    random.Random(f"{seed}/order").shuffle(groups)
    groups.sort(key=len, reverse=True)  # stable: the larger first, else as drawn
    n_requests = max(-(-len(texts) // per_request), len(groups[0]) if groups else 0)
    requests: list[list[int]] = [[] for _ in range(n_requests)]
    for group in groups:
        emptiest = sorted(range(n_requests), key=lambda number: len(requests[number]))
        for number, position in zip(emptiest, group, strict=False):
            requests[number].append(position)
    for number, request in enumerate(requests):
        random.Random(f"{seed}/order/{number}").shuffle(request)
    return requests


def siblings(texts: Sequence[str], marks: Sequence[str]) -> list[list[int]]:
    """Return groups of positions whose texts are copies of one source sentence with other entities
    masked; most groups are of one. In the order of their first position."""
    forms = [normalise(_without(text, marks)) for text in texts]
    words = [form.split() for form in forms]
    group = list(range(len(forms)))

    def root(position: int) -> int:
        while group[position] != position:
            group[position] = group[group[position]]
            position = group[position]
        return position

    for start in range(0, len(forms), BLOCK):
        block = forms[start : start + BLOCK]
        scores = process.cdist(
            block, forms[: start + len(block)], scorer=fuzz.ratio, score_cutoff=LIKELY
        )
        for row, column in zip(*np.nonzero(scores), strict=True):
            later, earlier = start + int(row), int(column)
            if earlier >= later or root(later) == root(earlier):
                continue
            shorter = min(len(words[later]), len(words[earlier]))
            if LCSseq.similarity(words[later], words[earlier]) >= SHARED_WORDS * shorter:
                group[max(root(later), root(earlier))] = min(root(later), root(earlier))
    members: dict[int, list[int]] = {}
    for position in range(len(forms)):
        members.setdefault(root(position), []).append(position)
    return list(members.values())


def _without(text: str, marks: Sequence[str]) -> str:
    for mark in marks:
        text = text.replace(mark, " ")
    return text
