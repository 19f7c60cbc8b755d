"""Names from servers and files do nothing on a terminal, in a spreadsheet or in Markdown."""

import ast
import csv
import io
import json
import logging

import openpyxl
import pytest
from grid import ROOT
from rich.console import Console

from touchstone import cli
from touchstone.foreign_text import cell, cell_text, clean_log_lines, printable, tell
from touchstone.llm import recording
from touchstone.llm.protocol import Request
from touchstone.report.formats import csv as csv_format
from touchstone.report.formats import markdown, screen, xlsx
from touchstone.report.tables.layout import Column, Entry, Row, Table

ESCAPES = "gpt\x1b]0;owned\x07\x1b[2J\x9b31m\u202etxt\r\x00"
FORMULAS = ("=1+1", "+1", "-1", "@SUM(A1)", " =1+1", "\t=cmd|'/c calc'!A0", '=HYPERLINK("x")')


@pytest.mark.parametrize("text", [ESCAPES, "a\x7fb", "\u2066x\u2069", "\u200f"])
def test_what_a_terminal_obeys_is_shown_as_an_escape(text):
    shown = printable(text)
    assert shown.isprintable() and len(shown) > len(text)


@pytest.mark.parametrize(
    "text", ["Müller, 疾病 – 0.5 µg", "two\nlines\tand a tab", "no\u00a0break"]
)
def test_plain_text_of_any_language_stays_as_it_is(text):
    assert printable(text) == text


@pytest.mark.parametrize("text", FORMULAS)
def test_a_formula_is_text_and_comes_back(text):
    assert cell(text) == f"'{text}" and cell_text(cell(text)) == text


@pytest.mark.parametrize("value", [-0.5, 3, None, "stable", "a=b", "'tis so", ""])
def test_numbers_and_other_text_stay(value):
    assert cell(value) == value
    assert not isinstance(value, str) or cell_text(value) == value


def hostile(name):
    """A table whose every text is `name`."""
    columns = (Column("f1", name, name), Column("n", "n"))
    rows = (
        Row((name,), {"f1": Entry(0.5, change=-0.1), "n": Entry(word=name)}),
        Row((name,), {"f1": Entry(-0.25)}, reference=True),
    )
    return Table("study_t", name, name, (name,), columns, rows, (name,))


class Study:
    """What a format is handed."""

    def __init__(self, table):
        self.tables = [table]
        self.grid = type("Grid", (), {"study": "study"})()


@pytest.mark.parametrize("name", FORMULAS)
def test_no_cell_of_a_table_is_a_formula_in_csv_or_xlsx(tmp_path, name):
    study = Study(hostile(name))
    for path in csv_format.write(study, tmp_path):
        for row in csv.reader(io.StringIO(path.read_text())):
            for value in row:
                assert value.lstrip()[:1] not in ("=", "+", "@", "-") or float(value)
    sheet = openpyxl.load_workbook(*xlsx.write(study, tmp_path)).active
    cells = [one for row in sheet.iter_rows() for one in row if one.value is not None]
    assert {one.data_type for one in cells} == {"s", "n"}
    assert -0.25 in [one.value for one in cells]  # numbers stay numbers


def test_a_table_on_the_terminal_holds_no_escape_and_no_markup_of_a_name():
    console = Console(file=io.StringIO(), width=200, force_terminal=True, color_system=None)
    screen.show(console, hostile(f"[bold red]{ESCAPES}[/]"))
    printed = console.file.getvalue()
    assert "[bold red]gpt\\x1b" in printed
    assert not set(printed) & set("\x07\x9b\u202e\x00\r") and "\x1b]" not in printed


def test_markdown_holds_no_html_no_link_and_no_further_column():
    name = "a|b<img src=x onerror=alert(1)>\n# head [x](http://y) `c`"
    lines = markdown.markdown(hostile(name)).splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert len(table) == 4
    assert not any(mark in text for text in lines for mark in ("<img", "](", "\x1b"))
    assert all(len(line.replace("\\|", "").split("|")) == 5 for line in table)
    assert len(lines) == 9  # a line break in a name begins no heading


def test_log_lines_are_printable(caplog):
    before = logging.getLogRecordFactory()
    try:
        clean_log_lines()
        clean_log_lines()  # a worker that is used again
        logging.getLogger("touchstone.llm").warning("served by %s, %d times", ESCAPES, 3)
    finally:
        logging.setLogRecordFactory(before)
    assert caplog.messages == [f"served by {printable(ESCAPES)}, 3 times"]


def test_an_error_of_the_command_line_is_printable(capsys, tmp_path):
    assert cli.main(["table", ESCAPES.replace("\x00", ""), "--store", str(tmp_path)]) == 1
    assert "\x1b" not in capsys.readouterr().err


def test_a_recordings_names_are_one_printable_line(tmp_path):
    line = {"key": "a" * 64, "response": "{}", "model": "m", "served_model": ESCAPES}
    (tmp_path / "r.jsonl").write_text(json.dumps(line | {"fingerprint": ESCAPES}) + "\n")
    answer = recording.replay(str(tmp_path / "r.jsonl"), {"a" * 64: Request(())})["a" * 64]
    assert answer.model.isprintable() and answer.fingerprint.isprintable()


def test_nothing_prints_but_tell(capsys):
    """`tell` makes printable what it is given; a bare print would show a served model's escapes."""
    tell("gpt\x1b[2J", "a\u202eb", sep="\t")
    assert capsys.readouterr().out == "gpt\\x1b[2J\ta\\u202eb\n"
    for path in (ROOT / "src" / "touchstone").rglob("*.py"):
        uses = [
            node.lineno
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.Name) and node.id == "print"
        ]
        assert len(uses) == (path.name == "foreign_text.py"), (path, uses)
