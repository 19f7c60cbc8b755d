"""Look for identifiers in text: a guard that says "look here", not de-identification, and never to
be called that.

A table of regular expressions for the identifiers with a form: dates, phone numbers, record and
social security numbers, e-mail and web addresses, names after a title, ages over 89, street
addresses. It misses names without a title, places, employers and whatever is misspelt; an empty
result proves nothing. `[**...**]` placeholders show that a text *was* de-identified: they are
counted apart and not looked into. Source of the list: HIPAA safe harbor, 45 CFR 164.514(b)(2).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd

_MONTH = (
    r"(?:Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|"
    r"Aug(?:ust)?|Sept?(?:ember)?|Oct(?:ober)?|Nov(?:ember)?|Dec(?:ember)?)"
)
_STREET = (
    r"(?:Street|St|Avenue|Ave|Road|Rd|Boulevard|Blvd|Lane|Ln|Drive|Court|Ct|Place|Pl|Terrace"
    r"|Highway|Hwy)"
)

# kind -> pattern. A day without a year counts as a date (safe harbor), a year alone does not; 3/4
# is a fraction more often than a date.
PATTERNS: dict[str, re.Pattern[str]] = {
    "date": re.compile(
        rf"(?<![\d/.-])(?:\d{{1,2}}([/.-])\d{{1,2}}\1(?:19|20|21)?\d{{2}}|\d{{4}}[-/]\d{{1,2}}[-/]\d{{1,2}})(?![\d/-])"
        rf"|\b{_MONTH}\.?\s+\d{{1,2}}(?:st|nd|rd|th)?\b(?!\s*(?:mg|mcg|ml|mL|%))(?:,?\s+\d{{4}}\b)?"
        rf"|\b\d{{1,2}}(?:st|nd|rd|th)?\s+(?:of\s+)?{_MONTH}\b\.?(?:,?\s+\d{{4}}\b)?"
    ),
    "ssn": re.compile(r"(?<![\d-])\d{3}-\d{2}-\d{4}(?![\d-])"),
    "phone": re.compile(
        r"(?<![\d.-])(?:\+?1[-. ])?(?:\(\d{3}\)\s?|\d{3}[-. ])\d{3}[-. ]\d{4}(?![\d-])"
    ),
    "record_number": re.compile(
        r"\b(?:MRN|[Mm]edical [Rr]ecord (?:[Nn]umber|[Nn]o\.?)|[Rr]ecord #|[Aa]ccount #|[Aa]cct "
        r"#)\s*[:#]?\s*[A-Z]{0,2}\d{4,12}\b"
    ),
    "email": re.compile(r"\b[\w.+-]+@[\w-]+(?:\.[\w-]+)+\b"),
    "url": re.compile(r"\bhttps?://\S+|\bwww\.\S+", re.IGNORECASE),
    "titled_name": re.compile(
        r"\b(?:Dr|Drs|Mr|Mrs|Ms|Miss|Mx|Prof|Rev|Sr|Fr)\.?\s+(?:[A-Z]\.\s*)*"
        r"[A-Z][a-z'’]+(?:[- ][A-Z][a-z'’]+)?"
    ),
    "age_over_89": re.compile(
        r"\b(?:9\d|1[01]\d)[\s-]*(?:years?|yrs?\.?|y)[\s/-]*(?:old|o)\b|\b(?:9\d|1[01]\d)\s?[yY]/?[oO]\b|\b[Aa]ged?\s+(?:9\d|1[01]\d)\b"
    ),
    "address": re.compile(
        rf"\b\d{{1,5}}\s+(?:[NSEW]\.?\s+)?(?:[A-Z][a-z]+\s+){{1,3}}{_STREET}\b"
        r"|\b[A-Z]{2}\s+\d{5}(?:-\d{4})?\b|\bP\.?O\.?\s+[Bb]ox\s+\d+"
    ),
}
PLACEHOLDER = re.compile(r"\[\*\*.*?\*\*\]", re.DOTALL)
KINDS = (*PATTERNS, "placeholder")


@dataclass(frozen=True)
class Identifier:
    """Where a text seems to hold an identifier: its kind and character offsets, end exclusive.
    Never the text itself."""

    kind: str
    start: int
    end: int


def identifiers(text: str) -> list[Identifier]:
    """Return what looks like an identifier, in order; where two kinds overlap, the first in
    `PATTERNS` is kept.

    Examples
    --------
    >>> identifiers("Seen 3/14/2021 by Dr. Example.")
    [Identifier(kind='date', start=5, end=14), Identifier(kind='titled_name', start=18, end=29)]
    """
    matches = [Identifier("placeholder", *match.span()) for match in PLACEHOLDER.finditer(text)]
    for kind, pattern in PATTERNS.items():
        for match in pattern.finditer(text):
            start, end = match.span()
            if all(end <= other.start or other.end <= start for other in matches):
                matches.append(Identifier(kind, start, end))
    return sorted(matches, key=lambda item: item.start)


def scan(texts: Iterable[str]) -> pd.DataFrame:
    """Return DataFrame[kind, n, n_texts]: identifiers of each kind, and texts that hold at least
    one; one row per kind."""
    n, n_texts = dict.fromkeys(KINDS, 0), dict.fromkeys(KINDS, 0)
    for text in texts:
        kinds = [item.kind for item in identifiers(text)]
        for kind in kinds:
            n[kind] += 1
        for kind in set(kinds):
            n_texts[kind] += 1
    return pd.DataFrame(
        {"kind": list(KINDS), "n": list(n.values()), "n_texts": list(n_texts.values())}
    )
