"""The response store: every answer that was ever paid for, by the digest of its request, in one
SQLite file.

    responses  one row for each answered request; errors are never stored
    claims     who is asking what right now (leases.py)
    batches    what was submitted to a Batch API (backends/batches.py)
    spend      tokens for each endpoint and model, for the budget and for better estimates
    rates      when the next request may be sent (facts.py)
    facts      what an endpoint was found to support (facts.py)

WAL with synchronous=NORMAL: a killed process loses nothing that was written, and readers never
wait. The file is 0600 in a 0700 folder, since answers and requests may hold text of restricted
corpora. Its version is checked before anything is sent (store_schema.py). Needs a local disk:
SQLite's WAL does not work over NFS.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from touchstone.errors import UserError
from touchstone.llm.answers import ERROR, NO_ANSWER
from touchstone.llm.protocol import Request, Response, normal_endpoint
from touchstone.llm.store_schema import prepare
from touchstone.private import FILE, close_to_others, private_folder

log = logging.getLogger(__name__)

_ESCAPED = re.compile("[\udc80-\udcff]")  # bytes that are no text
_CHUNK = 500  # keys per query
_COLUMNS = "key, text, finish_reason, model, usage, fingerprint, latency_s, tries, created"
_ALL_COLUMNS = f"{_COLUMNS}, endpoint, asked_model, stage, restricted, request"


@dataclass(frozen=True)
class Kept:
    """A stored answer with the request that it answers; `request` is None where only its digest was
    imported."""

    response: Response
    endpoint: str
    asked_model: str
    stage: str
    restricted: bool
    request: Mapping[str, Any] | None


class Store:
    """An open response store.

    Parameters
    ----------
    folder : created 0700 where absent; the file in it is `responses.sqlite`.

    Raises
    ------
    UserError
        If the folder or the file cannot be written, or the file is no store.
    """

    def __init__(self, folder: str | Path):
        self.path = Path(folder) / "responses.sqlite"
        try:
            private_folder(self.path.parent)
            # before SQLite would make it readable to others
            os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, FILE))
            if any([close_to_others(self.path.parent), close_to_others(self.path)]):
                log.warning("the response store %s was open to others; it is 0600 again", self.path)
            self.db = sqlite3.connect(
                self.path, timeout=60, isolation_level=None, check_same_thread=False
            )
            # a damaged byte must not end in a message of SQLite that quotes the text
            self.db.text_factory = lambda raw: raw.decode("utf-8", "surrogateescape")
            self.db.execute("PRAGMA journal_mode=WAL")
            self.db.execute("PRAGMA synchronous=NORMAL")
            prepare(self.db, self.path)
        except OSError as error:
            raise UserError(
                f"cannot write the response store {self.path}: {error.strerror}; set paths.cache "
                "to a folder you own"
            ) from error
        except sqlite3.Error as error:
            raise UserError(
                f"cannot open the response store {self.path}: {error}; set paths.cache to another "
                "folder"
            ) from error

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self.db.close()

    def __len__(self) -> int:
        return self.db.execute("SELECT count(*) FROM responses").fetchone()[0]

    def get(self, keys: Iterable[str]) -> dict[str, Response]:
        """Return the stored responses among `keys`."""
        responses = {}
        for chunk in chunks(list(keys)):
            marks = ",".join("?" * len(chunk))
            query = f"SELECT {_COLUMNS} FROM responses WHERE key IN ({marks})"
            for row in self.db.execute(query, chunk).fetchall():
                if response := self._whole(row):
                    responses[response.key] = response
        return responses

    def _whole(self, row: Sequence[Any]) -> Response | None:
        """Return a row as a response; None where it is an error that an earlier version kept, or
        bytes that are no text, both of which are removed."""
        response = None
        with suppress(ValueError):
            response = _response(row)
            if not _ESCAPED.search(response.text) and response.finish_reason not in NO_ANSWER:
                return response
        if response is not None and response.text and response.finish_reason in NO_ANSWER - ERROR:
            return response
        log.warning(
            "%s: answer %s is damaged or an error; it is asked again", self.path, row[0].hex()[:12]
        )
        with self.writing():
            self.db.execute("DELETE FROM responses WHERE key = ?", (row[0],))
        return None

    def missing(self, keys: Iterable[str]) -> list[str]:
        """Return the keys, in order, that have no stored response."""
        keys, known = list(keys), set[str]()
        for chunk in chunks(keys):
            marks = ",".join("?" * len(chunk))
            known.update(
                row[0].hex()
                for row in self.db.execute(
                    f"SELECT key FROM responses WHERE key IN ({marks})", chunk
                )
            )
        return [key for key in keys if key not in known]

    def put(
        self,
        response: Response,
        *,
        endpoint: str,
        model: str,
        request: Request | Mapping[str, Any] | None,
        stage: str = "",
        restricted: bool = False,
        tokens: Mapping[str, int] | None = None,
        batch: bool = False,
        replace: bool = False,
    ) -> bool:
        """Write an answer, end its claim, and add its tokens to the spend; return False if one was
        there already.

        Parameters
        ----------
        endpoint, model : as asked, not as served.
        request : what was asked, for exports; None where only the digest is known.
        tokens : prompt_tokens, cached_tokens, completion_tokens and estimated_tokens, if the answer
            was paid for now.
        batch : whether it was asked at the batch price.
        replace : whether it takes the place of one that is there, which could not be used.
        """
        endpoint = normal_endpoint(endpoint)
        key = bytes.fromhex(response.key)
        row = (
            key,
            response.text,
            response.finish_reason,
            response.model,
            json.dumps(dict(response.usage)),
            response.fingerprint,
            response.latency_s,
            response.tries,
            response.created,
            endpoint,
            model,
            stage,
            int(restricted),
            pack(request),
        )
        marks = ",".join("?" * len(row))
        with self.writing():
            verb = "REPLACE" if replace else "IGNORE"
            new = (
                self.db.execute(
                    f"INSERT OR {verb} INTO responses ({_ALL_COLUMNS}) VALUES ({marks})", row
                ).rowcount
                == 1
            )
            self.db.execute("DELETE FROM claims WHERE key = ?", (key,))
            if tokens is not None and (
                new or not batch
            ):  # two processes may collect the same batch, which is paid for once
                counts = [
                    tokens.get(name, 0)
                    for name in (
                        "prompt_tokens",
                        "cached_tokens",
                        "completion_tokens",
                        "estimated_tokens",
                    )
                ]
                self.db.execute(
                    "INSERT INTO spend (endpoint, model, batch, requests, prompt_tokens, "
                    "cached_tokens, completion_tokens, estimated_tokens) VALUES (?,?,?,1,?,?,?,?) "
                    "ON CONFLICT DO UPDATE SET requests = requests + 1, "
                    "prompt_tokens = prompt_tokens + excluded.prompt_tokens, cached_tokens = "
                    "cached_tokens + excluded.cached_tokens, "
                    "completion_tokens = completion_tokens + excluded.completion_tokens, "
                    "estimated_tokens = estimated_tokens + excluded.estimated_tokens",
                    (endpoint, model, int(batch), *counts),
                )
        return new

    def rows(
        self, *, stage: str | None = None, endpoint: str | None = None, model: str | None = None
    ) -> Iterator[Kept]:
        """Yield every stored answer in the order of writing, or those of one stage, endpoint or
        asked model."""
        conditions = {"stage": stage, "endpoint": endpoint, "asked_model": model}
        clauses = [f"{name} = ?" for name, value in conditions.items() if value is not None]
        where = f" WHERE {' AND '.join(clauses)}" if clauses else ""
        values = [value for value in conditions.values() if value is not None]
        query = (
            f"SELECT {_COLUMNS}, endpoint, asked_model, stage, restricted, request FROM "
            f"responses{where} ORDER BY rowid"
        )
        for row in self.db.execute(query, values):
            yield Kept(_response(row[:9]), row[9], row[10], row[11], bool(row[12]), unpack(row[13]))

    def spent(self, endpoint: str, model: str) -> list[dict[str, int]]:
        """Return the tokens ever paid for at an endpoint for a model: one dict for online, one for
        batch, those that there are."""
        names = (
            "batch",
            "requests",
            "prompt_tokens",
            "cached_tokens",
            "completion_tokens",
            "estimated_tokens",
        )
        query = f"SELECT {', '.join(names)} FROM spend WHERE endpoint = ? AND model = ?"
        return [
            dict(zip(names, row, strict=True))
            for row in self.db.execute(query, (normal_endpoint(endpoint), model))
        ]

    @contextmanager
    def writing(self) -> Iterator[None]:
        try:
            self.db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self.db.execute("ROLLBACK")
                raise
            self.db.execute("COMMIT")
        except sqlite3.Error as error:
            raise UserError(
                f"cannot write the response store {self.path}: {error}; answers stored so far are "
                "kept"
            ) from error


def pack(request: Request | Mapping[str, Any] | None) -> bytes | None:
    """Return what was asked as compressed JSON: messages, schema, params, sample."""
    if request is None:
        return None
    plain = as_plain(request) if isinstance(request, Request) else dict(request)
    return zlib.compress(
        json.dumps(plain, ensure_ascii=False, separators=(",", ":")).encode(
            "utf-8", "surrogatepass"
        ),
        1,
    )


def unpack(packed: bytes | None) -> dict[str, Any] | None:
    """Return what `pack` packed."""
    return (
        None
        if packed is None
        else json.loads(zlib.decompress(packed).decode("utf-8", "surrogatepass"))
    )


def as_plain(request: Request) -> dict[str, Any]:
    """Return the parts of a request that its key covers, as plain data, without those that are
    None."""
    return {
        "messages": [dict(message) for message in request.messages],
        "schema": None if request.schema is None else dict(request.schema),
        "params": {name: value for name, value in request.params.items() if value is not None},
        "sample": request.sample,
    }


def _response(row: Sequence[Any]) -> Response:
    return Response(
        row[0].hex(), row[1], row[2], row[3], json.loads(row[4]), row[5], row[6], row[7], row[8]
    )


def chunks(keys: list[str]) -> Iterator[list[bytes]]:
    for start in range(0, len(keys), _CHUNK):
        yield [bytes.fromhex(key) for key in keys[start : start + _CHUNK]]
