"""Published figures beside ours, from conf/published.yaml: each with what it was measured on and
where it stands."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import yaml

from touchstone.errors import UserError
from touchstone.paths import conf_file
from touchstone.schema import KINDS

UNITS = {"percent": 100.0, "fraction": 1.0}


@dataclass(frozen=True)
class Published:
    """One published figure: `value` in `unit`, beside our rows `row` of tasks of `kind`; `what` and
    `source` are for the reader."""

    study: str
    kind: str
    row: str
    metric: str
    value: float
    unit: str
    what: str
    source: str

    @property
    def fraction(self) -> float:
        return self.value / UNITS[self.unit]


def published(study: str, path: Path | None = None) -> list[Published]:
    """Return the published figures for a study, in the order of the file.

    Raises
    ------
    UserError
        If an entry lacks a field, its source above all, or has an unknown kind or unit.
    """
    path = path or conf_file("published.yaml")
    if not path.exists():
        raise UserError(
            f"{path} is missing: published figures stand there; install the package again"
        )
    names = [field.name for field in fields(Published)]
    out = []
    for number, entry in enumerate(yaml.safe_load(path.read_text(encoding="utf-8")) or [], 1):
        if sorted(entry) != sorted(names) or not all(str(entry[name]).strip() for name in names):
            raise UserError(
                f"{path}, entry {number}: must have the fields {', '.join(names)}, none empty; "
                f"found {', '.join(entry)}"
            )
        if entry["kind"] not in KINDS or entry["unit"] not in UNITS:
            raise UserError(
                f"{path}, entry {number}: kind must be one of {', '.join(KINDS)}, unit percent or "
                "fraction"
            )
        out.append(Published(**entry))
    return [one for one in out if one.study == study]
