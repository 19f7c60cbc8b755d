"""Both directions for sentence tasks: prompts, requests, parsing, few-shot examples."""

import json

import pandas as pd
import pytest
from grid import alzheimer, prompt_config, small_taxonomy, table
from hypothesis import given, settings
from hypothesis import strategies as st

from touchstone.errors import UserError
from touchstone.generate.data_to_label import sentences as data_to_label
from touchstone.generate.label_to_data import sentences as label_to_data
from touchstone.generate.prompts import prompt_of
from touchstone.generate.shots import mixed, shots
from touchstone.llm.protocol import ParseError
from touchstone.schema import PromptConfig

VARIANTS = ("minimal", "guideline", "guideline_fewshot")


def note(n: int = 3, doc: str = "n1") -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "example_id": f"{doc}/{i}",
                "doc_id": doc,
                "patient_id": "p1",
                "note_type": "Nursing note",
                "text": f"Sentence {i} of {doc}.",
            }
            for i in range(n)
        ]
    )


def prompt(name: str = "guideline", taxonomy=None):
    return prompt_of(prompt_config(name), taxonomy or small_taxonomy(), "multiclass")


def label_requests(sentences=None, name="guideline", **options):
    return data_to_label.requests(
        note() if sentences is None else sentences,
        prompt(name),
        params={},
        per_request=options.pop("per_request", 40),
        **options,
    )


def answer(*entries) -> str:
    return json.dumps(
        {"sentences": [{"id": i, "labels": labels, "confidence": "high"} for i, labels in entries]}
    )


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_renders_both_directions_for_the_demo_taxonomy(name):
    bound = prompt_of(prompt_config(name), alzheimer(), "multiclass")
    d2l = data_to_label.requests(note(), bound, params={}, per_request=40)
    l2d = label_to_data.requests(
        bound, params={}, per_category=10, n_none=10, per_request=10, seed=0
    )
    assert len(d2l) == 1 and len(l2d) == 10
    assert "3. Sentence 2 of n1." in d2l[0].messages[1]["content"]
    shown = "repeats questions" in d2l[0].messages[0]["content"]
    assert shown == (name != "minimal"), "only minimal hides the definitions"


def test_minimal_never_shows_a_definition_a_facet_or_a_look_alike():
    bound = prompt_of(prompt_config("minimal"), alzheimer(), "multiclass")
    texts = [
        m["content"]
        for r in label_to_data.requests(
            bound, params={}, per_category=10, n_none=10, per_request=10, seed=0
        )
        for m in r.messages
    ]
    hidden = (
        [c.counts for c in alzheimer().categories]
        + [f for c in alzheimer().categories for f in c.facets]
        + list(alzheimer().look_alikes)
    )
    assert not [phrase for phrase in hidden for text in texts if phrase in text]


def test_the_prompt_digest_follows_wording_version_and_taxonomy():
    base = prompt_config("guideline")
    digests = {
        prompt_of(base, small_taxonomy(), "multiclass").digest,
        prompt_of(base, alzheimer(), "multiclass").digest,
    }
    for change in ({"version": 2}, {"n_shots": 1}, {"system": {"sentences": "Other."}}):
        changed = prompt_config("guideline")
        for name, value in change.items():
            setattr(changed, name, value)
        digests.add(prompt_of(changed, small_taxonomy(), "multiclass").digest)
    assert len(digests) == 5


def test_a_template_with_an_unknown_variable_names_the_file_and_the_stage():
    broken = PromptConfig(
        name="mine",
        version=1,
        system={"sentences": "x"},
        data_to_label={"sentences": "{{ sentnces }}"},
    )
    with pytest.raises(
        UserError, match=r"conf/prompt/mine.yaml, data_to_label.sentences: 'sentnces' is undefined"
    ):
        data_to_label.requests(
            note(), prompt_of(broken, small_taxonomy(), "binary"), params={}, per_request=5
        )


def test_a_variant_without_templates_for_the_kind_of_task_says_which_it_has():
    only = PromptConfig(name="mine", version=1, system={"sentences": "x"})
    with pytest.raises(UserError, match="no templates for ner tasks .there are: sentences"):
        prompt_of(only, small_taxonomy(), "ner")


def test_long_notes_are_asked_in_even_parts_with_the_sentences_before_as_context():
    parts = label_requests(note(41), per_request=40)
    assert [len(r.context["example_ids"]) for r in parts] == [21, 20]
    second = parts[1].messages[1]["content"]
    assert (
        "(context) Sentence 20 of n1." in second
        and "1. Sentence 21 of n1." in second
        and "Sentence 15 of" not in second
    )


