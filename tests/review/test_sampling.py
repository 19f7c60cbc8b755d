"""The draw of sentences for experts: a probability sample, seeded, blind in its names."""

import numpy as np
import pandas as pd
import pytest
from review_population import drawn, population

from touchstone.errors import UserError
from touchstone.review.sampling import allocate, of_key


def test_every_stratum_is_drawn_and_weights_add_up_to_the_population():
    review = drawn()
    assert len(review.items) == 40
    assert review.strata["drawn"].min() >= 2
    totals = review.items.groupby(["source", "stratum"])["weight"].sum()
    for row in review.strata.itertuples():
        assert totals[(row.source, row.stratum)] == pytest.approx(row.population)


def test_one_seed_repeats_and_another_differs():
    one, again, other = drawn(), drawn(), drawn(seed=1)
    assert one.items.equals(again.items) and one.id == again.id
    assert set(one.items["example_id"]) != set(other.items["example_id"]) and one.id != other.id


def test_each_sentence_of_a_stratum_is_drawn_equally_often():
    counts = pd.Series(0, index=population()["example_id"])
    for seed in range(150):
        counts[drawn(seed=seed).items["example_id"]] += 1
    falls = counts[[f"silver/falls/{i}" for i in range(8)]]
    share = falls.sum() / (150 * 8)
    assert np.all(np.abs(falls / 150 - share) < 4 * np.sqrt(share * (1 - share) / 150))


def test_items_are_named_and_ordered_without_a_hint_at_their_source():
    items = drawn().items
    assert items["item"].str.fullmatch(r"[0-9a-f]{8}-\d\d").all()
    silver = (items["source"] == "silver").to_numpy()
    assert 5 < np.flatnonzero(silver).mean() < 35 and silver[:20].any() and (~silver[:20]).any()


def test_calibration_sentences_are_mixed_in_without_weight():
    gold = population().head(5).assign(source="gold", example_id=[f"g{i}" for i in range(5)])
    items = drawn(calibration=gold).items
    assert len(items) == 45 and (items.loc[items["source"] == "gold", "weight"] == 0).all()


def test_too_small_a_sample_is_refused_with_the_smallest_possible():
    with pytest.raises(UserError, match="--n 11 is too small: there are 6 .*ask for 12 or more"):
        drawn(n=11)
    assert allocate({"a": 3, "b": 1}, 99, 2) == {"a": 3, "b": 1}


def test_a_question_that_is_not_there_names_those_that_are():
    with pytest.raises(UserError, match='no question "real".*identifier, realistic'):
        drawn(asks=["real"])


def test_the_key_holds_all_but_the_text():
    review = drawn(asks=["realistic"])
    again = of_key(review.key())
    assert "text" not in again.items and again.items.equals(review.items.drop(columns="text"))
    assert again.strata.equals(review.strata) and again.counts["silver"]["falls"] == 8
    with pytest.raises(UserError, match="no key of a review"):
        of_key({"id": 1})
