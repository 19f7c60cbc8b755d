"""Paths, URIs and file names made of one another, whatever characters a folder's name has."""

import os
import re
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import make_url

from touchstone.paths import file_name, path_of, path_of_sqlite, sqlite_uri, uri_of

# What a part of a path may be on Linux, the odd ones often
PARTS = st.text(
    st.one_of(st.sampled_from(" #%?&;äü:'\"\\50%20"), st.characters(exclude_categories=["Cs"])),
    min_size=1,
    max_size=20,
).filter(lambda part: "/" not in part and "\0" not in part and part not in (".", ".."))
PATHS = st.lists(PARTS, min_size=1, max_size=4).map(lambda parts: "/" + "/".join(parts))


@given(PATHS)
def test_a_path_comes_back_from_its_uri(path):
    assert uri_of(path).isascii() and not set(uri_of(path)) & set(' #?"')
    assert str(path_of(uri_of(path))) == path


@given(PATHS)
def test_a_database_comes_back_from_its_uri_as_sqlalchemy_reads_it(path):
    assert str(path_of_sqlite(sqlite_uri(path))) == path
    assert make_url(sqlite_uri(path)).database == path


@given(st.text(max_size=200))
def test_a_name_is_one_safe_part_of_a_path(name):
    safe = file_name(name)
    assert re.fullmatch(r"[\w.+=-]{1,90}", safe, re.ASCII) and safe not in (".", "..")
    assert os.path.normpath(Path("/out") / safe) == f"/out/{safe}"


@given(st.text(max_size=50), st.text(max_size=50))
def test_two_names_stay_two(one, other):
    assert (file_name(one) == file_name(other)) == (one == other)


def test_names_that_are_safe_stay_as_they_are():
    assert [file_name(name) for name in ("two_directions", "hoc", "my-study.2")] == [
        "two_directions",
        "hoc",
        "my-study.2",
    ]
