"""Offsets of any tool, as characters: every unit comes back, what does not fit is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from touchstone.data.offsets import UNITS, collapsed, converted, unit_of
from touchstone.errors import UserError

ODD = "a b\r\n\u200b\u200d\ufe0f\u00ad\u00a0é\u0301😀👩🏽\u2028中"
texts = st.text(alphabet=st.one_of(st.sampled_from(ODD), st.characters(exclude_categories=["Cs"])))


def length(text: str, unit: str) -> int:
    """How long a text is in a unit, written out slowly."""
    if unit.endswith("_lf"):
        text = text.replace("\r\n", "\n")
    kind = unit.removesuffix("_lf")
    if kind == "utf16":
        return len(text.encode("utf-16-le")) // 2
    return len(text.encode()) if kind == "bytes" else len(text)


@st.composite
def places(draw):
    text = draw(texts.filter(lambda text: len(text) > 0))
    start = draw(st.integers(0, len(text) - 1))
    return text, start, draw(st.integers(start + 1, len(text)))


@given(places(), st.sampled_from(UNITS))
def test_offsets_of_every_unit_come_back_as_characters(place, unit):
    text, start, end = place
    if unit.endswith("_lf") and any("\r\n" in text[at - 1 : at + 1] for at in (start, end) if at):
        return  # no tool that counts \r\n as one can name the place between them
    mention = length(text[:start], unit), length(text[:end], unit)
    assert converted(text, *mention, unit) == (start, end)


@given(places(), st.sampled_from(["characters", "utf16", "bytes"]))
def test_the_unit_of_a_file_gives_a_slice_that_is_the_mention(place, unit):
    text, start, end = place
    begin, stop = length(text[:start], unit), length(text[:end], unit)
    marks = [("n1", text, [(begin, stop, text[start:end])])]
    chosen = unit_of(marks, path="f", usual=unit)
    found = converted(text, begin, stop, chosen)
    assert chosen == unit and found == (start, end)


@given(texts)
def test_collapsing_keeps_every_character_at_its_place(text):
    sentence, position = collapsed(text, 0, len(text))
    assert sentence == " ".join(text.split())
    assert all(sentence[there] == text[here] for here, there in position.items())
    assert set(position) == {at for at, one in enumerate(text) if not one.isspace()}


def test_the_whole_file_decides_the_unit():
    astral = ("n1", "😀 gout", [(3, 7, "gout")])  # UTF-16
    plain = ("n2", "had gout", [(4, 8, "gout")])
    assert unit_of([plain, astral], path="f") == "utf16"
    assert unit_of([plain], path="f") == "characters"


def test_windows_line_ends_counted_as_one_are_read():
    assert unit_of([("n1", "one\r\ntwo", [(4, 7, "two")])], path="f") == "characters_lf"


@pytest.mark.parametrize(
    ("text", "place", "said"),
    [
        ("had gout", (3, 7, "gout"), "^f: the annotation 3..7 of n1 is not where its mention text"),
        ("had gout", (4, 9, None), "^f: the annotation 4..9 of n1 is outside its text"),
        ("had gout", (4, 4, None), "outside its text"),
    ],
)
def test_what_does_not_fit_is_refused_without_the_text(text, place, said):
    with pytest.raises(UserError, match=said) as error:
        unit_of([("n1", text, [place])], path="f")
    assert "gout" not in str(error.value)


def test_without_mention_texts_the_unit_must_be_named_where_it_matters():
    marks = [("n1", "😀 a gout", [(4, 6, None)])]
    with pytest.raises(UserError, match="corpus.gold.offsets=characters, or utf16"):
        unit_of(marks, path="f")
    assert unit_of(marks, path="f", given="utf16") == "utf16"
    assert unit_of([("n1", "a gout", [(2, 6, None)])], path="f") == "characters"
    with pytest.raises(UserError, match="offsets=runes: must be one of characters, utf16, bytes"):
        unit_of(marks, path="f", given="runes")
