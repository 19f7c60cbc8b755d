"""Stream MIMIC-III NOTEEVENTS.csv(.gz) and MIMIC-IV-Note discharge.csv(.gz) in constant memory,
filtered on the way.

Blocks of the file are parsed, filtered by category, error mark and regex, and handed on; what is
kept never has to fit into memory (`iter_noteevents`; `read_noteevents` collects it). Rows marked
ISERROR (entered in error) are dropped. Quoted line breaks and doubled quotes belong to the note.
Does not segment. Sources: Johnson et al. 2016 (MIMIC-III), Johnson et al. 2023 (MIMIC-IV-Note).
"""

from __future__ import annotations

import csv
import re
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
from isal import igzip, isal_zlib

from touchstone.data.files import LONGEST_ID, check_header, listed, open_text, quoted, rows
from touchstone.data.readers.notes import COLUMNS, keep_pattern
from touchstone.data.sampling import sample_patients
from touchstone.errors import UserError, no_such
from touchstone.progress import progress
from touchstone.schema import PoolFiles

POOL_KEYS = ("path", "max_notes", "categories", "keep", "candidates", "labels")
BLOCK_BYTES = 4 << 20  # must hold the longest row; the reader keeps several blocks in flight
TOO_LONG = f"; a row of more than {BLOCK_BYTES >> 20} MB, or a quotation mark that is never closed?"
ALL = pa.scalar(True)
QUOTE = ord('"')
UNREADABLE = (
    pa.ArrowException,
    OSError,
    EOFError,
    isal_zlib.error,
)  # what the parser and the decompressor raise


@dataclass(frozen=True)
class Layout:
    """Names of the columns of one release; upper and lower case count as the same."""

    note_id: str
    patient_id: str
    note_type: str
    text: str
    error: str | None = None  # '1' in it marks a note entered in error
    kinds: tuple[
        str, ...
    ] = ()  # values of the type column in the whole release: a subset of the file may lack some

    def names(self) -> list[str]:
        return [
            name
            for name in (self.note_id, self.patient_id, self.note_type, self.text, self.error)
            if name is not None
        ]


MIMIC_III_KINDS = (
    "Nursing/other,Radiology,Nursing,ECG,Physician,Discharge summary,Echo,Respiratory,Nutrition,General,Rehab Services,Social Work,"
    "Case Management,Pharmacy,Consult"
)
LAYOUTS = {
    "noteevents": Layout(
        "ROW_ID", "SUBJECT_ID", "CATEGORY", "TEXT", "ISERROR", tuple(MIMIC_III_KINDS.split(","))
    ),
    "mimic_iv_note": Layout(
        "note_id", "subject_id", "note_type", "text", None, ("DS", "AD", "RR", "AR")
    ),
}


def read_noteevents(path: Path, pool: PoolFiles, seed: int, *, shown: bool = True) -> pd.DataFrame:
    """Read the notes that pass the filters into one frame; see `iter_noteevents`."""
    frames = list(iter_noteevents(path, pool, seed, shown=shown))
    return (
        pd.concat(frames, ignore_index=True)
        if frames
        else pd.DataFrame(columns=list(COLUMNS), dtype=str)
    )


def iter_notes(path: Path, pool: PoolFiles, seed: int) -> Iterator[tuple[str, str, str, str]]:
    """Yield the notes that pass the filters one by one; see `iter_noteevents`."""
    for frame in iter_noteevents(path, pool, seed):
        yield from frame[list(COLUMNS)].itertuples(index=False, name=None)


def iter_noteevents(
    path: Path, pool: PoolFiles, seed: int, *, shown: bool = True
) -> Iterator[pd.DataFrame]:
    """Yield the notes that pass the filters, in the order of the file.

    Parameters
    ----------
    path : `.csv` or `.csv.gz`.
    pool : `reader` names the layout; `categories` (values of the type column, without outer spaces,
        case ignored; none: all), `keep` (regex that a note must match somewhere, case ignored),
        `max_notes` (seeded sample by patient; the file is then read twice).
    seed : of the sample.
    shown : whether to show progress with rate and time left.

    Yields
    ------
    DataFrame[note_id, patient_id, note_type, text], at least one row each, ids as strings.

    Raises
    ------
    UserError Missing columns, a row with more or fewer columns than the header (with its line), a
        cut file, text that is not UTF-8, a category that is neither in the file nor in the release,
        a filter that is no regular expression. No message holds text of a note.
    """
    layout = _resolved(path, pool.reader)
    label = f"reading {path.name}"
    if pool.max_notes is None:
        for batch in _filtered(path, layout, pool, label, shown=shown):
            yield _frame(batch, layout, path)
        return
    counts: Counter[str] = Counter()
    for batch in _filtered(
        path,
        layout,
        pool,
        f"choosing patients in {path.name}",
        shown=shown,
        with_text=pool.keep is not None,
    ):
        for found in batch.column(layout.patient_id).value_counts().to_pylist():
            counts[found["values"]] += found["counts"]
    left = sample_patients(counts, pool.max_notes, seed)
    chosen = pa.array(list(left), pa.string())
    for batch in _filtered(path, layout, pool, label, shown=shown):
        frame = _frame(
            batch.filter(pc.is_in(batch.column(layout.patient_id), chosen)), layout, path
        )
        number = frame.groupby("patient_id").cumcount()
        taken = frame[number.to_numpy() < frame["patient_id"].map(left).to_numpy(dtype=float)]
        for patient, count in taken["patient_id"].value_counts().items():
            left[str(patient)] -= int(count)
        if not taken.empty:
            yield taken.reset_index(drop=True)