def test_only_candidates_are_numbered_and_the_others_are_shown_as_context():
    request = label_requests(note(4).assign(candidate=[False, True, False, True]))[0]
    text = request.messages[1]["content"]
    assert (
        "(context) Sentence 0" in text
        and "1. Sentence 1" in text
        and "(context) Sentence 2" in text
        and "2. Sentence 3" in text
    )
    assert request.context["example_ids"] == {1: "n1/1", 2: "n1/3"}


def test_a_note_without_candidates_is_not_asked_about():
    assert label_requests(note().assign(candidate=False)) == []


def test_notes_never_share_a_request():
    both = pd.concat([note(doc="n1"), note(doc="n2")], ignore_index=True)
    assert len(label_requests(both)) == 2


def test_an_answer_is_read_by_number_whatever_its_order():
    request = label_requests()[0]
    parsed = data_to_label.parse(
        request, answer((3, ["memory"]), (1, []), (2, ["memory", "falls"])), small_taxonomy()
    )
    assert {i: p.labels for i, p in parsed.items()} == {
        "n1/2": ("memory",),
        "n1/0": (),
        "n1/1": ("falls", "memory"),
    }


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (answer((1, []), (2, [])), "no answer for id 3"),
        (answer((1, []), (2, []), (3, []), (4, [])), "'?4'? was not asked"),
        (answer((1, []), (1, []), (2, []), (3, [])), "id 1 is answered twice"),
        (
            answer((1, ["fall"]), (2, []), (3, [])),
            "'fall' is no category; the ids are memory, falls",
        ),
        (
            json.dumps({"sentences": [{"id": True, "labels": [], "confidence": "high"}]}),
            "was not asked",
        ),
        (
            json.dumps({"sentences": [{"id": 1, "labels": "memory", "confidence": "high"}]}),
            "must be a list",
        ),
        (
            json.dumps({"sentences": [{"id": 1, "labels": [], "confidence": "sure"}]}),
            "must be high, medium or low",
        ),
        (json.dumps({"rows": []}), "must be one JSON object"),
        (json.dumps([]), "must be one JSON object"),
        ("I cannot help with that.", "JSON"),
    ],
)
def test_a_wrong_answer_is_refused_with_a_reason_to_send_back(text, reason):
    with pytest.raises(ParseError, match=reason):
        data_to_label.parse(label_requests()[0], text, small_taxonomy())


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda x: st.lists(x) | st.dictionaries(st.text(), x),
        max_leaves=10,
    )
)
@settings(max_examples=60, deadline=None)
def test_no_json_value_makes_the_parsers_fail_in_another_way(value):
    l2d = label_to_data.requests(
        prompt(), params={}, per_category=2, n_none=0, per_request=2, seed=0
    )[0]
    for parse, request in ((data_to_label.parse, label_requests()[0]), (label_to_data.parse, l2d)):
        for text in (
            json.dumps(value),
            json.dumps({"sentences": value}),
            json.dumps({"sentences": [value]}),
        ):
            with pytest.raises(ParseError):
                parse(request, text, small_taxonomy())


def test_silver_keeps_order_confidence_and_origin_and_leaves_out_what_was_not_answered():
    parsed = data_to_label.parse(
        label_requests()[0], answer((1, ["memory"]), (2, []), (3, [])), small_taxonomy()
    )
    parsed.pop("n1/1")
    frame = data_to_label.silver(note(), parsed, dict.fromkeys(parsed, "k"))
    assert frame["example_id"].tolist() == ["n1/0", "n1/2"] and frame["labels"].tolist() == [
        ["memory"],
        [],
    ]
    assert (
        set(frame["confidence"]) == {"high"}
        and set(frame["origin"]) == {"k"}
        and set(frame["source"]) == {"silver"}
    )


def test_slots_run_evenly_through_every_attribute_and_do_not_depend_on_the_count():
    few = label_to_data.slots(small_taxonomy(), "falls", 6, seed=0, facets=True)
    many = label_to_data.slots(small_taxonomy(), "falls", 60, seed=0, facets=True)
    assert many[:6] == few
    counts = pd.DataFrame(many).apply(
        lambda column: column.value_counts().max() - column.value_counts().min()
    )
    assert (counts <= 1).all() and set(many[0]) == {"about", "style", "author"}
    assert label_to_data.slots(small_taxonomy(), "falls", 6, seed=1, facets=True) != few


def test_a_thousand_slots_hardly_repeat():
    drawn = [
        tuple(slot.values())
        for slot in label_to_data.slots(alzheimer(), "coping_strategy", 1000, seed=0, facets=True)
    ]
    assert len(set(drawn)) > 990


