import numpy as np
import pytest
from grid import table
from hypothesis import given, settings
from hypothesis import strategies as st

from touchstone.errors import UserError
from touchstone.mixture import compose
from touchstone.schema import MixtureConfig, SourceMix
from touchstone.similarity import normalise

GOLD = table(
    ("g1", "He forgets the names of his grandchildren.", ["memory"]),
    ("g2", "Lungs clear.", []),
    ("g3", "Fell twice at night.", ["falls"]),
)
SILVER = table(
    ("s1", "She lost her keys and then her way home.", ["memory"]),
    ("s2", "She lost her keys, and then her way home!", ["memory"]),
    ("s3", "She lost her key and then her way home.", ["memory"]),
    ("s4", "Potassium was repleted overnight without trouble.", []),
    source="silver",
).assign(confidence=["high", "low", "high", "high"])
BRONZE = table(
    ("b1", "Asks for the date every few minutes now.", ["memory"]),
    ("b2", "Walks the dog two miles a day.", []),
    source="bronze",
)
SOURCES = {"gold": GOLD, "silver": SILVER, "bronze": BRONZE}
TEST = ["Walks the dog two miles every day.", "Nothing else."]


def mix(name: str = "m", **sources: SourceMix) -> MixtureConfig:
    return MixtureConfig(name=name, **sources)


def use(**changes) -> SourceMix:
    return SourceMix(use=True, **changes)


def test_exact_and_near_duplicates_are_dropped_and_counted():
    mixed = compose(SOURCES, mix(silver=use()), test_texts=[], seed=0)
    assert mixed.train["example_id"].tolist() == ["s1", "s4"]
    row = mixed.composition.iloc[0]
    assert (row["available"], row["exact_duplicate"], row["near_duplicate"], row["used"]) == (
        4,
        1,
        1,
        2,
    )
    assert mixed.dropped.to_dict("records") == [
        {"source": "silver", "example_id": "s2", "reason": "exact_duplicate"},
        {"source": "silver", "example_id": "s3", "reason": "near_duplicate"},
    ]


def test_gold_is_used_as_the_experts_left_it():
    twice = table(("g1", "Fell twice.", ["falls"]), ("g2", "Fell twice.", ["falls"]))
    config = mix(gold=MixtureConfig().gold)
    config.gold.use = True
    mixed = compose({"gold": twice}, config, test_texts=[], seed=0)
    assert mixed.train["example_id"].tolist() == ["g1", "g2"] and mixed.dropped.empty


def test_sentences_that_differ_in_their_labels_are_no_duplicates():
    silver = table(
        ("s1", "She lost her keys and then her way home.", ["memory"]),
        ("s2", "She lost her keys and then her way home!", []),
        ("s3", "She lost her key and then her way home.", []),
        source="silver",
    )
    mixed = compose({"silver": silver}, mix(silver=use()), test_texts=[], seed=0)
    assert mixed.dropped.to_dict("records") == [
        {"source": "silver", "example_id": "s3", "reason": "near_duplicate"}
    ]


def test_sentences_that_differ_in_their_mentions_are_no_duplicates():
    text = "Patients with gout and stroke were seen in the month of May ."
    silver = table(*[(f"s{i}", text + " " * i, []) for i in range(3)], source="silver")
    gout, stroke = (
        {"start": text.index(name), "end": text.index(name) + len(name), "type": "Disease"}
        for name in ("gout", "stroke")
    )
    silver["spans"] = [[gout], [stroke], [gout]]
    mixed = compose({"silver": silver}, mix(silver=use()), test_texts=[], seed=0)
    assert mixed.train["example_id"].tolist() == ["s0", "s1"]


