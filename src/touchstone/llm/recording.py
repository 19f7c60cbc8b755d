"""Recordings: answers as readable JSON lines, to ship, to send to a colleague, to replay offline.

One line per answer: {"key", "request": {"messages", "schema", "params", "sample", "stage"},
"response", "model", "date", ...}. `key` names the request (protocol.py); `request` may be left out
where its text must not be published: the key is enough to replay. `endpoint` and `model` are as
asked, `served_model` as answered. Shipped recordings are all *.jsonl under demo/recordings.

    touchstone recording export FILE    from the response store
    touchstone recording import FILE    into the response store
    touchstone recording verify FILE    keys recomputed, conflicts and broken lines listed
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any

from touchstone.errors import UserError, no_such
from touchstone.llm import chat
from touchstone.llm.protocol import Request, Response
from touchstone.llm.store import Kept, Store

SHIPPED = Path(__file__).resolve().parents[1] / "demo" / "recordings"
TEXTS = (
    "endpoint",
    "model",
    "served_model",
    "date",
    "finish_reason",
    "fingerprint",
)  # of a line, where they are there


def load(recording: str | None) -> dict[str, Response]:
    """Return all recorded responses by key: those of `recording`, then the shipped ones; the first
    answer to a request counts.

    Parameters
    ----------
    recording : PATH[,PATH] of files or folders of *.jsonl, or None.

    Raises
    ------
    UserError
        If a file is missing or a line of it cannot be read.
    """
    found: dict[str, Response] = {}
    for path in [*files(recording), *shipped()]:
        stat = path.stat()
        for key, response in _load_file(path, stat.st_mtime_ns, stat.st_size).items():
            found.setdefault(key, response)
    return found


def files(recording: str | None) -> list[Path]:
    """Return the files that PATH[,PATH] names; a folder stands for the *.jsonl in it."""
    named = []
    for part in (recording or "").split(","):
        if not part.strip():
            continue
        path = Path(part.strip()).expanduser()
        if path.is_dir():
            named.extend(sorted(path.glob("*.jsonl")))
        elif path.is_file():
            named.append(path)
        else:
            raise UserError(f"llm.recording={part.strip()}: no such file or folder")
    return named


def shipped() -> list[Path]:
    """Return the recordings that come with the product."""
    return sorted(SHIPPED.rglob("*.jsonl"))


def entry(kept: Kept, *, with_request: bool = True) -> dict[str, Any]:
    """Return a stored answer as one line of a recording."""
    response = kept.response
    line: dict[str, Any] = {"key": response.key}
    if with_request and kept.request is not None:
        line["request"] = {**kept.request, "stage": kept.stage}
    line |= {
        "response": response.text,
        "endpoint": kept.endpoint,
        "model": kept.asked_model,
        "date": response.created,
    }
    if response.model and response.model != kept.asked_model:
        line["served_model"] = response.model
    if response.finish_reason != "stop":
        line["finish_reason"] = response.finish_reason
    if response.usage:
        line["usage"] = dict(response.usage)
    if response.fingerprint:
        line["fingerprint"] = response.fingerprint
    if kept.restricted:
        line["restricted"] = True
    return line


def export(
    store: Store,
    path: str | Path,
    *,
    stage: str | None = None,
    model: str | None = None,
    with_requests: bool = True,
    restricted: bool = False,
) -> tuple[int, int]:
    """Write the answers of a store as a recording; where there are none to write, no file is made
    or changed.

    Parameters
    ----------
    stage, model : only those; None = all.
    with_requests : whether the text of the requests is written beside their keys.
    restricted : whether answers to requests with restricted text are written too; the file is then
        0600.

    Returns
    -------
    written, left_out : how many answers; those left out are restricted.

    Raises
    ------
    UserError
        If the file cannot be written.
    """
    written = left_out = 0

    def lines() -> Iterator[dict[str, Any]]:
        nonlocal written, left_out
        for kept in store.rows(stage=stage, model=model):
            if kept.restricted and not restricted:
                left_out += 1
                continue
            written += 1
            yield entry(kept, with_request=with_requests)

    entries = lines()
    first = next(entries, None)
    if first is not None:
        write(path, chain([first], entries), mode=0o600 if restricted else 0o644)
    return written, left_out


def write(path: str | Path, entries: Iterable[Mapping[str, Any]], mode: int = 0o644) -> None:
    """Write lines of a recording, aside first, then renamed.

    Raises
    ------
    UserError
        If the file cannot be written.
    """
    path = Path(path)
    aside = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(
            os.open(aside, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, mode), "w", encoding="utf-8"
        ) as handle:
            for line in entries:
                handle.write(json.dumps(line, ensure_ascii=False) + "\n")
        aside.replace(path)
    except OSError as error:
        raise UserError(
            f"cannot write the recording {path}: {error.strerror}; name a file in a folder that you own"
        ) from error


def import_(store: Store, path: str | Path) -> tuple[int, int]:
    """Put the answers of a recording into a store.

    Returns
    -------
    added, conflicts : how many were new; how many answer a request differently from the store,
        which keeps its own.

    Raises
    ------
    UserError If a line cannot be read, or its key is not that of its request; all are looked at
        before the first is put.
    """
    lines = []
    for number, raw in _lines(path):
        where = f"{path}, line {number}"
        lines.append(_entry(raw, where))
        if problem := _wrong_key(lines[-1], where):
            raise UserError(f"{problem}; nothing of this file was imported")
    added = conflicts = 0
    for line in lines:
        key = line["key"]
        request = line.get("request")
        new = store.put(
            _as_response(line),
            endpoint=line.get("endpoint", ""),
            model=line.get("model", ""),
            request=None
            if request is None
            else {name: value for name, value in request.items() if name != "stage"},
            stage=(request or {}).get("stage") or "",
            restricted=bool(line.get("restricted")),
        )
        added += new
        if not new and store.get([key])[key].text != line["response"]:
            conflicts += 1
    return added, conflicts


@dataclass(frozen=True)
class Verified:
    """What `verify` found: lines, those whose key was recomputed from the request, and problems,
    each with its line number."""

    lines: int
    recomputed: int
    problems: tuple[str, ...]


def verify(path: str | Path) -> Verified:
    """Check a recording: every line readable, every key that of its request, no request answered in
    two ways."""
    problems, answers, lines, recomputed = [], {}, 0, 0
    for number, raw in _lines(path):
        lines += 1
        try:
            line = _entry(raw, f"line {number}")
        except UserError as error:
            problems.append(str(error))
            continue
        recomputed += "request" in line
        if problem := _wrong_key(line, f"line {number}"):
            problems.append(problem)
        if answers.setdefault(line["key"], line["response"]) != line["response"]:
            problems.append(
                f"line {number}: request {line['key'][:12]} is answered twice, differently"
            )
    return Verified(lines, recomputed, tuple(problems))


def read(path: str | Path) -> Iterator[dict[str, Any]]:
    """Yield the lines of a recording, checked for shape.

    Raises
    ------
    UserError
        With file and line number.
    """
    for number, raw in _lines(path):
        yield _entry(raw, f"{path}, line {number}")


def add_cli(subparsers: Any) -> None:
    """Add `recording export|import|verify` to a command line; each sets `run`, a function of the
    parsed arguments."""
    parser = subparsers.add_parser(
        "recording", help="move LLM answers between the response store and JSON lines"
    )
    actions = parser.add_subparsers(dest="action", required=True)
    out = actions.add_parser("export", help="write the store's answers as a recording")
    out.add_argument("file")
    out.add_argument("--stage", help="only this stage")
    out.add_argument("--model", help="only this model")
    out.add_argument(
        "--without-requests", action="store_true", help="keys only: the text asked is left out"
    )
    out.add_argument(
        "--restricted",
        action="store_true",
        help="also answers about restricted text; the file is readable to you only",
    )
    out.set_defaults(run=_run_export)
    into = actions.add_parser("import", help="put a recording's answers into the store")
    into.add_argument("file", nargs="+")
    into.set_defaults(run=_run_import)
    check = actions.add_parser("verify", help="check a recording")
    check.add_argument("file", nargs="*", help="default: the shipped recordings")
    check.set_defaults(run=_run_verify)
    for action in (out, into):
        action.add_argument(
            "--cache", default=".cache", help="paths.cache of the runs (default .cache)"
        )


def _run_export(arguments: argparse.Namespace) -> int:
    folder = Path(arguments.cache) / "llm"
    if not (folder / "responses.sqlite").is_file():
        raise UserError(
            f"no response store in {folder}; name paths.cache of the runs that asked: --cache FOLDER"
        )
    with Store(folder) as store:
        written, left_out = export(
            store,
            arguments.file,
            stage=arguments.stage,
            model=arguments.model,
            with_requests=not arguments.without_requests,
            restricted=arguments.restricted,
        )
        told = f"{left_out} answers about restricted text left out; --restricted writes them too"
        if not written:
            raise UserError(
                f"nothing written to {arguments.file}: {told if left_out else _what_there_is(store, arguments)}"
            )
    print(f"{written} answers written to {arguments.file}")
    if left_out:
        print(told)
    return 0


def _what_there_is(store: Store, arguments: argparse.Namespace) -> str:
    """Say which stages and models a store has answers of, and which one asked for is none of
    them."""
    known = store.db.execute("SELECT DISTINCT stage, asked_model FROM responses").fetchall()
    if not known:
        return f"{store.path} has no answers yet"
    told = []
    for name, asked, found in (
        ("stage", arguments.stage, {row[0] for row in known}),
        ("model", arguments.model, {row[1] for row in known}),
    ):
        told.append(
            f"{name}s: {', '.join(sorted(found))}"
            if asked in (None, *found)
            else no_such(name, asked, found)
        )
    return "; ".join(told)


def _run_import(arguments: argparse.Namespace) -> int:
    with Store(Path(arguments.cache) / "llm") as store:
        for path in arguments.file:
            added, conflicts = import_(store, path)
            print(
                f"{path}: {added} answers added"
                + (f", {conflicts} differ from the store, which keeps its own" if conflicts else "")
            )
    return 0


def _run_verify(arguments: argparse.Namespace) -> int:
    failed = False
    for path in arguments.file or shipped():
        found = verify(path)
        print(
            f"{path}: {found.lines} answers, {found.recomputed} keys recomputed, {len(found.problems)} problems"
        )
        for problem in found.problems:
            print(f"  {problem}")
        failed = failed or bool(found.problems)
    return 1 if failed else 0


@lru_cache(maxsize=64)
def _load_file(path: Path, _changed: int, _size: int) -> dict[str, Response]:
    found: dict[str, Response] = {}
    for line in read(path):
        found.setdefault(line["key"], _as_response(line))
    return found


def _lines(path: str | Path) -> Iterator[tuple[int, str]]:
    try:
        with open(path, encoding="utf-8") as handle:
            for number, raw in enumerate(handle, start=1):
                if raw.strip():
                    yield number, raw
    except OSError as error:
        raise UserError(f"cannot read the recording {path}: {error.strerror}") from error
    except UnicodeDecodeError:
        raise UserError(f"cannot read the recording {path}: it is not UTF-8 text") from None


def _entry(raw: str, where: str) -> dict[str, Any]:
    try:
        line = json.loads(raw)
    except ValueError:
        raise UserError(f"{where}: not JSON; a recording is one JSON object per line") from None
    if not isinstance(line, dict) or not isinstance(line.get("response"), str):
        raise UserError(f'{where}: a recorded answer needs "key" and "response" (text)')
    key = line.get("key")
    if not isinstance(key, str) or len(key) != 64 or set(key) - set("0123456789abcdef"):
        raise UserError(f'{where}: "key" must be the 64 hex digits of a request')
    line = {name: value for name, value in line.items() if value is not None}
    for name in ("request", "usage"):
        if not isinstance(line.get(name, {}), dict):
            raise UserError(f'{where}: "{name}" must be an object')
    for name, value in [
        *((name, line.get(name, "")) for name in TEXTS),
        ("stage", line.get("request", {}).get("stage") or ""),
    ]:
        if not isinstance(value, str):
            raise UserError(f'{where}: "{name}" must be text')
    return line


def _wrong_key(line: Mapping[str, Any], where: str) -> str | None:
    """Say that the key of a line is not that of its request; None where it is, or where the request
    is left out."""
    if "request" not in line or _key_of(line) == line["key"]:
        return None
    return f"{where}: the key is not that of the request at endpoint {line.get('endpoint')!r} for {line.get('model')!r}"


def _key_of(line: Mapping[str, Any]) -> str | None:
    request = line["request"]
    try:
        asked = Request(
            tuple(request["messages"]),
            request.get("schema"),
            request.get("params") or {},
            request.get("sample") or 0,
        )
        return asked.key(line.get("endpoint", ""), line.get("model", ""))
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


def _as_response(line: Mapping[str, Any]) -> Response:
    return Response(
        key=line["key"],
        text=chat.clean(line["response"]),
        finish_reason=line.get("finish_reason", "stop"),
        model=line.get("served_model") or line.get("model", ""),
        usage=line.get("usage") or {},
        fingerprint=line.get("fingerprint", ""),
        latency_s=None,
        created=line.get("date", ""),
    )
