"""Generation for entities: marks, the entity list, sentences that contain given names, and marking
real sentences."""

import json
from collections import Counter
from functools import lru_cache

import pytest
from grid import group, prompt_config, table
from hypothesis import given
from hypothesis import strategies as st

from touchstone.data.examples import check, dataset
from touchstone.digest import digest
from touchstone.generate.data_to_label import entities as label_entities
from touchstone.generate.label_to_data import entities
from touchstone.generate.label_to_data import sentences as label_to_data
from touchstone.generate.prompts import prompt_of
from touchstone.generate.shots import shots
from touchstone.generate.stages import agreeing
from touchstone.llm.marks import read_marks, write_marks
from touchstone.llm.protocol import ParseError, Request
from touchstone.schema import TaxonomyConfig
from touchstone.taxonomy import NONE, taxonomy_of

PARAMS = {"max_tokens": 4096}
NAMES = {"Disease": [["gout", "flu", "asthma"], ["breast cancer", "ataxia"]]}


@lru_cache
def disease():
    return taxonomy_of(group("taxonomy", "disease", TaxonomyConfig))


@lru_cache
def prompt(name="guideline"):
    return prompt_of(prompt_config(name), disease(), "ner")


def keys(requests):
    return digest([request.key("file", "claude") for request in requests])


def written(name="guideline", **sizes):
    sizes = {"per_category": 4, "n_none": 2, "per_request": 2} | sizes
    return entities.requests(prompt(name), names=NAMES, params={}, seed=0, **sizes)


def answer(*texts):
    return json.dumps(
        {"sentences": [{"id": number, "text": text} for number, text in enumerate(texts, start=1)]}
    )


def mentions(text, spans):
    return [text[span["start"] : span["end"]] for span in spans]


# --- recorded answers hang on these digests: a change asks for all of them again
# -----------------------------------------------------


def test_the_requests_of_the_demo_are_those_that_were_recorded():
    from grid import alzheimer

    sizes = {"per_category": 80, "n_none": 300, "per_request": 10, "seed": 0}
    for name, expected in (("guideline", "7f01b7491d6d92a2"), ("minimal", "c05cbcc97b35a282")):
        bound = prompt_of(prompt_config(name), alzheimer(), "multiclass")
        assert keys(label_to_data.requests(bound, params=PARAMS, **sizes)).startswith(expected)


def test_the_requests_of_the_public_corpora_are_those_that_were_recorded():
    hallmarks = prompt_of(
        prompt_config("guideline"),
        taxonomy_of(group("taxonomy", "hallmarks", TaxonomyConfig)),
        "multilabel",
    )
    pairs = prompt_of(
        prompt_config("guideline"),
        taxonomy_of(group("taxonomy", "gene_disease", TaxonomyConfig)),
        "relation",
    )
    common = {"params": PARAMS, "per_request": 10, "seed": 0}
    assert keys(label_to_data.requests(hallmarks, per_category=30, n_none=60, **common)).startswith(
        "b364250c8178b1c6"
    )
    assert keys(label_to_data.requests(pairs, per_category=120, n_none=120, **common)).startswith(
        "ea46c5c7ed648136"
    )
    assert keys(entities.entity_requests(prompt(), params=PARAMS, per_type=200)).startswith(
        "6aeb6ec08bdb3636"
    )


# --- marks
# ----------------------------------------------------------------------------------------------


@st.composite
def marked_texts(draw):
    """A text and spans over some of its words, of two types."""
    words = draw(
        st.lists(
            st.text(
                st.characters(exclude_characters="<>", exclude_categories=("Z", "C")),
                min_size=1,
                max_size=8,
            ),
            min_size=1,
            max_size=12,
        )
    )
    text, spans = " ".join(words), []
    at = 0
    for word in words:
        if draw(st.booleans()):
            spans.append(
                {
                    "start": at,
                    "end": at + len(word),
                    "type": draw(st.sampled_from(["Disease", "Chemical"])),
                }
            )
        at += len(word) + 1
    return text, spans


