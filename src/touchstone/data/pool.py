"""Notes as sentences: they are segmented, and the sentences worth asking about are marked.

Does not read files (data/shards.py) and does not label anything. Sentences that are no candidates
stay in the table: the LLM sees them as context.
"""

from __future__ import annotations

import re

import pandas as pd

from touchstone.data import patterns
from touchstone.data.segment import segment

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
    return marked(pd.DataFrame(rows, columns=list(COLUMNS[:-1])), candidates)


def marked(sentences: pd.DataFrame, candidates: str | None) -> pd.DataFrame:
    """Return sentences with `candidate`, whether they match the regex `candidates`, case
    ignored."""
    key = "corpus.pool.candidates"
    pattern = patterns.compiled(candidates or "", key, re.IGNORECASE)
    return sentences.assign(candidate=patterns.searched(pattern, sentences["text"], key))
