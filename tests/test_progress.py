"""Progress: a bar on a terminal, a line a minute elsewhere, nothing where it is turned off."""

from __future__ import annotations

import io
import logging

import touchstone.progress as module
from touchstone.progress import progress, working


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_a_bar_with_rate_and_time_left(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(module.sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    with progress("reading notes", 100, "MB") as done:
        done(50)
    shown = terminal.getvalue()
    assert "reading notes" in shown and "50 MB" in shown and "MB/s" in shown


def test_elsewhere_one_line_a_minute_is_logged(monkeypatch, caplog, capsys):
    clock = iter([0.0, 30.0, 61.0, 90.0, 122.0])
    monkeypatch.setattr(module.time, "monotonic", lambda: next(clock))
    with caplog.at_level(logging.INFO, "touchstone"), progress("reading", 600, "MB") as done:
        for amount in (100, 122, 180, 244):
            done(amount)
    assert [record.getMessage() for record in caplog.records] == [
        "reading: 122 of 600 MB, 2 MB/s, 4 min left",
        "reading: 244 of 600 MB, 2 MB/s, 3 min left",
    ]
    assert capsys.readouterr() == ("", "")


def test_an_unknown_total_has_no_time_left(monkeypatch, caplog):
    clock = iter([0.0, 61.0])
    monkeypatch.setattr(module.time, "monotonic", lambda: next(clock))
    with caplog.at_level(logging.INFO, "touchstone"), progress("reading", 0, "notes") as done:
        done(61)
    assert caplog.records[0].getMessage() == "reading: 61 of ? notes, 1 notes/s"


def test_turned_off_it_says_nothing(monkeypatch, caplog):
    terminal = Terminal()
    monkeypatch.setattr(module.sys, "stderr", terminal)
    with (
        caplog.at_level(logging.DEBUG, "touchstone"),
        progress("reading", 1, "MB", shown=False) as done,
    ):
        done(1)
    assert terminal.getvalue() == "" and not caplog.records


def test_work_of_seconds_shows_what_is_done_on_a_terminal_and_nothing_elsewhere(
    monkeypatch, capsys
):
    with working("reading runs") as now:
        now("scoring 20 cells")
    assert capsys.readouterr() == ("", "")
    terminal = Terminal()
    monkeypatch.setattr(module.sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with working("reading runs") as now:
        now("scoring 20 cells")
    assert "scoring 20 cells" in terminal.getvalue()
