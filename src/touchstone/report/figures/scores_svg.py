"""The scores of a sweep as an SVG file for its run: each cell's main score with its interval, gold
as the line to read the others against.

Written at the end of every sweep, so without a drawing library. The figures of papers and pages are
drawn by figures.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from xml.sax.saxutils import escape

ROW, TEXT, PLOT = 22, 12, 420  # height of a row, size of the letters, width of the plot; pixels
LETTER = 0.58 * TEXT  # mean width of a letter
INK, SOFT, MARK = "#1d1d1b", "#8c8c86", "#0072B2"


def scores_svg(panels: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Draw one panel below the other.

    Parameters
    ----------
    panels : title -> rows of name, mixture, value, low, high and mark, top to bottom; see
        drawings.score_panels.
    """
    label = (
        max((len(row["name"]) for rows in panels.values() for row in rows), default=0) * LETTER + 16
    )
    width, at = label + PLOT + 90, 0.0
    parts: list[str] = []
    for title, rows in panels.items():
        parts.append(
            f'<text x="{label:.0f}" y="{at + 18:.0f}" font-weight="bold">{escape(title)}</text>'
        )
        parts += _panel(rows, label, at + 28)
        at += 28 + ROW * len(rows) + 34
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {at:.0f}" '
        f'width="{width:.0f}" height="{at:.0f}"'
    )
    style = f'font-family="Helvetica, Arial, sans-serif" font-size="{TEXT}" fill="{INK}"'
    return (
        "\n".join(
            [
                f"{head} {style}>",
                '<rect width="100%" height="100%" fill="white"/>',
                *parts,
                "</svg>",
            ]
        )
        + "\n"
    )


def _panel(rows: Sequence[Mapping[str, Any]], left: float, top: float) -> list[str]:
    lowest = min(row["low"] for row in rows)
    highest = max(row["high"] for row in rows)
    span = max(highest - lowest, 1e-9)
    bottom = top + ROW * len(rows)

    def x(value: float) -> float:
        return left + PLOT * (value - lowest) / span

    parts = [
        f'<line x1="{left:.1f}" y1="{bottom:.1f}" x2="{left + PLOT:.1f}" y2="{bottom:.1f}" '
        f'stroke="{SOFT}"/>'
    ]
    for tick in (lowest, lowest + span / 2, highest):
        parts.append(
            f'<text x="{x(tick):.1f}" y="{bottom + 15:.1f}" text-anchor="middle" '
            f'fill="{SOFT}">{tick:.2f}</text>'
        )
    golds = [row["value"] for row in rows if row["mixture"] == "gold"]
    for gold in golds if len(golds) == 1 else []:
        parts.append(
            f'<line x1="{x(gold):.1f}" y1="{top}" x2="{x(gold):.1f}" y2="{bottom}" '
            f'stroke="{SOFT}" stroke-dasharray="4 3"/>'
        )
    for number, row in enumerate(rows):
        y = top + ROW * (number + 0.5)
        parts.append(
            f'<text x="{left - 8:.1f}" y="{y + 4:.1f}" '
            f'text-anchor="end">{escape(row["name"])}</text>'
        )
        parts.append(
            f'<line x1="{x(row["low"]):.1f}" y1="{y}" x2="{x(row["high"]):.1f}" y2="{y}" '
            f'stroke="{MARK}" stroke-width="2"/>'
        )
        parts.append(f'<circle cx="{x(row["value"]):.1f}" cy="{y}" r="4" fill="{MARK}"/>')
        label = f"{row['value']:.3f} {row['mark']}"
        parts.append(f'<text x="{left + PLOT + 12:.1f}" y="{y + 4:.1f}">{label}</text>')
    return parts
