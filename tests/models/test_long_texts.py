"""Texts longer than the encoder reads at once: read whole in windows; texts that fit are read as
ever."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_encoder import OPTIONS

from touchstone.models import encoder, long_texts, transformer
from touchstone.models.encoder import encode, find_encoder, load, load_tokenizer
from touchstone.models.encoder_logreg import EncoderLogreg
from touchstone.models.long_texts import tokenise
from touchstone.models.transformer import TransformerClassifier

ROOM = 16  # max_length of these tests: 14 tokens of text


def notes(n: int, seed: int = 0) -> tuple[list[str], np.ndarray]:
    """Notes of 150 and more words that differ in one word alone, behind the first window."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2
    X = []
    for label in y:
        words = list(rng.choice(["end", "10", "again"], rng.integers(150, 170)))
        words[int(rng.integers(130, 150))] = ("grade", "ataxia")[label]
        X.append(" ".join(words))
    return X, y


def fine_tuned(bert, **options):
    defaults = OPTIONS | {"kind": "binary"}
    return TransformerClassifier(encoder=bert, **defaults | options)


def test_windows_overlap_and_leave_nothing_out(bert):
    tokenizer = load_tokenizer(find_encoder(bert), ROOM)
    texts = ["end 10", " ".join(str(i % 10) for i in range(100)), "", "1 " * (ROOM - 2)]
    windows = tokenise(tokenizer, texts, ROOM)
    whole = tokenizer(texts)["input_ids"]
    assert windows.long.tolist() == [1] and len(windows.starts) == 5
    for text in (0, 2, 3):  # what fits is one window, as the tokenizer gives it
        assert windows.of([text])[0][0].tolist() == whole[text]
    parts, (count,) = windows.of([1])
    assert count == len(parts) > 8 and max(map(len, parts)) == ROOM
    again = parts[0][:-1].tolist()
    for part in parts[1:]:
        assert part[1:5].tolist() == again[-4:]  # a quarter is read twice
        again += part[5:-1].tolist()
    assert again == whole[1][:-1]
    assert windows.text_tokens.tolist() == [4, sum(map(len, parts)), 2, ROOM]


@pytest.mark.parametrize("kind", ["binary", "multilabel", "multiclass"])
def test_fine_tuning_learns_a_sign_behind_the_first_window(bert, kind):
    X, y = notes(24)
    target = np.column_stack([y, 1 - y]) if kind == "multilabel" else y
    model = fine_tuned(bert, kind=kind, n_classes=2, max_length=64).fit(X, target)
    test_X, test_y = notes(10, seed=1)
    expected = np.column_stack([test_y, 1 - test_y]) if kind == "multilabel" else test_y
    assert (model.predict(test_X) == expected).all()
    assert model.predict_proba(test_X[:3]).shape == (3, 2)


def test_a_frozen_encoder_learns_a_sign_behind_the_first_window(bert):
    X, y = notes(60)
    options = {"kind": "binary", "encoder": bert, "max_length": 64, "C": 1e4, "threads": 1}
    model = EncoderLogreg(**options).fit(X, y)
    test_X, test_y = notes(20, seed=1)
    assert (model.predict(test_X) == test_y).mean() >= 0.9


def test_texts_that_fit_have_the_vectors_and_logits_they_had_alone(bert):
    """A long text in company changes no bit of the others."""
    short, (long, *_) = ["end 10 again", "ataxia", ""], notes(1)[0]
    loaded = load(find_encoder(bert), max_length=64, device="cpu")
    assert (encode(loaded, [*short, long])[:3] == encode(loaded, short)).all()
    model = fine_tuned(bert, max_length=64, min_steps=2).fit(["end", "ataxia"] * 4, [0, 1] * 4)
    assert (model.predict_proba([*short, long])[:3] == model.predict_proba(short)).all()


def test_training_on_texts_that_fit_asks_for_the_same_batches_and_no_pooling(bert, monkeypatch):
    X, y = ["end 10 again", "ataxia", "10 ataxia", "end"] * 6, [0, 1, 1, 0] * 6
    lengths = []

    def watched(model, sizes, *arguments, **options):
        lengths.append(sizes.tolist())
        return train(model, sizes, *arguments, **options)

    train = transformer.train
    monkeypatch.setattr(transformer, "train", watched)
    monkeypatch.setattr(transformer, "pooled_max", None)  # calling it would fail
    fine_tuned(bert, max_length=64, min_steps=3).fit(X, y)
    tokenizer = load_tokenizer(find_encoder(bert), 64)
    assert lengths == [[len(ids) for ids in tokenizer(X)["input_ids"]]]


def test_long_batches_give_the_same_gradients_whether_activations_are_kept(bert, monkeypatch):
    X, y = notes(8)

    def weights(kept):
        monkeypatch.setattr(transformer, "KEPT_TOKENS", kept)
        return fine_tuned(bert, max_length=64, min_steps=3).fit(X, y).model_.state_dict()

    kept, computed_again = weights(10**6), weights(10**6)
    assert all(torch.equal(kept[name], computed_again[name]) for name in kept)
    monkeypatch.setattr(torch.nn.functional, "dropout", lambda value, *_, **__: value)
    kept, computed_again = weights(10**6), weights(640)
    for name in kept:
        torch.testing.assert_close(kept[name], computed_again[name], rtol=1e-3, atol=1e-4)


def test_the_vector_of_a_long_text_is_the_mean_over_the_tokens_of_its_windows(bert):
    loaded = load(find_encoder(bert), max_length=64, device="cpu")
    (long, *_), _ = notes(1)
    windows = tokenise(loaded.tokenizer, [long], 64)
    with torch.inference_mode():
        means = [
            encoder.mean_pool(
                loaded.model(input_ids=torch.tensor(ids)[None]).last_hidden_state,
                torch.ones(1, len(ids), dtype=torch.bool),
            )[0].numpy()
            for ids in windows.ids
        ]
    means = [one / np.linalg.norm(one) for one in means]
    mean = np.average(means, axis=0, weights=[len(ids) for ids in windows.ids])
    (vector,) = encode(loaded, [long])
    np.testing.assert_allclose(vector, mean / np.linalg.norm(mean), atol=1e-5)


def test_how_many_texts_are_longer_is_said_once(bert, caplog):
    long_texts._tell.cache_clear()
    loaded = load(find_encoder(bert), max_length=64, device="cpu")
    with caplog.at_level("INFO", "touchstone.console"):
        encode(loaded, ["end", *notes(2)[0]])
        encode(loaded, ["end", *notes(2)[0]])
        encode(loaded, ["end"])
    assert [record.getMessage() for record in caplog.records] == [
        "2 of 3 texts are longer than classifier.max_length=64 tokens: read whole, in windows, and "
        "pooled"
    ]
