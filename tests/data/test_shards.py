"""Pools in shards: the same shards every time, work found again after a stop, and the same
sentences on any number of processes."""

from __future__ import annotations

import json

import pandas as pd
import pytest
from synthetic_noteevents import write_noteevents

from touchstone.cache import entries
from touchstone.data import shards as module
from touchstone.data.files import DEMO
from touchstone.data.pool import segment_notes
from touchstone.data.readers.noteevents import read_noteevents
from touchstone.data.shards import iter_shards, segment_shards
from touchstone.schema import PoolFiles

DEMO_POOL = PoolFiles(patient_field="patient_id", type_field="note_type")
NOTES = DEMO / "ad_corpus" / "pool_notes.jsonl"


@pytest.fixture(scope="module")
def mimic(tmp_path_factory):
    path = tmp_path_factory.mktemp("mimic") / "NOTEEVENTS.csv.gz"
    write_noteevents(path, megabytes=1)
    return path


def test_shards_hold_every_note_once_in_order(mimic):
    pool = PoolFiles(reader="noteevents", categories=["Nursing", "Radiology"])
    whole = read_noteevents(mimic, pool, 0)
    found = list(iter_shards(mimic, pool, 0, size=40))
    assert pd.concat([shard.notes for shard in found], ignore_index=True).equals(whole)
    assert [shard.number for shard in found] == list(range(len(found)))
    assert {len(shard.notes) for shard in found[:-1]} == {40} and 0 < len(found[-1].notes) <= 40


@pytest.mark.parametrize("size", [7, 60, 1000])
def test_shards_of_a_jsonl_pool(size):
    found = list(iter_shards(NOTES, DEMO_POOL, 0, size=size))
    assert sum(len(shard.notes) for shard in found) == 60 and len(found) == -(-60 // size)


def test_keys_follow_the_content(mimic, tmp_path):
    pool = PoolFiles(reader="noteevents")
    keys = [shard.key for shard in iter_shards(mimic, pool, 0, size=100)]
    assert len(set(keys)) == len(keys) > 3
    assert [shard.key for shard in iter_shards(mimic, pool, 0, size=100)] == keys
    assert keys[0] != next(iter_shards(mimic, pool, 0, size=99)).key
    records = [json.loads(line) for line in NOTES.read_text(encoding="utf-8").splitlines()]
    before = [shard.key for shard in iter_shards(NOTES, DEMO_POOL, 0, size=20)]
    records[30]["text"] += " Addendum."
    (tmp_path / "pool.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    after = [shard.key for shard in iter_shards(tmp_path / "pool.jsonl", DEMO_POOL, 0, size=20)]
    assert [one == two for one, two in zip(before, after, strict=True)] == [True, False, True]


def test_an_empty_pool_has_no_shards(mimic):
    assert (
        list(iter_shards(mimic, PoolFiles(reader="noteevents", categories=["Pharmacy"]), 0)) == []
    )


def test_one_and_two_processes_give_the_same_sentences(tmp_path):
    shards = list(iter_shards(NOTES, DEMO_POOL, 0, size=9))
    alone = list(segment_shards(shards, "memory", cache=tmp_path / "one"))
    pair = list(segment_shards(iter(shards), "memory", cache=tmp_path / "two", processes=2))
    assert [shard.number for shard, _ in pair] == list(range(7))
    whole = segment_notes(pd.concat([shard.notes for shard in shards], ignore_index=True), "memory")
    for found in (alone, pair):
        joined = pd.concat([sentences for _, sentences in found], ignore_index=True)
        assert joined.equals(whole) and 0 < joined["candidate"].sum() < len(joined)


def test_what_was_segmented_before_a_stop_is_not_segmented_again(tmp_path, monkeypatch):
    done = []

    def counting(notes, candidates):
        done.append(len(notes))
        if len(done) == 4:
            raise KeyboardInterrupt
        return segment_notes(notes, candidates)

    monkeypatch.setattr(module, "segment_notes", counting)
    shards = list(iter_shards(NOTES, DEMO_POOL, 0, size=10))
    with pytest.raises(KeyboardInterrupt):
        list(segment_shards(shards, None, cache=tmp_path))
    assert len(list(entries(tmp_path))) == 3
    resumed = pd.concat(
        [sentences for _, sentences in segment_shards(shards, None, cache=tmp_path)],
        ignore_index=True,
    )
    assert len(done) == 4 + 3
    assert resumed.equals(
        segment_notes(pd.concat([shard.notes for shard in shards], ignore_index=True), None)
    )
    list(segment_shards(shards, "memory", cache=tmp_path))  # another filter is other work
    assert len(done) == 7 + 6


def test_shards_are_drawn_only_as_far_as_needed(tmp_path):
    drawn = []

    def source():
        for shard in iter_shards(NOTES, DEMO_POOL, 0, size=5):
            drawn.append(shard.number)
            yield shard

    results = segment_shards(source(), None, cache=tmp_path, processes=2)
    next(results)
    assert len(drawn) <= 4
    results.close()
