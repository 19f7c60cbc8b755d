"""`python run.py --help`, for people: what an axis is, the axes and their values, examples.

Each line about a value is the first sentence that its YAML opens with, after the command. Hydra's
own page, flags and all, is `--hydra-help`. Does not explain single keys: `--cfg job` shows them.
"""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

from touchstone.commands import program
from touchstone.paths import conf_dirs

WIDTH = 100
COMMAND = re.compile(  # lines of a YAML's head that are not about it
    r"(python run\.py|touchstone|make|pip|ollama|vllm|llama-server|[A-Z_]{4,}=\S+) |@package"
)
AXES = {
    "task": "what is predicted, and how scarce gold is; it chooses corpus, taxonomy and classifier",
    "mixture": "what the classifier learns from: gold, silver, bronze and together",
    "classifier": "what learns",
    "prompt": "how the LLM is asked",
    "llm": "which LLM, and how it is reached",
    "generation": "how much synthetic data is made",
    "corpus": "texts and expert labels (usually by the task)",
    "taxonomy": "categories, definitions, precedence (usually by the task)",
    "tracking": "where results go",
    "experiment": "whole grids of a paper or a question: +experiment=NAME",
    "hydra/launcher": "where cells run",
    "hydra/sweeper": "how cells are chosen: every combination, or a search",
}
OPENING = """\
What is LLM-made training data worth for a clinical model?

A cell trains one classifier on one mixture of training data and scores it on the experts' test
set. Gold is labelled by experts; silver are real sentences that an LLM labelled; bronze are
sentences that an LLM wrote. An axis is one choice of a cell: AXIS=VALUE. Several values, with -m,
are a sweep: one cell for each combination. Any other key is set in the same way: KEY=VALUE.
"""
EXAMPLES = (
    ("one cell, on the built-in demo, offline", "mixture=gold_bronze"),
    ("what silver and bronze add to gold", "-m mixture=gold,gold_silver,gold_bronze"),
    (
        "and how that changes with more gold",
        "-m mixture=gold,gold_bronze task.gold_patients=5,10,20",
    ),
    (
        "the whole grid of a paper, cells side by side",
        "-m hydra/launcher=local +experiment=two_directions",
    ),
    (
        "what an LLM would cost, before anything is sent",
        "mixture=bronze llm=openai llm.estimate_only=true",
    ),
    ("the configuration of a cell, without running it", "mixture=gold_bronze --cfg job"),
)
CLOSING = """\
-m makes a sweep. --cfg job shows the configuration. debug=true shows the traceback of an error.
--hydra-help is about Hydra's own flags. touchstone --help lists the other commands (table, report).
"""


def help_text() -> str:
    """Return the page."""
    parts = [OPENING]
    for axis, about in AXES.items():
        values = values_of(axis)
        if not values:
            continue
        lines = [f"{axis}: {about}"]
        width = min(24, max(map(len, values)))
        for value, text in values.items():
            lines += textwrap.wrap(
                f"{value:{width}}  {text}".rstrip(),
                WIDTH,
                initial_indent="  ",
                subsequent_indent=" " * (width + 4),
            )
        parts.append("\n".join(lines) + "\n")
    parts.append(
        "Examples\n" + "\n".join(f"  # {t}\n  {program()} {c}" for t, c in EXAMPLES) + "\n"
    )
    return "\n".join([*parts, CLOSING])


def values_of(axis: str) -> dict[str, str]:
    """Return the values of an axis with the sentence that each file opens with; values in folders
    are named with them: control/gold_repeated."""
    values: dict[str, str] = {}
    for folder in conf_dirs():
        for path in sorted((folder / axis).rglob("*.yaml")):
            name = path.relative_to(folder / axis).with_suffix("").as_posix()
            values.setdefault(name, first_sentence(path))
    return dict(sorted(values.items(), key=lambda item: ("/" in item[0], item[0])))


def first_sentence(path: Path) -> str:
    """Return the first sentence of the comment that a YAML opens with, '' where there is none.

    Lines that show a command are passed over.
    """
    words: list[str] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        text = line.lstrip("# ").strip()
        if not COMMAND.match(text):
            words.append(text)
    return re.split(r"(?<!\bal)(?<!\bvs)\.\s", " ".join(words), maxsplit=1)[0].rstrip(".")
