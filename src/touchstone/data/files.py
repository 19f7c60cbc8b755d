"""Where corpus files are, and how a line of one is read: every fault names the file and the line,
never the text.

A file that is not what the configuration says may hold text where a name or a label was expected
(no header line, another field), so whatever a message quotes from a file goes through `quoted`.

Does not know what the fields mean (`notes.py`, `labelled.py`, `sentences.py`) and downloads
nothing.
"""

from __future__ import annotations

import csv
import gzip
import json
import re
import sys
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import IO, Any

import touchstone.demo
from touchstone.errors import UserError
from touchstone.pseudonyms import NOT_SHOWN

DEMO = Path(touchstone.demo.__file__).parent
LONGEST_QUOTE = 40  # characters
LONGEST_ID = 100  # characters
LABEL = re.compile(
    r"(?:[\w/-]+(?:\.[\w/-]+)*(?: (?=\S)|$)){0,3}"
)  # up to three words, without the point that ends a sentence
_public: ContextVar[bool] = ContextVar("public", default=False)
Row = tuple[int, Mapping[str, Any]]  # line of the file on which the record begins, and the record


def find(path: str | Path, data_folder: str | Path | None = None, *, folder: bool = False) -> Path:
    """Return the file that a corpus names; with `folder`, a folder too.

    A relative path is looked for in `data_folder` (paths.data), then in the built-in demo, then in
    the working folder.

    Raises
    ------
    UserError
        Listing the places where it was looked for; or if it is a folder.
    """
    given = Path(path).expanduser()
    if given.is_absolute():
        if given.exists():
            return given if folder else _file(given)
        raise UserError(f"{given}: no such file")
    folders = {
        "paths.data": Path(data_folder).expanduser() if data_folder else None,
        "the built-in demo": DEMO,
        "the working folder": Path.cwd(),
    }
    for place in folders.values():
        if place is not None and (place / given).exists():
            return place / given if folder else _file(place / given)
    looked = "; ".join(
        f"{name} ({place})" if place else f"{name} (not set)" for name, place in folders.items()
    )
    raise UserError(
        f"{given}: no such file. Looked in {looked}. Set paths.data=FOLDER or TOUCHSTONE_DATA to "
        "where your corpora are"
    )


def _file(path: Path) -> Path:
    if path.is_dir():
        raise UserError(f"{path}: is a folder. Name a file in it")
    return path


def fold_file(name: str, fold: int | None, data_folder: str | Path | None) -> Path:
    """Return a file whose name may hold `{fold}`.

    Fold 1 alone, the one of the BLURB benchmark, is often kept without a folder of its own: where
    `gad/1/train.tsv` is absent, `gad/train.tsv` is read as fold 1.

    Raises
    ------
    UserError
        If the file is absent, or `{fold}` stands in the name and `fold` is None.
    """
    if "{fold}" not in name:
        return find(name, data_folder)
    if fold is None:
        raise UserError(f"{name}: which fold? Set corpus.gold.fold=NUMBER, from 1")
    candidates = [name.replace("{fold}", str(fold))] + (
        [name.replace("{fold}/", "")] if fold == 1 else []
    )
    errors = []
    for candidate in candidates:
        try:
            return find(candidate, data_folder)
        except UserError as error:
            errors.append(error)
    raise errors[0]


def open_text(path: Path) -> IO[str]:
    """Open a text file, `.gz` or not, as UTF-8 with or without byte order mark, line ends
    untouched."""
    opener = gzip.open if path.suffix == ".gz" else open
    return opener(path, "rt", encoding="utf-8-sig", newline="")


@contextmanager
def opened(path: Path) -> Iterator[IO[str]]:
    """Open a text file as `open_text` does, for a body that reads it.

    Raises
    ------
    UserError Naming the file, where reading it shows that it is not UTF-8, or no whole gzip file
        though its name says so.
    """
    try:
        with open_text(path) as handle:
            yield handle
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path}: not UTF-8 (byte 0x{error.object[error.start]:02x}). Convert it, for example "
            "with iconv"
        ) from None
    except (EOFError, gzip.BadGzipFile, zlib.error):
        raise UserError(f"{path}: damaged or cut gzip file. Copy it again") from None


@contextmanager
def of_public(public: bool) -> Iterator[None]:
    """Let messages show whatever a file holds, where the corpus is public."""
    token = _public.set(public)
    try:
        yield
    finally:
        _public.reset(token)


