"""A cell that ends says so in one line, with its place in the sweep; details are in the log
file."""

import io
import logging
import time

import pytest
import report_store as made
from rich.console import Console

from touchstone.data.examples import examples
from touchstone.generate.prompts import prompt_of
from touchstone.pipeline import in_quarantine
from touchstone.run import live, places
from touchstone.run.conf_files import composed
from touchstone.run.names import cell_name, run_name
from touchstone.run.screen_log import ForPeople, Plain
from touchstone.taxonomy import taxonomy_of

JOBS = [
    [f"mixture={mixture}", f"task.gold_patients={patients}", "seeds=3"]
    for mixture in ("gold", "gold_bronze")
    for patients in (3, 5)
]


def checked(*overrides):
    from touchstone import configuration

    return configuration.checked(composed(list(overrides)))


def test_the_line_of_a_cell_tells_place_name_result_time_and_what_is_left(
    tmp_path, caplog, monkeypatch
):
    grid = places.note_cells(tmp_path, JOBS)
    monkeypatch.setattr(time, "time", lambda: grid.started + 40)
    with caplog.at_level(logging.INFO, "touchstone.console"):
        places.tell(tmp_path, 1, "gold · 5 patients", "macro F1 0.434", 2.41)
    assert caplog.messages == ["[2/4] gold · 5 patients · macro F1 0.434 · 2.4 s · 2 min left"]


def test_the_last_cell_has_nothing_left_and_a_search_no_total(tmp_path, caplog):
    with caplog.at_level(logging.INFO, "touchstone.console"):
        places.tell(tmp_path, 6, "gold", "macro F1 0.434", 2.0)
        places.note_cells(tmp_path, JOBS[:1])
        places.tell(tmp_path, 0, "gold", "macro F1 0.434", 2.0)
        places.tell(None, 0, "gold", "macro F1 0.434", 2.0)
    assert caplog.messages == [
        "[7] gold · macro F1 0.434 · 2.0 s",
        "[1/1] gold · macro F1 0.434 · 2.0 s",
        "gold · macro F1 0.434 · 2.0 s",
    ]


def test_what_varies_in_the_sweep_is_found_among_its_jobs(tmp_path):
    grid = places.note_cells(tmp_path, JOBS)
    assert grid.varying == ("mixture", "task.gold_patients")
    assert places.read_grid(tmp_path) == grid


def test_cells_of_an_earlier_launch_do_not_count_as_ended_in_this_one(tmp_path):
    places.note_cells(tmp_path, JOBS)
    places.tell(tmp_path, 0, "gold", "macro F1 0.1", 1.0)
    time.sleep(0.01)
    grid = places.note_cells(tmp_path, JOBS)
    assert len(places.read_ended(tmp_path)) == 1
    assert places.read_ended(tmp_path, grid.started) == []


def test_a_line_that_a_killed_cell_left_half_written_is_passed_over(tmp_path):
    places.note_cells(tmp_path, JOBS)
    (tmp_path / places.ENDED).write_text('{"number": 0, "na\n')
    places.tell(tmp_path, 1, "gold", "macro F1 0.1", 1.0)
    assert [ended.number for ended in places.read_ended(tmp_path)] == [1]


def test_the_table_has_a_row_for_each_cell_and_its_result_once_it_has_ended(tmp_path):
    places.note_cells(tmp_path, JOBS)
    before = drawn(live.table(tmp_path, 40))
    assert "0 of 4 cells" in before and "gold_bronze · task.gold_patients=5" in before
    places.tell(tmp_path, 3, "gold_bronze · 5 patients", "macro F1 0.410", 19.7)
    after = drawn(live.table(tmp_path, 40))
    assert "1 of 4 cells" in after
    (row,) = [line for line in after.splitlines() if "[4/4]" in line]
    assert row.rstrip().endswith("19.7 s") and "macro F1 0.410" in row


def test_names_that_look_like_markup_or_obey_a_terminal_are_shown_as_they_are(tmp_path):
    places.note_cells(tmp_path, [["llm.model=[/x]"], ["llm.model=[bold]y"]])
    places.tell(tmp_path, 0, "silver [/x] \x1b[2J", "macro F1 0.1", 1.0)
    shown = drawn(live.table(tmp_path, 40))
    assert "silver [/x] \\x1b[2J" in shown and "[bold]y" in shown


def test_of_more_cells_than_the_terminal_has_lines_those_at_work_are_shown(tmp_path):
    places.note_cells(tmp_path, [[f"mixture={number}"] for number in range(100)])
    for number in range(60):
        places.tell(tmp_path, number, str(number), "macro F1 0.1", 1.0)
    shown = drawn(live.table(tmp_path, 20))
    assert "[ 61/100]" in shown and "[  1/100]" not in shown and "[100/100]" not in shown
    assert len(shown.splitlines()) <= 20


def test_there_is_no_table_where_the_output_is_no_terminal(tmp_path):
    places.note_cells(tmp_path, JOBS)
    assert not live.start(tmp_path, "hydra._internal.core_plugins.basic_launcher.BasicLauncher")
    assert not live.is_shown()


@pytest.mark.parametrize(
    ("name", "level", "shown"),
    [
        ("touchstone.console", logging.INFO, True),
        ("touchstone.llm.ask", logging.INFO, True),
        ("touchstone.pipeline", logging.INFO, False),
        ("touchstone.pipeline", logging.WARNING, True),
        ("httpx", logging.INFO, False),
        ("httpx", logging.ERROR, True),
    ],
)
def test_the_screen_shows_lines_of_cells_money_waits_and_warnings(name, level, shown):
    record = logging.LogRecord(name, level, "", 0, "a line", (), None)
    assert ForPeople().filter(record) is shown


def test_a_warning_says_that_it_is_one_and_a_line_stands_alone():
    record = logging.LogRecord("touchstone.x", logging.WARNING, "", 0, "late", (), None)
    assert Plain().format(record) == "warning: late"
    record.levelno = logging.INFO
    assert Plain().format(record) == "late"


def test_a_run_is_named_in_words_and_by_all_that_is_chosen():
    config = checked("mixture=gold_bronze", "task.gold_patients=10", "seed=2")
    name = run_name(config)
    assert name.startswith("gold_bronze · gold of 10 · tfidf_logreg · guideline")
    assert name.endswith("ad_multiclass · seed 2")
    assert cell_name(config, ("mixture",), "patients") == "gold_bronze · 10 patients"
    assert cell_name(config, ("prompt",)) == "gold_bronze · gold of 10 · guideline"


def drawn(table):
    screen = io.StringIO()
    Console(file=screen, width=100).print(table)
    return screen.getvalue()


def test_a_generation_with_unreadable_answers_is_told_with_its_counts():
    config = checked("mixture=bronze")
    prompt = prompt_of(config.prompt, taxonomy_of(config.taxonomy), config.task.kind)
    rows = [
        {
            "example_id": f"b/{number}",
            "text": f"He forgets {number} names.",
            "labels": [],
            "source": "bronze",
            "doc_id": "request-0",
            "patient_id": "request-0",
        }
        for number in range(1200)
    ]
    generated = made.made("bronze", examples(rows), prompt)
    assert in_quarantine(generated) == (
        "bronze: 1,200 generated; 1 of 7 answers unreadable, in the quarantine table"
    )
