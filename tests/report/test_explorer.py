"""The explorer says which sentences a cell gains and loses; by clicking, in a headless Chromium."""

import json
import re
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest
import report_store as made
from browser import browser, requests, serious

from touchstone import cli
from touchstone.report import explorer, reading
from touchstone.report.grid import grid_of, sweep_of


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The page of the shared sweep: path, data in it, grid."""
    folder, store, parent = made.shared()
    out = tmp_path_factory.mktemp("explorer") / "e.html"
    arguments = ["explore", parent[:12], "--store", str(folder / "mlflow"), "--out", str(out)]
    assert cli.main(arguments) == 0
    text = out.read_text(encoding="utf-8")
    data = json.loads(re.search(r'id="x-data">(.*?)</script>', text, re.S)[1])
    run, runs = sweep_of(store, parent)
    return out, data, grid_of(store, "two_directions", [run], runs)


@pytest.fixture(scope="module")
def driver(page) -> Iterator:
    with browser() as opened:
        opened.get(page[0].as_uri())
        yield opened


def find(driver, selector):
    return driver.find_element("css selector", selector)


def press(driver, selector):
    driver.execute_script("arguments[0].click()", find(driver, selector))


def choose(driver, name, value):
    from selenium.webdriver.support.ui import Select

    Select(find(driver, f"#{name}")).select_by_visible_text(value)


def expected(grid, task: str, second: str) -> pd.DataFrame:
    """Which sentences are right in the first and in another cell, straight from the predictions."""
    cells = [cell for cell in grid.cells if cell.axes["task"] == task]
    frames = []
    for cell in (cells[0], next(cell for cell in cells if cell.axes["mixture"] == second)):
        table = reading.predictions(grid.store, cell.run)
        table = table[table["seed"] == table["seed"].min()].set_index("example_id")
        frames.append(table.apply(lambda row: set(row["true"]) == set(row["pred"]), axis=1))
    return pd.DataFrame({"before": frames[0], "after": frames[1]})


def test_gains_and_losses_are_those_of_the_predictions(page, driver):
    choose(driver, "x-test", "ad_multiclass")
    choose(driver, "x-second", "gold_silver")
    right = expected(page[2], "ad_multiclass", "gold_silver")
    gained = int((~right["before"] & right["after"]).sum())
    lost = int((right["before"] & ~right["after"]).sum())
    told = find(driver, "#x-summary").text
    assert f"gains {gained} and loses {lost} of {len(right):,} test sentences" in told
    assert gained > 0 and lost > 0
    press(driver, f'#x-changes button[aria-label="all gained: {gained}"]')
    assert f"{gained} sentences gained, all" in find(driver, "#x-pair h4").text
    first = find(driver, "#x-pair li small").text.rpartition(" · ")[2]
    assert not right.at[first, "before"] and right.at[first, "after"]


def test_the_table_without_javascript_has_the_same_numbers(page):
    test = next(one for one in page[1]["tests"] if one["name"] == "ad_multiclass")
    names = [cell["name"] for cell in test["cells"]]
    changed = explorer.changes(test, 0, names.index("gold_silver"))
    right = expected(page[2], "ad_multiclass", "gold_silver")
    assert changed["all"] == [
        int((~right["before"] & right["after"]).sum()),
        int((right["before"] & ~right["after"]).sum()),
    ]
    text = page[0].read_text(encoding="utf-8")
    assert "+{} −{}".format(*changed["all"]) in text.partition('class="live"')[0]


def test_a_square_of_the_confusion_matrix_shows_its_sentences(page, driver):
    choose(driver, "x-test", "ad_multiclass")
    square = '#x-confusion button[aria-label^="gold cognitive_impairment, predicted none"]'
    n = int(find(driver, square).text)
    press(driver, square)
    assert (
        f"{n} sentences: gold cognitive_impairment, predicted none"
        in find(driver, "#x-square h4").text
    )
    line = find(driver, "#x-square li small").text
    assert "experts: cognitive_impairment" in line and ": none" in line


def test_generated_sentences_are_searched_and_filtered(page, driver):
    data = page[1]["made"]
    silver = [row for row in data if row[1] == "silver" and "coping_strategy" in row[3]]
    choose(driver, "x-source", "silver")
    choose(driver, "x-category", "coping_strategy")
    assert find(driver, "#x-count").text == f"{len(silver)} of {len(data):,} sentences"
    assert "nearest gold" in find(driver, "#x-made").text
    choose(driver, "x-source", "all")
    choose(driver, "x-category", "all")
    fates = sorted({row[6] for row in data})
    assert "kept" in fates and any(fate.startswith("quarantined") for fate in fates)
    choose(driver, "x-fate", next(fate for fate in fates if fate.startswith("quarantined")))
    assert '{"labels": [<b>1, 2]}' in find(driver, "#x-made li").text  # as text, not as markup
    choose(driver, "x-fate", "all")


def test_nothing_is_asked_of_the_network_and_no_error_is_logged(driver):
    assert requests(driver) == []
    assert [entry for entry in driver.get_log("browser") if entry["level"] == "SEVERE"] == []


@pytest.mark.parametrize("dark, width", [(False, 1280), (True, 1280), (False, 390)])
def test_axe_finds_nothing_serious_and_a_phone_does_not_scroll_sideways(page, dark, width):
    with browser(width=width, dark=dark) as opened:
        opened.get(page[0].as_uri())
        colour = opened.execute_script("return getComputedStyle(document.body).backgroundColor")
        assert (colour == "rgb(25, 25, 23)") == dark
        wide = opened.execute_script("return document.documentElement.scrollWidth")
        assert wide <= width
        assert serious(opened) == []


def test_ten_thousand_sentences_stay_fluid(page, tmp_path):
    """Comparing and searching take well under a second, and only a page of the list is drawn."""
    out, data, _ = page
    rng = np.random.default_rng(0)
    test = data["tests"][0]
    n, values = 10_000, len(test["values"])
    grown = {
        **test,
        "ids": [f"s{i}" for i in range(n)],
        "texts": [f"Sentence {i}." for i in range(n)],
    }
    grown["gold"] = rng.integers(values, size=n).tolist()
    grown["cells"] = [
        {**cell, "predictions": [rng.integers(values, size=n).tolist()]} for cell in test["cells"]
    ]
    more = [[f"b{i}", "bronze", f"Made {i}.", [], [], "", "kept", -1, 0] for i in range(n)]
    text = out.read_text(encoding="utf-8")
    content = json.dumps({**data, "tests": [grown], "made": more}).replace("<", "\\u003c")
    head, tail = text.split('id="x-data">')
    big = tmp_path / "big.html"
    big.write_text(head + 'id="x-data">' + content + "</script>" + tail.partition("</script>")[2])
    with browser() as opened:
        opened.get(big.as_uri())
        took = opened.execute_script(
            "const t = performance.now(); const s = document.getElementById('x-second');"
            "s.value = '0'; s.dispatchEvent(new Event('change')); return performance.now() - t;"
        )
        assert took < 1000
        assert len(opened.find_elements("css selector", "#x-made li")) == 50
        assert find(opened, "#x-made .more").text == "Show more (9,950 left)"
        press(opened, "#x-made .more")
        assert len(opened.find_elements("css selector", "#x-made li")) == 100


def test_entities_stand_marked_gold_above_and_predicted_below(page, tmp_path):
    out, data, _ = page
    test = {
        "name": "ner",
        "kind": "ner",
        "categories": ["Disease"],
        "marks": [],
        "ids": ["s0"],
        "texts": ["\U0001f600 No flu today."],
        "gold": [0],
        "values": [[[5, 8, "Disease"]], []],
        "cells": [
            {"name": name, "run": "r", "link": "", "predictions": [[value]]}
            for name, value in (("gold", 1), ("gold_bronze", 0))
        ],
    }
    relation = {
        **test,
        "name": "relation",
        "kind": "relation",
        "marks": ["@GENE$", "@DISEASE$"],
        "texts": ["@GENE$ causes @DISEASE$."],
        "values": [["related"], []],
        "categories": ["related"],
    }
    content = json.dumps({**data, "tests": [test, relation], "made": []}).replace("<", "\\u003c")
    head, tail = out.read_text(encoding="utf-8").split('id="x-data">')
    path = tmp_path / "ner.html"
    path.write_text(
        head + 'id="x-data">' + content + "</script>" + tail.partition("</script>")[2],
        encoding="utf-8",
    )
    with browser() as opened:
        opened.get(path.as_uri())
        press(opened, '#x-changes button[aria-label="Disease gained: 1"]')
        marks = opened.find_elements("css selector", "#x-pair mark")
        assert [mark.text for mark in marks] == [
            "fluDisease",
            "fluDisease",
        ]  # experts, and the second
        choose(opened, "x-test", "relation")
        press(opened, '#x-changes button[aria-label="related gained: 1"]')
        marks = opened.find_elements("css selector", "#x-pair mark")
        assert [mark.text for mark in marks] == ["@GENE$", "@DISEASE$"]


def test_restricted_text_is_left_out_and_counts_stay(tmp_path):
    store = made.empty_study("explore_restricted")
    parent = made.log_sweep(store, "explore_restricted")
    for mixture in ("gold", "gold_bronze"):
        made.log(
            store,
            parent,
            "task=ad_multiclass",
            f"mixture={mixture}",
            "corpus.access=restricted",
            cache=made.cache(),
            restricted=True,
        )
    run, runs = sweep_of(store, parent)
    content = explorer.payload(grid_of(store, "explore_restricted", [run], runs))
    assert content["withheld"] and content["gold"] == []
    assert not any(content["tests"][0]["texts"]) and all(content["tests"][0]["ids"])
    assert content["made"] and not any(row[2] for row in content["made"])
    assert sum(explorer.changes(content["tests"][0], 0, 1)["all"]) > 0