def quoted(value: str) -> str:
    """Return a value of a file as a message may show it: as it is where it looks like a name or a
    label, else that it is not shown; of a public corpus its first `LONGEST_ID` characters.

    Examples
    --------
    >>> quoted("Resisting cell death"), quoted("n1/3"), quoted("Forgets names.")
    ('Resisting cell death', 'n1/3', '[text not shown]')
    """
    if _public.get():
        return " ".join(value.split())[:LONGEST_ID]
    return value if len(value) <= LONGEST_QUOTE and LABEL.fullmatch(value) else NOT_SHOWN


def column(name: str) -> str:
    """Return the name of a column as a message may show it: see `quoted`, and at most two words,
    since the first row of a file without a header is a patient's text; in full of a public corpus
    (`of_public`)."""
    return quoted(name) if _short(name) or _public.get() else NOT_SHOWN


def _short(name: str) -> bool:
    return len(name.split()) <= 2 and len(name) <= LONGEST_QUOTE


def listed(names: Iterable[str]) -> str:
    """Return the fields of a record as a message may show them, see `column`."""
    names = list(names)
    shown = [column(name) for name in names]
    strange = NOT_SHOWN in shown or not all(map(_short, names))
    return ", ".join(shown) + (
        "; are these the names of columns, or has the file no header line?" if strange else ""
    )


def rows(path: Path) -> Iterator[Row]:
    """Read the records of a JSONL, CSV or TSV file (`.gz` or not), one by one; blank lines are
    skipped.

    Yields
    ------
    (line, record) : line of the file on which the record begins (from 1), and its fields. Values of
    CSV and TSV are strings; quoted line breaks belong to the value. TSV fields are not quoted.

    Raises
    ------
    UserError With file and line: not UTF-8, a line that is no JSON object, a row with more or fewer
        fields than the header, no header, a header that names a column twice.
    """
    kind = Path(path.stem).suffix if path.suffix == ".gz" else path.suffix
    readers = {".jsonl": _jsonl, ".csv": _csv, ".tsv": _tsv}
    if kind not in readers:
        raise UserError(
            f"{path}: unknown kind of file. Its name must end in {', '.join(readers)}, or one of "
            "these with .gz"
        )
    with opened(path) as handle:
        yield from readers[kind](handle, path)


def text_field(record: Mapping[str, Any], name: str, *, path: Path, line: int, key: str) -> str:
    """Return the field that holds a text.

    Parameters
    ----------
    record, name : the record, and the field to read.
    path, line : where the record stands, for the message.
    key : the configuration key that names the field, e.g. `corpus.pool.text_field`, for the
        message.

    Raises
    ------
    UserError If there is no such field, listing those there are and the override to use, or if it
        is not a string.
    """
    value = _field(record, name, path, line, key)
    if isinstance(value, str):
        return value
    raise UserError(f'{path}, line {line}: field "{name}" must be a string, not {_kind(value)}')


DOCUMENT = ("doc", "note", "report", "file")
ROLES = {
    "patient_field": ("patient", "subject", "person", "mrn", "pid"),
    "doc_field": DOCUMENT,
    "id_field": DOCUMENT,
    "labels_field": ("label", "class", "categor", "annotation", "target"),
}


def likely_field(record: Mapping[str, Any], key: str) -> str:
    """Return the field of a record that a key (`corpus.gold.doc_field`) most likely means, for a
    message; FIELD where none looks like it, or where showing the name could show a text."""
    role = key.rpartition(".")[2]
    likely = next((name for name in _candidates(record, role)), "FIELD")
    return likely if column(likely) == likely else "FIELD"


def _candidates(record: Mapping[str, Any], role: str) -> list[str]:
    """Return the fields that could play a role (`doc_field`), the likeliest first: for an id those
    of the role's words that end in "id", other ids, then short fields of the role's words."""
    if role not in ROLES:
        texts = [name for name, value in record.items() if isinstance(value, str)]
        return sorted(texts, key=lambda name: -len(record[name])) if role == "text_field" else []
    own = _named(record, ROLES[role])
    if role == "labels_field":
        return own
    other = _named(record, DOCUMENT if role == "patient_field" else ROLES["patient_field"])
    ids = [name for name in record if name.lower().endswith("id") and name not in other]
    short = [name for name in own if len(str(record[name])) <= LONGEST_ID]
    return [*(name for name in ids if name in own), *ids, *short]


def _named(names: Iterable[str], words: Iterable[str]) -> list[str]:
    return [name for name in names if any(word in name.lower() for word in words)]


