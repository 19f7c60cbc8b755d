"""People are never on both sides: whoever is tested on is not learned from.

One guard for every way in which training text and held-out text come together: published splits,
a split of our own, the pool, silver and bronze files, test sites. Ids that differ only in form
(`001` and `1`, data/ids.py) count as one. Patients are compared where both sides know them,
documents where one does not. `corpus.overlap` says what is done. Similar texts are another matter
(mixture.py, leakage).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pandas as pd

from touchstone.data.files import quoted
from touchstone.data.ids import form
from touchstone.errors import UserError

REFUSE, DROP, ALLOW = "refuse", "drop", "allow"


@dataclass(frozen=True)
class HeldOut:
    """Ids that nothing may be learned from: form of the id -> (id, side that has it)."""

    patients: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    documents: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.documents)


def held_out(sides: Mapping[str, pd.DataFrame]) -> HeldOut:
    """Return the ids of test, dev and sites.

    Parameters
    ----------
    sides : what a message calls it (`the test set`) -> example table.
    """
    patients: dict[str, tuple[str, str]] = {}
    documents: dict[str, tuple[str, str]] = {}
    for name, frame in sides.items():
        if knows_patients(frame):
            patients |= {form(one): (one, name) for one in frame["patient_id"].unique()}
        documents |= {form(one): (one, name) for one in frame["doc_id"].unique()}
    return HeldOut(patients, documents)


def knows_patients(frame: pd.DataFrame) -> bool:
    """Return whether patients are told apart from documents."""
    return bool((frame["patient_id"] != frame["doc_id"]).any())


def gold_unit(frame: pd.DataFrame) -> str:
    """Return what gold is counted in: patients, or documents where the corpus knows no patients."""
    return "patients" if knows_patients(frame) else "documents"


def kept_apart(
    frame: pd.DataFrame, held: HeldOut, *, what: str, overlap: str
) -> tuple[pd.DataFrame, int]:
    """Return the rows that may be learned from, and how many were left out.

    Parameters
    ----------
    frame : training gold, a part of the pool, silver or bronze.
    held : of `held_out`.
    what : what `frame` is, for the message: `the pool`.
    overlap : `corpus.overlap`.

    Raises
    ------
    UserError
        With overlap=refuse, where somebody stands on both sides: how many, where, and what to set.
    """
    if overlap == ALLOW or not held or frame.empty:
        return frame, 0
    unit, column, known = (
        ("patients", "patient_id", held.patients)
        if held.patients and knows_patients(frame)
        else ("documents", "doc_id", held.documents)
    )
    both = {one: known[form(one)] for one in frame[column].unique() if form(one) in known}
    if not both:
        return frame, 0
    if overlap == REFUSE:
        one, (other, side) = next(iter(both.items()))
        sides = ", ".join(sorted({side for _, side in both.values()}))
        differing = f", written {quoted(other)} there" if one != other else ""
        raise UserError(
            f"{len(both)} {unit} of {what} stand in {sides} too (the first: {quoted(one)}"
            f"{differing}): a model would be tested on people whom it has learned from. "
            f"corpus.overlap=drop leaves them out of {what}; allow, if equal ids are different ones"
        )
    rest = frame[~frame[column].isin(both)]
    return rest.reset_index(drop=True), len(frame) - len(rest)
