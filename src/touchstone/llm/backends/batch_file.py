"""Requests out and answers in as files: for air-gapped hospitals, and for handing requests to an
approved machine or a person.

Out: `<batch_dir>/requests-STAGE-DIGEST.jsonl`, OpenAI-Batch lines {"custom_id": key, "method",
"url", "body"}, split by size; with restricted text the file is 0600, its name says RESTRICTED and a
note beside it says for what purpose it was written. In: `<batch_dir>/answers*.jsonl`, OpenAI-Batch
output lines {"custom_id", "response": {"status_code": 200, "body": {...}}} or the short form
{"custom_id", "text"}, which is easy to write by hand. Partial answers are taken; lines that are
broken, foreign (nothing here asked for them) or that answer twice are reported, never used. A
request already in a file is not written again, and a file that is answered whole moves to
`answered/`.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from filelock import FileLock

from touchstone.digest import digest
from touchstone.errors import UserError
from touchstone.llm import budget, chat
from touchstone.llm.protocol import Obtained, Request, Response
from touchstone.llm.store import Store

if TYPE_CHECKING:
    from touchstone.schema import LLMConfig

URL = "/v1/chat/completions"
_CUSTOM_ID = re.compile(r'\{"custom_id": "([0-9a-f]{64})"')


def answer(asked: Mapping[str, Request], store: Store, llm: LLMConfig, progress: bool) -> Obtained:
    """Read the answers to `asked` (by key) from `llm.batch_dir` into the store.

    Requests without an answer are left out; `ask` exports them. Answers to requests of other calls
    are left for them. A line that differs from an answer that was collected before is reported, and
    the old answer counts.
    """
    folder, obtained = Path(llm.batch_dir), Obtained()
    others: dict[str, tuple[str, str]] = {}
    for path in sorted(folder.glob("answers*.jsonl")):
        for number, raw in enumerate(_lines(path), start=1):
            key, response, problem = _answer(raw, llm.max_answer_mb)
            where = f"{path.name}, line {number}"
            if key is not None and key not in asked:
                others[key] = (response.text, where)
            elif problem or key is None:
                obtained.notes.append(f"{where}: {problem}")
            elif obtained.responses.setdefault(key, response).text != response.text:
                obtained.notes.append(
                    f"{where}: request {key[:12]} is answered twice, differently; the first "
                    "answer counts"
                )
    obtained.notes += _foreign(others, folder, store)
    for key, response in obtained.responses.items():
        request = asked[key]
        counts, known = budget.used_tokens(request, response)
        if not known:
            obtained.uncounted.add(key)
        store.put(
            response,
            endpoint=llm.endpoint,
            model=llm.model,
            request=request,
            stage=request.stage,
            restricted=request.restricted,
            tokens=counts,
            batch=True,
        )
    obtained.new = set(obtained.responses)
    return obtained


def all_answers(llm: LLMConfig, keys: set[str]) -> dict[str, list[Response]]:
    """Return every readable line of the answer files for some requests, in order."""
    answers: dict[str, list[Response]] = {}
    for path in sorted(Path(llm.batch_dir).glob("answers*.jsonl")) if keys else ():
        for raw in _lines(path):
            key, response, problem = _answer(raw, llm.max_answer_mb)
            if key in keys and key is not None and not problem:
                answers.setdefault(key, []).append(response)
    return answers


def export(
    folder: str | Path,
    pending: Mapping[str, Request],
    model: str,
    store: Store,
    *,
    max_requests: int = 50_000,
    max_mb: int = 200,
    corpus: str = "",
    purpose: str | None = None,
) -> list[Path]:
    """Write the requests that no file holds yet; return the files that hold any of `pending`, new
    ones last.

    Parameters
    ----------
    pending : requests by key.
    model : as it stands in each line.
    max_requests, max_mb : limits of one file (OpenAI's are 50,000 and 200 MB).
    corpus, purpose : told in the note beside a file with restricted text.

    Raises
    ------
    UserError
        If the folder cannot be written, or one request alone passes `max_mb`.
    """
    folder = Path(folder)
    restricted = any(request.restricted for request in pending.values())
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700 if restricted else 0o755)
        with FileLock(folder / ".lock"):
            _shelve(folder, store)
            holding, waiting = [], set[str]()
            for path in sorted(folder.glob("requests-*.jsonl")):
                held = _held(path, pending)
                waiting |= held
                if held:
                    holding.append(path)
            new = {key: request for key, request in pending.items() if key not in waiting}
            for is_restricted in (False, True):
                part = {
                    key: request
                    for key, request in new.items()
                    if request.restricted is is_restricted
                }
                holding += _write(
                    folder, part, model, max_requests, max_mb, is_restricted, corpus, purpose
                )
            return holding
    except OSError as error:
        raise UserError(f"cannot write to llm.batch_dir={folder}: {error.strerror}") from error


def line(
    key: str,
    request: Request,
    model: str,
    *,
    tokens_field: str = "max_tokens",
    structured: str = "json_schema",
) -> str:
    """Return a request as one line of an OpenAI-Batch input file; see `chat.body`."""
    fields = {
        "custom_id": key,
        "method": "POST",
        "url": URL,
        "body": chat.body(request, model, structured, tokens_field),
    }
    return json.dumps(fields, ensure_ascii=False)


def parts(lines: Mapping[str, str], max_requests: int, max_mb: int) -> Iterator[dict[str, str]]:
    """Split lines by key so that none of the parts passes the limits.

    Raises
    ------
    UserError
        If one line alone is too large.
    """
    part: dict[str, str] = {}
    size = 0
    for key, text in lines.items():
        n_bytes = len(text.encode("utf-8", "surrogatepass")) + 1
        if n_bytes > max_mb * 1_000_000:
            raise UserError(f"request {key[:12]} alone is larger than llm.batch_max_mb={max_mb}")
        if part and (len(part) >= max_requests or size + n_bytes > max_mb * 1_000_000):
            yield part
            part, size = {}, 0
        part[key] = text
        size += n_bytes
    if part:
        yield part


def _write(
    folder: Path,
    requests: Mapping[str, Request],
    model: str,
    max_requests: int,
    max_mb: int,
    restricted: bool,
    corpus: str,
    purpose: str | None,
) -> list[Path]:
    written = []
    lines = {key: line(key, request, model) for key, request in requests.items()}
    for part in parts(lines, max_requests, max_mb):
        stages = sorted({requests[key].stage for key in part if requests[key].stage})
        stage = re.sub(r"[^A-Za-z0-9_]", "_", "_".join(stages)) or "requests"
        mark = "-RESTRICTED" if restricted else ""
        name = f"requests-{stage}-{digest(sorted(part))[:8]}{mark}.jsonl"
        _put(
            folder / name,
            "".join(text + "\n" for text in part.values()),
            0o600 if restricted else 0o644,
        )
        if restricted:
            note = (
                f"{name} holds text of the restricted corpus {corpus or '(not named)'}.\nPurpose: "
                f"{purpose}\nRequests: {len(part)}\n"
                f"Written: {chat.now()}\nKeep it where the data-use agreement allows, and remove "
                "it when it is answered.\n"
            )
            _put(folder / f"{name.removesuffix('.jsonl')}.txt", note, 0o600)
        written.append(folder / name)
    return written


def _put(path: Path, text: str, mode: int) -> None:
    aside = path.with_name(path.name + ".part")
    aside.unlink(missing_ok=True)
    with open(
        os.open(aside, os.O_CREAT | os.O_WRONLY | os.O_EXCL, mode), "w", encoding="utf-8"
    ) as handle:
        handle.write(text)
    aside.replace(path)


def _shelve(folder: Path, store: Store) -> None:
    """Move request files that are answered whole out of the way, so that nobody answers them
    again."""
    for path in sorted(folder.glob("requests-*.jsonl")):
        first = next(_keys(path), None)  # most files: unanswered, so one line is read
        if first is None or store.missing([first]) or store.missing(_keys(path)):
            continue
        (folder / "answered").mkdir(exist_ok=True, mode=0o700)
        path.replace(folder / "answered" / path.name)
        note = path.with_suffix(".txt")
        if note.exists():
            note.replace(folder / "answered" / note.name)


def _foreign(others: Mapping[str, tuple[str, str]], folder: Path, store: Store) -> list[str]:
    """Say which answers nothing here asked for, and which contradict one that was collected
    before."""
    responses = store.get(
        key for key in others if len(key) == 64 and not set(key) - set("0123456789abcdef")
    )
    exported = _exported_keys(folder) if others.keys() - responses.keys() else set()
    notes = []
    for key, (text, where) in others.items():
        if key in responses and text and responses[key].text != text:
            notes.append(
                f"{where}: request {key[:12]} was answered differently before; the answer in the "
                "store counts"
            )
        elif key not in responses and key not in exported:
            notes.append(f"{where}: foreign answer {key[:12]!r}, no request here asked for it")
    return notes


def _exported_keys(folder: Path) -> set[str]:
    return {
        key
        for path in [*folder.glob("requests-*.jsonl"), *folder.glob("answered/requests-*.jsonl")]
        for key in _keys(path)
    }


def _keys(path: Path) -> Iterator[str]:
    return (match.group(1) for match in map(_CUSTOM_ID.match, _lines(path)) if match)


def _held(path: Path, pending: Mapping[str, Request]) -> set[str]:
    """Return the keys of `pending` that a request file holds."""
    stat = path.stat()
    known = _index(path, stat.st_mtime_ns, stat.st_size)
    keys = list(pending)
    numbers = np.array([int(key[:16], 16) for key in keys], dtype=np.uint64)
    return {keys[at] for at in np.flatnonzero(np.isin(numbers, known))}


@lru_cache(maxsize=4096)
def _index(path: Path, _changed: int, _size: int) -> np.ndarray:
    """Return the first 64 bits of each key in a request file, 8 bytes a request: each file is read
    once, however many parts of a pool ask."""
    return np.fromiter((int(key[:16], 16) for key in _keys(path)), dtype=np.uint64)


def _lines(path: Path) -> Iterator[str]:
    try:
        with open(path, encoding="utf-8", errors="replace") as handle:
            yield from handle
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error


def _answer(raw: str, largest_mb: float) -> tuple[str | None, Response, str]:
    """Read one answer line: key (None where there is none), response, and what is wrong with it (''
    if nothing)."""
    nothing = Response("", "")
    if not raw.strip():
        return None, nothing, "empty line"
    if len(raw) > largest_mb * 1_048_576:
        return None, nothing, f"larger than {largest_mb:g} MB (llm.max_answer_mb)"
    try:
        answer = json.loads(raw)
    except (ValueError, RecursionError):
        return None, nothing, "not JSON"
    key = answer.get("custom_id") if isinstance(answer, dict) else None
    if not isinstance(key, str):
        return None, nothing, 'no "custom_id"'
    if isinstance(answer.get("text"), str):
        usage = answer.get("usage")
        text, finish, model = (
            chat.clean(answer["text"]),
            chat.word(answer.get("finish_reason")) or "stop",
            chat.word(answer.get("model")),
        )
        return (
            key,
            Response(
                key,
                text,
                finish,
                model,
                usage if isinstance(usage, dict) else {},
                created=chat.now(),
            ),
            "",
        )
    return key, *completion_of(answer, key)


def completion_of(answer: Mapping[str, Any], key: str) -> tuple[Response, str]:
    """Read a line of an OpenAI-Batch output or error file: response, and what is wrong with it (''
    if nothing)."""
    nothing = Response(key, "")
    response = answer.get("response") or {}
    status = response.get("status_code") if isinstance(response, Mapping) else None
    if status != 200:
        error = answer.get("error") or {}
        code = error.get("code") if isinstance(error, Mapping) else None
        return nothing, f"request {key[:12]} failed there ({code or status or 'no response'})"
    try:
        return chat.read(response.get("body"), key), ""
    except chat.Garbled as error:
        return nothing, f"request {key[:12]}: {error}"
