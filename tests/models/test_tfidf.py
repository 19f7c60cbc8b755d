"""TF-IDF classifiers: every kind of task, classes without examples, weights, and what a user can
get wrong."""

from __future__ import annotations

import joblib
import numpy as np
import pytest
from scipy.sparse import hstack
from sklearn.base import clone
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from touchstone.errors import UserError
from touchstone.models.tfidf import TfidfClassifier

WORDS = [
    ["forgets", "names", "keys"],
    ["walks", "daily", "dog"],
    ["scan", "mri", "brain"],
    ["agitated", "angry", "shouts"],
]


def sentences(n_each: int, classes=range(4), seed: int = 0) -> tuple[list[str], np.ndarray]:
    """Return sentences whose words tell their class, with words that tell nothing between them."""
    rng = np.random.default_rng(seed)
    X, y = [], []
    for label in classes:
        for _ in range(n_each):
            X.append(
                " ".join(
                    [
                        *rng.choice(WORDS[label], 2),
                        *rng.choice(["the", "patient", "today", "again"], 3),
                    ]
                )
            )
            y.append(label)
    return X, np.array(y)


@pytest.fixture(params=["logreg", "svm"])
def model(request):
    return request.param


def test_learns_each_kind_of_task(model):
    X, y = sentences(20)
    test_X, test_y = sentences(5, seed=1)
    several = np.column_stack([y == 1, (y == 1) | (y == 2), y == 3]).astype(int)
    test_several = np.column_stack(
        [test_y == 1, (test_y == 1) | (test_y == 2), test_y == 3]
    ).astype(int)
    tasks = {
        "binary": (2, y > 0, test_y > 0),
        "relation": (2, y > 0, test_y > 0),
        "multiclass": (4, y, test_y),
        "multilabel": (3, several, test_several),
    }
    for kind, (n_classes, target, expected) in tasks.items():
        fitted = TfidfClassifier(kind=kind, n_classes=n_classes, model=model).fit(X, target)
        scores = fitted.predict_proba(test_X)
        assert (
            scores.shape == (len(test_X), n_classes) and (scores >= 0).all() and (scores <= 1).all()
        )
        assert (fitted.predict(test_X) == expected).all(), kind
        assert fitted.unseen_ == []
        if kind != "multilabel":
            np.testing.assert_allclose(scores.sum(axis=1), 1)


def test_is_scikit_learns_logistic_regression_on_tfidf():
    X, y = sentences(15)
    weight = np.linspace(0.5, 2, len(y))
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True).fit_transform(X)
    characters = TfidfVectorizer(
        analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True
    ).fit_transform(X)
    features = hstack([words, characters], format="csr")
    slow = LogisticRegression(C=2.0, class_weight="balanced", tol=1e-10, max_iter=10_000).fit(
        features, y, sample_weight=weight
    )
    ours = TfidfClassifier(n_classes=4, C=2.0).fit(X, y, sample_weight=weight)
    np.testing.assert_allclose(ours.predict_proba(X), slow.predict_proba(features), atol=1e-3)


def test_a_class_without_examples_has_a_column_and_is_never_predicted(model):
    X, y = sentences(10, classes=[0, 2])
    fitted = TfidfClassifier(n_classes=4, model=model).fit(X, y)
    assert fitted.unseen_ == [1, 3]
    scores = fitted.predict_proba(X)
    assert scores.shape == (20, 4) and (scores[:, [1, 3]] == 0).all()
    assert set(fitted.predict(X)) == {0, 2}


def test_a_category_without_examples_is_never_predicted_in_multilabel(model):
    X, y = sentences(10)
    target = np.column_stack([y == 1, np.zeros_like(y), np.ones_like(y)])
    fitted = TfidfClassifier(kind="multilabel", n_classes=3, model=model).fit(X, target)
    assert fitted.unseen_ == [1]
    assert (fitted.predict(X)[:, 1] == 0).all() and (fitted.predict(X)[:, 2] == 1).all()


def test_a_single_class_is_always_predicted(model):
    fitted = TfidfClassifier(kind="binary", model=model).fit(["a cat", "a dog"], [0, 0])
    assert fitted.predict(["a mouse"]).tolist() == [0] and fitted.unseen_ == [1]


