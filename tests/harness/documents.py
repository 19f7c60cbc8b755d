"""The commands of README.md and docs/*.md, read out of their code blocks.

A block fenced as `sh` holds commands that a reader would type. It is run by the tests unless the
line before it is an HTML comment that says why not or when:

    <!-- not run: needs a key and a server -->
    <!-- slow: four minutes -->

The comment does not show on the page. The blocks of a page are run in order in one project folder,
so a page can show what follows from what.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from grid import ROOT

FENCE = re.compile(r"^```(\w*)\s*$")
MARK = re.compile(r"^<!-- (not run|slow): (.+) -->$")


@dataclass(frozen=True)
class Block:
    """Commands of one code block: where it stands, whether and why it is not run, its lines."""

    page: str
    line: int
    commands: tuple[str, ...]
    mark: str = ""
    reason: str = ""


def pages() -> list[Path]:
    """Return the pages whose commands are run, the README first."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page: Path) -> list[Block]:
    """Return the `sh` blocks of a page in order."""
    lines = page.read_text(encoding="utf-8").splitlines()
    name = page.relative_to(ROOT).as_posix()
    found, start = [], None
    for number, line in enumerate(lines):
        fence = FENCE.match(line)
        if fence and start is None:
            start = (number, fence[1])
        elif line.strip() == "```" and start is not None:
            opened, language = start
            start = None
            if language == "sh":
                mark = MARK.match(lines[opened - 1]) if opened else None
                commands = tuple(_commands(lines[opened + 1 : number]))
                found.append(
                    Block(name, opened + 1, commands, *(mark.groups() if mark else ("", "")))
                )
    return found


def _commands(lines: list[str]) -> list[str]:
    """Join continued lines; drop comments and blank lines."""
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    commands = [re.sub(r"\s+#.*$", "", line).strip() for line in joined.split("\n")]
    return [command for command in commands if command and not command.startswith("#")]
