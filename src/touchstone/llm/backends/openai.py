"""The `openai` backend: any OpenAI-compatible endpoint (OpenAI, Azure, vLLM, Ollama, llama.cpp),
through the `openai` package.

Sends one request once and says what came of it; the pool (pool.py) does the rest. The SDK's own
retries are off: they would hold the slot while they sleep, and obey a Retry-After of any length up
to two minutes. What an endpoint supports (JSON schema, the name of max_tokens) is found out by the
first request that needs it and remembered in the store. Never puts text of a request into a
message.
"""

from __future__ import annotations

import asyncio
import contextlib
import email.utils
import json
import logging
import re
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from touchstone.llm import answers, chat, clients, facts
from touchstone.llm.pool import Again, Refused, Stop, run
from touchstone.llm.protocol import Obtained, ParseError, Request, Response
from touchstone.llm.secrets import api_key, headers
from touchstone.llm.store import Store

if TYPE_CHECKING:
    import openai

    from touchstone.schema import LLMConfig

for _name in ("httpx", "httpx2", "openai"):
    logging.getLogger(_name).setLevel(logging.WARNING)  # they log a line for each request

_AGAIN = frozenset({408, 409, 425, 429})  # and everything from 500
_ABOUT_SCHEMA = re.compile(
    r"response_format|json_schema|json_object|json schema|structured|grammar|guided", re.IGNORECASE
)
FIRST_CONTACT_S = 600.0  # an endpoint that hung so long without any answer is asked no more
_CODE = re.compile(r"[\w.\[\]-]{1,60}")


def answer(asked: Mapping[str, Request], store: Store, llm: LLMConfig, progress: bool) -> Obtained:
    """Send requests to `llm.endpoint`; see `pool.run`. A key that is not set is told before
    anything starts."""
    api_key(llm), headers(llm)
    sender = Sender(llm, store)
    obtained = run(asked, sender.send, store, llm, progress, sender.close)
    obtained.tries = sender.sent
    obtained.notes += sender.notes
    return obtained


class Sender:
    """Sends single requests to one endpoint and learns how it wants them."""

    def __init__(self, llm: LLMConfig, store: Store):
        self.llm, self.store = llm, store
        self.structured = (
            llm.structured
            if llm.structured != "auto"
            else facts.fact(store, llm.endpoint, llm.model, "structured")
        )
        known = facts.fact(store, llm.endpoint, llm.model, "tokens_field")
        self.tokens_field = known or "max_tokens"
        self.unconfirmed = False  # whether tokens_field was learned here, and worked not yet
        self.first_sent: float | None = None  # by the monotonic clock
        self.notes: list[str] = []
        self.sent = 0
        self.answered = 0
        self._client: openai.AsyncOpenAI | None = None
        self._probing = asyncio.Lock()

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()

    async def send(self, key: str, request: Request, tries: int) -> Response:
        """Send one request once; while it is unknown what the endpoint supports, one at a time."""
        if request.schema is None or self.structured is not None:
            return await self._send(key, request, tries, self.structured or "json_schema")
        async with self._probing:
            if self.structured is not None:  # somebody else found out while we waited
                return await self._send(key, request, tries, self.structured)
            for structured in chat.STRUCTURED:
                try:
                    response = await self._send(key, request, tries, structured)
                except _Unsupported:
                    continue
                self._observe(structured if _is_json(response) else "instruction")
                return response
        raise Refused(
            "the endpoint takes the request in no form (JSON schema, JSON object, instruction)"
        )

    async def _send(self, key: str, request: Request, tries: int, structured: str) -> Response:
        """Post a request and read the completion; every failure becomes Again, Refused, Stop or
        _Unsupported."""
        import openai

        self._client = self._client or clients.online(self.llm)
        tokens_field = self.tokens_field
        body = chat.body(request, self.llm.model, structured, tokens_field)
        self.sent += 1
        self.first_sent = self.first_sent or time.monotonic()
        started = time.perf_counter()
        try:
            # `post` instead of `chat.completions.create`: the same wire, half the CPU, and fields
            # of other servers pass unchecked. The whole answer must be there in time: the client's
            # own timeouts start again with every byte that trickles in.
            async with asyncio.timeout(self.llm.timeout_s):
                completion = await self._client.post("/chat/completions", body=body, cast_to=object)
            response = chat.read(
                completion, key, latency_s=round(time.perf_counter() - started, 4), tries=tries
            )
        except clients.TooLarge as error:
            raise Refused(str(error)) from None
        except TimeoutError:
            raise self._no_answer(f"no answer within {self.llm.timeout_s:g} s") from None
        except openai.APIConnectionError as error:
            if fault := clients.certificate_fault(error):
                raise Stop(f"{self.llm.endpoint}: its certificate is refused ({fault})") from None
            if isinstance(error, openai.APITimeoutError):
                raise self._no_answer("timed out, or the connection was dropped") from None
            raise Again("no connection") from None
        except openai.APIStatusError as error:
            if (
                error.status_code in (400, 422)
                and tokens_field == "max_tokens"
                and _wants_other_tokens_field(error)
            ):
                self.tokens_field, self.unconfirmed = "max_completion_tokens", True
                self._observe_tokens_field()
                return await self._send(key, request, tries, structured)
            raise self._rejected(error, request) from None
        except (
            json.JSONDecodeError,
            UnicodeDecodeError,
            RecursionError,
            openai.APIResponseValidationError,
        ):
            raise Again("the answer is no chat completion (truncated or garbled)") from None
        except chat.Garbled as error:
            raise Again(str(error)) from None
        except Exception as error:
            if not isinstance(error, (openai.OpenAIError, OSError, *_transport_errors())):
                raise
            raise Again(f"the connection failed ({type(error).__name__})") from None
        self.answered += 1
        if self.unconfirmed:
            self.unconfirmed = False
            self._observe_tokens_field()
        return response

    def _no_answer(self, reason: str) -> Exception:
        """Return what a try that hung means: at first contact, soon an end to all of it."""
        since = time.monotonic() - (self.first_sent or time.monotonic())
        if not self.answered and since > FIRST_CONTACT_S:
            return Stop(
                f"{self.llm.endpoint} answered nothing within {since:.0f} s ({reason}): check that "
                "it serves llm.model, or raise llm.timeout_s"
            )
        return Again(reason)

    def _rejected(self, error: openai.APIStatusError, request: Request) -> Exception:
        """Return what an error status means: Again, Refused, Stop or _Unsupported."""
        status, reason = error.status_code, f"HTTP {error.status_code}{_said(error)}"
        if status == 400 and error.code == "json_validate_failed":
            return Again(reason)  # the model missed the schema: another draw may not
        if status == 429 and error.code == "insufficient_quota":
            return Stop(f"{self.llm.endpoint} says that the quota is used up ({reason})")
        asks_schema = self.structured is None and request.schema is not None
        if status in (400, 404, 422, 500, 501) and asks_schema and _about_schema(error):
            return _Unsupported()
        if status in _AGAIN or (status >= 500 and status != 501):
            return Again(reason, retry_after(error.response.headers))
        if (
            status in (401, 402)
            or (status in (403, 404) and not self.answered)
            or 300 <= status < 400
        ):
            return Stop(
                f"{self.llm.endpoint} refuses {self.llm.model} ({reason}): check llm.endpoint, "
                "llm.model and llm.api_key_env"
            )
        return Refused(reason)

    def _observe_tokens_field(self) -> None:
        llm = self.llm
        facts.observe(self.store, llm.endpoint, llm.model, "tokens_field", self.tokens_field)

    def _observe(self, structured: str) -> None:
        """Note in which form the endpoint heeded a schema; it is settled once two answers agree."""
        llm = self.llm
        self.structured = facts.observe(
            self.store, llm.endpoint, llm.model, "structured", structured
        )
        if self.structured not in (None, "json_schema"):
            self.notes.append(
                f"{llm.endpoint} does not enforce a JSON schema for {llm.model}: told by "
                f"{structured}, checked on arrival (found out again after {facts.FACT_DAYS:g} "
                "days; "
                "llm.structured sets it)"
            )


