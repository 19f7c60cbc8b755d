"""The confusion matrix of a cell as an SVG file: no drawing library in the loop of a sweep, and
sharp at any size.

Opens in the MLflow UI and in any browser. The figures of a report are drawn by report/figures.py.
"""

from __future__ import annotations

from xml.sax.saxutils import escape

import pandas as pd

CELL, TEXT = 46, 11  # side of a square and size of the letters, in pixels
LETTER = 0.58 * TEXT  # mean width of a letter
DARK, LIGHT = (
    (8, 48, 107),
    (247, 251, 255),
)  # ends of the scale, told apart by the colour-blind and in grey


def confusion_svg(confusion: pd.DataFrame) -> str:
    """Draw a confusion matrix: rows are gold, columns predicted, each square its count, shaded by
    its share of the row.

    Parameters
    ----------
    confusion : DataFrame with a column `gold` and one column for each predicted class, in the same
        order.
    """
    labels = [str(label) for label in confusion["gold"]]
    counts = confusion.drop(columns="gold").to_numpy(dtype=float)
    margin = max(map(len, labels)) * LETTER + 2 * TEXT
    left, top = (
        margin + 2 * TEXT,
        0.75 * margin + 3 * TEXT,
    )  # slanted labels take less height than width
    width, height = left + CELL * len(labels) + 0.75 * margin, top + CELL * len(labels) + TEXT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'width="{width:.0f}" height="{height:.0f}"'
        f' font-family="Helvetica, Arial, sans-serif" font-size="{TEXT}">',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="{left}" y="{TEXT + 2}" font-weight="bold">predicted</text>',
        f'<text x="4" y="{top - 6}" font-weight="bold">gold</text>',
    ]
    for row, label in enumerate(labels):
        y = top + CELL * row
        slant_x, slant_y = left + CELL * (row + 0.5), top - 6
        parts.append(
            f'<text x="{left - 6}" y="{y + CELL / 2 + 4:.0f}" '
            f'text-anchor="end">{escape(label)}</text>'
        )
        parts.append(
            f'<text x="{slant_x:.0f}" y="{slant_y:.0f}" transform="rotate(-45 {slant_x:.0f} '
            f'{slant_y:.0f})">{escape(label)}</text>'
        )
        for column, count in enumerate(counts[row]):
            share = count / max(counts[row].sum(), 1)
            x, middle = left + CELL * column, left + CELL * (column + 0.5)
            parts.append(
                f'<rect x="{x:.0f}" y="{y:.0f}" width="{CELL}" height="{CELL}" '
                f'fill="{_shade(share)}" stroke="white"/>'
            )
            colour = "white" if share > 0.5 else "black"
            parts.append(
                f'<text x="{middle:.0f}" y="{y + CELL / 2 + 4:.0f}" text-anchor="middle" '
                f'fill="{colour}">{count:.0f}</text>'
            )
    return "\n".join([*parts, "</svg>"]) + "\n"


def _shade(share: float) -> str:
    return "#" + "".join(
        f"{round(light + (dark - light) * share):02x}"
        for light, dark in zip(LIGHT, DARK, strict=True)
    )