@given(marked_texts())
def test_marks_round_trip(case):
    text, spans = case
    assert read_marks(write_marks(text, spans), ["Disease", "Chemical"]) == (text, spans)
    assert read_marks(write_marks(text, spans), ["Disease", "Chemical"], text) == (text, spans)


@given(marked_texts(), st.integers(0, 3), st.sampled_from(["<Disease>", "</Disease>", "<disease>"]))
def test_a_sentence_that_already_holds_what_looks_like_a_mark_can_be_marked(case, where, tag):
    text, spans = case
    position = [0, len(text)][where % 2]
    given_text = f"{tag} {text}" if position == 0 else f"{text} {tag}"
    shift = len(tag) + 1 if position == 0 else 0
    moved = [{**span, "start": span["start"] + shift, "end": span["end"] + shift} for span in spans]
    assert read_marks(write_marks(given_text, moved), ["Disease", "Chemical"], given_text) == (
        given_text,
        moved,
    )


def test_white_space_at_the_edge_of_a_mark_is_not_part_of_the_mention():
    text, spans = read_marks("had <disease> flu </DISEASE> twice", ["Disease"])
    assert (
        text == "had  flu  twice"
        and mentions(text, spans) == ["flu"]
        and spans[0]["type"] == "Disease"
    )


@pytest.mark.parametrize(
    ("marked", "said"),
    [
        ("<Disease>flu", "is not closed"),
        ("flu</Disease>", "closes no <Disease>"),
        ("<Disease>flu</Chemical>", "closes no <Chemical>"),
        ("<Disease>a <Disease>flu</Disease></Disease>", "inside another"),
        ("<Disease> </Disease>", "marks nothing"),
    ],
)
def test_marks_that_do_not_pair_are_refused(marked, said):
    with pytest.raises(ParseError, match=said):
        read_marks(marked, ["Disease", "Chemical"])


# --- the entity list
# ----------------------------------------------------------------------------------------------


def test_the_entity_list_is_asked_facet_by_facet_and_adds_up():
    asked = entities.entity_requests(prompt(), params={}, per_type=200)
    assert (
        len(asked) == 2 and sum(sum(request.context["counts"].values()) for request in asked) == 200
    )
    assert all(
        facet in " ".join(r.messages[1]["content"] for r in asked)
        for facet in disease().categories[0].facets
    )


def test_a_variant_without_definitions_asks_for_names_alone_and_samples_the_prompt():
    asked = entities.entity_requests(prompt("minimal"), params={}, per_type=250)
    assert [request.context["counts"][1] for request in asked] == [100, 100, 50] and [
        request.sample for request in asked
    ] == [0, 1, 2]
    assert len({request.key("e", "m") for request in asked}) == 3
    assert not any(
        facet in request.messages[1]["content"]
        for request in asked
        for facet in disease().categories[0].facets
    )


def test_names_that_differ_in_case_or_punctuation_are_one_and_groups_stay_together():
    asked = entities.entity_requests(prompt(), params={}, per_type=3)
    assert len(asked[0].context["counts"]) == 3
    value = entities.parse_names(
        asked[0],
        json.dumps(
            {
                "lists": [
                    {"id": 1, "names": ["Gout"]},
                    {"id": 2, "names": ["gout", "x"]},
                    {"id": 3, "names": ["T-cell  flu"]},
                ]
            }
        ),
    )
    assert value == [["Gout"], ["gout"], ["T-cell flu"]]
    frame = entities.entity_table(
        [asked[0]] * 2, [value, [["t cell flu"], ["new"], []]], ["k1", "k2"]
    )
    assert list(frame["text"]) == ["Gout", "T-cell flu", "new"] and list(frame["origin"]) == [
        "k1",
        "k1",
        "k2",
    ]
    assert entities.grouped(check(frame, ["Disease"])) == {
        "Disease": [["Gout"], ["T-cell flu"], ["new"]]
    }
    assert all(
        row.spans == [{"start": 0, "end": len(row.text), "type": "Disease"}]
        for row in frame.itertuples()
    )


