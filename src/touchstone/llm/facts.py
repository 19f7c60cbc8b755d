"""What is known about an endpoint: what it was found to support, and when the next request may be
sent. Shared by all processes of a response store.

A fact counts once two observations in a row agree, and expires after `FACT_DAYS`: one odd answer
must not change how an endpoint is asked for good. Rates run on the machine's monotonic clock, so
that a clock set back stalls nothing. Does not observe anything: the backends do.
"""

from __future__ import annotations

import time
from functools import lru_cache
from pathlib import Path

from touchstone.llm.protocol import normal_endpoint
from touchstone.llm.store import Store

FACT_DAYS = 7.0
AGREEING = 2  # observations


def fact(store: Store, endpoint: str, model: str, name: str) -> str | None:
    """Return what was found out about an endpoint, None where it was not seen often enough or too
    long ago."""
    row = store.db.execute(
        "SELECT value, seen, at FROM facts WHERE endpoint = ? AND model = ? AND name = ?",
        (normal_endpoint(endpoint), model, name),
    ).fetchone()
    if row is None or row[1] < AGREEING or abs(time.time() - row[2]) > FACT_DAYS * 86_400:
        return None
    return str(row[0])


def observe(store: Store, endpoint: str, model: str, name: str, value: str) -> str | None:
    """Note an observation; return the fact, None while observations do not agree."""
    place = (normal_endpoint(endpoint), model, name)
    with store.writing():
        row = store.db.execute(
            "SELECT value, seen FROM facts WHERE endpoint = ? AND model = ? AND name = ?", place
        ).fetchone()
        count = row[1] + 1 if row is not None and row[0] == value else 1
        store.db.execute(
            "INSERT OR REPLACE INTO facts (endpoint, model, name, value, seen, at) "
            "VALUES (?,?,?,?,?,?)",
            (*place, value, count, time.time()),
        )
    return value if count >= AGREEING else None


def reserve(store: Store, endpoint: str, model: str, name: str, seconds: float) -> float:
    """Take `seconds` of a rate that all processes share; return how many seconds from now they
    begin.

    A rate of n per minute is a queue in which each takes 60/n seconds, so nothing is sent in
    bursts. Negative seconds give back.
    """
    now = time.monotonic()
    place = (normal_endpoint(endpoint), model, f"{name}/{_boot()}")
    with store.writing():
        row = store.db.execute(
            "SELECT free_at FROM rates WHERE endpoint = ? AND model = ? AND name = ?", place
        ).fetchone()
        start = max(now, row[0]) if row else now
        store.db.execute(
            "INSERT OR REPLACE INTO rates (endpoint, model, name, free_at) VALUES (?,?,?,?)",
            (*place, start + seconds),
        )
    return float(start - now)


@lru_cache(maxsize=1)
def _boot() -> str:
    """Name this start of the machine: its monotonic clock begins anew with each."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        import psutil

        return str(round(psutil.boot_time() / 60))
