"""How varied texts are, and how much of their wording is new: distinct-n, self-BLEU, Vendi score,
vocabulary, near duplicates.

Words are runs of letters and digits in lower case (`similarity.normalise`). All of these but the
vocabulary depend on how many sentences there are: compare sources at the same number (`quality.py`
samples it). Does not judge whether the text is right. Sources: distinct-n, Li et al. 2016;
self-BLEU, Zhu et al. 2018 (Texygen), with BLEU as sacrebleu's sentence_bleu computes it
(exponential smoothing, effective order); Vendi score, Friedman and Dieng 2023.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from threadpoolctl import threadpool_limits

from touchstone.similarity import normalise, repeating

BLEU_ORDER = 4


def words(text: str) -> list[str]:
    """Return the words of a text as all these measures see them."""
    return normalise(text).split()


def ngrams(tokens: Sequence[str], n: int) -> list[tuple[str, ...]]:
    """Return the runs of n words, in order, with repetition."""
    return list(zip(*(tokens[i:] for i in range(n)), strict=False))


def distinct_n(texts: Sequence[str], n: int) -> float:
    """Return the share of n-grams that are different from each other: 1 says nothing is repeated;
    NaN without n-grams."""
    grams = [gram for text in texts for gram in ngrams(words(text), n)]
    return len(set(grams)) / len(grams) if grams else np.nan


def novel_ngrams(texts: Sequence[str], reference: Sequence[str], n: int) -> float:
    """Return the share of the different n-grams of `texts` that `reference` does not have; NaN
    without n-grams."""
    grams = {gram for text in texts for gram in ngrams(words(text), n)}
    known = {gram for text in reference for gram in ngrams(words(text), n)}
    return len(grams - known) / len(grams) if grams else np.nan


def vocabulary_overlap(texts: Sequence[str], reference: Sequence[str]) -> float:
    """Return the Jaccard index of the two vocabularies: words in both / words in either; 1 is the
    same vocabulary."""
    found, known = ({word for text in side for word in words(text)} for side in (texts, reference))
    return len(found & known) / len(found | known) if found | known else np.nan


def self_bleu(texts: Sequence[str]) -> float:
    """Return the mean BLEU of each sentence against all others as references: 1 says every sentence
    repeats another.

    Instead of comparing all pairs, the largest and second largest count of each n-gram in one
    sentence are kept: an n-gram is clipped by the largest count among the *other* sentences. NaN
    for fewer than two sentences.
    """
    tokens = [words(text) for text in texts]
    if len(tokens) < 2:
        return np.nan
    counts = [
        [Counter(ngrams(sentence, n)) for n in range(1, BLEU_ORDER + 1)] for sentence in tokens
    ]
    most: dict[
        tuple[str, ...], tuple[int, int, int]
    ] = {}  # n-gram -> largest count, its sentence, largest count elsewhere
    for i, orders in enumerate(counts):
        for grams in orders:
            for gram, count in grams.items():
                first, owner, second = most.get(gram, (0, -1, 0))
                most[gram] = (
                    (count, i, first) if count > first else (first, owner, max(second, count))
                )
    lengths = np.array([len(sentence) for sentence in tokens])
    total = 0.0
    for i, orders in enumerate(counts):
        correct = [
            sum(min(c, m[2] if m[1] == i else m[0]) for g, c in grams.items() for m in (most[g],))
            for grams in orders
        ]
        others = np.delete(lengths, i)
        closest = min(others.tolist(), key=lambda length: (abs(length - lengths[i]), length))
        total += _bleu(correct, [grams.total() for grams in orders], int(lengths[i]), closest)
    return total / len(tokens)


def vendi(texts: Sequence[str]) -> float:
    """Return the Vendi score: the effective number of different sentences, from 1 (all the same) to
    n (nothing in common).

    exp of the entropy of the eigenvalues of K / n, where K holds the cosine similarities of the
    sentences' bags of words and word pairs. Cubic in n: meant for a sample of a few hundred. NaN
    without a text that has a word.
    """
    bags = [Counter(ngrams(tokens, 1) + ngrams(tokens, 2)) for tokens in map(words, texts)]
    bags = [bag for bag in bags if bag]
    if not bags:
        return np.nan
    column = {gram: i for i, gram in enumerate(dict.fromkeys(gram for bag in bags for gram in bag))}
    vectors = np.zeros((len(bags), len(column)))
    for row, bag in zip(vectors, bags, strict=True):
        row[[column[gram] for gram in bag]] = list(bag.values())
    return vendi_of(vectors)


def vendi_of(vectors: np.ndarray) -> float:
    """Return the Vendi score of vectors (n, d), e.g. embeddings, under cosine similarity."""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    with threadpool_limits(1):  # the number of BLAS threads changes bits
        values = np.linalg.eigvalsh(unit @ unit.T / len(unit))
    values = values[values > 1e-12]
    return float(np.exp(-(values * np.log(values)).sum()))


def near_duplicates(texts: Sequence[str], cutoff: float = 90.0, threads: int = 1) -> np.ndarray:
    """Return which texts repeat an earlier one: same words, or a rapidfuzz ratio of at least
    `cutoff` (0 to 100).

    Returns
    -------
    bool array of shape (n_texts,).
    """
    return repeating(texts, cutoff, threads)


def _bleu(correct: Sequence[int], total: Sequence[int], length: int, closest: int) -> float:
    """BLEU in [0, 1] of one sentence: geometric mean of the precisions of the orders it is long
    enough for, times brevity."""
    if not any(correct):
        return 0.0
    logs, halving = [], 1.0
    for hits, n in zip(correct, total, strict=True):
        if n == 0:
            break
        if hits == 0:
            halving *= 2
        logs.append(np.log(hits / n if hits else 1 / (halving * n)))
    brevity = np.exp(1 - closest / length) if length < closest else 1.0
    return float(brevity * np.exp(np.mean(logs)))
