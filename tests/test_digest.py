import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from touchstone.digest import canonical, digest, digest_file, digest_rows

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), PLAIN, max_size=4))
def test_key_order_does_not_count(value):
    assert digest(value) == digest(dict(reversed(value.items())))


@given(PLAIN, PLAIN)
def test_equal_digests_mean_equal_canonical_text(a, b):
    assert (digest(a) == digest(b)) == (canonical(a) == canonical(b))


@given(st.lists(st.dictionaries(st.sampled_from("abc"), st.integers()), max_size=6), st.randoms())
def test_row_order_does_not_count_but_repetition_does(rows, random):
    shuffled = rows[:]
    random.shuffle(shuffled)
    assert digest_rows(rows) == digest_rows(shuffled)
    if rows:
        assert digest_rows(rows) != digest_rows([*rows, rows[0]])


def test_numpy_values_count_as_plain_ones():
    assert digest({"a": np.int64(3), "b": np.array([1.5, 2.5])}) == digest(
        {"a": 3, "b": [1.5, 2.5]}
    )
    assert digest(math.nan) == digest(None)


def test_other_objects_are_refused():
    with pytest.raises(TypeError, match="cannot digest"):
        digest({"a": object()})


def test_a_file_digest_is_that_of_its_bytes(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert digest_file(tmp_path / "a").startswith("ba7816bf")
