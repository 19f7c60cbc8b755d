"""Any table on a clinical researcher's disk as records: CSV, TSV, XLSX, Parquet, JSONL, JSON.

Encoding, separator and header are found, unless they are named, and said (`Look`). Strict where a
guess would change the text: a file of no known encoding, a row with too many columns and a header
that names a column twice are errors with file and line. Does not know what the columns mean.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from touchstone.data.files import Row, check_header, listed
from touchstone.data.files import rows as jsonl_rows
from touchstone.errors import UserError

SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "vertical bar"}
KINDS = (".csv", ".tsv", ".txt", ".jsonl", ".ndjson", ".json", ".xlsx", ".xls", ".ods", ".parquet")
MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}  # the longer mark of UTF-32 first
LOOKED_AT = 50  # rows by which a separator is chosen


@dataclass(frozen=True)
class Look:
    """How a table is written: `kind` (csv, jsonl, xlsx, parquet, json), encoding and separator
    (None where the kind has none), and the names of its columns."""

    kind: str
    encoding: str | None
    separator: str | None
    columns: tuple[str, ...]

    def __str__(self) -> str:
        parts = [self.kind.upper()]
        if self.encoding:
            parts.append({"utf-8-sig": "utf-8 with a byte order mark"}.get(*[self.encoding] * 2))
        if self.separator:
            parts.append(f"{SEPARATORS.get(self.separator, repr(self.separator))}-separated")
        return ", ".join(parts)


def records(
    path: Path, separator: str | None = None, encoding: str | None = None
) -> tuple[Look, Iterator[Row]]:
    """Return how a table is written, and its records.

    Parameters
    ----------
    path : the file; its ending says what it is, `.gz` after it is undone (not for XLSX, Parquet).
    separator, encoding : None: found.

    Returns
    -------
    look : see `Look`.
    rows : (line, record), line of the file (of the sheet, or number of the record) from 1. Values
        of CSV are strings, of the others what the file holds.

    Raises
    ------
    UserError
        With file and line, see the module; for `separator` or `encoding` where the kind has none.
    """
    kind = kind_of(path)
    if kind not in (".csv", ".tsv", ".txt"):
        for name, value in (("separator", separator), ("encoding", encoding)):
            if value is not None:
                raise UserError(f"corpus.gold.{name}={value}: a {kind} file has none; leave it out")
    if kind in (".csv", ".tsv", ".txt"):
        return _separated(path, separator, encoding)
    readers = {".jsonl": _jsonl, ".ndjson": _jsonl, ".json": _json, ".parquet": _parquet}
    return _listed(*readers.get(kind, _sheet)(path))


def kind_of(path: Path) -> str:
    """Return the ending that says what a table is.

    Raises
    ------
    UserError
        Listing the endings that are read.
    """
    name = path.with_suffix("") if path.suffix == ".gz" else path
    kind = name.suffix.lower()
    if kind not in KINDS:
        raise UserError(
            f"{path}: unknown kind of table. Its name must end in {', '.join(KINDS)} (or .csv.gz)"
        )
    return kind


def decoded(path: Path, encoding: str | None = None) -> tuple[str, str]:
    """Return the text of a file and its encoding: the named one, that of its byte order mark,
    UTF-8, UTF-16 without a mark, or else cp1252.

    Raises
    ------
    UserError
        If the bytes are of none of these, or the file is a cut gzip.
    """
    try:
        data = path.read_bytes()
        if path.suffix == ".gz":
            data = gzip.decompress(data)
    except (EOFError, gzip.BadGzipFile, zlib.error):
        raise UserError(f"{path}: damaged or cut gzip file. Copy it again") from None
    marked = [name for mark, name in MARKS.items() if data.startswith(mark)]
    wide = len(data) > 1 and data[:200].count(0) * 3 > len(data[:200])
    low = "utf-16-le" if data[1:2] == b"\0" else "utf-16-be"
    tried = [encoding] if encoding else [*marked, low] if wide else [*marked, "utf-8", "cp1252"]
    for name in tried:
        try:
            text = data.decode(name)
        except LookupError:
            raise UserError(
                f"corpus.gold.encoding={name}: no such encoding (utf-8, utf-16, cp1252, latin-1 "
                "...)"
            ) from None
        except UnicodeDecodeError:
            continue
        return text.removeprefix("\ufeff"), name
    raise UserError(
        f"{path}: its characters are not {' or '.join(map(str, tried))}. Name its encoding: "
        "corpus.gold.encoding=NAME, or save it as UTF-8"
    )


def _separated(
    path: Path, separator: str | None, encoding: str | None
) -> tuple[Look, Iterator[Row]]:
    text, codec = decoded(path, encoding)
    separator = separator or _separator(text, path)
    if len(separator) != 1:
        raise UserError(f"corpus.gold.separator={separator!r}: must be one character, such as ;")
    rows = _csv_rows(text, separator, path)
    header = next(rows, (1, []))[1]
    if not any(header):
        raise UserError(f"{path}: empty, a header line with the names of the columns was expected")
    names = check_header([name.strip() for name in header], path)

    def body() -> Iterator[Row]:
        for line, values in rows:
            while len(values) > len(names) and not values[-1].strip():
                values = values[:-1]
            if not any(value.strip() for value in values):
                continue
            if len(values) != len(names):
                raise UserError(
                    f"{path}, line {line}: {len(values)} columns where the header names "
                    f"{len(names)} ({listed(names)}). A {SEPARATORS.get(separator, separator)} in "
                    "a text needs quotation marks around the text"
                )
            yield line, dict(zip(names, values, strict=True))

    return Look("csv", codec, separator, tuple(names)), body()


def _csv_rows(text: str, separator: str, path: Path) -> Iterator[tuple[int, list[str]]]:
    csv.field_size_limit(2**31 - 1)
    plain = separator == "\t" and not _quotes(text)
    reader = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=separator,
        strict=True,
        quoting=csv.QUOTE_NONE if plain else csv.QUOTE_MINIMAL,
    )
    before = 0
    try:
        for values in reader:
            line, before = before + 1, reader.line_num
            yield line, values
    except csv.Error as error:
        raise UserError(
            f"{path}, line {reader.line_num}: not a {SEPARATORS.get(separator, separator)}-"
            f"separated table ({error})"
        ) from None


def _quotes(text: str) -> bool:
    """Return whether a tab-separated file quotes its fields, as Excel does, or a quotation mark in
    it is only a character, as in most TSV."""
    starts = sum(cell.startswith('"') for cell in _cells(text))
    ends = sum(cell.endswith('"') and len(cell) > 1 for cell in _cells(text))
    return bool(starts) and starts == ends


def _cells(text: str) -> Iterator[str]:
    for line in text.splitlines():
        yield from line.split("\t")


def _separator(text: str, path: Path) -> str:
    """Return the separator that cuts the first rows into the most columns, as many in each."""
    if path.with_suffix("").suffix == ".tsv" or path.suffix == ".tsv":
        return "\t"
    widths: dict[str, int] = {}
    for mark in SEPARATORS:
        counts: list[int] = []
        try:
            rows = csv.reader(io.StringIO(text, newline=""), delimiter=mark, strict=True)
            for values in rows:
                if values:
                    counts.append(len(values))
                if len(counts) == LOOKED_AT:
                    break
        except csv.Error:
            pass
        if counts and all(width == counts[0] for width in counts):
            widths[mark] = counts[0]
    best = max(widths, key=lambda mark: widths[mark], default=",")
    return best if widths.get(best, 0) > 1 else ","


def _listed(look: Look, rows: Iterator[Row]) -> tuple[Look, Iterator[Row]]:
    return look, rows


def _jsonl(path: Path) -> tuple[Look, Iterator[Row]]:
    def body() -> Iterator[Row]:
        yield from jsonl_rows(path)

    first = next(body(), (0, {}))[1]
    return Look("jsonl", None, None, tuple(map(str, first))), body()


def _json(path: Path) -> tuple[Look, Iterator[Row]]:
    value = json_of(path)
    if isinstance(value, Mapping):
        lists = [item for item in value.values() if isinstance(item, list)]
        value = lists[0] if len(lists) == 1 else value
    if not isinstance(value, list) or not all(isinstance(item, Mapping) for item in value):
        raise UserError(f"{path}: must be a JSON list of objects, one an example")
    first = value[0] if value else {}
    look = Look("json", None, None, tuple(map(str, first)))
    return look, iter(list(enumerate(value, start=1)))


def json_of(path: Path) -> Any:
    """Return the value of a JSON file.

    Raises
    ------
    UserError
        With the line where it is no JSON.
    """
    text, _ = decoded(path)
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(f"{path}, line {error.lineno}: not JSON ({error.msg})") from None
    except (RecursionError, ValueError):
        raise UserError(f"{path}: JSON that is nested too deeply, or a number too long") from None


def _parquet(path: Path) -> tuple[Look, Iterator[Row]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError):
        raise UserError(f"{path}: damaged, or not a Parquet file") from None
    rows = enumerate(table.to_pylist(), start=1)
    return Look("parquet", None, None, tuple(table.column_names)), iter(rows)


def _sheet(path: Path) -> tuple[Look, Iterator[Row]]:
    try:
        from python_calamine import CalamineError, CalamineWorkbook
    except ImportError:
        raise UserError(
            f"{path}: spreadsheets need python-calamine: pip install 'touchstone-nlp[formats]', or "
            "save the sheet as CSV"
        ) from None
    try:
        book = CalamineWorkbook.from_path(str(path))
        filled = [
            name
            for name in book.sheet_names
            if book.get_sheet_by_name(name).to_python(skip_empty_area=True)
        ]
        if len(filled) != 1:
            raise UserError(
                f"{path}: {len(filled)} sheets with rows; one was expected. Save the one to read "
                "as a file of its own"
            )
        values = book.get_sheet_by_name(filled[0]).to_python(skip_empty_area=False)
    except (CalamineError, OSError):
        raise UserError(f"{path}: damaged, encrypted, or not a spreadsheet") from None
    while values and not any(cell not in ("", None) for cell in values[0]):
        values = values[1:]  # empty rows above the header
    names = check_header([str(name).strip() for name in values[0]], path)
    rows = [
        (line, {name: cell for name, cell in zip(names, row, strict=True) if name})
        for line, row in enumerate(values[1:], start=2)
        if any(cell not in ("", None) for cell in row)
    ]
    return Look("xlsx", None, None, tuple(name for name in names if name)), iter(rows)
