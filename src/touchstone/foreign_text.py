"""Text of strangers where people look at it: on a terminal, in a spreadsheet, in Markdown.

Names of served models, categories, ids and answers come from servers and files. Here they lose what
would act: escape sequences on a terminal, formulas in a spreadsheet, HTML and links in Markdown.
The text stays readable. HTML pages and LaTeX quote by themselves (report/formats), and data sets
are written as they are.

Source: for formulas, OWASP's page on CSV injection.
"""

from __future__ import annotations

import logging
import re
from typing import Any, TextIO

_FORMULA = re.compile(r"\s*[=+\-@]")
_QUOTED = re.compile(r"'(?=\s*[=+\-@])")
_HTML = re.compile(r"<(?=[A-Za-z/!?])")


def printable(text: str) -> str:
    """Return text without what a terminal obeys: control characters, marks of direction and what
    has no glyph are written as escapes; line breaks and tabs stay.

    >>> printable("gpt\\x1b[2J\\u202e")
    'gpt\\\\x1b[2J\\\\u202e'
    """
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() or c in "\n\t" or c.isspace() and ord(c) > 0x9F else ascii(c)[1:-1]
        for c in text
    )


def tell(*values: Any, sep: str = " ", end: str = "\n", file: TextIO | None = None) -> None:
    """Print what a person is told, printable: whatever a name or an answer in it holds. The one
    place of the package that prints (a test looks)."""
    print(sep.join(printable(str(value)) for value in values), end=end, file=file)


def cell(value: Any) -> Any:
    """Return the value of a spreadsheet's cell so that it is no formula: text that begins with
    = + - @ has an apostrophe before it. Numbers stay.

    >>> cell("=HYPERLINK(1)"), cell("stable"), cell(-0.5)
    ("'=HYPERLINK(1)", 'stable', -0.5)
    """
    return f"'{value}" if isinstance(value, str) and _FORMULA.match(value) else value


def cell_text(text: str) -> str:
    """Return what `cell` was given.

    >>> cell_text("'- no fever"), cell_text("'tis so")
    ('- no fever', "'tis so")
    """
    return text[1:] if _QUOTED.match(text) else text


def markdown_line(text: str) -> str:
    """Return text as one line of Markdown without HTML and without links.

    >>> markdown_line("a<img src=x>\\n[x](http://y), p < 0.05")
    'a&lt;img src=x> [x]\\\\(http://y), p < 0.05'
    """
    return _HTML.sub("&lt;", printable(" ".join(text.split()))).replace("](", "]\\(")


def markdown_cell(text: str) -> str:
    """Return text for a cell of a Markdown table: as `markdown_line`, and no column of its own.

    >>> markdown_cell("a|b")
    'a\\\\|b'
    """
    return markdown_line(text.replace("\\", "\\\\").replace("|", "\\|"))


def clean_log_lines() -> None:
    """Let every line that this process logs be printable, whoever logs it."""
    if getattr(logging.getLogRecordFactory(), "printable", False):
        return
    before = logging.getLogRecordFactory()

    def record(*args: Any, **kwargs: Any) -> logging.LogRecord:
        line = before(*args, **kwargs)
        try:
            text = line.getMessage()
        except Exception:  # noqa: BLE001 - a broken format string: logging tells it
            return line
        line.msg, line.args = printable(text), None
        return line

    record.printable = True  # type: ignore[attr-defined]
    logging.setLogRecordFactory(record)
