"""Regular expressions of users: compiled once, and searched in bounded time.

`(a+)+$` takes longer than the universe lasts for a line of forty a's. A search that has computed
for `LIMIT_S` seconds ends in one line that names the key and the expression. The limit counts the
processor time of this process and needs its main thread, where notes and labels are read; elsewhere
a search is not bounded. Does not change what an expression means.
"""

from __future__ import annotations

import re
import signal
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from touchstone.errors import UserError

LIMIT_S = 20  # processor time of one search; a whole NOTEEVENTS row takes microseconds


class _Late(Exception):
    """The limit has passed."""


@lru_cache(maxsize=64)
def compiled(pattern: str, key: str, flags: int = 0) -> re.Pattern[str]:
    """Return the compiled expression that the configuration key names.

    Raises
    ------
    UserError
        If it is no regular expression.
    """
    try:
        return re.compile(pattern, flags)
    except (re.error, OverflowError, RecursionError) as error:
        raise UserError(f"{key}: not a regular expression: {error}") from error


def search(pattern: re.Pattern[str], text: str, key: str) -> re.Match[str] | None:
    """Search one text; see `searched`."""
    return next(_matches(pattern, (text,), key))


def searched(pattern: re.Pattern[str], texts: Iterable[str], key: str) -> list[bool]:
    """Return for each text whether the expression is found in it.

    Raises
    ------
    UserError
        If one text takes longer than `LIMIT_S`.
    """
    return [match is not None for match in _matches(pattern, texts, key)]


def _matches(
    pattern: re.Pattern[str], texts: Iterable[str], key: str
) -> Iterator[re.Match[str] | None]:
    with _clock() as wind:
        for text in texts:
            wind(LIMIT_S)
            try:
                match = pattern.search(text)
            except _Late:
                raise UserError(
                    f"{key}={pattern.pattern}: takes more than {LIMIT_S} s for one text of "
                    f"{len(text)} characters. Write it without a repetition inside a repetition, "
                    "as in (a+)+ or (a|a)*"
                ) from None
            finally:
                wind(0)
            yield match


@contextmanager
def _clock() -> Iterator[Any]:
    """Give a function that sets the seconds after which `_Late` is raised; 0 stops it."""
    if threading.current_thread() is not threading.main_thread():
        yield lambda seconds: None
        return

    def late(*_: object) -> None:
        raise _Late

    before = signal.signal(signal.SIGVTALRM, late)
    try:
        yield lambda seconds: signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
