"""Synthetic sentences drawn to follow gold."""

from __future__ import annotations

from collections import Counter

import pytest
from grid import table
from report_store import composed

from touchstone.configuration import checked
from touchstone.controls import rarest_labels
from touchstone.errors import UserError
from touchstone.matching import matching
from touchstone.mixture import compose
from touchstone.schema import MixtureConfig, SourceMix


def _rows(counts: dict[str, int], words: int, source: str = "gold", start: int = 0):
    rows = []
    for label, n in counts.items():
        for i in range(n):
            text = " ".join(f"{source}{label}{start + i}w{j}" for j in range(words))
            rows.append((f"{source}{label}{start + i}", text, [label] if label else []))
    return table(*rows, source=source)


GOLD = _rows({"": 80, "memory": 15, "falls": 5}, 6)
BRONZE = _rows({"": 100, "memory": 100, "falls": 100, "mood": 50}, 6, "bronze")


def test_labels_follow_gold_and_what_gold_lacks_is_left_out() -> None:
    """100 none are the scarce cell: m with 0.8 m found at nine tenths: 0.8 m - 100 = 0.1 m."""
    taken = BRONZE.iloc[matching(BRONZE, GOLD, "labels", 0)]
    assert Counter(rarest_labels(taken)) == {"": 100, "memory": 21, "falls": 7}


def test_uniform_has_every_category_in_equal_number() -> None:
    taken = BRONZE.iloc[matching(BRONZE, GOLD, "uniform", 0)]
    counts = Counter(rarest_labels(taken))
    assert counts["mood"] == 50 and len({counts[""], counts["memory"], counts["falls"]}) == 1


def test_lengths_follow_gold() -> None:
    import pandas as pd

    gold = pd.concat([_rows({"": 50}, 4), _rows({"": 50}, 12, start=50)], ignore_index=True)
    bronze = pd.concat(
        [_rows({"": 20}, 4, "bronze"), _rows({"": 200}, 12, "bronze", 50)], ignore_index=True
    )
    words = [len(t.split()) for t in bronze.iloc[matching(bronze, gold, "lengths", 0)]["text"]]
    assert words.count(4) == 20 and 20 <= words.count(12) <= 32


def test_the_mixture_counts_what_is_left_out_and_draws_by_seed() -> None:
    config = MixtureConfig(
        name="m",
        gold=SourceMix(use=True, filter="none"),
        bronze=SourceMix(use=True, filter="none", match="labels"),
    )
    mixed = [
        compose({"gold": GOLD, "bronze": BRONZE}, config, test_texts=[], seed=seed)
        for seed in (0, 0, 1)
    ]
    row = mixed[0].composition.set_index("source").loc["bronze"]
    assert (row["available"], row["not_matched"], row["used"]) == (350, 222, 128)
    ids = [one.train["example_id"].tolist() for one in mixed]
    assert ids[0] == ids[1] != ids[2]


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("mixture.bronze.match=length", "must be one of none, labels, lengths, both, uniform"),
        ("mixture.gold.match=labels", "must be none: others follow gold"),
        ("mixture.bronze.oversample=true", "must be false: only gold is oversampled"),
        ("mixture.silver.augment_to=[bronze]", "must be left out: only gold is augmented"),
    ],
)
def test_each_choice_is_named_where_there_is_no_such(override: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        checked(composed("mixture=gold_bronze", override))
