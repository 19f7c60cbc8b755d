"""Ids of notes, documents and patients as text, as a table holds them.

Leading zeros are kept, white space around an id is not part of it, and a number with a fraction of
zero (a column that some tool read as float) is told and read without it. Two ids that differ only
in form (`001` and `1`, `P3` and `p3`) have one `form`: data/people.py asks for it.
"""

from __future__ import annotations

import logging
import re
from typing import Any

from touchstone.data.files import LONGEST_ID
from touchstone.errors import UserError

NUMBER = re.compile(r"0*(\d+)(?:\.0*)?")
log = logging.getLogger(__name__)


class Ids:
    """Reads one id column; says once that it holds numbers with fractions."""

    def __init__(self, column: str, key: str) -> None:
        self.column, self.key, self.floats = column, key, 0

    def read(self, value: Any, where: str) -> str:
        """Return the id of one row.

        Raises
        ------
        UserError
            If it is empty, longer than an id, of several lines, or neither text nor a whole number.
        """
        if isinstance(value, float) and value.is_integer():
            if not self.floats:
                log.warning(
                    '%s: the column "%s" holds numbers with a fraction (1.0), as where empty cells '
                    "made a program read ids as measurements; they are read as 1, 2, ...",
                    where,
                    self.column,
                )
            self.floats += 1
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, (str, int)) or not str(value).strip():
            raise UserError(
                f'{where}: the column "{self.column}" must hold a name or a whole number in every '
                f"row. Where there is none: {self.key}=null"
            )
        text = str(value).strip()
        if len(text) > LONGEST_ID or len(text.splitlines()) > 1:
            raise UserError(
                f'{where}: field "{self.column}" must be an id, at most {LONGEST_ID} characters in '
                f"one line. Name the one to read: {self.key}=FIELD"
            )
        return text


def form(found: str) -> str:
    """Return what ids have in common that differ only in blanks, zeros, `.0` or capitals.

    >>> form("001"), form("1.0 "), form("P3")
    ('1', '1', 'p3')
    """
    text = found.strip().casefold()
    number = NUMBER.fullmatch(text)
    return number[1] if number else text
