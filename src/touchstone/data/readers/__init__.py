"""One file for each `corpus.gold.reader` and `corpus.pool.reader`; a user's own may stand in their
place (plugins.py).

A reader of gold is `read(files, taxonomy, data_folder) -> (frame, counted)`, an example table
(data/examples.py) and what it counted, with `KEYS`, the keys of `corpus.gold` that it reads. A
reader of a pool is `iter_notes(path, pool, seed)`, which yields (note_id, patient_id, note_type,
text), with `POOL_KEYS`. A key that is set and not read is an error.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import pandas as pd

from touchstone import plugins
from touchstone.data.files import of_public
from touchstone.data.labels import category_of, words_of
from touchstone.errors import UserError
from touchstone.schema import GoldFiles, PoolFiles
from touchstone.taxonomy import Taxonomy

FOLDER = __name__
GOLD, POOL = "corpus.gold", "corpus.pool"
REST_OF_TRAIN = "rest_of_train"
EVERYWHERE = ("reader", "made_by")  # keys that no reader reads
Note = tuple[str, str, str, str]


def read_gold_files(
    gold: GoldFiles,
    taxonomy: Taxonomy,
    data_folder: str | None,
    *,
    restricted: bool = False,
    public: bool = False,
    place: str = GOLD,
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Read labels with the reader that `gold.reader` names.

    Parameters
    ----------
    public : messages may show what the file holds, such as long names of columns.
    place : the key that holds `gold`, for messages: `corpus.gold`, `corpus.sites.rural`.

    Raises
    ------
    UserError
        As the reader; and for a key of `corpus.gold` that is set and that the reader does not read.
    """
    key = f"{place}.reader"
    read = plugins.load(key, gold.reader, FOLDER, "read")
    check_keys(place, gold, read, "KEYS")
    if not plugins.is_foreign(gold.reader, FOLDER):
        with of_public(public):
            return read(gold, taxonomy, data_folder)
    with plugins.blaming(key, gold.reader, withheld=restricted):
        result = read(gold, taxonomy, data_folder)
    if not (isinstance(result, tuple) and len(result) == 2 and isinstance(result[0], pd.DataFrame)):
        raise UserError(
            f"{key}={gold.reader}: must return (example table, counts), not {_kind(result)}"
        )
    return result


def read_annotators(
    gold: GoldFiles, taxonomy: Taxonomy, data_folder: str | None
) -> pd.DataFrame | None:
    """Return what each annotator said before adjudication: one row a text that all of them saw, one
    column a person, cells are lists of category ids; the index is DOCUMENT/NUMBER. None where the
    files have one annotator, or the reader knows none.

    Raises
    ------
    UserError
        As the reader.
    """
    if plugins.is_foreign(gold.reader, FOLDER):
        return None
    read = plugins.load(f"{GOLD}.reader", gold.reader, FOLDER, "read")
    module = sys.modules[read.__module__]
    if not hasattr(module, "read_annotators"):
        return None
    if "annotators" in module.KEYS:  # files of single annotators, which hold categories
        return module.read_annotators(gold, taxonomy, data_folder) if gold.annotators else None
    said = module.read_annotators(gold, data_folder)
    if len(said.columns) < 2 or said.empty:
        return None
    words = words_of(taxonomy, gold.label_map)
    order = taxonomy.ids
    return said.map(
        lambda labels: [
            one for one in order if one in {category_of(word, words, GOLD) for word in labels}
        ]
    )


def pool_reader(
    pool: PoolFiles, *, restricted: bool = False, public: bool = False
) -> Callable[[Path, PoolFiles, int], Iterator[Note]]:
    """Return the reader of notes that `pool.reader` names, called with (path, pool, seed).

    Raises
    ------
    UserError
        If there is none; later, when it is called, as the reader.
    """
    key = f"{POOL}.reader"
    iter_notes = plugins.load(key, pool.reader, FOLDER, "iter_notes", (REST_OF_TRAIN,))
    check_keys(POOL, pool, iter_notes, "POOL_KEYS")
    if not plugins.is_foreign(pool.reader, FOLDER):
        return _of_public(iter_notes) if public else iter_notes

    def notes(path: Path, pool: PoolFiles, seed: int) -> Iterator[Note]:
        with plugins.blaming(key, pool.reader, withheld=restricted):
            for note in iter_notes(path, pool, seed):
                if not (len(note) == 4 and all(isinstance(part, str) for part in note)):
                    raise UserError(
                        f"{key}={pool.reader}: must yield (note_id, patient_id, note_type, text), "
                        f"four strings, not {_kind(note)}"
                    )
                yield tuple(note)

    return notes


def _of_public(iter_notes: Callable[..., Iterator[Note]]) -> Callable[..., Iterator[Note]]:
    """Return a reader of notes whose messages may show what a public file holds."""

    def notes(path: Path, pool: PoolFiles, seed: int) -> Iterator[Note]:
        records = iter_notes(path, pool, seed)
        while True:
            with of_public(True):
                note = next(records, None)
            if note is None:
                return
            yield note

    return notes


def check_keys(place: str, files: GoldFiles | PoolFiles, reader: Any, attribute: str) -> None:
    """Raise a UserError for a key that is set and that the reader's module does not list in
    `attribute`; a reader of the user's that lists none may read any."""
    read = getattr(sys.modules[reader.__module__], attribute, None)
    if read is None:
        return
    for one in fields(files):
        default = one.default_factory() if one.default_factory is not MISSING else one.default
        value = getattr(files, one.name)
        if one.name not in (*EVERYWHERE, *read) and value != default:
            raise UserError(
                f"{place}.{one.name}={value}: {place}.reader={files.reader} does not read it. "
                f"It reads: {', '.join(sorted(read))}"
            )


def _kind(value: Any) -> str:
    """Say what a value is without showing it: it may hold text of a corpus."""
    if isinstance(value, tuple):
        return f"({', '.join(type(part).__name__ for part in value)})"
    return type(value).__name__