@pytest.mark.parametrize(
    ("lists", "said"),
    [
        ("[]", "one JSON object"),
        ('{"lists": [{"id": 1, "names": ["a"]}]}', "no names for line 2"),
        ('{"lists": [{"id": 1, "names": ["a"]}, {"id": 1, "names": ["b"]}]}', "answered twice"),
        ('{"lists": [{"id": 3, "names": ["a"]}]}', "was not asked"),
        ('{"lists": [{"id": 1, "names": []}]}', "must be a list of names"),
        ('{"lists": [{"id": 1, "names": ["<Disease>a</Disease>"]}]}', "plain text"),
        ('{"lists": [{"id": 1, "names": ["' + "word " * 20 + '"]}]}', "plain text"),
    ],
)
def test_an_unusable_entity_list_is_refused_with_the_reason(lists, said):
    (asked,) = entities.entity_requests(prompt(), params={}, per_type=2)
    with pytest.raises(ParseError, match=said):
        entities.parse_names(asked, lists)


# --- sentences that contain given names
# ----------------------------------------------------------------------------------------------


def test_slots_take_names_of_one_group_evenly_and_the_first_stay_the_same():
    slots = entities.slots(disease(), "Disease", 60, 0, names=NAMES["Disease"], look_alikes=True)
    assert slots[:20] == entities.slots(
        disease(), "Disease", 20, 0, names=NAMES["Disease"], look_alikes=True
    )
    assert slots != entities.slots(
        disease(), "Disease", 60, 1, names=NAMES["Disease"], look_alikes=True
    )
    assert all(
        any(set(slot["names"]) <= set(names) for names in NAMES["Disease"])
        and 1 <= len(slot["names"]) <= 3
        for slot in slots
    )
    assert {slot["mention"] for slot in slots} == set(entities.MENTIONS)
    used = Counter(name for slot in slots for name in slot["names"])
    assert set(used) == {name for names in NAMES["Disease"] for name in names}


def test_a_type_without_names_gets_no_sentences_and_negatives_get_look_alikes():
    assert entities.slots(disease(), "Disease", 5, 0, names=(), look_alikes=True) == []
    assert all(
        "look_alike" in slot and "names" not in slot
        for slot in entities.slots(disease(), NONE, 5, 0, names=(), look_alikes=True)
    )
    assert not any(
        "look_alike" in slot
        for slot in entities.slots(disease(), NONE, 5, 0, names=(), look_alikes=False)
    )


@pytest.mark.parametrize("name", ["minimal", "guideline", "guideline_fewshot"])
def test_every_variant_asks_for_sentences_with_the_names_of_each_line(name):
    asked = written(name)
    assert [request.context["category"] for request in asked] == ["Disease", "Disease", NONE]
    for request in asked:
        text = request.messages[1]["content"]
        for number, slot in request.context["numbers"].items():
            assert f"{number}. " in text and "; ".join(slot.get("names", [])) in text


def test_marked_sentences_become_spans():
    asked = written()[0]
    first, second = (
        " and ".join(f"<Disease>{name}</Disease>" for name in slot["names"])
        for slot in asked.context["numbers"].values()
    )
    value = entities.parse(
        asked, answer(f"They had  {first} in 1999.", f"In {second}, p < 0.05."), disease()
    )
    frame = check(entities.bronze([asked, asked], [value, None], ["k", "unused"]), ["Disease"])
    assert list(frame["text"]) == [
        text.replace("<Disease>", "").replace("</Disease>", "").replace("  ", " ")
        for text in (f"They had {first} in 1999.", f"In {second}, p < 0.05.")
    ]
    for row, slot in zip(frame.itertuples(), asked.context["numbers"].values(), strict=True):
        assert (
            mentions(row.text, row.spans) == slot["names"]
            and row.labels == []
            and row.source == "bronze"
            and row.origin == "k"
        )


def one(names, category="Disease"):
    return Request(
        (),
        context={
            "category": category,
            "numbers": {1: {"names": names} if names else {}},
            "group": "g",
        },
    )