def test_weight_zero_is_as_if_the_example_were_absent(model):
    X, y = sentences(10)
    other_X, other_y = sentences(10, classes=[3], seed=5)
    kept = TfidfClassifier(n_classes=4, model=model, class_weight=None)
    weight = np.r_[np.ones(len(y)), np.zeros(len(other_y))]
    with_zero = clone(kept).fit(X + other_X, np.r_[y, other_y], sample_weight=weight)
    vocabulary = {word for text in X + other_X for word in text.split()}
    assert vocabulary == {
        word for text in X for word in text.split()
    }  # so that the two differ in weights alone
    assert (with_zero.predict(X) == clone(kept).fit(X, y).predict(X)).all()
    only_zero = TfidfClassifier(n_classes=4, model=model).fit(
        X, y, sample_weight=(y != 3).astype(float)
    )
    assert only_zero.unseen_ == [3] and 3 not in only_zero.predict(X)


def test_sample_weights_move_the_decision(model):
    X, y = ["cough today"] * 4, [0, 0, 0, 1]
    heavy = TfidfClassifier(kind="binary", model=model, class_weight=None).fit(
        X, y, sample_weight=[1, 1, 1, 30]
    )
    light = TfidfClassifier(kind="binary", model=model, class_weight=None).fit(
        X, y, sample_weight=[1, 1, 1, 1]
    )
    assert heavy.predict(["cough today"]).tolist() == [1] and light.predict(
        ["cough today"]
    ).tolist() == [0]


@pytest.mark.parametrize(
    "options",
    [
        {"word_ngrams": 1},
        {"char_ngrams": 3},
        {"min_df": 2},
        {"C": 0.01},
        {"class_weight": None},
        {"model": "svm"},
    ],
    ids=lambda options: next(iter(options)),
)
def test_every_option_changes_the_scores(options):
    X, y = sentences(10)
    X, y = X + ["shouts once"], np.r_[y, 3]
    one = TfidfClassifier(n_classes=4).fit(X, y).predict_proba(X)
    other = TfidfClassifier(n_classes=4, **options).fit(X, y).predict_proba(X)
    assert not np.allclose(one, other, atol=1e-4)


def test_same_seed_same_scores_and_a_stored_model_predicts_the_same(model, tmp_path):
    X, y = sentences(10)
    estimator = TfidfClassifier(n_classes=4, model=model, char_ngrams=3, random_state=3)
    first, second = clone(estimator).fit(X, y), clone(estimator).fit(X, y)
    assert (first.predict_proba(X) == second.predict_proba(X)).all()
    joblib.dump(first, tmp_path / "model.joblib")
    assert (joblib.load(tmp_path / "model.joblib").predict_proba(X) == first.predict_proba(X)).all()


def test_no_sentences_give_no_predictions(model):
    X, y = sentences(3)
    fitted = TfidfClassifier(n_classes=4, model=model).fit(X, y)
    assert fitted.predict([]).shape == (0,) and fitted.predict_proba([]).shape == (0, 4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"min_df": 50}, "classifier.min_df=50"),
        (
            {"word_ngrams": 0, "char_ngrams": 0},
            "classifier.word_ngrams=0: must be at least 1 where char_ngrams is 0",
        ),
        ({"word_ngrams": -1}, "classifier.word_ngrams=-1: must be at least 0"),
        ({"char_ngrams": 1}, "classifier.char_ngrams=1: must be 0, or at least 2"),
        ({"min_df": 0}, "classifier.min_df=0: must be at least 1"),
        ({"C": 0}, "classifier.C=0: must be more than 0"),
        ({"model": "forest"}, "classifier.model=forest: must be logreg or svm"),
        ({"class_weight": "even"}, "classifier.class_weight=even: must be balanced or null"),
    ],
)
def test_an_option_out_of_range_is_one_line_that_names_it(options, message):
    X, y = sentences(3)
    with pytest.raises(UserError) as error:
        TfidfClassifier(n_classes=4, **options).fit(X, y)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_training_data_that_cannot_be_learnt_from_is_refused():
    with pytest.raises(UserError, match="the training set is empty"):
        TfidfClassifier().fit([], [])
    with pytest.raises(UserError, match="every training example has weight 0"):
        TfidfClassifier().fit(["a cat"], [1], sample_weight=[0])
    with pytest.raises(ValueError, match=r"must have shape \(2,\), got \(1,\)"):
        TfidfClassifier().fit(["a cat", "a dog"], [1])
    with pytest.raises(ValueError, match=r"must be in 0..1, got 0..7"):
        TfidfClassifier().fit(["a cat", "a dog"], [0, 7])
    with pytest.raises(ValueError, match="sentence 1 must be a str, got NoneType"):
        TfidfClassifier().fit(["a cat", None], [0, 1])
    with pytest.raises(ValueError, match="2 finite numbers of at least 0"):
        TfidfClassifier().fit(["a cat", "a dog"], [0, 1], sample_weight=[1, -1])
    with pytest.raises(ValueError, match="kind must be one of"):
        TfidfClassifier(kind="ner").fit(["a cat"], [0])
