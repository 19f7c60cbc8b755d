"""The judging page works offline in a browser: judge by keys and clicks, save, read back."""

import time

from browser import browser, requests, serious
from review_population import drawn, entities

from touchstone.review import formats


def saved(driver):
    driver.find_element("id", "save").click()
    for _ in range(100):
        done = [path for path in driver.downloads.iterdir() if path.suffix == ".json"]
        if done:
            return done[0]
        time.sleep(0.1)
    raise AssertionError("nothing was saved")


def test_judgements_made_by_keys_and_clicks_are_saved_and_read_back(tmp_path):
    review = drawn(asks=["realistic"])
    formats.write(review, tmp_path / "r.html")
    with browser() as driver:
        driver.get((tmp_path / "r.html").as_uri())
        driver.find_element("id", "expert").send_keys("Ann")
        body = driver.find_element("tag name", "body")
        driver.find_element("css selector", "#choices button").click()  # falls
        driver.find_element("css selector", "#asks button").click()  # yes
        driver.execute_script("document.activeElement.blur()")
        body.send_keys("\ue014")  # arrow to the right
        body.send_keys("0")
        assert "Item 2 of 40, 2 judged" in driver.find_element("id", "state").text
        back = formats.read(saved(driver), review)
        assert requests(driver) == [] and serious(driver) == []
    assert back["labels"].tolist() == [["falls"], []] and set(back["expert"]) == {"Ann"}
    assert back["realistic"].tolist() == ["yes", ""]


def test_entities_are_marked_by_selecting_words(tmp_path):
    review = entities()
    formats.write(review, tmp_path / "r.html")
    with browser() as driver:
        driver.get((tmp_path / "r.html").as_uri())
        driver.execute_script(
            "const text = document.getElementById('text').firstChild;"
            # the emoji counts as two
            "document.getSelection().setBaseAndExtent(text, 6, text, 10);"
        )
        driver.execute_script("document.querySelector('#choices button').click()")
        assert driver.find_element("css selector", "#text mark").text.startswith("flu")
        back = formats.read(saved(driver), review)
    assert back["spans"].tolist() == [[{"start": 5, "end": 8, "type": "Disease"}]]
