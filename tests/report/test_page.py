"""`touchstone report`: one page that says the result, shows the figures, quotes nothing restricted,
and asks the network for nothing."""

import json
import re
import shutil
import subprocess

import pytest
import report_store as made
from browser import browser, serious

from touchstone import cli, tracking
from touchstone.errors import UserError
from touchstone.llm import budget
from touchstone.report import reading, sections
from touchstone.report.grid import grid_of, sweep_of
from touchstone.report.spending import spending
from touchstone.report.tables.quality import generated

CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
)
SECTIONS = (
    "Result",
    "By category",
    "Explorer",
    "The data",
    "Quality of the generated data",
    "Examples",
    "Setting",
    "Data statement",
    "Cost",
    "Run it again",
)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The page of the shared sweep as the command writes it: folder, text, store, parent."""
    folder, store, parent = made.shared()
    out = tmp_path_factory.mktemp("page") / "report.html"
    assert (
        cli.main(["report", parent[:12], "--store", str(folder / "mlflow"), "--out", str(out)]) == 0
    )
    return out, out.read_text(encoding="utf-8"), store, parent


def test_the_page_asks_the_question_and_answers_it_with_numbers(page):
    _, text, _, _ = page
    assert (
        "<h1>What are LLM-labelled notes and LLM-written sentences worth beside a little expert "
        "gold?</h1>" in text
    )
    answer = re.search(r'<div class="answer">(.*?)</div>', text, re.S)[1]
    assert re.search(
        r"ad_multiclass: gold_silver scores best, macro F1 0\.\d{3}, \+0\.\d{3} \[\+0\.\d\d, "
        r"\+0\.\d\d\] against gold \(p",
        answer,
    )
    assert (
        re.search(r"Better than gold beyond chance: (?:\w+, )*gold_silver", answer)
        and "; worse:" in answer
    )


def test_every_section_is_there_and_has_something_in_it(page):
    _, text, _, _ = page
    assert re.findall(r"<h2>(.*?)</h2>", text) == list(SECTIONS)
    for number in range(1, len(SECTIONS) + 1):
        body = re.search(rf'<section id="s{number}">(.*?)</section>', text, re.S)[1]
        assert len(re.sub(r"<[^>]+>|\s", "", body)) > 100


def test_examples_are_of_what_was_kept_dropped_and_quarantined(page):
    _, text, _, _ = page
    examples = re.search(r'<section id="s6">(.*?)</section>', text, re.S)[1]
    assert re.findall(r"<h3>(.*?)</h3>", examples) == [
        "Kept: notes labelled by the LLM (silver)",
        "Kept: sentences written by the LLM (bronze)",
        "Dropped before training",
        "Quarantined: answers that could not be used",
    ]
    assert "Family reports:" in examples and "sentence 3 has no answer" in examples
    assert "[&lt;b&gt;1, 2]" in examples and "<b>1" not in examples, (
        "an answer of the LLM was not escaped"
    )


def test_the_missing_cell_the_cost_and_the_commands_are_told(page):
    _, text, _, parent = page
    assert "gold_bronze of ad_binary: MissingRecording" in text
    assert (
        "9,000" in text and "2,100" in text and "0.12" in text
    )  # tokens and dollars of a generation
    assert (
        f"touchstone bundle {parent}" in text
        and "touchstone reproduce " in text
        and "python run.py -m +experiment=two_directions" in text
    )
    assert "CC0-1.0" in text and "It is not de-identification." in text


def test_what_was_replayed_says_so_with_an_estimate_at_the_prices_of_today(tmp_path):
    prices = tmp_path / "prices.yaml"
    prices.write_text("models: {claude: {input: 3.0, output: 15.0, as_of: 2026-11-01}}\n")
    store = made.empty_study("replayed")
    run_id = made.log(store, None, "mixture=bronze", f"llm.prices={prices}", cache=made.cache())
    grid = grid_of(store, "two_directions", [], [store.client.get_run(run_id)])
    (bronze,) = generated(grid)
    tracking.log_metrics(store, bronze.run.info.run_id, {"llm/sent": 0, "llm/cached": 7})
    text = "".join(map(str, sections.cost(grid)))
    row = re.sub(r"<[^>]+>", " ", text.partition("bronze")[2]).split()
    # 9,000 tokens at 3 USD and 2,100 at 15 USD a million
    assert row[row.index("9,000") :][:4] == ["9,000", "2,100", "replayed", "0.06"]
    assert "(looked up 2026-11-01)" in text
    prices.write_text("models: {claude: {input: null, output: null}}\n")
    budget._table.cache_clear()
    (bronze,) = generated(grid)
    assert spending(grid, bronze.run).words() == (
        "replayed; what asking anew would cost is unknown"
    )


def test_the_page_is_on_the_parent_run_and_linked_from_it(page):
    _, text, store, parent = page
    run = store.client.get_run(parent)
    assert reading.text(store, run, "report/report.html") == text
    assert f"runs/{parent}/artifacts/report/report.html" in run.data.tags["mlflow.note.content"]
    assert reading.file(store, run, "report/figures/scores.pdf").read_bytes().startswith(b"%PDF")
    assert "Scores by training data" in reading.text(store, run, "report/tables.md")


def test_nothing_of_a_restricted_corpus_is_quoted():
    store = made.empty_study("hospital")
    parent = made.log_sweep(store, "hospital")
    for mixture in ("gold", "bronze"):
        asked = (
            "study=hospital",
            "task=ad_binary",
            f"mixture={mixture}",
            "corpus.access=restricted",
            "tracking.log_restricted_text=true",
        )
        made.log(
            store, parent, *asked, cache=made.cache()
        )  # its text is in the store, and is not to be shown all the same
    run, runs = sweep_of(store, parent)
    grid = grid_of(store, "hospital", [run], runs)
    parts = [
        *sections.examples(grid),
        *sections.statement(grid, ()),
        *sections.cost(grid),
        *sections.again(grid, run),
        sections.missing(grid),
    ]
    text = "".join(
        map(str, parts)
    )  # the other sections are tables and figures: they hold no sentences
    assert (
        "The corpus is restricted: its sentences, and what was generated from it, are not shown."
        in text
    )
    sentences = [
        one for one in made.demo_gold("ad_binary", made.cache())[0].frame["text"] if len(one) > 25
    ]
    assert (
        "Family reports" not in text
        and "You label." not in text
        and not any(one in text for one in sentences)
    )


def test_a_sweep_that_is_not_there_is_one_line(page, capsys):
    folder, _, parent = made.shared()
    assert cli.main(["report", "ffff", "--store", str(folder / "mlflow")]) == 1
    told = capsys.readouterr().err
    assert "no sweep ffff" in told and parent[:8] in told and len(told.splitlines()) == 1


def test_a_store_without_sweeps_says_what_to_run(monkeypatch):
    monkeypatch.setattr(reading, "search", lambda *args, **tags: [])
    with pytest.raises(UserError, match="the store has no sweep yet"):
        sweep_of(made.shared()[1], "last")


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_the_page_opens_in_a_browser_without_console_errors_or_requests(page, tmp_path):
    out, _, _, _ = page
    log = tmp_path / "net.json"
    command = [
        CHROMIUM,
        *FLAGS,
        f"--user-data-dir={tmp_path / 'profile'}",
        "--disable-component-update",
        "--disable-sync",
        "--enable-logging=stderr",
    ]
    command += [
        f"--log-net-log={log}",
        "--window-size=1250,3000",
        f"--screenshot={tmp_path / 'page.png'}",
        "--dump-dom",
        out.as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180)
    assert "CONSOLE" not in done.stderr, [
        line for line in done.stderr.splitlines() if "CONSOLE" in line
    ]
    assert done.stdout.count("<table") >= 7 and done.stdout.count("<svg") >= 6
    assert (tmp_path / "page.png").stat().st_size > 50_000, "the screenshot is empty"
    events = [event.get("params") for event in json.loads(log.read_text())["events"]]
    by_page = {
        p["url"]
        for p in events
        if isinstance(p, dict)
        and "url" in p
        and p.get("initiator", "not an origin") != "not an origin"
    }
    assert not {url for url in by_page if not url.startswith("data:")}, (
        by_page
    )  # the browser's own errands have no origin


@pytest.mark.parametrize("dark, width", [(False, 1280), (True, 1280), (False, 390)])
def test_axe_finds_nothing_serious_and_a_phone_gets_the_narrow_figures(page, dark, width):
    with browser(width=width, dark=dark) as opened:
        opened.get(page[0].as_uri())
        assert opened.execute_script("return document.documentElement.scrollWidth") <= width
        shown = "return getComputedStyle(document.querySelector('.drawing svg.{}')).display"
        phone = width < 640
        assert opened.execute_script(shown.format("wide")) == ("none" if phone else "block")
        assert opened.execute_script(shown.format("narrow")) == ("block" if phone else "none")
        said = opened.execute_script(
            "return [...document.querySelectorAll('svg')].map(one => one.ariaLabel)"
        )
        assert all(said) and any("gold_silver 0." in one for one in said)
        assert serious(opened) == []
