"""Controls: gold repeated, balanced or augmented, and labels shuffled."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from grid import table
from hypothesis import given, settings
from hypothesis import strategies as st

from touchstone.controls import augmented, oversampled, rarest_labels
from touchstone.mixture import compose
from touchstone.schema import MixtureConfig, SourceMix

GOLD = table(
    *[(f"n{i}", f"Nothing of note on day {i} of the stay.", []) for i in range(8)],
    *[(f"m{i}", f"Forgets the names of {i} of his children.", ["memory"]) for i in range(3)],
    ("f0", "Fell twice at night on the way out.", ["memory", "falls"]),
)
BRONZE = table(
    *[(f"b{i}", f"Sentence {np.random.default_rng(i).bytes(6).hex()}", []) for i in range(20)],
    source="bronze",
)


def test_rare_categories_are_repeated_until_all_have_as_many() -> None:
    balanced = oversampled(GOLD)
    assert Counter(rarest_labels(balanced)) == {"": 8, "memory": 8, "falls": 8}
    assert balanced["example_id"].is_unique
    assert balanced["example_id"].tolist()[: len(GOLD)] == GOLD["example_id"].tolist()
    assert "f0#8" in set(balanced["example_id"])


def test_augmented_gold_has_as_many_more_rows_as_there_is_bronze() -> None:
    config = MixtureConfig(name="m", gold=SourceMix(use=True, filter="none", augment_to=["bronze"]))
    mixed = compose({"gold": GOLD, "bronze": BRONZE}, config, test_texts=[], seed=0)
    assert len(mixed.train) == len(GOLD) + len(BRONZE)
    assert set(mixed.train["source"]) == {"gold"}
    assert mixed.composition["repeated"].tolist() == [len(BRONZE)]
    assert {"n0~1", "n0~2"} <= set(mixed.train["example_id"])
    original = dict(zip(GOLD["example_id"], GOLD["labels"], strict=True))
    for row in mixed.train.itertuples():
        assert list(row.labels) == list(original[row.example_id.split("~")[0]])


def test_augmented_copies_differ_and_follow_the_seed() -> None:
    one, again, other = augmented(GOLD, 24, 0), augmented(GOLD, 24, 0), augmented(GOLD, 24, 1)
    assert one["text"].tolist() == again["text"].tolist() != other["text"].tolist()
    copies = one.iloc[len(GOLD) :]
    originals = [GOLD["text"][i % len(GOLD)] for i in range(24)]
    assert sum(a != b for a, b in zip(copies["text"], originals, strict=True)) >= 18
    assert all(
        set(a.split()) <= set(b.split()) for a, b in zip(copies["text"], originals, strict=True)
    )


def test_mentions_are_exchanged_for_mentions_of_their_type_and_spans_follow() -> None:
    names = ("stroke", "lung cancer", "gout")
    gold = table(
        *[(f"e{i}", f"Patients with {name} were seen in May .", []) for i, name in enumerate(names)]
    )
    gold["spans"] = [[{"start": 14, "end": 14 + len(name), "type": "Disease"}] for name in names]
    copies = augmented(gold, 30, 0).iloc[3:]
    found = [
        [text[s["start"] : s["end"]] for s in spans]
        for text, spans in zip(copies["text"], copies["spans"], strict=True)
    ]
    assert {name for (name,) in found} == set(names)


@given(
    st.lists(st.text(alphabet="ab ", min_size=1, max_size=12), min_size=1, max_size=6),
    st.integers(0, 9),
)
@settings(max_examples=60, deadline=None)
def test_masks_stay_once_each_and_any_text_can_be_augmented(texts: list[str], seed: int) -> None:
    gold = table(*[(f"g{i}", f"@GENE$ {text} @DISEASE$", []) for i, text in enumerate(texts)])
    for text in augmented(gold, 12, seed)["text"]:
        assert text.count("@GENE$") == 1 and text.count("@DISEASE$") == 1


@pytest.mark.parametrize("name", ["control/gold_oversampled", "control/gold_augmented"])
def test_the_controls_are_mixtures_of_the_command_line(name: str) -> None:
    from grid import group

    mixture = group("mixture", name, MixtureConfig)
    assert mixture.name == name.split("/")[1] and mixture.gold.use and not mixture.bronze.use