class _Unsupported(Exception):
    """The endpoint does not know this way of asking for JSON."""


def retry_after(given: Mapping[str, str]) -> float | None:
    """Return the seconds that `retry-after-ms` or `Retry-After` (seconds or a date) ask to wait;
    None where there is no such header."""
    for name, divisor in (("retry-after-ms", 1000), ("retry-after", 1)):
        try:
            seconds = float(given[name]) / divisor
        except (KeyError, ValueError):
            continue
        if seconds >= 0:
            return seconds
    date = email.utils.parsedate_tz(given.get("retry-after", ""))
    return None if date is None else max(0.0, email.utils.mktime_tz(date) - time.time())


def _said(error: openai.APIStatusError) -> str:
    """Return code and parameter of an error, where they are plain words; its message is left out,
    since it may quote the request."""
    words = [
        str(word)
        for word in (error.code or error.type, error.param)
        if word and _CODE.fullmatch(str(word))
    ]
    return f" {', '.join(words)}" if words else ""


def _body(error: openai.APIStatusError) -> str:
    """Return what an error says, in whatever form the server says it (OpenAI's object, FastAPI's
    `detail`, a list of errors, a string, plain text); for looking into, never for showing."""
    with contextlib.suppress(Exception):
        return f"{error.param} {error.code} {error.response.text[:4000]}"
    return f"{error.param} {error.code} {error.message}"


def _about_schema(error: openai.APIStatusError) -> bool:
    return bool(_ABOUT_SCHEMA.search(_body(error)))


def _wants_other_tokens_field(error: openai.APIStatusError) -> bool:
    return error.param == "max_tokens" or "max_completion_tokens" in _body(error)


def _is_json(response: Response) -> bool:
    """Tell whether the endpoint heeded the schema; a cut or refused answer says nothing about
    that."""
    if response.finish_reason != "stop" or not response.text:
        return True
    try:
        return not answers.loads(response.text)[1]
    except ParseError:
        return False


def _transport_errors() -> tuple[type[Exception], ...]:
    """Return what aiohttp and httpx raise for a broken connection where the SDK does not wrap
    it."""
    import aiohttp
    import httpx2

    return aiohttp.ClientError, httpx2.HTTPError, httpx2.StreamError
