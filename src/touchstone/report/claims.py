"""Claims as data: what the papers assert, and what a study says about it.

A claim (conf/claims/NAME.yaml) names the cells that would show it, the direction, and the control
that must not show it. For each claim and place (task, classifier, size of gold) there is one
finding: supported or contradicted where p, corrected by Holm over all findings, is below 0.05 and
its control does not show the same; else undecided, which never means that there is no effect: the
smallest effect that the test set could have shown stands beside it. Does not print (tables/).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from touchstone.errors import UserError, no_such
from touchstone.evaluate.compare import holm
from touchstone.paths import conf_file, conf_names
from touchstone.report.effects import (
    Effect,
    gap_effect,
    minority_effect,
    score_effect,
    text_effect,
)
from touchstone.report.grid import AXES, Cell, Grid, flatten
from touchstone.report.reviewed import error_effect

LEVEL = 0.05
COMPARING = ("score", "minority", "gap", "errors")  # measures of one cell against another
MEASURES = (*COMPARING, "length", "categories", "identifiers")
DIRECTIONS = ("higher", "lower", "differs")
KEYS = ("id", "text", "source", "measure", "ours", "against", "direction", "control", "of", "same")
SUPPORTED, CONTRADICTED, UNDECIDED = "supported", "contradicted", "undecided"


@dataclass(frozen=True)
class Claim:
    """One assertion, see conf/claims/two_directions.yaml for the fields."""

    id: str
    text: str
    source: str
    measure: str
    ours: Mapping[str, Any]
    direction: str
    against: Mapping[str, Any] | None = None
    control: Mapping[str, Any] | None = None
    of: str = ""
    same: tuple[str, ...] = ()


@dataclass(frozen=True)
class Finding:
    """What one place of a study says about a claim: verdict, effect, its p after Holm, the effect
    of the control, the runs, and a note."""

    claim: Claim
    place: str
    verdict: str
    effect: Effect
    p_holm: float = float("nan")
    control: Effect | None = None
    runs: tuple[str, ...] = ()
    note: str = ""


def claims_of(study: str, names: Sequence[str] | None = None) -> list[Claim]:
    """Return the claims about a study: of the files named, or of all that name the study.

    Raises
    ------
    UserError
        For a file that is not there or not as it must be, or if no file names the study.
    """
    known = conf_names("claims")
    for name in names or ():
        if name not in known:
            raise UserError(f"--claims: {no_such('file of claims', name, known)}")
    claims = [claim for name in names for claim in _read(name)[1]] if names else claims_about(study)
    if not claims:
        raise UserError(
            f"no claims about study={study}; name some: --claims {','.join(known)}, or write "
            "conf/claims/NAME.yaml"
        )
    return claims


def claims_about(study: str) -> list[Claim]:
    """Return the claims of all files that name the study, none where no file does."""
    files = [_read(name) for name in conf_names("claims")]
    return [claim for studies, claims in files if study in studies for claim in claims]


def _read(name: str) -> tuple[list[str], list[Claim]]:
    """Return the studies that a file of claims is about, and its claims."""
    path = conf_file(Path("claims") / f"{name}.yaml")
    plain = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(plain, dict) or set(plain) != {"studies", "claims"}:
        raise UserError(f"{path}: must have the keys studies and claims")
    return list(plain["studies"]), [_claim(one, path) for one in plain["claims"]]


def findings(
    grid: Grid, claims: Sequence[Claim], scores: pd.DataFrame | None = None
) -> list[Finding]:
    """Judge each claim at each place where its cells are; one that was not run is undecided.

    `scores` are those of the tables, where they are there already (comparisons.compared).
    """
    verdicts: list[Finding] = []
    for claim in claims:
        here = [_finding(grid, claim, scores, *pair) for pair in _pairs(grid.cells, claim)]
        if claim.measure == "errors":  # tasks and sizes share what was judged
            here = [*{one.effect: one for one in reversed(here)}.values()]
        verdicts += here or [
            Finding(claim, "", UNDECIDED, Effect(), note=f"not run: {_wanted(claim)}")
        ]
    corrected = holm([one.effect.p for one in verdicts])
    return [
        judged(replace(one, p_holm=float(p))) for one, p in zip(verdicts, corrected, strict=True)
    ]


def _claim(plain: Mapping[str, Any], path: Path) -> Claim:
    """Check one entry of a file."""
    where = f"{path}, claim {plain.get('id')}"
    for key in plain:
        if key not in KEYS:
            raise UserError(f"{where}: {no_such('key', key, KEYS)}")
    needed = ("id", "text", "source", "measure", "ours", "direction")
    if absent := [key for key in needed if key not in plain]:
        raise UserError(f"{where}: {', '.join(absent)} must be given")
    if plain["measure"] not in MEASURES:
        raise UserError(f"{where}: {no_such('measure', plain['measure'], MEASURES)}")
    if plain["direction"] not in DIRECTIONS:
        raise UserError(f"{where}: {no_such('direction', plain['direction'], DIRECTIONS)}")
    compares = plain["measure"] in COMPARING
    if compares != ("against" in plain) or compares == ("of" in plain):
        raise UserError(
            f"{where}: measure {plain['measure']} needs "
            + ("against" if compares else "of, not against")
        )
    return Claim(**{**plain, "same": tuple(plain.get("same", ()))})


def _pairs(cells: Sequence[Cell], claim: Claim) -> list[tuple[str, Cell, Cell | None, Cell | None]]:
    """Return place, ours, against and control, for each place that has the first two."""
    pairs = []
    for ours in _matching(cells, cells, claim.ours):
        near = [cell for cell in cells if _comparable(ours, cell) and cell is not ours]
        against = control = None
        if claim.against is not None:
            options = [
                cell
                for cell in _matching(near, near, claim.against)
                if not claim.same or _value(ours, claim.same[0]) == _value(cell, claim.same[1])
            ]
            if not options:
                continue
            against = options[0]
        if claim.control is not None:
            control = next(iter(_matching(near, near, claim.control)), None)
        pairs.append((_place(ours, cells), ours, against, control))
    return pairs


def _matching(
    cells: Sequence[Cell], among: Sequence[Cell], wanted: Mapping[str, Any]
) -> list[Cell]:
    """Return the cells that have the values wanted; `largest` and `smallest` are of the values that
    are set among them."""
    fitting = [
        cell
        for cell in cells
        if all(
            value in ("largest", "smallest") or _fits(_value(cell, key), value)
            for key, value in wanted.items()
        )
    ]
    for key, value in wanted.items():
        if value in ("largest", "smallest"):
            there = sorted({n for cell in fitting if (n := _value(cell, key)) is not None})
            if len(there) < 2:
                return []
            edge = there[-1] if value == "largest" else there[0]
            fitting = [cell for cell in fitting if _value(cell, key) == edge]
    return fitting


def _fits(value: Any, wanted: Any) -> bool:
    return value is not None if wanted == "*" else value == wanted


def _value(cell: Cell, key: str) -> Any:
    return cell.axes[key] if key in AXES else flatten(cell.config).get(key)


def _comparable(ours: Cell, other: Cell) -> bool:
    """Return whether two cells are of one task, learner and gold, as far as both have them."""
    if "zero_shot" in (ours.axes["mixture"], other.axes["mixture"]):
        return ours.setting == other.setting
    return ours.family == other.family


def _place(cell: Cell, cells: Sequence[Cell]) -> str:
    """Name a place by what differs between places: task, classifier, prompt, size of gold."""
    names = [cell.axes["task"]]
    for axis in ("classifier", "prompt", "llm", "gold"):
        if cell.axes[axis] and len({one.axes[axis] for one in cells if one.axes[axis]}) > 1:
            names.append(cell.axes[axis])
    return ", ".join(names)


def _finding(
    grid: Grid,
    claim: Claim,
    scores: pd.DataFrame | None,
    place: str,
    ours: Cell,
    against: Cell | None,
    control: Cell | None,
) -> Finding:
    """Measure one claim at one place; the verdict comes later, when all p are known."""
    runs = tuple(cell.run_id for cell in (ours, against, control) if cell is not None)
    beside = None
    if claim.measure == "score" and against is not None:
        effect = score_effect(ours, against, scores)
        beside = score_effect(control, against, scores) if control is not None else None
    elif claim.measure == "minority" and against is not None:
        effect = minority_effect(grid.store, ours, against)
    elif claim.measure == "gap" and against is not None:
        effect = _gap(grid, claim, ours, against)
    elif claim.measure == "errors" and against is not None:
        effect, review = error_effect(grid, ours, against)
        place, runs = "", (*runs, review.info.run_id) if review is not None else runs
    else:
        effect = text_effect(grid.store, ours, claim.of, claim.measure)
    note = effect.told
    if claim.control is not None and control is None:
        note = f"its control was not run: {claim.control['mixture']}"
    return Finding(claim, place, UNDECIDED, effect, control=beside, runs=runs, note=note)


def _gap(grid: Grid, claim: Claim, ours: Cell, against: Cell) -> Effect:
    """Find the same cells of the other kind of task on the same corpus."""
    if ours.kind != "multiclass":
        return Effect(told="stands with the multi-class task")
    for name, mine, other, _ in _pairs(
        [cell for cell in grid.cells if cell.kind == "binary"], claim
    ):
        if other is not None and _same_corpus(mine, ours) and name:
            return gap_effect({"multiclass": (ours, against), "binary": (mine, other)})
    return Effect(told="the binary task was not run")


def _same_corpus(one: Cell, other: Cell) -> bool:
    return one.config["corpus"]["name"] == other.config["corpus"]["name"]


def judged(finding: Finding) -> Finding:
    """Give the verdict."""
    claim, effect, control = finding.claim, finding.effect, finding.control
    if math.isnan(effect.value):
        return finding
    if claim.measure == "identifiers":
        return replace(finding, verdict=SUPPORTED if effect.value == 0 else UNDECIDED)
    if math.isnan(finding.p_holm) or finding.p_holm >= LEVEL:
        return finding
    if claim.direction == "differs" or _shows(effect, claim.direction):
        if control is not None and control.p < LEVEL and _shows(control, claim.direction):
            return replace(finding, note="its control shows it too")
        return replace(finding, verdict=SUPPORTED)
    return replace(finding, verdict=CONTRADICTED)


def _shows(effect: Effect, direction: str) -> bool:
    return effect.value > 0 if direction == "higher" else effect.value < 0


def _wanted(claim: Claim) -> str:
    """Return the cells that a claim needs, for a reader."""
    sides = [side for side in (claim.ours, claim.against) if side]
    return " against ".join(
        " ".join(f"{key}={value}" for key, value in side.items() if value not in (None, "none"))
        for side in sides
    )
