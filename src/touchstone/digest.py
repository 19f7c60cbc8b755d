"""Content digests: the same content has the same digest on every machine, in any row order, under
any pandas version.

A digest names datasets, requests, stages and cells. Canonical form: JSON with sorted keys, no
spaces, UTF-8, NFC not applied (text is data, not to be normalised). Not a defence against an
attacker who can write the store.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any


def canonical(value: Any) -> str:
    """Return the canonical JSON text of plain data; NaN becomes null, tuples become lists.

    Raises
    ------
    TypeError
        If the value holds anything but dict, list, tuple, str, int, float, bool and None.
    """
    return json.dumps(
        _plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def digest(value: Any) -> str:
    """Return the sha256 of the canonical form of plain data, as 64 hex digits."""
    return hashlib.sha256(canonical(value).encode("utf-8", "surrogatepass")).hexdigest()


def digest_rows(rows: Iterable[Mapping[str, Any]]) -> str:
    """Return the digest of a table as a multiset of rows (string keys throughout): row order does
    not count, repeated rows do."""
    lines = sorted(
        hashlib.sha256(_row(row).encode("utf-8", "surrogatepass")).hexdigest() for row in rows
    )
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def digest_columns(frame: Any, columns: Sequence[str]) -> str:
    """As `digest_rows` for columns of a data frame, in half the time: its `to_dict("records")`
    takes as long as the digest."""
    values = zip(*(frame[name].tolist() for name in columns), strict=True)
    return digest_rows(dict(zip(columns, row, strict=True)) for row in values)


def digest_file(path: str | Path) -> str:
    """Return the sha256 of a file's bytes, read in blocks."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


_encode = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
).encode


def _row(row: Mapping[str, Any]) -> str:
    """As `canonical`, in a third of the time where nothing needs to be made plain first: a sweep
    does this for every sentence."""
    try:
        return _encode(row)
    except (TypeError, ValueError):
        return canonical(dict(row))


def digest_input(path: str | Path) -> str:
    """As `digest_file`, remembered by this process while size and time of change stay: corpora of
    gigabytes are read once.

    A file changed in the last two seconds is not remembered, since the clock of a file system ticks
    coarsely.
    """
    stat = Path(path).stat()
    key = (str(Path(path).absolute()), stat.st_ino, stat.st_size, stat.st_mtime_ns)
    if key in _inputs:
        return _inputs[key]
    value = digest_file(path)
    if time.time() - stat.st_mtime > 2:
        _inputs[key] = value
    return value


_inputs: dict[tuple[str, int, int, int], str] = {}


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, (str, bool)):
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):  # numpy scalars and arrays, without importing numpy here
        return _plain(value.tolist())
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return None if math.isnan(value) else value
    raise TypeError(f"cannot digest a value of type {type(value).__name__}")
