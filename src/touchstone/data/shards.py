"""Big pools in shards: notes are read, segmented and labelled a few thousand at a time, and what
was done is not done again.

A shard is a run of notes in the order of the file with a key made of their ids and texts, so work
that was stored under it (here the segmentation; in the same way the LLM's labels, under the
responses' own keys) is found again after a kill, by another process, or with another number of
processes. Memory holds a few shards, never the pool. Does not filter (data/readers).
"""

from __future__ import annotations

import logging
import multiprocessing
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

import pandas as pd

from touchstone.cache import cached
from touchstone.data.pool import segment_notes
from touchstone.data.readers import Note, pool_reader
from touchstone.data.readers.notes import COLUMNS
from touchstone.data.segment import VERSION
from touchstone.digest import digest
from touchstone.schema import PoolFiles

SHARD_NOTES = 2000
STAGE = "shard_sentences"
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Shard:
    """A run of notes.

    Attributes
    ----------
    number : position in the pool, from 0.
    key : digest of the notes' ids, types and texts in their order.
    notes : DataFrame[note_id, patient_id, note_type, text].
    """

    number: int
    key: str
    notes: pd.DataFrame


def iter_shards(
    path: Path,
    pool: PoolFiles,
    seed: int,
    *,
    size: int = SHARD_NOTES,
    restricted: bool = False,
    public: bool = False,
) -> Iterator[Shard]:
    """Read a pool of any size shard by shard.

    Parameters
    ----------
    path, pool, seed : as for `notes.iter_notes`; `pool.reader` says which reader.
    size : notes in a shard; the last has fewer. Another size makes other shards.
    public : whether messages may show what the file holds.
    restricted : whether an error of a user's own reader is told without its words.

    Yields
    ------
    Shard, numbered from 0. The same file, filters, seed and size give the same shards.
    """
    notes = pool_reader(pool, restricted=restricted, public=public)(path, pool, seed)
    for number, frame in enumerate(_frames(notes, size)):
        yield Shard(number, digest(frame.to_dict("list")), frame)


def segment_shards(
    shards: Iterable[Shard], candidates: str | None, *, cache: str | Path, processes: int = 1
) -> Iterator[tuple[Shard, pd.DataFrame]]:
    """Segment shards, in order, on several processes; a shard whose sentences are in the cache is
    not segmented again.

    Parameters
    ----------
    shards : see `iter_shards`; drawn as needed, at most `processes` + 1 ahead.
    candidates : regex that a sentence must match to be asked about; None: all.
    cache : root of the stage cache.
    processes : 1 works in this process; so does a pool of one shard.

    Yields
    ------
    (shard, sentences) : sentences as in `pool.segment_notes`, the same for any number of processes.
    """
    done = reused = 0
    source = iter(shards)
    head = list(islice(source, 2))
    if processes == 1 or len(head) < 2:
        results: Iterator[tuple[Shard, Any, bool]] = (
            (shard, *_segmented(shard.key, shard.notes, candidates, cache))
            for shard in chain(head, source)
        )
    else:
        results = _in_parallel(chain(head, source), candidates, cache, processes)
    for shard, sentences, hit in results:
        done, reused = done + 1, reused + hit
        yield shard, sentences
    log.info("segmentation: %d shards, %d of them reused", done, reused)


def _in_parallel(
    shards: Iterable[Shard], candidates: str | None, cache: str | Path, processes: int
) -> Iterator[tuple[Shard, pd.DataFrame, bool]]:
    source = iter(shards)
    waiting: deque[tuple[Shard, Future]] = deque()
    # spawn: forking a process in which pyarrow runs threads can hang
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as workers:
        try:
            while True:
                for shard in islice(source, processes + 1 - len(waiting)):
                    waiting.append(
                        (
                            shard,
                            workers.submit(_segmented, shard.key, shard.notes, candidates, cache),
                        )
                    )
                if not waiting:
                    return
                shard, future = waiting.popleft()
                yield shard, *future.result()
        finally:
            workers.shutdown(cancel_futures=True)


def _segmented(
    key: str, notes: pd.DataFrame, candidates: str | None, cache: str | Path
) -> tuple[pd.DataFrame, bool]:
    return cached(
        cache,
        STAGE,
        {"shard": key, "candidates": candidates},
        VERSION,
        lambda: segment_notes(notes, candidates),
        lambda sentences, folder: sentences.to_parquet(folder / "sentences.parquet", index=False),
        lambda folder: pd.read_parquet(folder / "sentences.parquet"),
    )


def _frames(notes: Iterator[Note], size: int) -> Iterator[pd.DataFrame]:
    while batch := list(islice(notes, size)):
        yield pd.DataFrame(batch, columns=list(COLUMNS), dtype=str)