def test_negatives_are_built_on_look_alikes():
    slots = label_to_data.slots(small_taxonomy(), "none", 4, seed=0, facets=True)
    assert {slot["look_alike"] for slot in slots} == {"denied", "a relative"} and {
        slot["mistaken_for"] for slot in slots
    } == {
        "Memory",
        "Falls",
    }


def write_request(category: str):
    asked = label_to_data.requests(
        prompt(), params={}, per_category=2, n_none=2, per_request=2, seed=0
    )
    return next(r for r in asked if r.context["category"] == category)


def written(*entries) -> str:
    return json.dumps(
        {"sentences": [{"id": i, "text": text, "labels": labels} for i, text, labels in entries]}
    )


def test_bronze_carries_all_labels_and_the_request_it_came_from():
    request = write_request("falls")
    parsed = label_to_data.parse(
        request,
        written((1, "Fell  in the\nhall.", ["memory", "falls"]), (2, "Slid off bed.", ["falls"])),
        small_taxonomy(),
    )
    frame = label_to_data.bronze([request], [parsed], ["k"])
    assert frame["text"].tolist() == ["Fell in the hall.", "Slid off bed."] and frame[
        "labels"
    ].tolist() == [["falls", "memory"], ["falls"]]
    assert (
        frame["example_id"].tolist() == ["bronze/falls/0/1", "bronze/falls/0/2"]
        and frame["doc_id"].nunique() == 1
    )
    assert label_to_data.bronze([request], [None], ["k"]).empty


@pytest.mark.parametrize(
    ("category", "text", "reason"),
    [
        ("falls", written((1, "Fell.", ["falls"])), "no sentence for line 2"),
        (
            "falls",
            written((1, "", ["falls"]), (2, "Fell.", ["falls"])),
            "one sentence of 1 to 120 words",
        ),
        ("falls", written((1, "Fell.", ["memory"]), (2, "Fell.", ["falls"])), "must hold falls"),
        ("none", written((1, "Did not fall.", ["falls"]), (2, "Well.", [])), "must be \\[\\]"),
        ("falls", written((7, "Fell.", ["falls"])), "was not asked"),
    ],
)
def test_wrong_sentences_are_refused_with_a_reason(category, text, reason):
    with pytest.raises(ParseError, match=reason):
        label_to_data.parse(write_request(category), text, small_taxonomy())


def test_shots_come_from_training_gold_only_and_do_not_depend_on_row_order():
    gold = table(*[(f"e{i}", f"text {i}", ["memory"] if i % 2 else []) for i in range(10)])
    chosen = shots(gold, small_taxonomy(), 2, seed=0)
    assert {name: len(found) for name, found in chosen.items()} == {
        "memory": 2,
        "falls": 0,
        "none": 2,
    }
    assert chosen == shots(gold.sample(frac=1, random_state=1), small_taxonomy(), 2, seed=0)
    assert len(mixed(chosen, 0)) == 4 and shots(gold, small_taxonomy(), 0, 0) == {}
    with pytest.raises(UserError, match="must come from training gold; e3 is not"):
        shots(
            gold.assign(split=["test" if i == 3 else "train" for i in range(10)]),
            small_taxonomy(),
            2,
            0,
        )


def test_shots_are_shown_by_the_fewshot_variant():
    example = {"text": "Tripped on the cat.", "labels": ["falls"]}
    asked = data_to_label.requests(
        note(), prompt("guideline_fewshot"), params={}, per_request=40, shots=[example]
    )
    assert "Tripped on the cat. -> falls" in asked[0].messages[1]["content"]


def test_what_a_model_writes_is_one_line_without_what_terminals_obey():
    (first, *_) = label_to_data.requests(
        prompt_of(prompt_config("guideline"), small_taxonomy(), "multiclass"),
        params={},
        per_category=1,
        n_none=0,
        per_request=1,
        seed=0,
    )
    category = first.context["category"]
    hostile = "Gets lost\x1b]8;;http://x\x07 at\x00 night,\r\n\u202eas her\x9b31m family says."
    entry = {"id": 1, "text": hostile, "labels": [category]}
    (found,) = label_to_data.parse(first, json.dumps({"sentences": [entry]}), small_taxonomy())
    assert found["text"] == "Gets lost ]8;;http://x at night, as her 31m family says."
    many = [{**entry, "id": n} for n in range(1, 10_001)]
    with pytest.raises(ParseError):
        label_to_data.parse(first, json.dumps({"sentences": many}), small_taxonomy())
    with pytest.raises(ParseError, match="one sentence of"):
        long = [{**entry, "text": "lost " * 10_000}]
        label_to_data.parse(first, json.dumps({"sentences": long}), small_taxonomy())