@pytest.mark.parametrize(
    ("names", "text", "said"),
    [
        (["gout"], "Nothing here.", "is not marked"),
        (["gout"], "Only <Disease>flu</Disease> and gout.", "is not marked"),
        (["gout"], "<Disease>gout</Disease>, then gout again.", "mention 1 stands unmarked"),
        (["gout"], "<Disease>gout", "not closed"),
        (
            ["gout"],
            "<Disease>gout</Disease> from <Gene>HPRT</Gene>.",
            "no marks but those of Disease",
        ),
        (["gout"], "", "1 to 120 words"),
        (["gout"], "<Disease>gout</Disease> " + "word " * 130, "1 to 120 words"),
        ([], "A negative with <Disease>flu</Disease>.", "must hold no mark"),
    ],
)
def test_a_sentence_that_does_not_hold_what_was_asked_is_refused(names, text, said):
    with pytest.raises(ParseError, match=said):
        entities.parse(one(names, "Disease" if names else NONE), answer(text), disease())


@pytest.mark.parametrize(
    ("names", "text"),
    [
        (["gout"], "<Disease>Gout</Disease> is old."),
        (["colorectal adenoma"], "<Disease>sporadic colorectal adenomas</Disease> were removed."),
        (
            ["NF1"],
            "<Disease>NF1</Disease> is caused by mutations of NF1.",
        ),  # an abbreviation may be the gene as well
        ([], "The gene was mapped."),
    ],
)
def test_inflected_names_and_ambiguous_abbreviations_pass(names, text):
    (entry,) = entities.parse(one(names, "Disease" if names else NONE), answer(text), disease())
    assert len(entry["spans"]) == len(names)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("no json", "no JSON"),
        (json.dumps({"sentences": [{"id": 2, "text": "x"}]}), "was not asked"),
        (json.dumps({"sentences": []}), "no sentence for line 1"),
        (
            json.dumps({"sentences": [{"id": 1, "text": "x y"}, {"id": 1, "text": "z"}]}),
            "answered twice",
        ),
    ],
)
def test_an_answer_that_skips_repeats_or_invents_lines_is_refused(text, said):
    with pytest.raises(ParseError, match=said):
        entities.parse(one([], NONE), text, disease())


# --- marking real sentences
# ----------------------------------------------------------------------------------------------


def real(*texts):
    return table(*((f"t/{i}", text, []) for i, text in enumerate(texts)))


def asked_about(*texts, name="guideline"):
    (request,) = label_entities.requests(
        real(*texts), prompt(name), params={}, per_request=20, standalone=True, stage="zero_shot"
    )
    return request


def marked_answer(*texts, **changes):
    return json.dumps(
        {
            "sentences": [
                {"id": i, "text": text, "confidence": "low"} | changes
                for i, text in enumerate(texts, start=1)
            ]
        }
    )


@given(st.lists(marked_texts(), min_size=1, max_size=5))
def test_marking_given_sentences_returns_their_spans(cases):
    texts = [text for text, _ in cases]
    types = [[{**span, "type": "Disease"} for span in spans] for _, spans in cases]
    request = asked_about(*texts)
    value = label_entities.parse(
        request,
        marked_answer(
            *(write_marks(text, spans) for text, spans in zip(texts, types, strict=True))
        ),
        disease(),
    )
    assert [list(value[f"t/{i}"].spans) for i in range(len(texts))] == types
    frame = label_entities.silver(real(*texts), value, dict.fromkeys(value, "k"))
    assert (
        list(frame["text"]) == texts
        and list(frame["spans"]) == types
        and set(frame["confidence"]) == {"low"}
    )


