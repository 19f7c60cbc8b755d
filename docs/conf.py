"""`make docs`: the pages of this folder as HTML, and every warning an error (sphinx-build -W)."""

from importlib import metadata

project = "Touchstone"
author = "the Touchstone authors"
try:
    release = metadata.version("touchstone-nlp")
except metadata.PackageNotFoundError:  # built beside a checkout that is not installed
    release = ""

extensions = ["myst_parser"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "Touchstone"
html_static_path: list[str] = []
myst_heading_anchors = 3  # links to headings within and between pages
