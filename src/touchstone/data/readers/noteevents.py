"""Stream MIMIC-III NOTEEVENTS.csv(.gz) and MIMIC-IV-Note discharge.csv(.gz) in constant memory,
filtered on the way.

Blocks of the file are parsed, filtered by category, error mark and regex, and handed on; what is
kept never has to fit into memory (`iter_noteevents`; `read_noteevents` collects it). Rows marked
ISERROR (entered in error) are dropped. Quoted line breaks and doubled quotes belong to the note.
Does not segment. Sources: Johnson et al. 2016 (MIMIC-III), Johnson et al. 2023 (MIMIC-IV-Note).
"""

from __future__ import annotations

import csv
import hashlib
import logging
import re
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
from isal import igzip, isal_zlib

from touchstone.data import patterns
from touchstone.data.files import LONGEST_ID, check_header, listed, opened, quoted, rows
from touchstone.data.readers.notes import COLUMNS, keep_pattern
from touchstone.data.sampling import sample_patients
from touchstone.errors import UserError, no_such
from touchstone.progress import progress
from touchstone.schema import PoolFiles

POOL_KEYS = ("path", "max_notes", "categories", "keep", "candidates", "labels")
log = logging.getLogger(__name__)
BLOCK_BYTES = 4 << 20  # must hold the longest row; the reader keeps several blocks in flight
TOO_LONG = f"; a row of more than {BLOCK_BYTES >> 20} MB, or a quotation mark that is never closed?"
ALL = pa.scalar(True)
QUOTE = ord('"')
BOUNDS = np.frombuffer(b'",\r\n', np.uint8)  # what may stand beside a quotation mark
IN_ERROR = pa.array(["1", "1.0", "t", "true"])  # as a database, pandas or a spreadsheet writes it
NOT_IN_ERROR = pa.array(["", "0", "0.0", "f", "false", "nan", "null", "none"])
# a pattern of these means the same to RE2 and to Python, but for letters that fold into ASCII
SAME_IN_BOTH = re.compile(r"[\x20-\x7e]+")
SPECIAL = ("\\", "$", "^", "{", "(?")
FOLDING = "[\u0130\u0131\u017f\u212a]"
UNREADABLE: tuple[Any, ...] = (
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
    error: str | None = None  # marks a note entered in error, see `_in_error`
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
    "Nursing/other,Radiology,Nursing,ECG,Physician,Discharge "
    "summary,Echo,Respiratory,Nutrition,General,Rehab Services,Social Work,"
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
    yield from _once(_chosen(path, pool, seed, shown), path)


def _chosen(path: Path, pool: PoolFiles, seed: int, shown: bool) -> Iterator[pd.DataFrame]:
    """Yield the notes that pass the filters, of a sample of patients where one is asked for."""
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
                f'{path}: the column "{name}" must hold ids, at most {LONGEST_ID} characters in '
                "one line"
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
    categories = pa.array([category.strip().lower() for category in pool.categories], pa.string())
    row_ids: set[str] = set()
    for batch in _blocks(
        path, [name for name in layout.names() if with_text or name != layout.text], label, shown
    ):
        kinds = pc.utf8_trim_whitespace(batch.column(layout.note_type))
        passed = ALL
        if len(categories):
            row_ids.update(pc.unique(kinds).to_pylist())
            passed = pc.is_in(pc.utf8_lower(kinds), categories)
        if layout.error:
            passed = pc.and_(passed, pc.invert(_in_error(batch.column(layout.error), path)))
        if passed is not ALL:
            batch = batch.filter(passed)
        if pattern is not None:
            batch = batch.filter(_matches(batch.column(layout.text), pattern))
        if batch.num_rows:
            yield batch
    possible = {kind.lower() for kind in row_ids.union(layout.kinds)}
    for category in pool.categories:
        if category.strip().lower() not in possible:
            raise UserError(
                f"{path}, corpus.pool.categories: "
                f"{no_such('category', category, map(quoted, row_ids))}"
            )


def _in_error(marks: pa.Array, path: Path) -> pa.Array:
    """Return which notes were entered in error.

    Raises
    ------
    UserError
        For a mark that is neither yes nor no: a note about the wrong patient may hide behind it.
    """
    marks = pc.utf8_lower(pc.utf8_trim_whitespace(marks))
    yes, no = pc.is_in(marks, IN_ERROR), pc.is_in(marks, NOT_IN_ERROR)
    unknown = pc.sum(pc.invert(pc.or_(yes, no))).as_py()
    if unknown:
        raise UserError(
            f"{path}: ISERROR has {unknown} marks that are neither 1, t or true (entered in error) "
            "nor 0, f, false or empty. Write them as 1 or nothing"
        )
    return yes


def _matches(texts: pa.Array, pattern: re.Pattern[str]) -> pa.Array:
    """Search each text as Python does, whatever searches: with RE2, which is fast, where the two
    agree (no classes, anchors or look-around), and with Python's engine for the rest."""
    text = pattern.pattern
    if not SAME_IN_BOTH.fullmatch(text) or any(mark in text for mark in SPECIAL):
        return _searched(texts, pattern)
    try:
        matches = pc.match_substring_regex(texts, text, ignore_case=True)
    except pa.ArrowInvalid:
        return _searched(texts, pattern)
    odd = pc.match_substring_regex(texts, FOLDING)
    if not pc.any(odd).as_py():
        return matches
    return pc.if_else(odd, _searched(texts, pattern), matches)


def _searched(texts: pa.Array, pattern: re.Pattern[str]) -> pa.Array:
    matches = patterns.searched(pattern, texts.to_pylist(), "corpus.pool.keep")
    return pa.array(matches, pa.bool_())


def _once(frames: Iterator[pd.DataFrame], path: Path) -> Iterator[pd.DataFrame]:
    """Leave out rows that a copy of the file holds twice; say at the end how many.

    Raises
    ------
    UserError
        If an id stands for two notes.
    """
    digests: dict[str, bytes] = {}
    repeated, clash = 0, ""
    for frame in frames:
        new = []
        for note, text in zip(frame["note_id"], frame["text"], strict=True):
            mark = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
            new.append(note not in digests)
            if digests.setdefault(note, mark) != mark:
                clash = clash or note
        repeated += len(new) - sum(new)
        if any(new):
            yield frame[new].reset_index(drop=True)
    if clash:  # only now: what is wrong with the whole file explains it better
        raise UserError(
            f"{path}: note {quoted(clash)} stands twice with different texts; ids must be unique"
        )
    if repeated:
        log.warning("%s: %d rows stand twice; each note is read once", path, repeated)


class _Counted:
    """A binary file that counts the quotation marks that went through it, and notices one in the
    middle of a text: not doubled, and neither at the beginning nor at the end of a field."""

    closed = False  # pyarrow asks; the file is closed by whoever opened it

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.quotes, self.stray, self.last = file, 0, False, b"\n\n"

    def read(self, size: int) -> bytes:
        data = self.file.read(size)
        marks = np.frombuffer(data, np.uint8) == QUOTE  # three times as fast as bytes.count
        self.quotes += int(np.count_nonzero(marks))
        if not self.stray:
            joined = np.frombuffer(self.last + data, np.uint8)
            middle = np.flatnonzero(joined[1:-1] == QUOTE) + 1
            edges = np.isin(joined[middle - 1], BOUNDS) | np.isin(joined[middle + 1], BOUNDS)
            self.stray = bool((~edges).any())
            self.last = bytes(joined[-2:])
        return data

    def close(self) -> None:
        pass


def _blocks(path: Path, columns: list[str], label: str, shown: bool) -> Iterator[pa.RecordBatch]:
    """Parse the file block by block into string columns."""
    total = path.stat().st_size / 1e6
    failed = None
    strict = False
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
                    if counted.stray and not strict:  # the parser would guess, and swallow notes
                        _check(path)
                        strict = True
                    yield batch
                    done(raw.tell() / 1e6)
        except UNREADABLE as error:
            failed = TOO_LONG if "straddl" in str(error) else ""
    if (
        failed is not None
    ):  # outside of the handler: the parser's message may hold text of a note; never chained
        _explain(path, failed)
    if (
        counted.quotes % 2
    ):  # the parser takes a quotation mark that is open at the end of the file for closed
        raise UserError(
            f"{path}: ends inside a quoted note (its quotation marks do not pair up); the file "
            "was cut. Copy it again"
        )


def _check(path: Path) -> None:
    """Read the whole file, slowly and strictly: raises at the first bad row, damaged end or byte
    that is not UTF-8."""
    for _ in rows(path):
        pass


def _explain(path: Path, hint: str) -> None:
    """Raise what is wrong with the file, with its line where that can be found."""
    _check(path)
    raise UserError(f"{path}: cannot be read as CSV{hint}")


def _resolved(path: Path, reader: str) -> Layout:
    """Return the layout with the names of the columns as this file writes them."""
    layout = LAYOUTS[reader]
    try:
        with opened(path) as handle:
            header = next(csv.reader(handle), [])
    except (EOFError, OSError, csv.Error, zlib.error):
        raise UserError(
            f"{path}: cannot be read; damaged, cut or not gzip though its name ends in .gz"
        ) from None
    named = {name.lower(): name for name in check_header(header, path)}
    lacking = [name for name in layout.names() if name.lower() not in named]
    if lacking:
        raise UserError(
            f"{path}: no column {lacking[0]} (columns: {listed(header)}), which "
            f"corpus.pool.reader={reader} needs. "
            "Other CSV files: corpus.pool.reader=notes, and name the columns in corpus.pool.*_field"
        )
    columns: dict[str, Any] = {
        part: named[name.lower()] for part, name in vars(layout).items() if isinstance(name, str)
    }
    return replace(layout, **columns)
