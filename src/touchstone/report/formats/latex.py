"""Tables as LaTeX with booktabs: a body that a paper can \\input, and a wrapper that compiles on
its own.

Below each number stands its interval in small type; best in bold, significance as stars. Everything
that comes from data is escaped. Needs the packages booktabs and graphicx (a table wider than the
line is scaled down to it), and for the wrapper geometry; nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence

from touchstone.report.tables.layout import Column, Entry, Row, Table, labels_shown

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
WRAPPER = r"""\documentclass[10pt]{{article}}
\usepackage[a4paper,landscape,margin=1.5cm]{{geometry}}
\usepackage{{booktabs,graphicx}}
\begin{{document}}
\pagestyle{{empty}}
{body}
\end{{document}}
"""


def escape(text: str) -> str:
    """Return text as LaTeX prints it.

    >>> escape("gold_silver & 5 %")
    'gold\\\\_silver \\\\& 5 \\\\%'
    """
    return "".join(
        ESCAPES.get(character, character if character.isascii() else _other(character))
        for character in text
    )


def latex(table: Table) -> str:
    """Return the table as a floating `table` environment for \\input; it needs booktabs and
    graphicx."""
    n = len(table.heads)
    lines = [
        "% needs \\usepackage{booktabs,graphicx}",
        r"\begin{table}[htbp]",
        r"\centering",
        rf"\caption{{\textbf{{{escape(table.title)}.}} {escape(table.caption)}}}",
        rf"\label{{tab:{table.name.replace('_', '-')}}}",
        r"\smallskip",
        _size(table),
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        rf"\begin{{tabular}}{{@{{}}{'l' * n}{'r' * len(table.columns)}@{{}}}}",
        r"\toprule",
        *_heads(table),
        r"\midrule",
    ]
    for number, (row, labels) in enumerate(zip(table.rows, labels_shown(table), strict=True)):
        if number and row.block != table.rows[number - 1].block:
            lines.append(r"\midrule")
        lines += _row(row, labels, table.columns)
    lines += [r"\bottomrule", r"\end{tabular}%", "}"]
    if table.notes:
        notes = r" \\ ".join(escape(note) for note in table.notes)
        lines.append(rf"\par\smallskip\parbox{{\linewidth}}{{\scriptsize\raggedright {notes}}}")
    lines.append(r"\end{table}")
    return "\n".join(lines) + "\n"


def standalone(bodies: Sequence[str]) -> str:
    """Return a document that inputs the given body files, one table a page."""
    return WRAPPER.format(body="\n\\clearpage\n".join(rf"\input{{{body}}}" for body in bodies))


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
    return rf"{size}\setlength{{\tabcolsep}}{{{5 if width < 135 else 3}pt}}"


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
        " & ".join([*map(escape, table.heads), *(escape(column.title) for column in table.columns)])
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
    if any(seconds):
        lines.append(" & ".join([*([""] * len(labels)), *seconds]) + r" \\[2pt]")
    return lines


def _number(entry: Entry | None) -> str:
    if entry is None:
        return ""
    text = escape(entry.shown())
    if entry.word:
        return rf"\textit{{{text}}}"
    text = rf"\textbf{{{text}}}" if entry.best else text
    return rf"{text}\rlap{{\textsuperscript{{{entry.mark}}}}}" if entry.mark else text


def _second(entry: Entry | None, column: Column) -> str:
    text = entry.second(column.second) if entry else ""
    return rf"{{\tiny {escape(text)}}}" if text else ""


def _other(character: str) -> str:
    """Letters with accents pass; what a Latin font lacks becomes a question mark, so that the
    document compiles."""
    return (
        character
        if character in "ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÑÒÓÔÕÖØÙÚÛÜÝßàáâãäåæçèéêëìíîïñòóôõöøùúûüýÿ§°"
        else "?"
    )
