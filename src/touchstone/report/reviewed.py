"""What experts said of a sweep's generated data, as a section of its report and as the effect of a
claim: from the reviews that `touchstone review import` logged. Does not estimate anything
(review/results.py)."""

from __future__ import annotations

from statistics import NormalDist
from typing import Any

import pandas as pd
from markupsafe import Markup

from touchstone.report import reading
from touchstone.report.effects import Effect
from touchstone.report.grid import Cell, Grid
from touchstone.tracking import Run


def reviews(grid: Grid) -> list[Run]:
    """Return the latest judged review of each generated data set that the cells of a grid used."""
    used = {pair for cell in grid.cells for pair in cell.generations().items()}
    by_id: dict[str, Run] = {}
    for stage, name in sorted(used):
        tags: dict[str, Any] = {
            "kind": "review",
            f"touchstone.generation.{stage}": name,
            "touchstone.judged": "true",
        }
        for run in reading.search(grid.store, **tags)[-1:]:
            by_id[run.info.run_id] = run
    return list(by_id.values())


def error_effect(grid: Grid, ours: Cell, against: Cell) -> tuple[Effect, Run | None]:
    """Return the error rate of the bronze of one cell minus that of the silver of another, as the
    latest review that judged both found it, and that review."""
    generations = {"bronze": ours.generations(), "silver": against.generations()}
    for run in reversed(reviews(grid)):
        judged = {
            stage: run.data.tags.get(f"touchstone.generation.{stage}") for stage in generations
        }
        claim = reading.csv(grid.store, run, "review/claim.csv")
        if claim.empty or any(
            judged[stage] != generations[stage].get(stage, "") for stage in generations
        ):
            continue
        row = claim.iloc[0]
        value, low, high, p = (float(row[name]) for name in ("difference", "low", "high", "p"))
        normal = NormalDist()
        error = (high - low) / (2 * normal.inv_cdf(0.975))
        shows = (normal.inv_cdf(0.975) + normal.inv_cdf(0.8)) * error  # in 80 of 100 samples
        name, experts = (run.data.tags[f"touchstone.{key}"] for key in ("review", "experts"))
        return Effect(value, low, high, p, shows, f"review {name}, judged by {experts}"), run
    return Effect(told="nobody judged these sentences: touchstone review export, import"), None


def section(grid: Grid) -> list[Any]:
    """Return the section; nothing where nobody judged."""
    parts: list[Any] = []
    for run in reviews(grid):
        experts = run.data.tags.get("touchstone.experts", "")
        name = run.data.tags.get("touchstone.review", "")
        parts.append(Markup("<h3>Review {}, judged by {}</h3>").format(name, experts))
        claim = reading.csv(grid.store, run, "review/claim.csv")
        if len(claim):
            row = claim.iloc[0]
            parts.append(
                Markup(
                    "<p>{}: {}. Error rates differ by {:+.3f} [{:+.3f}, {:+.3f}], p = {:.3f}.</p>"
                ).format(
                    row["claim"],
                    row["verdict"],
                    row["difference"],
                    row["low"],
                    row["high"],
                    row["p"],
                )
            )
        quality = reading.csv(grid.store, run, "review/quality.csv")
        parts.append(_table(quality[quality["n"] > 0], "quality of the LLM's labels"))
        errors = reading.csv(grid.store, run, "review/errors.csv")
        parts.append(
            _table(errors[errors["llm"] != errors["expert"]], "labels that experts change")
        )
        for table, title in (
            ("questions", "further questions"),
            ("prevalence", "prevalence in the pool"),
            ("experts", "experts"),
        ):
            parts.append(_table(reading.csv(grid.store, run, f"review/{table}.csv"), title))
        agreed = reading.csv(grid.store, run, "review/agreement.csv")
        if len(agreed):
            alpha = agreed[agreed["measure"] == "krippendorff_alpha"].drop(columns="measure")
            parts.append(_table(alpha, "agreement of the experts, Krippendorff's alpha"))
    if parts:
        parts.append(
            Markup(
                "<p>Intervals follow the sample: stratified, with its weights; exact within a "
                "stratum. They cover which sentences were drawn. Prevalence assumes that the "
                "pool's "
                "patients are a random sample of those one asks about.</p>"
            )
        )
    return parts


def _table(frame: pd.DataFrame, title: str) -> Any:
    if frame.empty:
        return ""
    numbers = set(frame.select_dtypes("number").columns)
    head = Markup("").join(
        Markup('<th scope="col" class="{}">{}</th>').format("n" if name in numbers else "", name)
        for name in frame.columns
    )
    rows = []
    for row in frame.to_dict("records"):
        cells = Markup("").join(
            Markup("<td>{}</td>" if name in numbers else '<th scope="row">{}</th>').format(
                _shown(value)
            )
            for name, value in row.items()
        )
        rows.append(Markup("<tr>{}</tr>").format(cells))
    return Markup(
        '<h4>{}</h4><div class="scroll" tabindex="0" role="region" '
        'aria-label="{}"><table><thead><tr>'
        "{}</tr></thead><tbody>{}</tbody></table></div>"
    ).format(title, title, head, Markup("").join(rows))


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return (
            ""
            if value != value
            else f"{value:.0f}"
            if value.is_integer() and value > 1
            else f"{value:.3f}"
        )
    return str(value)
