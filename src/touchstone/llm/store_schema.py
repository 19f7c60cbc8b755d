"""The tables of the response store, their version, and how older stores are brought forward.

A store of an older version is copied aside (`responses-version-N.sqlite`, 0600) and then changed;
one of a newer version is refused before anything is sent, since its answers could not be kept. Does
not read or write answers: store.py does.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from touchstone.errors import UserError
from touchstone.llm.answers import NO_ANSWER
from touchstone.llm.protocol import normal_endpoint
from touchstone.private import FILE

VERSION = 2  # 1: without a number; 2: endpoints in one spelling, facts observed twice
TABLES = {
    "responses": """
        key BLOB PRIMARY KEY, text TEXT NOT NULL, finish_reason TEXT NOT NULL DEFAULT 'stop',
        model TEXT NOT NULL DEFAULT '', usage TEXT NOT NULL DEFAULT '{}',
        fingerprint TEXT NOT NULL DEFAULT '', latency_s REAL, tries INTEGER NOT NULL DEFAULT 1,
        created TEXT NOT NULL DEFAULT '', endpoint TEXT NOT NULL DEFAULT '',
        asked_model TEXT NOT NULL DEFAULT '', stage TEXT NOT NULL DEFAULT '',
        restricted INTEGER NOT NULL DEFAULT 1, request BLOB""",
    "claims": """
        key BLOB PRIMARY KEY, owner TEXT NOT NULL, heard REAL NOT NULL,
        reserved_usd REAL NOT NULL DEFAULT 0""",
    "batches": """
        token TEXT PRIMARY KEY, batch_id TEXT, endpoint TEXT NOT NULL DEFAULT '',
        model TEXT NOT NULL DEFAULT '', owner TEXT NOT NULL DEFAULT '',
        heard REAL NOT NULL DEFAULT 0, reserved_usd REAL NOT NULL DEFAULT 0""",
    "batch_keys": "key BLOB PRIMARY KEY, token TEXT NOT NULL",
    "spend": """
        endpoint TEXT, model TEXT, batch INTEGER, requests INTEGER DEFAULT 0,
        prompt_tokens INTEGER DEFAULT 0, cached_tokens INTEGER DEFAULT 0,
        completion_tokens INTEGER DEFAULT 0, estimated_tokens INTEGER DEFAULT 0,
        PRIMARY KEY (endpoint, model, batch)""",
    "rates": """
        endpoint TEXT, model TEXT, name TEXT, free_at REAL, PRIMARY KEY (endpoint, model, name)""",
    "facts": """
        endpoint TEXT, model TEXT, name TEXT, value TEXT, seen INTEGER NOT NULL DEFAULT 1,
        at REAL NOT NULL DEFAULT 0, PRIMARY KEY (endpoint, model, name)""",
}
_SPENT = ("requests", "prompt_tokens", "cached_tokens", "completion_tokens", "estimated_tokens")


def prepare(db: sqlite3.Connection, path: Path) -> None:
    """Bring an open store to this version.

    Raises
    ------
    UserError
        If it is of a newer version; nothing is changed then.
    """
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version > VERSION:
        raise UserError(
            f"the response store {path} is of version {version}, written by a newer touchstone; "
            f"this one keeps version {VERSION}. Nothing was sent. Update touchstone, or set "
            "paths.cache to another folder"
        )
    if version == VERSION:
        return
    db.execute("BEGIN IMMEDIATE")
    try:
        if db.execute("PRAGMA user_version").fetchone()[0] < VERSION:  # another process may be done
            if _columns(db, "responses"):
                _copy(path, max(version, 1))
            _migrate(db)
            db.execute(f"PRAGMA user_version = {VERSION}")
        db.execute("COMMIT")
    except BaseException:
        db.execute("ROLLBACK")
        raise


def _migrate(db: sqlite3.Connection) -> None:
    for table, columns in TABLES.items():
        there = _columns(db, table)
        if not there:
            db.execute(f"CREATE TABLE {table} ({columns})")
            continue
        scratch = sqlite3.connect(":memory:")
        scratch.execute(f"CREATE TABLE {table} ({columns})")
        for _, name, kind, required, default, _ in scratch.execute(f"PRAGMA table_info({table})"):
            if name not in there:
                value = "" if default is None else f" {'NOT NULL' * required} DEFAULT {default}"
                db.execute(f"ALTER TABLE {table} ADD COLUMN {name} {kind}{value}")
        scratch.close()
    marks = ",".join("?" * len(NO_ANSWER))
    db.execute(
        "DELETE FROM responses WHERE finish_reason = 'error' OR (text = '' AND finish_reason IN "
        f"({marks}))",
        sorted(NO_ANSWER),
    )
    db.execute("DELETE FROM facts")  # one observation each: found out again
    db.execute("DELETE FROM rates")  # clocks of another kind
    for endpoint, model, batch, *counts in db.execute("SELECT * FROM spend").fetchall():
        normal = normal_endpoint(endpoint or "")
        if normal == endpoint:
            continue
        db.execute(
            "DELETE FROM spend WHERE endpoint IS ? AND model IS ? AND batch IS ?",
            (endpoint, model, batch),
        )
        sums = ", ".join(f"{name} = {name} + excluded.{name}" for name in _SPENT)
        db.execute(
            f"INSERT INTO spend (endpoint, model, batch, {', '.join(_SPENT)}) "
            f"VALUES (?,?,?,?,?,?,?,?) ON CONFLICT DO UPDATE SET {sums}",
            (normal, model, batch, *counts[: len(_SPENT)]),
        )
    for token, endpoint in db.execute("SELECT token, endpoint FROM batches").fetchall():
        db.execute(
            "UPDATE batches SET endpoint = ? WHERE token = ?", (normal_endpoint(endpoint), token)
        )


def _columns(db: sqlite3.Connection, table: str) -> set[str]:
    return {row[1] for row in db.execute(f"PRAGMA table_info({table})")}


def _copy(path: Path, version: int) -> None:
    """Copy a store aside, whole, with what stands in its journal."""
    aside = path.with_name(f"responses-version-{version}.sqlite")
    if aside.exists():
        return
    os.close(os.open(aside, os.O_CREAT | os.O_WRONLY | os.O_EXCL, FILE))
    source, target = sqlite3.connect(path), sqlite3.connect(aside)
    try:
        source.backup(target)
    finally:
        source.close()
        target.close()
