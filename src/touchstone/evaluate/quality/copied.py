"""The longest run of words that a text shares with another: did the LLM write, or copy its prompt
or its source?

Exact runs of words after `similarity.normalise`; runs of fewer than `SEED` words say nothing and
count as 0. Paraphrase is not seen.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from touchstone.evaluate.quality.diversity import ngrams, words

SEED = 4  # words: shorter runs are ordinary language


def longest_copied(texts: Sequence[str], references: Sequence[str]) -> np.ndarray:
    """Return for each text the length in words of its longest run that stands in one of the
    references.

    Parameters
    ----------
    texts : sentences to look at.
    references : whole notes, prompt examples, or training sentences; a run does not cross from one
        into the next.

    Returns
    -------
    int array of shape (n_texts,); 0 where no run reaches `SEED` words.
    """
    grams = {
        gram for text in texts for gram in ngrams(words(text), SEED)
    }  # keeps the index small over a large pool
    tokens = [words(reference) for reference in references]
    index: dict[tuple[str, ...], list[tuple[int, int]]] = {}
    for number, reference in enumerate(tokens):
        for start, gram in enumerate(ngrams(reference, SEED)):
            if gram in grams:
                index.setdefault(gram, []).append((number, start))
    return np.array([_longest(words(text), tokens, index) for text in texts], dtype=int)


def _longest(
    text: list[str],
    references: list[list[str]],
    index: dict[tuple[str, ...], list[tuple[int, int]]],
) -> int:
    seeds = ngrams(text, SEED)
    best = 0
    for start, gram in enumerate(seeds):
        last = (
            start + max(best + 1, SEED) - SEED
        )  # a run longer than the best so far also holds this seed
        if gram not in index or last >= len(seeds) or seeds[last] not in index:
            continue
        for number, at in index[gram]:
            reference = references[number]
            n = SEED
            while (
                start + n < len(text)
                and at + n < len(reference)
                and text[start + n] == reference[at + n]
            ):
                n += 1
            best = max(best, n)
    return best
