"""Who is asking what right now, so that two processes asking the same make one call.

A claim falls when its owner answers or fails, when it dies (on the same machine: at once), or when
nothing was heard of it for `CLAIM_S` seconds. Claims also reserve money: what is in flight, in
whichever process, counts against the budget before it is spent. Stands in the response store's
file; an answer that is written ends its claim in the same transaction (store.py).
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache

from touchstone.llm.store import Store, chunks

CLAIM_S = 30.0  # seconds without a heartbeat after which another machine's claim falls


def claim(
    store: Store,
    wanted: Sequence[tuple[str, float]],
    owner: str,
    room: Callable[[], float] | None = None,
) -> tuple[list[str], list[str], bool]:
    """Claim keys that nobody has answered or is asking.

    Parameters
    ----------
    wanted : key and the most that its request can cost.
    owner : from `new_owner`.
    room : returns the money (USD) left, claims that are open now not deducted; asked while nobody
        else can write. None = no limit. Keys that do not fit are not claimed.

    Returns
    -------
    claimed : keys that are now ours.
    elsewhere : keys that another live process is asking, or that were answered meanwhile.
    full : whether the money stopped the claiming.
    """
    claimed: list[str] = []
    elsewhere: list[str] = []
    now = time.time()
    with store.writing():
        room_usd = None if room is None else room() - _reserved(store, now)
        for key, cost in wanted:
            packed = bytes.fromhex(key)
            if store.db.execute("SELECT 1 FROM responses WHERE key = ?", (packed,)).fetchone():
                elsewhere.append(key)
                continue
            held = store.db.execute(
                "SELECT owner, heard FROM claims WHERE key = ?", (packed,)
            ).fetchone()
            if held is not None and held[0] != owner and alive(held[0], held[1], now):
                elsewhere.append(key)
                continue
            if room_usd is not None and cost > room_usd:
                return claimed, elsewhere, True
            store.db.execute(
                "INSERT OR REPLACE INTO claims (key, owner, heard, reserved_usd) VALUES (?,?,?,?)",
                (packed, owner, now, cost),
            )
            claimed.append(key)
            if room_usd is not None:
                room_usd -= cost
    return claimed, elsewhere, False


def release(store: Store, owner: str, keys: Iterable[str] | None = None) -> None:
    """Give claims up, so that others may ask; None = all of the owner."""
    with store.writing():
        if keys is None:
            store.db.execute("DELETE FROM claims WHERE owner = ?", (owner,))
        else:
            store.db.executemany(
                "DELETE FROM claims WHERE key = ? AND owner = ?",
                [(bytes.fromhex(key), owner) for key in keys],
            )


def heartbeat(store: Store, owner: str) -> None:
    """Say that the owner of claims is alive."""
    with store.writing():
        store.db.execute("UPDATE claims SET heard = ? WHERE owner = ?", (time.time(), owner))


def elsewhere(store: Store, keys: Iterable[str], owner: str) -> set[str]:
    """Return the keys that another live process is asking."""
    now, held = time.time(), set()
    for chunk in chunks(list(keys)):
        marks = ",".join("?" * len(chunk))
        for key, other, heard in store.db.execute(
            f"SELECT key, owner, heard FROM claims WHERE key IN ({marks})", chunk
        ):
            if other != owner and alive(other, heard, now):
                held.add(key.hex())
    return held


def new_owner() -> str:
    """Return a name for one call of this process: machine, process id, time it started, and a token
    that no other call has."""
    import psutil

    return json.dumps(
        [_machine(), os.getpid(), psutil.Process().create_time(), secrets.token_hex(8)]
    )


def alive(owner: str, heard: float, now: float) -> bool:
    """Tell whether a call that was last heard of at `heard` (seconds since the epoch) still runs.

    Clocks of two machines need not agree: what counts is that its heartbeat changes while we look,
    by our own monotonic clock. So nothing is waited for longer than the limit after its last beat.
    """
    machine, pid, started, _ = _parts(owner)
    limit = CLAIM_S if machine != _machine() else 10 * CLAIM_S
    if now - heard > limit:
        return False
    last, since = _heard.get(owner, (None, 0.0))
    if last != heard:
        _heard[owner] = (heard, time.monotonic())
    elif time.monotonic() - since > limit:
        return False
    if machine != _machine() or pid == os.getpid():
        return True
    import psutil

    try:
        return (
            abs(psutil.Process(pid).create_time() - started) < 1
            and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
        )
    except psutil.Error:
        return False


def shown(owner: str) -> str:
    """Return who holds a claim, for a message: process and machine."""
    machine, pid, *_ = _parts(owner)
    return f"process {pid} on {str(machine).partition('/')[0]}"


def holders(store: Store, keys: Iterable[str]) -> list[str]:
    """Return who is asking these keys, for a message."""
    names: set[str] = set()
    for chunk in chunks(list(keys)):
        marks = ",".join("?" * len(chunk))
        query = f"SELECT DISTINCT owner FROM claims WHERE key IN ({marks})"
        names.update(shown(row[0]) for row in store.db.execute(query, chunk))
    return sorted(names)


_heard: dict[str, tuple[float | None, float]] = {}  # owner -> heartbeat, when it was first seen


def _parts(owner: str) -> tuple[str, int, float, str]:
    """Return machine, process id, start and token of an owner; of what cannot be read, nobody's."""
    try:
        machine, pid, started, token = json.loads(owner)
        return str(machine), int(pid), float(started), str(token)
    except (ValueError, TypeError):
        return "unknown", -1, 0.0, ""


def _reserved(store: Store, now: float) -> float:
    """Return the most that the claims which are open now can cost."""
    rows = store.db.execute("SELECT reserved_usd, owner, heard FROM claims WHERE reserved_usd > 0")
    return sum((float(cost) for cost, owner, heard in rows if alive(owner, heard, now)), 0.0)


@lru_cache(maxsize=1)
def _machine() -> str:
    """Name the machine and its process-id space: the same pid in two containers is not the same
    process."""
    try:
        space = os.readlink("/proc/self/ns/pid")
    except OSError:
        space = ""
    return f"{socket.gethostname()}/{space}"
