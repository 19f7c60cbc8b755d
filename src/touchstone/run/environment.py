"""What a result was made with: code, git state, interpreter, packages.

Logged with every run and compared when one is made again. Does not name cells (identity.py).
"""

from __future__ import annotations

import getpass
import os
import platform
import subprocess
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

from touchstone.commands import program
from touchstone.digest import digest, digest_file


@lru_cache(maxsize=1)
def code_digest() -> str:
    """Return the digest of the package's Python files: part of the cell key, so changed code never
    counts as the same cell."""
    root = Path(__file__).resolve().parents[1]
    return digest(
        {str(path.relative_to(root)): digest_file(path) for path in sorted(root.rglob("*.py"))}
    )


@lru_cache(maxsize=1)
def git_state() -> dict[str, Any]:
    """Return commit, whether the working tree differs from it, and the digest of the difference;
    nulls outside a repository."""

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", *arguments],
                capture_output=True,
                text=True,
                timeout=20,
                cwd=Path(__file__).parent,
            )
        except (OSError, subprocess.SubprocessError):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    changes = git("diff", "HEAD")
    return {
        "commit": git("rev-parse", "HEAD"),
        "dirty": bool(changes),
        "diff": digest(changes) if changes else None,
        "code": code_digest(),
    }


def standard_tags() -> dict[str, str]:
    """Return the tags by which MLflow's pages show who made a run, with what, and of which commit;
    what is not known is left out."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container whose user has no name
        user = ""
    tags = {
        "mlflow.user": user,
        "mlflow.source.name": program().removeprefix("python "),
        "mlflow.source.type": "LOCAL",
        "mlflow.source.git.commit": git_state()["commit"] or "",
    }
    return {name: value for name, value in tags.items() if value}


def _name_and_version(dist_info: Path) -> str:
    """Read `NAME==VERSION` from the head of a package's METADATA; importlib.metadata parses the
    whole of it, hundreds of times."""
    fields: dict[str, str] = {}
    with open(dist_info / "METADATA", encoding="utf-8", errors="replace") as lines:
        for line in lines:
            key, _, value = line.partition(":")
            fields[key] = value.strip()
            if {"Name", "Version"} <= fields.keys() or not line.strip():
                break
    return f"{fields.get('Name', dist_info.name)}=={fields.get('Version', '')}"


@lru_cache(maxsize=1)
def environment() -> dict[str, Any]:
    """Return interpreter, platform, processor count and the version of every installed package."""
    packages = sorted(
        {
            _name_and_version(path)
            for folder in sys.path
            for path in Path(folder).glob("*.dist-info")
        },
        key=str.lower,
    )
    return {
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "packages": packages,
    }
