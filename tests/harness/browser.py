"""A headless Chromium for tests of pages: it can reach nothing, and says what it was asked for.

Tests that use it are skipped, with the reason, where Chromium or its driver is not installed.
axe-core is looked for in TOUCHSTONE_AXE (a path to axe.min.js) and in node_modules of this folder.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
DRIVER = shutil.which("chromedriver")
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND",
)


def axe() -> Path | None:
    """Return axe-core's script where it is installed."""
    places = [Path(__file__).parents[2] / "node_modules" / "axe-core" / "axe.min.js"]
    if named := os.environ.get("TOUCHSTONE_AXE"):
        places.insert(0, Path(named))
    return next((place for place in places if place.is_file()), None)


@contextmanager
def browser(width: int = 1280, height: int = 900, dark: bool = False) -> Iterator[Any]:
    """Give a Selenium driver of a new Chromium; `driver.downloads` is where it saves files."""
    selenium = pytest.importorskip("selenium", reason="selenium is not installed")
    assert selenium
    if CHROMIUM is None or DRIVER is None:
        pytest.skip("chromium or chromedriver is not installed")
    from selenium.webdriver import Chrome, ChromeOptions, ChromeService

    options = ChromeOptions()
    options.binary_location = CHROMIUM
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    with tempfile.TemporaryDirectory() as folder:
        for flag in (
            *FLAGS,
            f"--user-data-dir={folder}/profile",
            f"--window-size={width},{height}",
        ):
            options.add_argument(flag)
        saved = Path(folder) / "saved"
        saved.mkdir()
        options.add_experimental_option("prefs", {"download.default_directory": str(saved)})
        driver = Chrome(options=options, service=ChromeService(DRIVER))
        driver.downloads = saved
        try:
            size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
            driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
            scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
            driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
            yield driver
        finally:
            driver.quit()


def requests(driver: Any) -> list[str]:
    """Return the addresses that pages asked for, but for the files of this machine and what the
    page holds itself."""
    import json

    found = []
    for entry in driver.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            found.append(message["params"]["request"]["url"])
    return [url for url in found if not url.startswith(("file:", "data:", "blob:", "chrome:"))]


def serious(driver: Any) -> list[str]:
    """Return axe-core's findings of serious and critical impact: rule and first element. Skips
    where axe-core is not installed."""
    script = axe()
    if script is None:
        pytest.skip("axe-core is not installed (npm install axe-core, or TOUCHSTONE_AXE=FILE)")
    driver.execute_script(script.read_text(encoding="utf-8"))
    findings = driver.execute_async_script(
        "const done = arguments[0]; axe.run().then((found) => done(found.violations));"
    )
    return [
        f"{one['id']}: {one['nodes'][0]['html'][:200]}"
        for one in findings
        if one["impact"] in ("serious", "critical")
    ]
