"""`touchstone doctor`: what is here and what is not: environment, extras, devices, keys, data,
store, cache.

Looks, and changes nothing; asks nobody over a network. Keys are named, never shown. Ends with 1
where something that every run needs is missing.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from touchstone import __version__
from touchstone.foreign_text import tell
from touchstone.paths import conf_file, conf_names

DISTRIBUTION = "touchstone-nlp"
OK, MISSING, NOTE = "ok", "missing", "note"


@dataclass(frozen=True)
class Finding:
    """What was looked at, whether it is ok, missing (a run needs it) or a note, what was seen."""

    what: str
    state: str
    text: str


def add_cli(subparsers: Any) -> None:
    """Declare `touchstone doctor`."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "doctor",
        help="what is installed, reachable and there: environment, keys, data, store, cache",
    )
    parser.add_argument("--store", default="mlflow", help="folder (default: %(default)s)")
    parser.add_argument("--cache", default=".cache", help="folder (default: %(default)s)")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    findings = [
        *_environment(),
        *_extras(),
        *_devices(),
        *_keys(),
        _data(os.environ.get("TOUCHSTONE_DATA")),
        _store(Path(arguments.store)),
        *_cache(Path(arguments.cache)),
    ]
    width = max(len(finding.what) for finding in findings)
    for finding in findings:
        tell(f"{finding.state:8} {finding.what:{width}}  {finding.text}")
    return int(any(finding.state == MISSING for finding in findings))


def _environment() -> Iterator[Finding]:
    yield Finding("touchstone", OK, f"{__version__}, Python {platform.python_version()}")
    for name in ("mlflow", "hydra-core", "scikit-learn", "pandas", "torch", "transformers"):
        version = _version(name)
        yield Finding(name, OK if version else MISSING, version or f"pip install {name}")


def _extras() -> Iterator[Finding]:
    """Yield each extra of the package that people install: complete, or what it lacks."""
    try:
        lines = metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        yield Finding("extras", NOTE, "the package is not installed; its extras are not known")
        return
    needed: dict[str, list[str]] = {}
    for line in lines:
        marker = re.search(r"extra == ['\"]([\w-]+)['\"]", line)
        package = re.match(r"[\w.-]+", line)
        if marker and package:
            needed.setdefault(marker[1], []).append(package[0])
    for extra, names in needed.items():
        lacking = [name for name in names if not _version(name)]
        text = f"lacks {', '.join(lacking)}: pip install '{DISTRIBUTION}[{extra}]'"
        yield Finding(f"extra {extra}", NOTE if lacking else OK, text if lacking else "installed")


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def _devices() -> Iterator[Finding]:
    processors = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    )
    yield Finding("processors", OK, f"{processors}")
    try:
        import torch
    except ImportError:
        return
    count = torch.cuda.device_count()
    names = ", ".join(torch.cuda.get_device_name(number) for number in range(count))
    yield Finding("GPUs", OK if count else NOTE, names or "none; transformers learn on processors")


def _keys() -> Iterator[Finding]:
    """Yield each variable that an LLM configuration names for its key, and whether it is set."""
    import yaml

    users: dict[str, list[str]] = {}
    for llm in conf_names("llm"):
        settings = yaml.safe_load(conf_file(f"llm/{llm}.yaml").read_text(encoding="utf-8")) or {}
        if variable := settings.get("api_key_env"):
            users.setdefault(variable, []).append(f"llm={llm}")
    for variable, names in users.items():
        there = bool(os.environ.get(variable)) or _in_dotenv(variable)
        text = f"for {', '.join(names)}: " + ("set" if there else "not set")
        yield Finding(variable, OK if there else NOTE, text)


def _in_dotenv(variable: str) -> bool:
    path = Path(".env")
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return any(re.match(rf"\s*(export\s+)?{re.escape(variable)}\s*=\s*\S", line) for line in lines)


def _data(folder: str | None) -> Finding:
    if not folder:
        text = "TOUCHSTONE_DATA is not set: the built-in demo only (or paths.data=FOLDER)"
        return Finding("data folder", NOTE, text)
    if not Path(folder).is_dir():
        return Finding("data folder", MISSING, f"TOUCHSTONE_DATA={folder} is no folder")
    names = sorted(path.name for path in Path(folder).iterdir())
    return Finding("data folder", OK, f"{folder}: {', '.join(names[:12]) or 'empty'}")


def _store(folder: Path) -> Finding:
    database = folder / "mlflow.db"
    if not database.is_file():
        return Finding("store", NOTE, f"none in {folder}; the first run makes it")
    from touchstone import tracking
    from touchstone.errors import UserError

    try:
        store = tracking.open_existing(folder)
        count = len(tracking.search(store, tracking.where({tracking.KIND: "sweep"})))
    except UserError as error:
        return Finding("store", MISSING, str(error))
    free = shutil.disk_usage(folder).free / 2**30
    text = f"{folder}: {count} sweeps, {size_of(folder)}; {free:.0f} GB free on that disk"
    return Finding("store", OK, text)


def _cache(folder: Path) -> Iterator[Finding]:
    if not folder.is_dir():
        yield Finding("cache", NOTE, f"none in {folder}; the first run makes it")
        return
    yield Finding("cache", OK, f"{folder}: {size_of(folder)} (touchstone cache list says of what)")
    for stage in sorted(path for path in folder.iterdir() if path.is_dir()):
        yield Finding(f"cache/{stage.name}", OK, size_of(stage))


def size_of(folder: Path) -> str:
    """Return how much the files below a folder take, in MB or GB."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except OSError:  # gone meanwhile
            continue
    return f"{total / 2**30:.1f} GB" if total >= 2**30 else f"{total / 2**20:.1f} MB"