@given(st.text(min_size=1, max_size=40), st.text(min_size=1, max_size=40))
def test_a_sentence_that_comes_back_changed_is_never_taken(given_text, returned):
    request = Request((), context={"example_ids": {1: "a"}, "texts": {1: given_text}})
    try:
        value = label_entities.parse(request, marked_answer(returned), disease())
    except ParseError as error:
        assert given_text not in str(error) or len(given_text) < 4  # notes are never quoted
    else:
        assert read_marks(returned.strip(), ["Disease"], given_text)[0] == given_text and set(
            value
        ) == {"a"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (marked_answer("<Disease>flu</Disease> twice", "ok!"), "id 2: without its marks"),
        (marked_answer("flu  twice", "ok"), "id 1: without its marks"),
        (marked_answer("<Disease>flu twice", "ok"), "id 1: <Disease> is not closed"),
        (marked_answer("flu twice"), "no answer for id 2"),
        (marked_answer("flu twice", "ok", "extra"), "was not asked"),
        (marked_answer("flu twice", "ok", id=1), "answered twice"),
        (marked_answer("flu twice", "ok", confidence="sure"), "must be high, medium or low"),
        (marked_answer("flu twice", "ok", text=3), "must be the sentence"),
    ],
)
def test_an_unusable_marking_is_refused_with_the_reason(text, said):
    with pytest.raises(ParseError, match=said):
        label_entities.parse(asked_about("flu twice", "ok"), text, disease())


def test_sentences_that_are_not_asked_about_are_not_shown():
    frame = real("flu twice", "ok").assign(candidate=[True, False])
    (request,) = label_entities.requests(
        frame, prompt(), params={}, per_request=20, standalone=True
    )
    assert "ok" not in request.messages[1]["content"].split("<sentences>")[1].split("</sentences>")[
        0
    ] and request.context["texts"] == {1: "flu twice"}


def test_the_round_trip_keeps_sentences_whose_entities_were_found_again():
    spans = [{"start": 0, "end": 3, "type": "Disease"}]
    asked = real("flu is here", "flu was here", "nothing").assign(spans=[spans, spans, []])
    again = asked.iloc[:3].assign(spans=[spans, [{**spans[0], "end": 7}], []])
    assert agreeing(dataset(asked, "bronze"), dataset(again, "again"), disease().primary) == [
        "t/0",
        "t/2",
    ]
    assert agreeing(
        dataset(asked, "bronze"), dataset(again.iloc[:1], "again"), disease().primary
    ) == ["t/0"]


def test_few_shot_sentences_show_their_marks():
    gold = real("had flu", "was well").assign(
        spans=[[{"start": 4, "end": 7, "type": "Disease"}], []]
    )
    chosen = shots(gold, disease(), 1, seed=0)
    assert [shot["text"] for shot in chosen["Disease"]] == ["had <Disease>flu</Disease>"] and [
        shot["text"] for shot in chosen[NONE]
    ] == ["was well"]
    built = label_entities.requests(
        real("x"),
        prompt("guideline_fewshot"),
        params={},
        per_request=20,
        standalone=True,
        shots=[*chosen["Disease"], *chosen[NONE]],
    )
    assert "- had <Disease>flu</Disease>" in built[0].messages[1]["content"]


def test_the_guideline_reaches_the_prompt_and_the_minimal_variant_does_not_have_it():
    rule = disease().always_none[0]
    assert (
        rule
        in prompt().messages("entity_list", category=disease().categories[0], lines=[])[0][
            "content"
        ]
    )
    assert rule not in asked_about("x", name="minimal").messages[0]["content"]


@pytest.mark.parametrize(
    ("in_order", "said"), [(True, "in the order of the texts"), (False, "come from different")]
)
def test_a_prompt_of_its_own_says_that_sentences_follow_one_another(in_order, said):
    def asked(name):
        (request,) = label_entities.requests(
            real("flu twice", "It went."),
            prompt(name),
            params={},
            per_request=20,
            standalone=True,
            in_order=in_order,
        )
        return request

    assert said in asked("guideline_in_order").messages[1]["content"].split("Repeat")[0]
    # what is recorded stays as it is
    assert "come from different" in asked("guideline").messages[1]["content"]
    known = label_entities.requests(
        real("flu twice", "It went."), prompt(), params={}, per_request=20, standalone=True
    )
    assert keys([asked("guideline")]) == keys(known)
