"""What the shell offers after a tab, as argcomplete asks the command for it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytest.importorskip("argcomplete")


def offered(line: str, tmp_path) -> list[str]:
    answers = tmp_path / "answers"
    environment = {
        **os.environ,
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_STDOUT_FILENAME": str(answers),
        "_ARGCOMPLETE_IFS": "\n",
        "COMP_LINE": line,
        "COMP_POINT": str(len(line)),
    }
    command = [sys.executable, "-m", "touchstone"]
    subprocess.run(command, env=environment, cwd=tmp_path, check=True, capture_output=True)
    return [word.strip() for word in answers.read_text(encoding="utf-8").split("\n")]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("touchstone re", {"report", "reproduce", "review", "recording"}),
        ("touchstone table --for", {"--format"}),
        ("touchstone run mixture=gold_sil", {"mixture=gold_silver", "mixture=gold_silver_bronze"}),
    ],
)
def test_a_tab_completes(line, words, tmp_path):
    assert set(offered(line, tmp_path)) == words


def test_values_of_the_projects_own_are_offered(tmp_path):
    own = tmp_path / "conf" / "mixture"
    own.mkdir(parents=True)
    (own / "gold_mine.yaml").write_text("name: gold_mine\n", encoding="utf-8")
    assert offered("touchstone run mixture=gold_m", tmp_path) == ["mixture=gold_mine"]
