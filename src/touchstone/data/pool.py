"""Notes as sentences: they are segmented, and the sentences worth asking about are marked.

Does not read files (data/shards.py) and does not label anything. Sentences that are no candidates
stay in the table: the LLM sees them as context.
"""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from touchstone.data.segment import segment
from touchstone.errors import UserError
from touchstone.schema import PoolFiles

COLUMNS = ("example_id", "doc_id", "patient_id", "note_type", "text", "candidate")


def segment_notes(notes: pd.DataFrame, candidates: str | None) -> pd.DataFrame:
    """Cut notes (note_id, patient_id, note_type, text) into sentences; `candidates` is a regex a
    sentence must match to be asked about."""
    rows = []
    for note in notes.itertuples(index=False):
        for number, (start, end) in enumerate(segment(note.text)):
            text = " ".join(note.text[start:end].split())
            rows.append(
                (f"{note.note_id}/{number}", note.note_id, note.patient_id, note.note_type, text)
            )
    return _marked(pd.DataFrame(rows, columns=list(COLUMNS[:-1])), candidates)


def sentences_of_examples(frame: pd.DataFrame, pool: PoolFiles, seed: int) -> pd.DataFrame:
    """Return examples as pool sentences, without their labels; `pool.max_notes` samples
    documents."""
    if pool.max_notes is not None:
        documents = sorted(frame["doc_id"].unique())
        chosen = np.random.default_rng([seed, 3]).permutation(len(documents))[: pool.max_notes]
        frame = frame[frame["doc_id"].isin([documents[index] for index in chosen])]
    return _marked(frame[list(COLUMNS[:-1])].reset_index(drop=True), pool.candidates)


def _marked(sentences: pd.DataFrame, candidates: str | None) -> pd.DataFrame:
    try:
        pattern = re.compile(candidates or "", re.IGNORECASE)
    except re.error as error:
        raise UserError(f"corpus.pool.candidates: not a regular expression: {error}") from error
    return sentences.assign(candidate=[bool(pattern.search(text)) for text in sentences["text"]])
