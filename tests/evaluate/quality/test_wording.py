"""Diversity, copied runs, distributions: by hand, against slow definitions, and against values of
other packages."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rapidfuzz import fuzz
from scipy import stats
from scipy.spatial.distance import jensenshannon

from touchstone.data.examples import examples
from touchstone.evaluate.quality.copied import SEED, longest_copied
from touchstone.evaluate.quality.distributions import (
    category_distribution,
    jensen_shannon,
    label_sets,
    length_distance,
    masks,
)
from touchstone.evaluate.quality.diversity import (
    distinct_n,
    near_duplicates,
    novel_ngrams,
    self_bleu,
    vendi,
    vendi_of,
    vocabulary_overlap,
    words,
)
from touchstone.similarity import normalise

SENTENCES = [
    "she repeats the same question several times a day",
    "she repeats the same question at dinner",
    "wife reports that he gets lost driving home",
    "he was lost",
    "he gets lost driving to the store and wife reports that",
    "memory is worse",
    "the the the cat",
]
# sacrebleu 2.6.0, sentence_bleu(sentence, all others, tokenize="none") / 100
SACREBLEU = [0.4463236138, 0.5329462629, 0.5, 0.3466806372, 0.3508439696, 0.0, 0.1597357761]


def test_self_bleu_agrees_with_sacrebleu():
    assert self_bleu(SENTENCES) == pytest.approx(np.mean(SACREBLEU), abs=1e-9)


def test_self_bleu_of_copies_is_one_and_of_strangers_zero():
    assert self_bleu(["he gets lost driving home"] * 3) == pytest.approx(1)
    assert self_bleu(["one two three", "four five six"]) == 0
    assert np.isnan(self_bleu(["alone"]))


def test_distinct_and_novel_ngrams_by_hand():
    assert words("Repeats, REPEATS the question?") == ["repeats", "repeats", "the", "question"]
    assert distinct_n(["a b a", "a c"], 1) == 3 / 5
    assert distinct_n(["a b a", "a b"], 2) == 2 / 3
    assert np.isnan(distinct_n(["a"], 2))
    assert novel_ngrams(["a b c", "a b"], ["x a b"], 2) == 1 / 2
    assert vocabulary_overlap(["a b c"], ["b c d"]) == 2 / 4


def test_vendi_counts_the_different_sentences():
    assert vendi(["he gets lost"] * 5) == pytest.approx(1)
    assert vendi(["alpha beta", "gamma delta", "epsilon zeta"]) == pytest.approx(3)
    assert vendi(["alpha beta"] * 4 + ["gamma delta"] * 4) == pytest.approx(2)
    assert np.isnan(vendi(["...", ""]))
    # two vectors of cosine c: eigenvalues (1 + c) / 2 and (1 - c) / 2
    p = np.array([0.75, 0.25])
    assert vendi_of(np.array([[1.0, 0.0], [0.5, np.sqrt(0.75)]])) == pytest.approx(
        np.exp(-(p * np.log(p)).sum())
    )


TEXTS = st.lists(
    st.sampled_from(
        [
            "he was lost",
            "he was lost.",
            "he was lost!",
            "he gets lost now",
            "he gets lost",
            "memory",
        ]
    ),
    max_size=9,
)


@given(TEXTS)
def test_near_duplicates_equal_the_pairwise_definition(texts):
    expected = [
        any(fuzz.ratio(normalise(t), normalise(earlier)) >= 80 for earlier in texts[:i])
        for i, t in enumerate(texts)
    ]
    assert near_duplicates(texts, 80).tolist() == expected


def longest_slow(text, references):
    tokens = words(text)
    best = 0
    for reference in map(words, references):
        for i in range(len(tokens)):
            for j in range(len(reference)):
                n = 0
                while (
                    i + n < len(tokens)
                    and j + n < len(reference)
                    and tokens[i + n] == reference[j + n]
                ):
                    n += 1
                best = max(best, n)
    return best if best >= SEED else 0


@given(
    st.lists(st.text("ab ", max_size=40), max_size=3),
    st.lists(st.text("ab ", max_size=40), max_size=3),
)
def test_longest_copied_run_equals_the_slow_definition(texts, references):
    assert longest_copied(texts, references).tolist() == [
        longest_slow(text, references) for text in texts
    ]


def test_a_copied_run_ignores_case_and_marks_and_does_not_cross_references():
    assert longest_copied(
        ["Then: he GETS lost driving, home!"], ["today he gets lost driving home again"]
    ).tolist() == [5]
    assert longest_copied(
        ["he gets lost driving home"], ["he gets lost", "driving home"]
    ).tolist() == [0]
    assert longest_copied([], ["x"]).tolist() == []


def frame():
    rows = [
        ("g1", ["a"], "one two three"),
        ("g2", ["a", "b"], "one two"),
        ("g3", [], "one"),
        ("g4", [], "one two three four"),
    ]
    return examples(
        [
            {
                "example_id": i,
                "text": t,
                "labels": n,
                "source": "gold",
                "doc_id": i,
                "patient_id": i,
            }
            for i, n, t in rows
        ]
    )


def test_scopes_and_distribution_by_hand():
    labels = label_sets(frame())
    assert {scope: mask.sum() for scope, mask in masks(labels, ["a", "b", "c"]).items()} == {
        "all": 4,
        "a": 2,
        "b": 1,
        "c": 0,
        "none": 2,
    }
    assert category_distribution(labels, ["a", "b", "c"]).tolist() == [0.4, 0.2, 0, 0.4]


def test_span_types_count_as_categories():
    table = frame()
    table.at[2, "spans"] = [{"start": 0, "end": 3, "type": "b"}]
    assert label_sets(table)[2] == {"b"}


def test_jensen_shannon_agrees_with_scipy():
    rng = np.random.default_rng(0)
    p, q = rng.dirichlet(np.ones(5)), rng.dirichlet(np.ones(5))
    q[2] = 0
    q /= q.sum()
    assert jensen_shannon(p, q) == pytest.approx(jensenshannon(p, q, base=2) ** 2)
    assert jensen_shannon(p, p) == 0
    assert jensen_shannon(np.array([1.0, 0]), np.array([0, 1.0])) == 1
    assert np.isnan(jensen_shannon(p, np.zeros(5)))


def test_length_distance_agrees_with_scipy():
    rng = np.random.default_rng(0)
    a, b = rng.integers(1, 20, 50), rng.integers(4, 25, 30)
    assert length_distance(a, b) == pytest.approx(stats.ks_2samp(a, b).statistic)
    assert np.isnan(length_distance(a, np.array([])))