def test_sentences_that_differ_in_which_pair_is_masked_are_no_duplicates():
    texts = [
        "We found that @GENE$ and IL6 variants raise the risk of @DISEASE$ in a cohort.",
        "We found that IL6 and @GENE$ variants raise the risk of @DISEASE$ in a cohort.",
        "We find that @GENE$ and IL6 variants raise the risk of @DISEASE$ in a cohort.",
    ]
    silver = table(*[(f"s{i}", text, ["x"]) for i, text in enumerate(texts)], source="silver")
    masked = {"marks": ("@GENE$", "@DISEASE$"), "test_texts": [], "seed": 0}
    kept = compose({"silver": silver}, mix(silver=use()), **masked).train["example_id"]
    assert kept.tolist() == ["s0", "s1"]


def test_sentences_of_documents_that_are_gold_leave_silver_and_are_counted():
    mixed = compose(
        {"gold": GOLD, "silver": SILVER},
        mix(gold=use(), silver=use(filter="none")),
        test_texts=[],
        seed=0,
        gold_documents=["g1", "s2"],
    )
    assert "s2" not in set(mixed.train["example_id"])
    assert mixed.composition.set_index("source")["is_gold"].to_dict() == {"gold": 0, "silver": 1}


def test_filter_none_keeps_duplicates():
    assert len(compose(SOURCES, mix(silver=use(filter="none")), test_texts=[], seed=0).train) == 4


def test_synthetic_sentences_too_close_to_a_test_sentence_are_dropped_and_gold_is_only_counted():
    mixed = compose(
        {**SOURCES, "gold": table(("g1", "Nothing else.", []))},
        mix(gold=use(), bronze=use()),
        test_texts=TEST,
        seed=0,
    )
    assert mixed.train["example_id"].tolist() == ["g1", "b1"]
    assert mixed.composition.set_index("source")["leakage"].to_dict() == {"gold": 0, "bronze": 1}
    assert mixed.composition.set_index("source")["resembles_test"].to_dict() == {
        "gold": 1,
        "bronze": 0,
    }


def test_a_shared_run_of_eight_words_is_leakage_whatever_the_ratio():
    shared = "was seen by the visiting nurse on the porch"
    sources = {
        "silver": table(
            ("s", f"{shared} " + "and many other quite different words follow here " * 4, []),
            source="silver",
        )
    }
    with_test = compose(
        {**sources, "gold": GOLD},
        mix(gold=use(), silver=use()),
        test_texts=[f"{shared} today"],
        seed=0,
    )
    assert with_test.composition.set_index("source").loc["silver", "leakage"] == 1


def test_filters_on_confidence_and_round_trip():
    confident = compose(SOURCES, mix(silver=use(filter="confident")), test_texts=[], seed=0)
    assert confident.composition.iloc[0]["filtered"] == 1
    trusted = compose(
        SOURCES, mix(bronze=use(filter="round_trip")), test_texts=[], seed=0, round_trip=["b2"]
    )
    assert trusted.train["example_id"].tolist() == ["b2"]


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (mix(bronze=use(filter="confident")), "the bronze examples carry no confidence"),
        (mix(bronze=use(filter="round_trip")), "no round-trip labels"),
        (mix(bronze=use(ratio=1.0)), "uses no gold; give mixture.bronze.count"),
    ],
)
def test_what_a_mixture_lacks_is_said(config, said):
    with pytest.raises(UserError, match=said):
        compose(SOURCES, config, test_texts=[], seed=0)


def test_an_empty_source_is_an_error_that_says_where_to_look():
    with pytest.raises(UserError, match="there is no silver data"):
        compose({**SOURCES, "silver": SILVER.iloc[:0]}, mix(silver=use()), test_texts=[], seed=0)


