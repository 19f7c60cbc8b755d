"""Errors that a user can mend, and how any error is told to a person: one line that says what,
where, and what to do.

Does not catch anything itself: the entry points (`console.py`, `cli.py`) print these, everything
else raises them. Text of a note never stands in a message: name the file, the line, the id or a
digest.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

TOLD = 5  # exports told one by one


class UserError(Exception):
    """A mistake or a missing thing that the user can mend; printed as one line, without a
    traceback."""


class PendingRequests(UserError):
    """Requests were exported and wait for answers: the command did what it was asked, but the cell
    cannot go on yet.

    Attributes
    ----------
    paths : the files written.
    n : requests in them.
    """

    def __init__(self, message: str, paths: Sequence[Path] = (), n: int = 0) -> None:
        super().__init__(message)
        self.paths, self.n = tuple(paths), n

    @classmethod
    def merged(cls, stops: Sequence[PendingRequests]) -> PendingRequests:
        """Return one stop for those of several stages, or of the parts of one."""
        paths, n = [path for stop in stops for path in stop.paths], sum(stop.n for stop in stops)
        if len(stops) <= TOLD:
            return cls("\n".join(map(str, stops)), paths, n)
        return cls(
            f"{n} requests in all, in {len(paths)} files. Of the first: {stops[0]}", paths, n
        )


class MissingRecording(UserError):
    """A request is not in the recording that was to be replayed. The cell is missing, not wrong.

    Attributes
    ----------
    keys, n : of the requests that are missing, and how many.
    stage : which stage asked.
    """

    def __init__(self, message: str, keys: Sequence[str] = (), stage: str = "") -> None:
        super().__init__(message)
        self.keys, self.n, self.stage = list(keys), len(keys), stage


class EstimateOnly(UserError):
    """`llm.estimate_only=true`: the cost was estimated, nothing was sent.

    Attributes
    ----------
    estimate : the estimates by stage, as `llm.budget` made them.
    """

    def __init__(self, message: str, estimate: Any = None) -> None:
        super().__init__(message)
        self.estimate = estimate

    @classmethod
    def merged(cls, stops: Sequence[EstimateOnly]) -> EstimateOnly:
        """Return one stop for those of several stages."""
        return cls("\n".join(str(stop) for stop in stops), [stop.estimate for stop in stops])


class BudgetExceeded(UserError):
    """The next request could pass `llm.budget_usd`; everything answered so far is kept."""


def no_such(kind: str, found: str, choices: Iterable[str]) -> str:
    """Say that `found` is no `kind`, guess what was meant, and list what there is.

    >>> no_such("mixture", "gold_slver", ["gold", "gold_silver"])
    'no mixture "gold_slver". Did you mean gold_silver? There are: gold, gold_silver'
    """
    choices = sorted(choices)
    close = difflib.get_close_matches(found, choices, n=1, cutoff=0.6)
    guess = f" Did you mean {close[0]}?" if close else ""
    return f'no {kind} "{found}".{guess} There are: {", ".join(choices)}'
