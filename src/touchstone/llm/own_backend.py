"""A function of the user's that answers one request, as a backend: `llm.backend: my_llm.answer`.

    def answer(request, llm):
        return post(request.messages, llm.model)["text"]

It is called with a `protocol.Request` and the LLM's configuration, on `llm.workers` threads, and
returns the text or a `protocol.Response`. Each answer is stored as soon as it is there, so nothing
is asked twice. What it raises fails that request only, which the next call asks again. Does not
retry and does not limit rates; a function of four arguments, `answer(asked, store, llm, progress)`,
is a whole backend as those of `backends/` are, and does all of that itself.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from datetime import UTC, datetime
from time import perf_counter
from typing import Any

from touchstone import plugins
from touchstone.errors import UserError
from touchstone.llm.protocol import Obtained, Request, Response
from touchstone.llm.store import Store
from touchstone.progress import progress as shown
from touchstone.schema import LLMConfig

KEY = "llm.backend"
FOLDER = "touchstone.llm.backends"
Backend = Callable[[Mapping[str, Request], Store, LLMConfig, bool], Obtained]
WHOLE = 4  # arguments of a whole backend


def backend_of(name: str) -> Backend:
    """Return the backend that `llm.backend` names, the package's own or the user's.

    Raises
    ------
    UserError
        If there is none of that name, or its code cannot be imported.
    """
    loaded = plugins.load(KEY, name, FOLDER, "answer", ("recorded",))
    if not plugins.is_foreign(name, FOLDER):
        return loaded
    if not callable(loaded):
        raise UserError(f"{KEY}={name}: must be a function, not {type(loaded).__name__}")
    if len(inspect.signature(loaded).parameters) == WHOLE:
        return loaded
    return lambda asked, store, llm, progress: _each(loaded, asked, store, llm, progress)


def _each(
    function: Callable[[Request, LLMConfig], Any],
    asked: Mapping[str, Request],
    store: Store,
    llm: LLMConfig,
    progress: bool,
) -> Obtained:
    obtained = Obtained(tries=len(asked))

    def one(request: Request) -> tuple[Any, float]:
        started = perf_counter()
        with plugins.blaming(KEY, llm.backend, withheld=request.restricted):
            return function(request, llm), perf_counter() - started

    with (
        ThreadPoolExecutor(llm.workers) as workers,
        shown(f"asking {llm.model}", len(asked), "requests", shown=progress) as done,
    ):
        futures = {workers.submit(one, request): key for key, request in asked.items()}
        for number, future in enumerate(as_completed(futures), start=1):
            key = futures[future]
            try:
                answer, seconds = future.result()
                response = _response(key, answer, seconds, llm)
            except UserError as error:
                obtained.failed[key] = str(error)
            else:
                _store(store, response, asked[key], llm)
                obtained.responses[key] = response
                obtained.new.add(key)
            done(number)
    if obtained.failed and not obtained.responses:
        raise UserError(next(iter(obtained.failed.values())))
    return obtained


def _store(store: Store, response: Response, request: Request, llm: LLMConfig) -> None:
    store.put(
        response,
        endpoint=llm.endpoint,
        model=llm.model,
        request=request,
        stage=request.stage,
        restricted=request.restricted,
    )


def _response(key: str, answer: Any, seconds: float, llm: LLMConfig) -> Response:
    if isinstance(answer, Response):
        return replace(answer, key=key)
    if not isinstance(answer, str):
        raise UserError(
            f"{KEY}={llm.backend}: must return the answer's text, not {type(answer).__name__}"
        )
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return Response(key, answer, model=llm.model, latency_s=seconds, created=now)
