"""Read unlabelled notes, the pool of data-to-label: JSONL, CSV or TSV with any field names
(corpus.pool.*_field).

Does not segment (data/segment.py, data/pool.py); the big files of MIMIC have a reader of their own
(data/noteevents.py).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from touchstone.data import patterns
from touchstone.data.files import id_field, quoted, rows, text_field
from touchstone.data.sampling import sample_patients
from touchstone.errors import UserError
from touchstone.schema import PoolFiles

COLUMNS = ("note_id", "patient_id", "note_type", "text")
KEY = "corpus.pool."
POOL_KEYS = (
    "path", "text_field", "id_field", "patient_field", "type_field",
    "max_notes", "keep", "candidates", "labels",
)  # fmt: skip


def read_notes(path: Path, pool: PoolFiles, seed: int) -> pd.DataFrame:
    """Read the notes of a file.

    Parameters
    ----------
    path : .jsonl, .csv or .tsv, or one of these with .gz.
    pool : names of the fields; `keep` (regex that a note must match somewhere, case ignored) and
        `max_notes` (sample of patients).
    seed : of the sample.

    Returns
    -------
    DataFrame[note_id, patient_id, note_type, text], in the order of the file. Without
    `patient_field` each note counts as a patient of its own; without `type_field` the type is ''.

    Raises
    ------
    UserError With file and line: a malformed line, a missing field (with those there are and the
        override to use), a repeated note id.
    """
    return pd.DataFrame(list(iter_notes(path, pool, seed)), columns=list(COLUMNS), dtype=str)


def iter_notes(path: Path, pool: PoolFiles, seed: int) -> Iterator[tuple[str, str, str, str]]:
    """Yield the notes of a file one by one as (note_id, patient_id, note_type, text); with
    `max_notes` the file is read twice."""
    if pool.max_notes is None:
        yield from _kept(path, pool)
        return
    left = sample_patients(
        Counter(patient for _, patient, _, _ in _kept(path, pool)), pool.max_notes, seed
    )
    for note in _kept(path, pool):
        if left.get(note[1], 0) > 0:
            left[note[1]] -= 1
            yield note


def keep_pattern(pool: PoolFiles) -> re.Pattern[str] | None:
    """Return the compiled `keep` filter, case ignored, or None if all notes are kept."""
    if pool.keep is None:
        return None
    return patterns.compiled(pool.keep, KEY + "keep", re.IGNORECASE)


def _kept(path: Path, pool: PoolFiles) -> Iterator[tuple[str, str, str, str]]:
    pattern = keep_pattern(pool)
    counts: dict[str, int] = {}
    for line, record in rows(path):
        note = id_field(record, pool.id_field, path=path, line=line, key=KEY + "id_field")
        if note in counts:
            raise UserError(
                f"{path}, line {line}: note {quoted(note)} stands twice (first on line "
                f"{counts[note]}); {KEY}id_field must name unique ids"
            )
        counts[note] = line
        text = text_field(record, pool.text_field, path=path, line=line, key=KEY + "text_field")
        patient = (
            id_field(record, pool.patient_field, path=path, line=line, key=KEY + "patient_field")
            if pool.patient_field
            else note
        )
        kind = (
            text_field(record, pool.type_field, path=path, line=line, key=KEY + "type_field")
            if pool.type_field
            else ""
        )
        if pattern is None or patterns.search(pattern, text, KEY + "keep"):
            yield note, patient, kind.strip(), text
