"""Batches that were submitted and the requests in them, so that a restart collects them and submits
nothing twice.

A batch is noted under a token of ours before it is created; its id is noted after. A process that
dies in between leaves a batch without an id, which the next one looks for by the token. Stands in
the response store's file.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from touchstone.llm.leases import alive
from touchstone.llm.store import Store


@dataclass(frozen=True)
class Batch:
    """A batch that is open: its token (ours), its id (theirs; None until it was submitted), its
    keys, whether who opened it lives."""

    token: str
    batch_id: str | None
    keys: tuple[str, ...]
    alive: bool
    reserved_usd: float


def begin(
    store: Store,
    token: str,
    keys: Sequence[str],
    endpoint: str,
    model: str,
    owner: str,
    reserved_usd: float,
) -> list[str]:
    """Note that a batch is about to be submitted; return the keys that are not answered and in no
    other batch, which are now in it."""
    taken = []
    with store.writing():
        for key in keys:
            packed = bytes.fromhex(key)
            if not store.db.execute("SELECT 1 FROM responses WHERE key = ?", (packed,)).fetchone():
                if store.db.execute(
                    "INSERT OR IGNORE INTO batch_keys VALUES (?,?)", (packed, token)
                ).rowcount:
                    taken.append(key)
        if taken:
            row = (token, None, endpoint, model, owner, time.time(), reserved_usd)
            store.db.execute("INSERT INTO batches VALUES (?,?,?,?,?,?,?)", row)
    return taken


def name(store: Store, token: str, batch_id: str) -> None:
    """Note the id under which a batch was submitted."""
    with store.writing():
        store.db.execute("UPDATE batches SET batch_id = ? WHERE token = ?", (batch_id, token))


def orphan(store: Store, token: str) -> None:
    """Note that a submission was interrupted: whether the batch was created is for the next look to
    find out."""
    with store.writing():
        store.db.execute("UPDATE batches SET heard = 0 WHERE token = ?", (token,))


def close(store: Store, token: str) -> None:
    """Forget a batch that was collected or never submitted."""
    with store.writing():
        store.db.execute("DELETE FROM batch_keys WHERE token = ?", (token,))
        store.db.execute("DELETE FROM batches WHERE token = ?", (token,))


def running(store: Store, endpoint: str, model: str) -> list[Batch]:
    """Return the batches that are open at an endpoint for a model."""
    query = (
        "SELECT token, batch_id, owner, heard, reserved_usd FROM batches WHERE endpoint = ? AND "
        "model = ?"
    )
    now, batches = time.time(), []
    for token, batch_id, owner, heard, reserved in store.db.execute(
        query, (endpoint, model)
    ).fetchall():
        keys = [
            row[0].hex()
            for row in store.db.execute("SELECT key FROM batch_keys WHERE token = ?", (token,))
        ]
        batches.append(Batch(token, batch_id, tuple(keys), alive(owner, heard, now), reserved))
    return batches