def test_counts_and_ratios_sample_nested_subsets():
    bronze = table(
        *[(f"b{i}", f"sentence {np.random.default_rng(i).bytes(8).hex()}", []) for i in range(40)],
        source="bronze",
    )
    sources = {"gold": GOLD, "bronze": bronze}
    few = compose(sources, mix(bronze=use(count=5)), test_texts=[], seed=0).train["example_id"]
    more = compose(sources, mix(bronze=use(count=9)), test_texts=[], seed=0).train["example_id"]
    assert len(few) == 5 and set(few) < set(more)
    assert (
        len(compose(sources, mix(gold=use(), bronze=use(ratio=2.0)), test_texts=[], seed=0).train)
        == 3 + 6
    )
    other = compose(sources, mix(bronze=use(count=5)), test_texts=[], seed=1).train["example_id"]
    assert set(few) != set(other)


def test_gold_is_repeated_to_the_size_of_a_mixture():
    mixed = compose(SOURCES, mix(gold=use(repeat_to=["silver", "bronze"])), test_texts=[], seed=0)
    assert len(mixed.train) == 3 + 2 + 2
    assert mixed.train["example_id"].tolist() == ["g1", "g2", "g3", "g1#2", "g2#2", "g3#2", "g1#3"]
    assert (
        mixed.composition["source"].tolist() == ["gold"]
        and mixed.composition.iloc[0]["repeated"] == 4
    )


def test_shuffled_labels_keep_their_distribution():
    bronze = table(
        *[
            (
                f"b{i}",
                f"sentence {np.random.default_rng(i).bytes(8).hex()}",
                ["memory"] if i % 2 else [],
            )
            for i in range(30)
        ],
        source="bronze",
    )
    mixed = compose({"bronze": bronze}, mix(bronze=use(shuffle_labels=True)), test_texts=[], seed=0)
    assert sorted(map(str, mixed.train["labels"])) == sorted(map(str, bronze["labels"]))
    assert mixed.train["labels"].tolist() != bronze["labels"].tolist()


def test_shuffled_entities_lie_on_words_of_their_new_sentences_as_many_as_before():
    texts = [" ".join(f"w{i}x{j}" for j in range(6 + i % 3)) for i in range(20)]
    bronze = table(*[(f"b{i}", text, []) for i, text in enumerate(texts)], source="bronze")
    two_words = [len(" ".join(text.split()[:2])) for text in texts]
    bronze["spans"] = [
        [{"start": 0, "end": end, "type": "disease"}] * (i % 4 > 0)
        for i, end in enumerate(two_words)
    ]
    mixed = compose(
        {"bronze": bronze},
        mix(bronze=use(shuffle_labels=True, filter="none")),
        test_texts=[],
        seed=0,
    ).train
    assert sum(map(len, mixed["spans"])) == 15
    for text, spans in zip(mixed["text"], mixed["spans"], strict=True):
        for span in spans:
            assert (
                len(text[span["start"] : span["end"]].split()) == 2
                and f" {text} "[span["start"]] == f" {text} "[span["end"] + 1] == " "
            )
    assert any(span["start"] > 0 for spans in mixed["spans"] for span in spans)


def test_weights_and_categories_are_in_the_tables():
    mixed = compose(SOURCES, mix(gold=use(), bronze=use(weight=0.5)), test_texts=[], seed=0)
    assert mixed.train.groupby("source")["weight"].first().to_dict() == {"gold": 1.0, "bronze": 0.5}
    counted = mixed.categories.set_index(["source", "category"])["n_examples"]
    assert counted["gold", "memory"] == 1 and counted["bronze", "none"] == 1


@given(st.lists(st.text(alphabet="abc ", min_size=1, max_size=12), min_size=1, max_size=25))
@settings(max_examples=40, deadline=None)
def test_every_sentence_is_used_or_dropped_exactly_once(texts):
    frame = table(*[(str(i), text, []) for i, text in enumerate(texts)], source="bronze")
    mixed = compose({"bronze": frame}, mix(bronze=use()), test_texts=["zzz"], seed=0)
    assert (
        sorted([*mixed.train["example_id"], *mixed.dropped["example_id"]], key=int)
        == frame["example_id"].tolist()
    )
    assert mixed.train["text"].map(normalise).is_unique
