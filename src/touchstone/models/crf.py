"""A linear-chain conditional random field on word features: the light baseline for entities,
trained in seconds.

Features of a word and its neighbours as usual for NER: the word, its shape, prefixes and suffixes,
kind of characters, and pairs of neighbours. Training and decoding are python-crfsuite's (Okazaki
2007, L-BFGS with L1 and L2 penalties). No gazetteers, no embeddings.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from touchstone.models.checks import Task, check_texts, check_weights, options_of, require
from touchstone.models.spans import (
    Span,
    check_spans,
    entity_types,
    to_spans,
    to_tags,
    unseen_types,
    words,
)
from touchstone.ranges import check_options
from touchstone.schema import CrfConfig

WINDOW = 2  # words on either side that a word sees
AFFIX = 4  # longest prefix and suffix
FINEST = 10  # weights are matched by repeating sentences: in tenths at the finest


def build(config: CrfConfig, task: Task) -> CrfTagger:
    """Return the tagger that a configuration names."""
    return CrfTagger(types=task.types, random_state=task.seed, **options_of(config))


class CrfTagger(BaseEstimator):
    """Find entities with a linear-chain CRF.

    Parameters
    ----------
    types : entity types; None takes those of the training spans, sorted.
    c1, c2 : weights of the L1 and L2 penalties.
    max_iterations : of L-BFGS.
    random_state : not used, since nothing is drawn; there because every classifier has it.

    Attributes
    ----------
    types_ : entity types in the order of the tags; unseen_ : indices of those without a training
        span.
    model_ : the trained model as bytes in CRFsuite's format.
    """

    def __init__(
        self,
        types: Sequence[str] | None = None,
        c1: float = CrfConfig.c1,
        c2: float = CrfConfig.c2,
        max_iterations: int = CrfConfig.max_iterations,
        random_state: int = 0,
    ) -> None:
        self.types = types
        self.c1 = c1
        self.c2 = c2
        self.max_iterations = max_iterations
        self.random_state = random_state

    @property
    def draws_nothing(self) -> bool:
        """Whether equal training data give an equal model, whatever the seed."""
        return True

    def fit(
        self,
        X: Sequence[str],
        y: Sequence[Sequence[Span]],
        *,
        sample_weight: Any = None,
        dev: Any = None,
    ) -> CrfTagger:
        """Learn from n texts and their spans; `dev` is not used. CRFsuite knows no weights: see
        `repetitions`."""
        require("pycrfsuite", "crf", "classifier=crf")
        import pycrfsuite

        X = check_texts(X)
        repeat, scale = repetitions(check_weights(sample_weight, len(X)), len(X))
        self.types_ = entity_types(self.types, y)
        y = check_spans(X, y, self.types_)
        check_options(CrfConfig, self)
        self.unseen_ = unseen_types(self.types_, y, repeat)
        trainer = pycrfsuite.Trainer(algorithm="lbfgs", verbose=False)
        # both penalties are set against a sum over sentences, which repeating multiplies by `scale`
        trainer.set_params(
            {"c1": self.c1 * scale, "c2": self.c2 * scale, "max_iterations": self.max_iterations}
        )
        for text, spans, times in zip(X, y, repeat, strict=True):
            offsets = words(text)
            if offsets and times:
                items = pycrfsuite.ItemSequence(
                    features([text[start:end] for start, end in offsets])
                )
                tags = [str(tag) for tag in to_tags(spans, offsets, self.types_)]
                for _ in range(times):
                    trainer.append(items, tags)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.crfsuite"
            trainer.train(str(path))
            self.model_ = path.read_bytes()
        return self

    def predict(self, X: Sequence[str]) -> list[list[dict[str, Any]]]:
        """Return the spans of each text, in order, not overlapping."""
        check_is_fitted(self, "model_")
        require("pycrfsuite", "crf", "classifier=crf")
        import pycrfsuite

        tagger = pycrfsuite.Tagger()
        tagger.open_inmemory(self.model_)
        spans = []
        for text in check_texts(X):
            offsets = words(text)
            tags = (
                [
                    int(tag)
                    for tag in tagger.tag(features([text[start:end] for start, end in offsets]))
                ]
                if offsets
                else []
            )
            spans.append(to_spans(tags, offsets, self.types_))
        return spans


def features(tokens: Sequence[str]) -> list[list[str]]:
    """Return the feature names of each word of a sentence; features of neighbours carry their
    distance."""
    own = [_features_of(token) for token in tokens]
    lower = [token.lower() for token in tokens]
    n = len(tokens)
    rows = []
    for i in range(n):
        names = ["bias", *own[i]]
        for distance in range(-WINDOW, WINDOW + 1):
            j = i + distance
            if distance == 0:
                continue
            if 0 <= j < n:
                names += [f"{distance}:{name}" for name in own[j][:3]]  # word, shape, kind
            elif j in (-1, n):
                names.append("first" if j < 0 else "last")
        if i:
            names.append(f"-1|0:{lower[i - 1]}|{lower[i]}")
        if i + 1 < n:
            names.append(f"0|1:{lower[i]}|{lower[i + 1]}")
        rows.append(names)
    return rows


def shape(token: str) -> str:
    """Return a word's shape with runs shortened: X for capitals, x for small letters, 0 for digits,
    other characters as they are.

    >>> shape("BRCA2"), shape("p53"), shape("Ataxia")
    ('X0', 'x0', 'Xx')
    """
    pattern = ""
    for character in token:
        kind = (
            "X"
            if character.isupper()
            else "x"
            if character.isalpha()
            else "0"
            if character.isdigit()
            else character
        )
        if not pattern.endswith(kind):
            pattern += kind
    return pattern


def repetitions(weights: np.ndarray | None, n: int) -> tuple[np.ndarray, int]:
    """Return how often each sentence is repeated to stand for its weight, shape (n,), and the
    multiple that this makes of the weights.

    The smallest multiple of at most `FINEST` that makes all weights whole numbers within 5 %; if
    there is none, weights are rounded to 1 / FINEST. A weight of 0.5 beside 1 so becomes one
    repetition beside two.
    """
    if weights is None:
        return np.ones(n, dtype=np.int64), 1
    for multiple in range(1, FINEST + 1):
        whole = np.rint(weights * multiple)
        if np.all(np.abs(weights * multiple - whole) <= 0.05 * weights * multiple):
            return whole.astype(np.int64), multiple
    return np.rint(weights * FINEST).astype(np.int64), FINEST


def _features_of(token: str) -> list[str]:
    lower = token.lower()
    kind = (
        "digits"
        if token.isdigit()
        else "capitals"
        if token.isupper()
        else "title"
        if token.istitle()
        else "mark"
    )
    if token.isalnum() and kind == "mark":
        kind = "small" if token.islower() else "mixed"
    names = [f"w:{lower}", f"s:{shape(token)}", f"k:{kind}"]
    if len(token) > 1:
        names += [f"p:{lower[:k]}" for k in range(1, min(AFFIX, len(token)) + 1)]
        names += [f"e:{lower[-k:]}" for k in range(1, min(AFFIX, len(token)) + 1)]
    if any(character.isdigit() for character in token):
        names.append("has digit")
    return names