def _frame(batch: pa.RecordBatch, layout: Layout, path: Path) -> pd.DataFrame:
    for name in (layout.note_id, layout.patient_id):  # as `files.id_field`
        if pc.any(
            pc.match_substring_regex(batch.column(name), rf"(?s)[\r\n]|.{{{LONGEST_ID + 1}}}")
        ).as_py():
            raise UserError(
                f'{path}: the column "{name}" must hold ids, at most {LONGEST_ID} characters in one line'
            )
    columns = [
        batch.column(name)
        for name in (layout.note_id, layout.patient_id, layout.note_type, layout.text)
    ]
    columns[2] = pc.utf8_trim_whitespace(columns[2])
    return pa.RecordBatch.from_arrays(columns, list(COLUMNS)).to_pandas()


def _filtered(
    path: Path, layout: Layout, pool: PoolFiles, label: str, *, shown: bool, with_text: bool = True
) -> Iterator[pa.RecordBatch]:
    """Yield the rows that pass the filters, block by block; without the text column where it is not
    needed."""
    pattern = keep_pattern(pool)
    wanted = pa.array([category.strip().lower() for category in pool.categories], pa.string())
    seen: set[str] = set()
    for batch in _blocks(
        path, [name for name in layout.names() if with_text or name != layout.text], label, shown
    ):
        kinds = pc.utf8_trim_whitespace(batch.column(layout.note_type))
        passed = ALL
        if len(wanted):
            seen.update(pc.unique(kinds).to_pylist())
            passed = pc.is_in(pc.utf8_lower(kinds), wanted)
        if layout.error:
            passed = pc.and_(
                passed, pc.not_equal(pc.utf8_trim_whitespace(batch.column(layout.error)), "1")
            )
        if passed is not ALL:
            batch = batch.filter(passed)
        if pattern is not None:
            batch = batch.filter(_matches(batch.column(layout.text), pattern))
        if batch.num_rows:
            yield batch
    possible = {kind.lower() for kind in seen.union(layout.kinds)}
    for category in pool.categories:
        if category.strip().lower() not in possible:
            raise UserError(
                f"{path}, corpus.pool.categories: {no_such('category', category, map(quoted, seen))}"
            )


def _matches(texts: pa.Array, pattern: re.Pattern[str]) -> pa.Array:
    """Search each text: with RE2, which is fast and knows no look-around; with Python's engine
    where RE2 refuses the pattern."""
    try:
        return pc.match_substring_regex(texts, pattern.pattern, ignore_case=True)
    except pa.ArrowInvalid:
        return pa.array(
            [pattern.search(text) is not None for text in texts.to_pylist()], pa.bool_()
        )


class _Counted:
    """A binary file that counts the quotation marks that went through it."""

    closed = False  # pyarrow asks; the file is closed by whoever opened it

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.quotes = file, 0

    def read(self, size: int) -> bytes:
        data = self.file.read(size)
        self.quotes += int(
            np.count_nonzero(np.frombuffer(data, np.uint8) == QUOTE)
        )  # three times as fast as bytes.count
        return data

    def close(self) -> None:
        pass


def _blocks(path: Path, columns: list[str], label: str, shown: bool) -> Iterator[pa.RecordBatch]:
    """Parse the file block by block into string columns."""
    total = path.stat().st_size / 1e6
    failed = None
    with open(path, "rb") as raw, progress(label, total, "MB", shown=shown) as done:
        # igzip takes a third of the time of zlib, which would else be most of the work
        counted = _Counted(igzip.open(raw, "rb") if path.suffix == ".gz" else raw)
        try:
            with pacsv.open_csv(
                pa.PythonFile(counted, "r"),
                read_options=pacsv.ReadOptions(block_size=BLOCK_BYTES),
                parse_options=pacsv.ParseOptions(newlines_in_values=True),
                convert_options=pacsv.ConvertOptions(
                    include_columns=columns, column_types=dict.fromkeys(columns, pa.string())
                ),
            ) as reader:
                for batch in reader:
                    yield batch
                    done(raw.tell() / 1e6)
        except UNREADABLE as error:
            failed = TOO_LONG if "straddl" in str(error) else ""
    if (
        failed is not None
    ):  # outside of the handler: the parser's own message may hold text of a note and must not be chained
        _explain(path, failed)
    if (
        counted.quotes % 2
    ):  # the parser takes a quotation mark that is open at the end of the file for closed
        raise UserError(
            f"{path}: ends inside a quoted note (its quotation marks do not pair up); the file was cut. Copy it again"
        )


def _explain(path: Path, hint: str) -> None:
    """Raise what is wrong with the file, with its line where that can be found."""
    for _ in rows(
        path
    ):  # slow, and strict: raises at the first bad row, damaged end or byte that is not UTF-8
        pass
    raise UserError(f"{path}: cannot be read as CSV{hint}")


def _resolved(path: Path, reader: str) -> Layout:
    """Return the layout with the names of the columns as this file writes them."""
    layout = LAYOUTS[reader]
    try:
        with open_text(path) as handle:
            header = next(csv.reader(handle), [])
    except (UnicodeDecodeError, EOFError, OSError, csv.Error, zlib.error):
        raise UserError(
            f"{path}: cannot be read; damaged, cut or not gzip though its name ends in .gz"
        ) from None
    named = {name.lower(): name for name in check_header(header, path)}
    lacking = [name for name in layout.names() if name.lower() not in named]
    if lacking:
        raise UserError(
            f"{path}: no column {lacking[0]} (columns: {listed(header)}), which corpus.pool.reader={reader} needs. "
            "Other CSV files: corpus.pool.reader=notes, and name the columns in corpus.pool.*_field"
        )
    return replace(
        layout,
        **{
            part: named[name.lower()]
            for part, name in vars(layout).items()
            if isinstance(name, str)
        },
    )
