"""Words, tags, sub-tokens: offsets come back for any text and any fast tokenizer, and only legal
tag sequences are found."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_encoder import save_bert, save_roberta

from touchstone.models.align import align, special_tokens, windows
from touchstone.models.encoder import find_encoder, load_tokenizer
from touchstone.models.spans import (
    check_spans,
    entity_types,
    legal_transitions,
    span_f1,
    to_spans,
    to_tags,
    unseen_types,
    viterbi,
    words,
)

TYPES = ["Chemical", "Disease"]
TEXT = st.one_of(
    st.text(max_size=60), st.text(alphabet="ab1 -.,'()\n\u0301é\u200b\U0001f9ec#_", max_size=60)
)


@pytest.fixture(scope="module", params=[save_bert, save_roberta], ids=["word pieces", "byte-level"])
def tokenizer(request, tmp_path_factory):
    return load_tokenizer(find_encoder(str(request.param(tmp_path_factory.mktemp("encoder")))), 64)


def drawn_spans(data, units) -> list[dict]:
    """Draw spans that begin and end with units and do not overlap."""
    spans, unit = [], 0
    while unit < len(units):
        length = data.draw(st.integers(0, 3))
        if length:
            last = min(unit + length, len(units)) - 1
            spans.append(
                {
                    "start": int(units[unit][0]),
                    "end": int(units[last][1]),
                    "type": data.draw(st.sampled_from(TYPES)),
                }
            )
            unit = last
        unit += 1
    return spans


@given(TEXT)
def test_words_cover_every_character_but_white_space_in_order(text):
    found = words(text)
    assert all(start < end for start, end in found)
    assert all(a[1] <= b[0] for a, b in itertools.pairwise(found))
    covered = {i for start, end in found for i in range(start, end)}
    assert {i for i, character in enumerate(text) if not character.isspace()} == covered


def test_words_keep_accents_and_part_punctuation():
    text = "cafe\u0301 p53-null_x (b.i.d.)"
    assert [text[a:b] for a, b in words(text)] == [
        "cafe\u0301",
        "p53",
        "-",
        "null",
        "_",
        "x",
        "(",
        "b",
        ".",
        "i",
        ".",
        "d",
        ".",
        ")",
    ]


@given(TEXT, st.data())
def test_spans_come_back_from_their_tags(text, data):
    units = words(text)
    spans = drawn_spans(data, units)
    tags = to_tags(spans, units, TYPES)
    assert to_spans(tags, units, TYPES) == spans
    begins, follows = legal_transitions(len(TYPES))
    assert all(follows[a, b] for a, b in itertools.pairwise(tags)) and (
        not len(tags) or begins[tags[0]]
    )


def test_a_span_that_ends_inside_a_word_is_widened_to_it():
    units = words("postmenopausal women")
    assert to_spans(
        to_tags([{"start": 4, "end": 14, "type": "Disease"}], units, TYPES), units, TYPES
    ) == [{"start": 0, "end": 14, "type": "Disease"}]


def test_of_overlapping_spans_the_first_and_longest_counts():
    units = words("colon cancer risk")
    inner, outer = (
        {"start": 0, "end": 5, "type": "Chemical"},
        {"start": 0, "end": 12, "type": "Disease"},
    )
    crossing = {"start": 6, "end": 17, "type": "Chemical"}
    assert to_tags([inner, crossing, outer], units, TYPES).tolist() == [3, 4, 1]


def test_an_i_without_a_beginning_begins_a_span():
    units = [(0, 1), (2, 3), (4, 5), (6, 7)]
    assert to_spans([2, 4, 0, 4], units, TYPES) == [
        {"start": 0, "end": 1, "type": "Chemical"},
        {"start": 2, "end": 3, "type": "Disease"},
        {"start": 6, "end": 7, "type": "Disease"},
    ]


@settings(max_examples=60)
@given(st.integers(0, 4), st.integers(1, 2), st.integers(0, 10**6))
def test_viterbi_finds_the_best_of_all_legal_sequences(n_words, n_types, seed):
    n_tags = 1 + 2 * n_types
    scores = np.log(
        np.random.default_rng(seed)
        .dirichlet(np.ones(n_tags), size=n_words)
        .reshape(n_words, n_tags)
    )
    begins, follows = legal_transitions(n_types)

    def legal(tags):
        return (not tags or begins[tags[0]]) and all(
            follows[a, b] for a, b in itertools.pairwise(tags)
        )

    best = max(
        filter(legal, itertools.product(range(n_tags), repeat=n_words)),
        key=lambda tags: sum(scores[range(n_words), list(tags)]),
    )
    assert tuple(viterbi(scores)) == best


def test_legal_transitions_are_those_of_iob2():
    begins, follows = legal_transitions(2)  # O, B-Chemical, I-Chemical, B-Disease, I-Disease
    assert begins.tolist() == [True, True, False, True, False]
    assert follows[:, 2].tolist() == [False, True, True, False, False]
    assert follows[:, 4].tolist() == [False, False, False, True, True]
    assert follows[:, [0, 1, 3]].all()


@settings(deadline=None)
@given(text=TEXT)
def test_units_are_whole_words_and_each_has_its_own_sub_token(tokenizer, text):
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    offsets = encoded["offset_mapping"]
    units, firsts = align(words(text), offsets)
    starts, ends = {a for a, _ in words(text)}, {b for _, b in words(text)}
    assert all(a in starts and b in ends for a, b in units)
    assert (np.diff(firsts) > 0).all()
    for (start, end), first in zip(units, firsts, strict=True):
        assert (
            offsets[first][0] < end and start < offsets[first][1]
        )  # the sub-token shares a character with its unit
        assert (
            first == 0
            or offsets[first - 1][1] <= start
            or offsets[first - 1] == offsets[first]
            or offsets[first - 1][0] < start
        )
    for start, end in words(text):  # no word is lost but those that the tokenizer drops
        if not any(a < end and start < b for a, b in offsets):
            continue
        assert any(a <= start and end <= b for a, b in units)


@settings(deadline=None)
@given(text=TEXT, max_length=st.integers(3, 12))
def test_windows_hold_every_unit_once_with_its_sub_token(tokenizer, text, max_length):
    whole = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    units, firsts = align(words(text), whole["offset_mapping"])
    parts = windows(tokenizer, [text], max_length)
    before, after = special_tokens(tokenizer)
    assert np.concatenate([part.units for part in parts] or [units[:0]]).tolist() == units.tolist()
    seen = []
    for part in parts:
        assert len(part.ids) <= max_length and part.text == 0
        assert (
            part.ids[: len(before)].tolist() == before.tolist()
            and part.ids[-len(after) :].tolist() == after.tolist()
        )
        seen += part.ids[part.firsts].tolist()
    assert seen == [whole["input_ids"][first] for first in firsts]


@settings(deadline=None)
@given(text=TEXT, max_length=st.integers(3, 12), data=st.data())
def test_spans_come_back_through_windows(tokenizer, text, max_length, data):
    parts = windows(tokenizer, ["", text], max_length)
    units = np.concatenate([part.units for part in parts] or [np.zeros((0, 2), dtype=int)])
    spans = drawn_spans(data, units)
    tags = to_tags(spans, units, TYPES)
    assert to_spans(tags, units, TYPES) == spans


def test_byte_level_sub_tokens_over_several_words_make_one_unit(tmp_path):
    tokenizer = load_tokenizer(find_encoder(str(save_roberta(tmp_path))), 64)
    text = "The patient's again..."
    (part,) = windows(tokenizer, [text], 64)
    assert [text[a:b] for a, b in part.units] == ["The", "patient", "'s", "again", "..."]


def test_windows_need_room_for_a_word(tmp_path):
    tokenizer = load_tokenizer(find_encoder(str(save_bert(tmp_path))), 64)
    with pytest.raises(ValueError, match="max_length must be at least 3, got 2"):
        windows(tokenizer, ["a"], 2)


def test_spans_are_checked_without_showing_text():
    good = [{"start": 0, "end": 6, "type": "Disease"}]
    assert check_spans(["ataxia"], [good], TYPES) == [good]
    with pytest.raises(ValueError, match="text 0: span 0..9 is outside its 6 characters"):
        check_spans(["ataxia"], [[{"start": 0, "end": 9, "type": "Disease"}]], TYPES)
    with pytest.raises(
        ValueError, match="text 0: entity type 'Gene' is not one of Chemical, Disease"
    ):
        check_spans(["ataxia"], [[{"start": 0, "end": 6, "type": "Gene"}]], TYPES)
    with pytest.raises(ValueError, match="1 texts but 2 lists of spans"):
        check_spans(["ataxia"], [[], []], TYPES)
    with pytest.raises(ValueError, match="entity type 'Gene' is not one of"):
        to_tags([{"start": 0, "end": 6, "type": "Gene"}], [(0, 6)], TYPES)


def test_types_come_from_the_task_or_else_from_the_spans():
    y = [[{"start": 0, "end": 1, "type": "B"}], [{"start": 0, "end": 1, "type": "A"}]]
    assert entity_types(None, y) == ["A", "B"] and entity_types(["B", "A", "C"], y) == [
        "B",
        "A",
        "C",
    ]
    assert unseen_types(["A", "B", "C"], y, None) == [2] and unseen_types(
        ["A", "B", "C"], y, np.array([1, 0])
    ) == [0, 2]


def test_span_f1_counts_exact_spans_of_the_same_text():
    a, b = {"start": 0, "end": 1, "type": "A"}, {"start": 2, "end": 3, "type": "A"}
    assert span_f1([[a, b], []], [[a], [b]]) == pytest.approx(2 * 1 / (2 + 2))
    assert span_f1([[]], [[]]) == 0.0
