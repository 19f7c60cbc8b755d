"""The order in which relation sentences are asked about."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from touchstone.data.examples import examples
from touchstone.data.split import scarce_gold
from touchstone.generate.order import shuffled_requests, siblings
from touchstone.pipeline import rest_of_train
from touchstone.schema import Config, CorpusConfig, PoolFiles, TaskConfig

MARKS = ("@GENE$", "@DISEASE$")
COPIES = [
    "We found that @GENE$ and IL6 variants raise the risk of @DISEASE$ in a cohort of 90 smokers.",
    "We found that TNF and @GENE$ variants raise the risk of @DISEASE$ in a cohort of 90 smokers.",
    "We found that @GENE$ and IL6 variants raise the risk of stroke in a cohort of 90 @DISEASE$.",
]


def _others(n: int) -> list[str]:
    return [
        f"@GENE$ {'alpha beta gamma delta zeta'.split()[i % 5]}{i} w{i}a w{i}b w{i}c w{i}d "
        "@DISEASE$."
        for i in range(n)
    ]


def test_copies_with_other_entities_masked_are_one_group_and_others_are_not() -> None:
    texts = [COPIES[0], *_others(6), COPIES[1], COPIES[2]]
    groups = siblings(texts, MARKS)
    assert [0, 7, 8] in groups
    assert len(groups) == 7


@pytest.mark.parametrize("seed", [0, 1])
def test_copies_stand_in_different_requests_and_every_sentence_in_one(seed: int) -> None:
    texts = [*COPIES, *_others(17)]
    requests = shuffled_requests(texts, MARKS, 7, seed)
    assert sorted(position for request in requests for position in request) == list(range(20))
    assert [len(request) for request in requests] == [7, 7, 6]
    assert all(len({0, 1, 2} & set(request)) == 1 for request in requests)


def test_more_copies_than_requests_make_more_requests() -> None:
    requests = shuffled_requests(COPIES, MARKS, 40, 0)
    assert sorted(map(len, requests)) == [1, 1, 1]


def test_the_order_follows_the_seed() -> None:
    texts = _others(30)
    assert shuffled_requests(texts, MARKS, 10, 3) == shuffled_requests(texts, MARKS, 10, 3)
    assert shuffled_requests(texts, MARKS, 10, 3) != shuffled_requests(texts, MARKS, 10, 4)


def test_requests_about_gad_mix_its_labels() -> None:
    """GAD's test file is sorted by label; no request holds one label only, nor a run of copies."""
    path = Path(os.environ.get("TOUCHSTONE_DATA", "/nowhere")) / "gad" / "test.tsv"
    if not path.exists():
        pytest.skip("needs GAD in TOUCHSTONE_DATA")
    rows = [line.split("\t") for line in path.read_text().splitlines()[1:]]
    texts, labels = [row[1] for row in rows], [int(row[2]) for row in rows]
    requests = shuffled_requests(texts, MARKS, 40, 0)
    shares = [sum(labels[position] for position in request) / len(request) for request in requests]
    assert 0.25 < min(shares) and max(shares) < 0.85
    group_of = {
        position: number
        for number, group in enumerate(siblings(texts, MARKS))
        for position in group
    }
    for request in requests:
        assert len({group_of[position] for position in request}) == len(request)


def test_every_gold_size_up_to_the_reserve_has_the_same_pool() -> None:
    train = examples(
        {
            "example_id": f"d{i:02d}/0",
            "text": f"sentence {i}",
            "labels": [],
            "source": "gold",
            "doc_id": f"d{i:02d}",
            "patient_id": f"d{i:02d}",
            "split": "train",
            "origin": "",
        }
        for i in range(30)
    )
    pools = []
    for size in (1, 5, 10):
        config = Config(corpus=CorpusConfig(pool=PoolFiles(reader="rest_of_train", reserve=10)))
        config.task = TaskConfig(split_seed=0)
        gold = scarce_gold(train, patients=size, sentences=None, seed=0)
        pools.append(set(rest_of_train(train, gold, config)["example_id"]))
        config.corpus.pool.reserve = None
        assert len(rest_of_train(train, gold, config)) == 30 - size
    assert pools[0] == pools[1] == pools[2] and len(pools[0]) == 20
