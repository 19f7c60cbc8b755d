"""Reading JSON from answers: never from one that was cut off, never silently repaired."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from touchstone.llm import chat
from touchstone.llm.parsing import loads
from touchstone.llm.protocol import ParseError, Request

TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
OBJECT = st.dictionaries(TEXT, JSON, min_size=1, max_size=4)


@given(
    OBJECT,
    st.sampled_from(
        ["{}", " \n{}\n", "```json\n{}\n```", "```\n{}\n```", "  ```JSON \n{}\n  ```\n"]
    ),
    st.booleans(),
)
def test_any_json_object_is_read_as_it_is_also_inside_a_fence(value, frame, ascii_only):
    text = frame.replace("{}", json.dumps(value, ensure_ascii=ascii_only))
    assert loads(text) == (value, False)


@given(OBJECT, st.data())
def test_no_prefix_of_an_object_is_ever_accepted(value, data):
    text = json.dumps({"sentences": [value]})
    cut = data.draw(st.integers(0, len(text) - 1))
    with pytest.raises(ParseError):
        loads(text[:cut])


@given(st.text(max_size=200))
def test_any_text_either_gives_a_value_or_a_reason(text):
    try:
        value, repaired = loads(text)
    except ParseError as error:
        assert str(error)
    else:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
        assert isinstance(repaired, bool)


@pytest.mark.parametrize(
    "text, value",
    [
        ("Here you are: {'id': 1,}", {"id": 1}),
        ('{"a": [1, 2,], }', {"a": [1, 2]}),
        ('Sure!\n{"a": 1}\nAnything else?', {"a": 1}),
        ("{a: 1}", {"a": 1}),
    ],
)
def test_small_slips_are_repaired_and_flagged(text, value):
    assert loads(text) == (value, True)


@pytest.mark.parametrize(
    "text, reason",
    [
        ("", "no JSON"),
        ("I am sorry.", "no JSON"),
        ('{"text": "BP 14', "ends in the middle"),
        ('{"text": "BP 140/90"', "ends in the middle"),
        ('Sure: {"a": [{"b": 1}, {"b": "x', "ends in the middle"),
        ('{"a": NaN}', "NaN is not JSON"),
        ('{"a": 1, "a": 2}', "same key twice"),
        ('{"a": "\\ud83d"}', "surrogate"),
        ("[" * 100_000, "not usable JSON|ends in the middle"),
        ('{"a": 1' + "0" * 5000 + "}", "not usable JSON"),
    ],
)
def test_what_cannot_be_used_is_refused_with_a_reason(text, reason):
    with pytest.raises(ParseError, match=reason) as caught:
        loads(text)
    assert "BP 14" not in str(caught.value)


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        {},
        {"choices": []},
        {"choices": [{}]},
        {"choices": [{"message": None}]},
        "text",
        {"choices": [{"message": {"content": 7}}]},
    ],
)
def test_what_is_no_chat_completion_is_garbled(body):
    with pytest.raises(chat.Garbled):
        chat.read(body, "k")


def test_content_in_parts_is_joined():
    body = {
        "choices": [
            {"message": {"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}}
        ]
    }
    assert chat.read(body, "k").text == "ab"


@pytest.mark.parametrize(
    "schema, strict",
    [
        (
            {
                "type": "object",
                "properties": {"a": {"type": "string"}},
                "required": ["a"],
                "additionalProperties": False,
            },
            True,
        ),
        (
            {
                "type": "object",
                "properties": {"a": {"type": "string"}},
                "required": [],
                "additionalProperties": False,
            },
            False,
        ),
        ({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}, False),
        ({"type": "array", "items": {"type": "object", "properties": {}}}, False),
    ],
)
def test_strict_mode_is_asked_for_only_where_the_schema_allows_it(schema, strict):
    request = Request(({"role": "user", "content": "x"},), {"title": "my answer!", **schema})
    made = chat.body(request, "m")["response_format"]["json_schema"]
    assert made["strict"] is strict and made["name"] == "my_answer_"


@given(
    st.dictionaries(
        st.sampled_from(["temperature", "top_p", "seed"]), st.none() | st.floats(0, 2), max_size=3
    ),
    TEXT,
)
def test_the_fast_key_is_the_canonical_digest(params, text):
    from touchstone.digest import digest

    request = Request(
        ({"role": "user", "content": text},),
        {"title": "é", "enum": [1, 2.5, None, True]},
        params,
        3,
    )
    parts = {
        "endpoint": "e",
        "model": "m",
        "messages": [{"role": "user", "content": text}],
        "schema": request.schema,
        "params": {name: value for name, value in params.items() if value is not None},
        "sample": 3,
    }
    assert request.key("e", "m") == digest(parts)
