"""Which test sentences the LLM is asked about."""

from __future__ import annotations

import pandas as pd

from touchstone.cell.predictions import sample_test


def test_a_smaller_sample_is_part_of_a_larger_one_and_null_is_all():
    test = pd.DataFrame({"example_id": [str(i) for i in range(50)]})
    small, large = sample_test(test, 10, seed=3), sample_test(test, 20, seed=3)
    assert (small.sum(), large.sum()) == (10, 20)
    assert large[small].all()
    assert sample_test(test, None, seed=3).all()


def test_one_seed_repeats_and_another_differs():
    test = pd.DataFrame({"example_id": [str(i) for i in range(50)]})
    assert sample_test(test, 10, seed=3).equals(sample_test(test, 10, seed=3))
    assert not sample_test(test, 10, seed=3).equals(sample_test(test, 10, seed=4))