def id_field(record: Mapping[str, Any], name: str, *, path: Path, line: int, key: str) -> str:
    """Return the field that names a note, document or patient, as a string; see `text_field`.

    Raises
    ------
    UserError If it is neither a non-empty string nor a whole number; or longer than `LONGEST_ID` or
        of several lines, as only a text is: ids stand in every table, also where the text of a
        restricted corpus does not.
    """
    value = _field(record, name, path, line, key)
    if isinstance(value, bool) or not isinstance(value, (str, int)) or value == "":
        raise UserError(
            f'{path}, line {line}: field "{name}" must be a name or a whole number, not '
            f"{_kind(value)}"
        )
    if len(str(value)) > LONGEST_ID or len(str(value).splitlines()) > 1:
        raise UserError(
            f'{path}, line {line}: field "{name}" must be an id, at most {LONGEST_ID} characters '
            f"in one line. Name the one to read: {key}=FIELD"
        )
    return str(value)


def _field(record: Mapping[str, Any], name: str, path: Path, line: int, key: str) -> Any:
    if name in record:
        return record[name]
    raise UserError(
        f'{path}, line {line}: no field "{name}" (fields: {listed(record)}). Name the one to '
        f"read: {key}={likely_field(record, key)}"
    )


def _kind(value: Any) -> str:
    names = {
        dict: "an object",
        list: "a list",
        str: "an empty string",
        bool: "true or false",
        type(None): "null",
    }
    return names.get(type(value), "a number")


def _jsonl(handle: IO[str], path: Path) -> Iterator[Row]:
    for number, line in enumerate(handle, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            if (
                "\\ud" in line.lower()
            ):  # half of a surrogate pair is JSON, but no text that can be written anywhere
                json.dumps(record, ensure_ascii=False).encode()
        except json.JSONDecodeError as error:
            raise UserError(
                f"{path}, line {number}: not JSON ({error.msg.removesuffix(' at')} at column "
                f"{error.colno})"
            ) from None
        except UnicodeEncodeError:
            raise UserError(
                f"{path}, line {number}: holds \\ud800 or another half of a character; write the "
                "whole one, or U+FFFD"
            ) from None
        except RecursionError:
            raise UserError(
                f"{path}, line {number}: nested too deeply; a record has its values one or two "
                "levels below"
            ) from None
        except ValueError:  # more digits than Python reads
            raise UserError(
                f"{path}, line {number}: a number that is too long to be read; write it as a string"
            ) from None
        if not isinstance(record, dict):
            raise UserError(f"{path}, line {number}: must be a JSON object, not {_kind(record)}")
        yield number, record


def _csv(handle: IO[str], path: Path) -> Iterator[Row]:
    csv.field_size_limit(
        min(sys.maxsize, 2**31 - 1)
    )  # a note may be longer than the 131,072 characters of the default
    reader = csv.reader(handle, strict=True)
    try:
        header = next(reader, None)
        if not header:
            raise UserError(
                f"{path}: empty, a header line with the names of the columns was expected"
            )
        check_header(header, path)
        before = reader.line_num
        for values in reader:
            line, before = before + 1, reader.line_num
            if values:
                yield line, _record(header, values, path, line)
    except csv.Error as error:
        hint = (
            '. Within a quoted text a quotation mark is doubled (""), not marked by a backslash'
            if "expected after" in str(error)
            else ""
        )
        raise UserError(f"{path}, line {reader.line_num}: not CSV ({error}){hint}") from None


def _tsv(handle: IO[str], path: Path) -> Iterator[Row]:
    header: list[str] | None = None
    for number, line in enumerate(handle, start=1):
        values = line.rstrip("\r\n").split("\t")
        if values == [""]:
            continue
        if header is None:
            header = check_header(values, path)
        else:
            yield number, _record(header, values, path, number)
    if header is None:
        raise UserError(f"{path}: empty, a header line with the names of the columns was expected")


def check_header(names: list[str], path: Path) -> list[str]:
    """Return the names of the columns; one that stands twice is an error, since only one of the two
    could be read."""
    repeated = [
        name for name, count in Counter(names).items() if count > 1 and name
    ]  # empty ones: commas after the last column
    if repeated:
        raise UserError(
            f'{path}: the header names the column "{column(repeated[0])}" twice (columns: '
            f"{listed(names)}). Rename one of them"
        )
    return names


def _record(header: list[str], values: list[str], path: Path, line: int) -> dict[str, str]:
    if len(values) != len(header):
        raise UserError(
            f"{path}, line {line}: {len(values)} columns where the header names {len(header)} "
            f"({listed(header)})"
        )
    return dict(zip(header, values, strict=True))
