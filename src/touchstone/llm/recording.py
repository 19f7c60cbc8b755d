"""Recordings: answers as readable JSON lines, to ship, to send to a colleague, to replay offline.

One line per answer: {"key", "request": {"messages", "schema", "params", "sample", "stage"},
"response", "model", "date", ...}. `key` names the request (protocol.py); `request` may be left out
where its text must not be published: the key is enough to replay. `endpoint` and `model` are as
asked, `served_model` as answered. Shipped recordings are all *.jsonl under demo/recordings.

    touchstone recording export FILE    from the response store (--stand-off: without any text asked
                                        about, see standoff.py)
    touchstone recording import FILE    into the response store
    touchstone recording verify FILE    keys recomputed, conflicts and broken lines listed
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any

from touchstone.digest import digest
from touchstone.errors import UserError
from touchstone.llm import chat, standoff
from touchstone.llm.protocol import Request, Response
from touchstone.llm.store import Kept, Store
from touchstone.private import write_aside, write_private

SHIPPED = Path(__file__).resolve().parents[1] / "demo" / "recordings"
FORMAT = 1  # of a line; one without "format" is of the first
TEXTS = (
    "endpoint",
    "model",
    "served_model",
    "date",
    "finish_reason",
    "fingerprint",
)  # of a line, where they are there


@dataclass(frozen=True)
class Recorded:
    """One line of a recording: the answer, or its stand-off form; `where` is file and line."""

    where: str
    response: Response
    stand_off: Mapping[str, Any] | None = None


def replay(recording: str | None, asked: Mapping[str, Request]) -> dict[str, Response]:
    """Return the recorded responses to requests (by key): those of `recording`, then the shipped
    ones; the first answer to a request counts.

    A stand-off answer is written again over the request's own sentences; where it was refused and
    asked again, the second answer stands for both.

    Parameters
    ----------
    recording : PATH[,PATH] of files or folders of *.jsonl, or None.

    Raises
    ------
    UserError
        If a file is missing or a line of it cannot be read.
    """
    by_key: dict[str, Recorded] = {}
    for path in [*files(recording), *shipped()]:
        lines = _load_file(path, *_state(path))
        for key in asked.keys() & lines.keys():
            by_key.setdefault(key, lines[key])
        again = [line.stand_off.get("again") for line in by_key.values() if line.stand_off]
        for second in filter(None, again):
            if second in lines:
                by_key.setdefault(second, lines[second])
    return {key: _replayed(key, asked[key], by_key) for key in asked if key in by_key}


def differences(recording: str | None, missing: Mapping[str, Request]) -> list[str]:
    """Say which sentences of requests that no recording answers differ from those that a stand-off
    recording was asked about: one line for each, with file, line and sentence number."""
    stand_off = [
        line
        for path in [*files(recording), *shipped()]
        for line in _load_file(path, *_state(path)).values()
        if line.stand_off and "sentences" in line.stand_off
    ]
    by_sentence: dict[tuple[int, str], list[Recorded]] = {}
    for line in stand_off:
        for row in line.stand_off["sentences"] if line.stand_off else ():
            by_sentence.setdefault((row["id"], row["digest"]), []).append(line)
    lines = []
    for request in missing.values():
        near: dict[str, Recorded] = {}
        for number, text in standoff.numbered(request.messages).items():
            for restricted in (False, True):
                digest = standoff.sentence_digest(text, restricted=restricted)
                near |= {line.where: line for line in by_sentence.get((number, digest), ())}
        for where, line in near.items():
            if wrong := standoff.differing(request.messages, line.stand_off or {}):
                which = f"sentence {wrong[0]}" if len(wrong) == 1 else f"sentences {wrong}"
                lines.append(f"{where}: {which} differs from what was asked about")
    return list(dict.fromkeys(lines))


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


def export_stand_off(
    store: Store,
    path: str | Path,
    *,
    stage: str | None = None,
    model: str | None = None,
    purpose: str | None = None,
) -> tuple[int, int, int]:
    """Write what was answered about sentences as a recording that holds none of their text.

    Parameters
    ----------
    stage, model : only those; None = all.
    purpose : why labels of restricted text are written; None leaves them out. With it the file is
        0600 and a note beside it says for what it was written.

    Returns
    -------
    written, restricted, other : answers written; left out since they are about restricted text;
        left out since a model wrote their text by itself (bronze, names), which has no stand-off
        form.

    Raises
    ------
    UserError
        If the file cannot be written.
    """
    restricted = other = 0
    lines: dict[str, dict[str, Any]] = {}
    asked_again: dict[str, tuple[str, str]] = {}  # digest of the first messages -> key, reason
    first: dict[str, str] = {}  # digest of the messages -> key
    for kept in store.rows(stage=stage, model=model):
        if kept.restricted and purpose is None:
            restricted += 1
            continue
        request = kept.request
        if request is None or not standoff.form_of(request):
            other += 1
            continue
        line = entry(kept, with_request=False)
        del line["response"]
        try:
            line["stand_off"] = standoff.stand_off(
                request, kept.response.text, restricted=kept.restricted
            )
        except ValueError:
            other += 1
            continue
        messages = request["messages"]
        first[digest([messages, kept.endpoint, kept.asked_model])] = kept.response.key
        if len(messages) > 2 and messages[-2]["role"] == "assistant":
            place = digest([messages[:-2], kept.endpoint, kept.asked_model])
            asked_again[place] = (kept.response.key, standoff.reason(messages[-1]["content"]))
        lines[kept.response.key] = line
    for place, (key, reason) in asked_again.items():
        if place in first:
            lines[first[place]]["stand_off"] = {"refused": reason, "again": key}
    if lines:
        path = Path(path)
        write(path, lines.values(), mode=0o644 if purpose is None else 0o600)
        if purpose is not None:
            note = f"{path.name} holds labels of restricted text.\nPurpose: {purpose}\n"
            write_private(path.with_suffix(".txt"), note + f"Written: {chat.now()}\n")
    return len(lines), restricted, other


def write(path: str | Path, entries: Iterable[Mapping[str, Any]], mode: int = 0o644) -> None:
    """Write lines of a recording, aside first, then renamed.

    Raises
    ------
    UserError
        If the file cannot be written.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_aside(path, (json.dumps(line, ensure_ascii=False) + "\n" for line in entries), mode)
    except OSError as error:
        raise UserError(
            f"cannot write the recording {path}: {error.strerror}; name a file in a folder that "
            "you own"
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
        if "stand_off" in lines[-1]:
            raise UserError(
                f"{where}: a stand-off recording holds no text to import; it is replayed over your "
                f"copy of the corpus: llm=recorded llm.recording={path}"
            )
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
    problems: list[str] = []
    answers: dict[str, Any] = {}
    lines = recomputed = 0
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
        answer = line.get("stand_off", line["response"])
        if answers.setdefault(line["key"], answer) != answer:
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


def _state(path: Path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_mtime_ns, stat.st_size


@lru_cache(maxsize=64)
def _load_file(path: Path, _changed: int, _size: int) -> dict[str, Recorded]:
    recorded: dict[str, Recorded] = {}
    for number, raw in _lines(path):
        where = f"{path}, line {number}"
        line = _entry(raw, where)
        recorded.setdefault(line["key"], Recorded(where, _as_response(line), line.get("stand_off")))
    return recorded


def _replayed(key: str, request: Request, by_key: Mapping[str, Recorded]) -> Response:
    """Return the answer to a request; of a stand-off one, its text over the request's sentences."""
    line = by_key[key]
    if line.stand_off is None:
        return line.response
    refused = line.stand_off.get("refused")
    second = by_key.get(line.stand_off.get("again", ""))
    if second is not None and second.stand_off is not None:
        line, refused = second, second.stand_off.get("refused")
    if refused is not None or line.stand_off is None:
        return replace(line.response, key=key, refused=refused or "refused")
    try:
        text = standoff.rebuilt(request.messages, line.stand_off)
    except ValueError as error:
        raise UserError(f"{line.where}: {error}") from None
    return replace(line.response, key=key, text=text)


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
    except (ValueError, RecursionError):
        raise UserError(f"{where}: not JSON; a recording is one JSON object per line") from None
    if isinstance(line, dict) and line.get("format", FORMAT) != FORMAT:
        raise UserError(
            f"{where}: a recording of format {str(line['format'])[:20]}; this touchstone reads "
            "format "
            f"{FORMAT}. Update touchstone"
        )
    if isinstance(line, dict) and "stand_off" in line:
        if problem := standoff.fault(line["stand_off"]):
            raise UserError(f"{where}: {problem}")
        line.setdefault("response", "")
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
    return (
        f"{where}: the key is not that of the request at endpoint {line.get('endpoint')!r} for "
        f"{line.get('model')!r}"
    )


def _key_of(line: Mapping[str, Any]) -> str | None:
    request = line["request"]
    try:
        asked = Request(
            tuple(request["messages"]),
            request.get("schema"),
            request.get("params") or {},
            request.get("sample") or 0,
        )
        place = line.get("endpoint", ""), line.get("model", "")
        written = asked.key_as_written(*place)
        return written if written == line["key"] else asked.key(*place)
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


def _as_response(line: Mapping[str, Any]) -> Response:
    return Response(
        key=line["key"],
        text=chat.clean(line["response"]),
        finish_reason=chat.word(line.get("finish_reason") or "stop"),
        model=chat.word(line.get("served_model") or line.get("model")),
        usage=line.get("usage") or {},
        fingerprint=chat.word(line.get("fingerprint")),
        latency_s=None,
        created=line.get("date", ""),
    )
