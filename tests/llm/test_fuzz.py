"""Ten thousand odd answers and odd error bodies: each gives a value or a reason, nothing else; the
seeds are kept by hypothesis' own database."""

from __future__ import annotations

import json

import pytest
from grid import small_taxonomy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from touchstone.generate.data_to_label import entities, sentences
from touchstone.llm import answers, chat
from touchstone.llm.protocol import ParseError, Request, Response

pytestmark = pytest.mark.slow
many = settings(
    max_examples=10_000, deadline=None, suppress_health_check=list(HealthCheck), derandomize=False
)
TEXTS = ("Forgets names.", "Fell </sentences> at night.", "Calm.")
PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12)
WORDS = st.sampled_from(
    ["sentences", "id", "labels", "text", "confidence", "high", "memory", "falls", "<memory>"]
)
VALUES = st.recursive(
    PLAIN | WORDS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(WORDS | st.text(), inner, max_size=5)
    ),
    max_leaves=15,
)
ENTRIES = st.fixed_dictionaries(
    {"id": st.integers(0, 4) | VALUES},
    optional={
        "labels": st.lists(st.sampled_from(["memory", "falls"]), max_size=2) | VALUES,
        "text": st.sampled_from([*TEXTS, "Forgets <memory>names</memory>."]) | VALUES,
        "confidence": st.sampled_from(["high", "low"]) | VALUES,
    },
)
ANSWERS = st.one_of(
    st.text(max_size=200),
    st.binary(max_size=200).map(lambda raw: raw.decode("utf-8", "replace")),
    VALUES.map(lambda value: json.dumps(value)),
    st.builds(
        lambda before, entries, after: f"{before}{json.dumps({'sentences': entries})}{after}",
        st.sampled_from(["", "<think>x</think>", "<think>", "```json\n", "Sure: ", "{"]),
        st.lists(ENTRIES, max_size=4),
        st.sampled_from(["", "\n```", "</think>", "}", ",", "<|end|>"]),
    ),
)
CONTEXT = {
    "example_ids": {number: f"d/{number}" for number in (1, 2, 3)},
    "texts": dict(enumerate(TEXTS, start=1)),
}
FINISHED = st.sampled_from(["stop", "length", "content_filter"])


@many
@given(ANSWERS, FINISHED, st.sampled_from([sentences, entities]))
def test_an_answer_labels_what_was_asked_or_gives_a_reason(text, finish, module):
    request = Request((), {"type": "object"}, context=CONTEXT)
    taxonomy = small_taxonomy()
    try:
        labelled = answers.read(
            lambda asked, said: module.parse(asked, said, taxonomy),
            request,
            Response("k", text, finish),
        )
    except ParseError as error:
        assert str(error)
        return
    assert set(labelled) == set(CONTEXT["example_ids"].values())
    for number, name in CONTEXT["example_ids"].items():
        found = labelled[name]
        if module is sentences:
            assert set(found.labels) <= set(taxonomy.ids)
        else:
            assert all(0 <= s["start"] < s["end"] <= len(TEXTS[number - 1]) for s in found.spans)


COMPLETIONS = st.one_of(
    VALUES,
    st.fixed_dictionaries(
        {"choices": st.lists(st.fixed_dictionaries({"message": VALUES}), max_size=2) | VALUES},
        optional={"usage": VALUES, "model": VALUES, "error": VALUES, "system_fingerprint": VALUES},
    ),
    st.fixed_dictionaries(
        {
            "choices": st.lists(
                st.fixed_dictionaries(
                    {"message": st.fixed_dictionaries({"content": VALUES}), "finish_reason": VALUES}
                ),
                min_size=1,
                max_size=1,
            ),
            "usage": st.dictionaries(
                st.sampled_from(["prompt_tokens", "completion_tokens", "input_tokens"]), VALUES
            ),
        }
    ),
)


@many
@given(COMPLETIONS)
def test_a_completion_of_any_shape_is_read_or_garbled(body):
    try:
        response = chat.read(body, "k")
    except chat.Garbled as error:
        assert str(error)
        return
    response.text.encode("utf-8")
    assert all(part.isprintable() for part in (response.model, response.finish_reason))
    counts = chat.tokens(response.usage)
    assert counts is None or all(0 <= count < 1e12 for count in counts.values())
