import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction.text import TfidfVectorizer

from touchstone.models import ngrams

TEXTS = st.lists(
    st.text(alphabet="ab cdé\u4e2d.", max_size=25) | st.just("forgets names and names"),
    min_size=1,
    max_size=12,
)
SETTINGS = [
    {"ngram_range": (1, 2), "sublinear_tf": True},
    {"analyzer": "char_wb", "ngram_range": (2, 4), "sublinear_tf": True},
    {"analyzer": "char_wb", "ngram_range": (2, 4), "min_df": 2},
]


@pytest.mark.parametrize("options", SETTINGS)
@given(train=TEXTS, test=TEXTS)
@settings(max_examples=60, deadline=None)
def test_features_are_scikit_learns_own(options, train, test):
    theirs, ours = TfidfVectorizer(**options), TfidfVectorizer(**options)
    try:
        expected = theirs.fit_transform(train)
    except ValueError as error:
        with pytest.raises(ValueError, match=str(error)[:20]):
            ngrams.fit_transform(ours, train)
        return
    found = ngrams.fit_transform(ours, train)
    assert ours.vocabulary_ == theirs.vocabulary_
    np.testing.assert_allclose(ours.idf_, theirs.idf_, rtol=0, atol=1e-12)
    assert_same(found, expected)
    assert_same(ngrams.transform(ours, test), theirs.transform(test))


def assert_same(found, expected):
    assert found.shape == expected.shape
    np.testing.assert_allclose(found.toarray(), expected.toarray(), rtol=0, atol=1e-12)


def test_what_was_counted_before_changes_no_bit(monkeypatch):
    train, test = ["forgets names", "walks a dog", "names of a dog"], ["a dog forgets", "new words"]

    def bits() -> tuple[bytes, ...]:
        vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True)
        features = ngrams.fit_transform(vectorizer, train)
        other = ngrams.transform(vectorizer, test)
        return tuple(
            part.tobytes() for m in (features, other) for part in (m.data, m.indices, m.indptr)
        )

    monkeypatch.setattr(ngrams, "_settings", {})
    fresh = bits()
    assert bits() == fresh
    monkeypatch.setattr(ngrams, "_settings", {})
    ngrams.fit_transform(TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4)), ["zz aa", *test])
    assert bits() == fresh
    monkeypatch.setattr(ngrams, "KEPT", 1)
    assert bits() == fresh


def test_a_text_is_cut_into_n_grams_once(monkeypatch):
    monkeypatch.setattr(ngrams, "_settings", {})
    seen = []
    original = ngrams._Counts._count
    monkeypatch.setattr(
        ngrams._Counts, "_count", lambda self, text: seen.append(text) or original(self, text)
    )
    for train in (["one", "two"], ["two", "three"], ["one", "three", "one"]):
        vectorizer = TfidfVectorizer()
        ngrams.fit_transform(vectorizer, train)
        ngrams.transform(vectorizer, ["four", "two"])
    assert sorted(seen) == ["four", "one", "three", "two"]


def test_a_stored_vectorizer_gives_the_same_features():
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    ngrams.fit_transform(vectorizer, ["forgets names", "walks daily"])
    stored = pickle.loads(pickle.dumps(vectorizer))
    assert_same(ngrams.transform(stored, ["walks names"]), stored.transform(["walks names"]))
    assert_same(ngrams.transform(stored, ["walks names"]), vectorizer.transform(["walks names"]))
