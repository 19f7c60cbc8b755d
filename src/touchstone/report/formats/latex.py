"""Tables as LaTeX with booktabs: bodies that a paper can \\input, and a document that compiles on
its own.

- NAME.tex: over both columns of a page (table*); longer than `LONGEST` lines it is a longtable,
  which breaks over pages (one column only: LaTeX allows no longtable in two).
- NAME_slim.tex: training data, n, main score with interval, change: at most 7.7 cm, for one column
  of a two-column page.

Below each number stands its interval in small type; best in bold, significance as stars. Numbers
stand point under point (siunitx). Everything that comes from data is escaped. Needs booktabs,
graphicx (a table wider than the line is scaled down to it), siunitx, longtable; the document also
geometry.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from touchstone.report.tables import layout
from touchstone.report.tables.layout import Column, Entry, Row, Table, labels_shown

if TYPE_CHECKING:
    from touchstone.report.study import Study

ESCAPES = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "−": "$-$",
    "–": "--",
    "∞": r"$\infty$",
    "’": "'",
    "‘": "`",
    "“": "``",
    "”": "''",
    "…": r"\ldots{}",
    "·": r"$\cdot$",
    "κ": r"$\kappa$",
    "α": r"$\alpha$",
    "×": r"$\times$",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
}
FIGURES = ("pdf",)
LONGEST = 34  # lines of a table that fits a landscape page
# bold numbers stay bold and aligned, differences keep their plus, 1575 is 1,575
ALIGNED = (
    r"\sisetup{detect-weight=true,mode=text,retain-explicit-plus=true,"
    r"group-digits=integer,group-separator={,},group-minimum-digits=4}"
)
COLUMN = "7.7cm"  # width of a column in a two-column journal
PACKAGES = r"\usepackage{booktabs,graphicx,siunitx,longtable}"
WRAPPER = r"""\documentclass[10pt]{{article}}
\usepackage[a4paper,landscape,margin=1.5cm]{{geometry}}
{packages}
\begin{{document}}
\pagestyle{{empty}}
{body}
\end{{document}}
"""


def write(study: Study, folder: Path) -> list[Path]:
    """Write a body for each table, a slim one for tables with a main score, and the document."""
    bodies = {}
    for table in study.tables:
        bodies[f"{table.name}.tex"] = latex(table)
        if any(column.rank for column in table.columns):
            bodies[f"{table.name}_slim.tex"] = latex(narrow(table), slim=True)
    files = bodies | {f"{study.grid.study}.tex": standalone(list(bodies))}
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    return [folder / name for name in files]


def narrow(table: Table) -> Table:
    """Return the table for one column of a page: main scores only, and no notes."""
    shown = layout.slim(table)
    return replace(shown, name=f"{table.name}_slim", notes=())


def escape(text: str) -> str:
    """Return text as LaTeX prints it.

    >>> escape("gold_silver & 5 %")
    'gold\\\\_silver \\\\& 5 \\\\%'
    """
    return "".join(
        ESCAPES.get(character, character if character.isascii() else _other(character))
        for character in text
    )


def latex(table: Table, slim: bool = False) -> str:
    """Return the table for \\input: a floating `table*` (`table` where slim), or a `longtable`
    where it is longer than a page."""
    if _lines(table) > LONGEST and not slim:
        return _long(table)
    name, width = ("table", rf"{COLUMN}") if slim else ("table*", r"\linewidth")
    lines = [
        f"% needs {PACKAGES}",
        rf"\begin{{{name}}}[htbp]",
        r"\centering",
        _caption(table),
        r"\smallskip",
        _size(table),
        rf"\resizebox{{\ifdim\width>{width}{width}\else\width\fi}}{{!}}{{%",
        rf"\begin{{tabular}}{{{_columns(table)}}}",
        r"\toprule",
        *_heads(table),
        r"\midrule",
        *_body(table),
        r"\bottomrule",
        r"\end{tabular}%",
        "}",
        *([rf"\par\smallskip\parbox{{\linewidth}}{{{_notes(table)}}}"] if table.notes else []),
        rf"\end{{{name}}}",
    ]
    return "\n".join(lines) + "\n"


def _long(table: Table) -> str:
    """Return the table as a longtable, whose head stands on each page."""
    head = [r"\toprule", *_heads(table), r"\midrule"]
    n = len(table.heads) + len(table.columns)
    lines = [
        f"% needs {PACKAGES}; one column",
        rf"{{{_size(table)}",
        rf"\begin{{longtable}}{{{_columns(table)}}}",
        _caption(table) + r" \\",
        *head,
        r"\endfirsthead",
        *head,
        r"\endhead",
        rf"\midrule \multicolumn{{{n}}}{{@{{}}r@{{}}}}{{\textit{{continued}}}} \\",
        r"\endfoot",
        r"\bottomrule",
        r"\endlastfoot",
        *_body(table),
        r"\end{longtable}}",
        *([rf"\noindent{_notes(table)}\par"] if table.notes else []),
    ]
    return "\n".join(lines) + "\n"


def _caption(table: Table) -> str:
    label = table.name.replace("_", "-")
    caption = rf"\caption{{\textbf{{{escape(table.title)}.}} {escape(table.caption)}}}"
    return rf"{caption}\label{{tab:{label}}}"


def _notes(table: Table) -> str:
    notes = r" \\ ".join(escape(note) for note in table.notes)
    return rf"{{\scriptsize\raggedright {notes}}}"


def _lines(table: Table) -> int:
    """Return how many lines the rows of a table take: two where a number has an interval."""
    return sum(
        2
        if any(row.entries[c.key].second(c.second) for c in table.columns if c.key in row.entries)
        else 1
        for row in table.rows
    )


def _columns(table: Table) -> str:
    """Return the column specification: numbers are aligned at the point, by their widest."""
    specs = "".join(_number_column(table, column) for column in table.columns)
    return rf"@{{}}{'l' * len(table.heads)}{specs}@{{}}"


def _number_column(table: Table, column: Column) -> str:
    entries = [row.entries[column.key] for row in table.rows if column.key in row.entries]
    shown = [entry.shown().lstrip("+−") for entry in entries if _aligned(entry)]
    whole = max((len(text.partition(".")[0].replace(",", "")) for text in shown), default=1)
    after = max((len(text.partition(".")[2]) for text in shown), default=0)
    sign = "+" if any(entry.signed for entry in entries) else ""
    return rf"S[table-format={sign}{whole}.{after}]"


def _aligned(entry: Entry) -> bool:
    """Return whether an entry is a number that siunitx can align."""
    return not entry.word and bool(np.isfinite(entry.value))


def _body(table: Table) -> list[str]:
    lines: list[str] = []
    for number, (row, labels) in enumerate(zip(table.rows, labels_shown(table), strict=True)):
        if number and row.block != table.rows[number - 1].block:
            lines.append(r"\midrule")
        lines += _row(row, labels, table.columns)
    return lines


def standalone(bodies: Sequence[str]) -> str:
    """Return a document that inputs the given body files, one table a page."""
    return WRAPPER.format(
        packages=PACKAGES, body="\n\\clearpage\n".join(rf"\input{{{body}}}" for body in bodies)
    )


def _size(table: Table) -> str:
    """Choose the type size by how wide the table will be, in characters."""
    width = max((sum(len(label) for label in row.labels) for row in table.rows), default=0)
    width += sum(
        max(
            [
                len(column.title),
                *(len(_widest(row.entries.get(column.key), column)) for row in table.rows),
            ]
        )
        + 2
        for column in table.columns
    )
    size = r"\small" if width < 95 else r"\footnotesize" if width < 135 else r"\scriptsize"
    return rf"{ALIGNED}{size}\setlength{{\tabcolsep}}{{{5 if width < 135 else 3}pt}}"


def _widest(entry: Entry | None, column: Column) -> str:
    if entry is None:
        return ""
    return max(
        entry.shown() + entry.mark,
        entry.second(column.second)[: int(len(entry.second(column.second)) * 0.8)],
        key=len,
    )


def _heads(table: Table) -> list[str]:
    n = len(table.heads)
    lines = []
    if any(column.group for column in table.columns):
        cells, rules, at = [""] * n, [], n + 1
        for group, width in table.groups():
            cells.append(rf"\multicolumn{{{width}}}{{c}}{{{escape(group)}}}")
            if group:
                rules.append(rf"\cmidrule(lr){{{at}-{at + width - 1}}}")
            at += width
        lines += [" & ".join(cells) + r" \\", "".join(rules)]
    lines.append(
        " & ".join([*map(escape, table.heads), *(rf"{{{escape(c.title)}}}" for c in table.columns)])
        + r" \\"
    )
    return lines


def _row(row: Row, shown: Sequence[str], columns: Sequence[Column]) -> list[str]:
    labels = [escape(label) for label in shown]
    if row.reference:
        labels = [rf"\textit{{{label}}}" if label else "" for label in labels]
    first = [*labels, *(_number(row.entries.get(column.key)) for column in columns)]
    seconds = [_second(row.entries.get(column.key), column) for column in columns]
    lines = [" & ".join(first) + r" \\"]
    if any(second != "{}" for second in seconds):
        lines.append(" & ".join([*([""] * len(labels)), *seconds]) + r" \\[2pt]")
    return lines


def _number(entry: Entry | None) -> str:
    """Return an entry for an S column: what is no number stands in braces. The braces of siunitx
    keep a number in bold type aligned with the others."""
    if entry is None:
        return "{}"
    text = escape(entry.shown())
    if entry.word:
        return rf"{{\textit{{{text}}}}}"
    if not _aligned(entry):
        return f"{{{text}}}"
    number = entry.shown().replace("−", "-").replace(",", "")
    number = rf"\bfseries {number}" if entry.best else number
    mark = rf"\rlap{{\textsuperscript{{{entry.mark}}}}}" if entry.mark else ""
    return f"{number} {{{mark}}}" if mark else number


def _second(entry: Entry | None, column: Column) -> str:
    text = entry.second(column.second) if entry else ""
    return rf"{{\tiny {escape(text)}}}" if text else "{}"


def _other(character: str) -> str:
    """Letters with accents pass; what a Latin font lacks becomes a question mark, so that the
    document compiles."""
    return (
        character
        if character in "ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÑÒÓÔÕÖØÙÚÛÜÝßàáâãäåæçèéêëìíîïñòóôõöøùúûüýÿ§°"
        else "?"
    )
