"""Reading JSON from answers: never from one that was cut off, never silently repaired."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from touchstone.llm import chat
from touchstone.llm.answers import loads, read, usable
from touchstone.llm.protocol import ParseError, Request, Response

TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
OBJECT = st.dictionaries(TEXT, JSON, min_size=1, max_size=4)
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


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
        {"choices": [{"message": {"content": [{"text": True}]}}]},
        {"choices": [{"message": {"content": [{"text": {"value": "a"}}]}}]},
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


RIGHT = json.dumps({"sentences": [{"id": 1, "labels": ["cog"]}, {"id": 2, "labels": []}]})
DRAFT = json.dumps({"sentences": [{"id": 1, "labels": ["b"]}, {"id": 2, "labels": []}]})


@pytest.mark.parametrize(
    "text",
    [
        f"<think>\nhm\n</think>\n\n{RIGHT}",
        f"<think>\nhm {{x}} [1]\n</think>\n\n{RIGHT}",
        f"<think>\nFirst {DRAFT}\nNo.\n</think>\n\n{RIGHT}",
        f"<think>\nthe set {{ is open\n</think>\n\n{RIGHT}",
        f'<think>\nHe said "memory (5\'2" tall) {{\n</think>\n\n{RIGHT}',
        f"<think>\n\n</think>\n\n{RIGHT}",
        f"Draft {DRAFT} no\n</think>\n\n{RIGHT}",
        f"[THINK]{DRAFT}[/THINK]{RIGHT}",
        f"<thinking>{DRAFT}</thinking>\n```json\n{RIGHT}\n```",
        f"```json\n{DRAFT}\n```\nThen\n```json\n{RIGHT}\n```",
        f"Here:\n```json\n{RIGHT}\n```\nBye",
        f"<|channel|>analysis<|message|>{DRAFT}<|end|><|start|>assistant"
        f"<|channel|>final<|message|>{RIGHT}<|return|>",
        f"\ufeff{RIGHT}",
    ],
)
def test_the_answer_is_what_is_said_after_the_thinking(text):
    assert loads(text)[0] == json.loads(RIGHT)


@pytest.mark.parametrize(
    "text",
    [
        f"<think>\nDraft {RIGHT} so I should now",
        f"<|channel|>analysis<|message|>{RIGHT} but wait",
        f"<think>\nDraft {RIGHT}\n</think>\n\nI cannot answer.",
    ],
)
def test_a_draft_inside_the_thinking_is_no_answer(text):
    with pytest.raises(ParseError):
        loads(text)


def test_a_sentence_of_the_answer_may_hold_a_tag_of_thinking():
    text = json.dumps({"text": "Wrote </think> on the wall."})
    assert loads(text) == (json.loads(text), False)


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        (RIGHT, True),
        (f"<think>hm</think>{RIGHT}", True),
        (f"```json\n{RIGHT}\n```", True),
        (f"Draft {RIGHT} so I should now", False),
        (RIGHT[:-5], False),
    ],
)
def test_an_answer_cut_by_the_limit_is_whole_only_if_its_json_is_closed_after_the_thinking(
    text, whole
):
    request = Request((), {"type": "object"})
    response = Response("k", text, "length")
    assert usable(request.schema, response) is whole
    if not whole:
        with pytest.raises(ParseError, match="ends in the middle"):
            read(lambda _, said: loads(said), request, response)


@pytest.mark.parametrize(
    "text",
    [
        '{"sentences": [{"id": 1, "labels": ["cog"], "labels": [],}]}',
        "{'id': 1, 'id': 2}",
        '{id: 1, "id": 2,}',
    ],
)
def test_a_key_given_twice_is_refused_in_a_repaired_answer_too(text):
    with pytest.raises(ParseError, match="same key twice"):
        loads(text)


@pytest.mark.parametrize(
    "text",
    [
        '{"a": {"id": 1}, "b": [{"id": 2}, {"id": 3}],}',
        'Sure: {"id": 1, "text": "id: 2, id: 3, \\"id\\": 4"}',
    ],
)
def test_equal_keys_of_different_objects_and_words_in_texts_are_no_repetition(text):
    assert loads(text)[1] is True


@pytest.mark.parametrize(
    "raised", [TypeError, KeyError, AttributeError, RecursionError, ValueError]
)
def test_whatever_a_parser_stumbles_over_is_a_reason(raised):
    def parse(request, text):
        raise raised("quotes the note")

    with pytest.raises(ParseError, match="shape that cannot be read") as caught:
        read(parse, Request(()), Response("k", "{}"))
    assert "quotes" not in str(caught.value)
