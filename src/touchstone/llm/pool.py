"""A bounded pool of requests in flight: back-pressure, retries, rates, budget, breaker, clean stop.

One dispatcher takes the next request when a slot is free, so 50,000 queued requests are 50,000
keys, not 50,000 tasks. A request that must wait before its next try gives its slot back; when twice
as many wait as there are slots, none is started (a limit that answers 429 to everything is then not
hammered). Every answer is in the store before its slot is free, so a killed process repeats at most
what was in flight. Keys are claimed in the store first: what another process is asking is waited
for, not asked. Does not know HTTP: `send` raises `Again`, `Refused` or `Stop`.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import logging
import random
import signal
import threading
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from touchstone.errors import BudgetExceeded, UserError
from touchstone.llm import budget, facts
from touchstone.llm import leases as claims
from touchstone.llm.protocol import Obtained, Request, Response
from touchstone.llm.store import Store
from touchstone.progress import progress as showing

if TYPE_CHECKING:
    from touchstone.schema import LLMConfig

log = logging.getLogger(__name__)
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 30.0  # exponential back-off, before jitter
LONGEST_RETRY_AFTER_S = 300.0  # an endpoint that asks for more counts as not available now
TRIAL = 10  # answers that are looked at before many more are asked for
TELL_S = 60.0  # how often to tell what is waited for
SAME_S = 0.5  # two signals within it are one Ctrl-C
POLL_S = 0.2  # how often to look for what another process is asking
_TYPICAL_COMPLETION = 300  # tokens; for tokens_per_minute, until answers tell


class Again(Exception):
    """A try that failed and is worth another one.

    Parameters
    ----------
    reason : for the quarantine table; holds no text of the request.
    after : seconds that the endpoint asked to wait, None if it did not say.
    """

    def __init__(self, reason: str, after: float | None = None):
        super().__init__(reason)
        self.after = after


class Refused(Exception):
    """A request that this endpoint will never answer; the others go on."""


class Stop(Exception):
    """A reason to ask nothing more: wrong key, no such model, no money left."""


@dataclass(order=True)
class _Item:
    due: float
    key: str = field(compare=False)
    request: Request = field(compare=False)
    tries: int = field(default=0, compare=False)


def run(
    asked: Mapping[str, Request],
    send: Callable[[str, Request, int], Awaitable[Response]],
    store: Store,
    llm: LLMConfig,
    progress: bool,
    close: Callable[[], Awaitable[None]],
) -> Obtained:
    """Send requests, many at a time, until each is answered, refused or given up.

    Parameters
    ----------
    asked : requests by key, none of them in the store when it was looked at.
    send : sends one request once; arguments are key, request and the number of this try, from 1.
    close : called at the end, in the same event loop.

    Raises
    ------
    UserError, BudgetExceeded, KeyboardInterrupt
        After what was in flight is answered and stored; the message says done, failed, left.
    """

    async def session() -> Obtained:
        stage = next(iter(asked.values())).stage or "requests"
        try:
            with showing(stage, len(asked), "requests", shown=progress) as report:
                return await _Pool(asked, send, store, llm, report).run()
        finally:
            await close()

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(session())
    return _in_thread(session)  # called from a notebook, whose loop is running in this thread


class _Pool:
    """State of one `run`; lives in one event loop, so nothing is locked."""

    def __init__(
        self,
        asked: Mapping[str, Request],
        send: Callable[[str, Request, int], Awaitable[Response]],
        store: Store,
        llm: LLMConfig,
        report: Callable[[float], None],
    ):
        self.asked, self.send, self.store, self.llm, self.report = asked, send, store, llm, report
        self.owner = claims.new_owner()
        self.todo = deque(asked)
        self.claimed: deque[_Item] = deque()
        self.waiting: list[_Item] = []  # heap by time of the next try
        self.elsewhere: set[str] = set()
        self.flying: set[asyncio.Task[None]] = set()
        self.changed = asyncio.Event()
        self.stop: BaseException | None = None
        self.looked_at, self.unread = 0, Counter[str]()
        self.told_at = time.monotonic()  # when it was last told what is waited for
        self.in_a_row = 0  # requests given up since the last answer
        self.found = Obtained()
        self.price = budget.price_of(llm)
        self.factor = budget.scale(store.spent(llm.endpoint, llm.model))
        self.completion_tokens = 0
        if llm.budget_usd is not None:
            check_budget(llm, self.price)

    async def run(self) -> Obtained:
        beating = asyncio.create_task(self._heartbeat())
        try:
            with self._interruptible():
                while (item := await self._next()) is not None:
                    task = asyncio.create_task(self._one(item))
                    self.flying.add(task)
                    task.add_done_callback(self._landed)
                while self.flying:
                    await asyncio.wait(self.flying)
        finally:
            beating.cancel()
            for task in self.flying:
                task.cancel()
            with contextlib.suppress(
                UserError
            ):  # a full disk must not hide what stopped us; the claims fall by themselves
                claims.release(self.store, self.owner)
        if self.stop is not None:
            raise self._told(self.stop)
        return self.found

    async def _next(self) -> _Item | None:
        """Wait for a free slot and something to send in it; None when there is nothing more to
        start."""
        while self.stop is None:
            self.changed.clear()
            wait: float | None = None
            if len(self.flying) < self.llm.workers:
                now = time.monotonic()
                if self.waiting and self.waiting[0].due <= now:
                    return await self._paced(heapq.heappop(self.waiting))
                fresh = len(self.waiting) < 2 * self.llm.workers
                while fresh and not self.claimed and self.todo and self._claim():
                    pass  # a whole chunk may be asked by others
                if self.stop is not None:
                    return None
                if fresh and self.claimed:
                    return await self._paced(self.claimed.popleft())
                if not (self.waiting or self.flying or self.todo or self.elsewhere):
                    return None
                wait = self.waiting[0].due - now if self.waiting else None
                if self.elsewhere and not self.todo:
                    self._look_elsewhere()
                    wait = min(wait, POLL_S) if wait is not None else POLL_S
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self.changed.wait()
        return None

    def _claim(self) -> bool:
        """Move keys from `todo` to `claimed`, as many as there are slots; those that others ask go
        to `elsewhere`. False: no money left."""
        chunk = [self.todo.popleft() for _ in range(min(self.llm.workers, len(self.todo)))]
        bounds = [
            budget.bound(self.asked[key], self.price, self.factor) or 0.0
            if self.llm.budget_usd is not None
            else 0.0
            for key in chunk
        ]
        limit = self.llm.budget_usd
        room = None if limit is None else lambda: limit - budget.spent_usd(self.llm, self.store)
        claimed, elsewhere, full = claims.claim(
            self.store, list(zip(chunk, bounds, strict=True)), self.owner, room
        )
        self.claimed.extend(_Item(0.0, key, self.asked[key]) for key in claimed)
        self.elsewhere.update(elsewhere)
        if full:
            self.todo.extendleft(reversed(chunk[len(claimed) + len(elsewhere) :]))
            if not (claimed or self.flying or self.waiting):
                self.stop = BudgetExceeded(
                    self._budget_message(bounds[len(claimed) + len(elsewhere)])
                )
        return not full

    def _look_elsewhere(self) -> None:
        """See what others have answered meanwhile, and take over what they gave up."""
        answered = self.store.get(self.elsewhere)
        self.found.responses |= answered
        self.elsewhere -= answered.keys()
        held = claims.elsewhere(self.store, self.elsewhere, self.owner)
        self.todo.extend(self.elsewhere - held)
        self.elsewhere &= held
        if self.elsewhere and time.monotonic() - self.told_at > TELL_S:
            self.told_at = time.monotonic()
            log.info(
                "waiting for %d requests that %s asks; they are taken over %g s after its last "
                "sign "
                "of life",
                len(self.elsewhere),
                ", ".join(claims.holders(self.store, self.elsewhere)[:3]) or "another process",
                claims.CLAIM_S,
            )

    async def _paced(self, item: _Item) -> _Item | None:
        """Wait until requests and tokens per minute allow the request."""
        llm, waits = self.llm, [0.0]
        if llm.requests_per_minute:
            waits.append(
                facts.reserve(
                    self.store, llm.endpoint, llm.model, "requests", 60 / llm.requests_per_minute
                )
            )
        if llm.tokens_per_minute:
            waits.append(
                facts.reserve(
                    self.store,
                    llm.endpoint,
                    llm.model,
                    "tokens",
                    self._tokens(item.request) * 60 / llm.tokens_per_minute,
                )
            )
        until = time.monotonic() + max(waits)
        while (left := until - time.monotonic()) > 0:
            if self.stop is not None:
                self.claimed.appendleft(item)
                return None
            await asyncio.sleep(min(left, POLL_S))
        return item

    def _tokens(self, request: Request) -> float:
        """Return how many tokens a request is expected to take; corrected when it is answered."""
        answered = len(self.found.new)
        completion = self.completion_tokens / answered if answered else _TYPICAL_COMPLETION
        limit = request.params.get("max_tokens")
        return budget.prompt_tokens(request) * self.factor + (
            completion if limit is None else min(completion, limit)
        )

    async def _one(self, item: _Item) -> None:
        item.tries += 1
        try:
            response = await self.send(item.key, item.request, item.tries)
        except Again as failure:
            self._failed(item, failure)
        except Refused as failure:
            self._given_up(item, str(failure))
        except Stop as failure:
            self._given_up(item, str(failure))
            self.stop = self.stop or UserError(f"{failure}; nothing more was sent")
        except asyncio.CancelledError:
            claims.release(self.store, self.owner, [item.key])
            raise
        else:
            self._answered(item, response)

    def _answered(self, item: _Item, response: Response) -> None:
        request, llm = item.request, self.llm
        counts, known = budget.used_tokens(request, response)
        if not known:
            self.found.uncounted.add(item.key)
        self.store.put(
            response,
            endpoint=llm.endpoint,
            model=llm.model,
            request=request,
            stage=request.stage,
            restricted=request.restricted,
            tokens=counts,
        )
        if llm.tokens_per_minute:
            used = counts["prompt_tokens"] + counts["completion_tokens"]
            if used:
                facts.reserve(
                    self.store,
                    llm.endpoint,
                    llm.model,
                    "tokens",
                    (used - self._tokens(request)) * 60 / llm.tokens_per_minute,
                )
        self.found.responses[item.key] = response
        self.found.new.add(item.key)
        self.completion_tokens += counts["completion_tokens"]
        self.in_a_row = 0
        self._look_at(request, response)
        self.report(len(self.found.responses) + len(self.found.failed))

    def _look_at(self, request: Request, response: Response) -> None:
        """Stop where none of the first answers of many can be read."""
        if request.unreadable is None or self.looked_at >= TRIAL or len(self.asked) <= 2 * TRIAL:
            return
        self.looked_at += 1
        if reason := request.unreadable(response):
            self.unread[reason] += 1
        if self.unread.total() < TRIAL or self.stop is not None:
            return
        reasons = "; ".join(f"{count} times: {text}" for text, count in self.unread.most_common(2))
        if request.restricted:
            reasons = f"the answers stand in {self.store.path}"
        self.stop = UserError(
            f"none of the first {TRIAL} answers of {self.llm.model} at {self.llm.endpoint} can be "
            f"read ({reasons}); try another model or prompt, more llm.max_tokens, or "
            "llm.structured=json_schema"
        )

    def _failed(self, item: _Item, failure: Again) -> None:
        """Put a request back for another try, or give it up."""
        after = failure.after
        if after is not None and after > LONGEST_RETRY_AFTER_S:
            self._given_up(item, f"{failure}, and the endpoint asks to wait {after:g} s")
        elif item.tries >= self.llm.max_tries:
            self._given_up(item, f"{failure} ({item.tries} tries)")
        else:
            # Jitter also on top of Retry-After: those who were told the same second should not come
            # back in the same instant.
            wait = backoff(item.tries) if after is None else after * random.uniform(1.0, 1.1)
            item.due = time.monotonic() + wait
            heapq.heappush(self.waiting, item)

    def _given_up(self, item: _Item, reason: str) -> None:
        claims.release(self.store, self.owner, [item.key])
        self.found.failed[item.key] = reason
        self.in_a_row += 1
        self.report(len(self.found.responses) + len(self.found.failed))
        if self.in_a_row >= self.llm.breaker and self.stop is None:
            self.stop = UserError(
                f"{self.llm.endpoint} looks down: {self.in_a_row} requests in a row were given "
                f"up, the last because: {reason}"
            )

    def _landed(self, task: asyncio.Task[None]) -> None:
        self.flying.discard(task)
        self.changed.set()
        if (
            not task.cancelled() and task.exception() is not None
        ):  # the store cannot be written, or a fault of ours
            self.stop = self.stop or task.exception()

    async def _heartbeat(self) -> None:
        while True:
            await asyncio.sleep(claims.CLAIM_S / 3)
            with contextlib.suppress(
                UserError
            ):  # a store that cannot be written stops the pool at the next answer
                claims.heartbeat(self.store, self.owner)

    @contextlib.contextmanager
    def _interruptible(self) -> Iterator[None]:
        """Drain on the first Ctrl-C or SIGTERM, drop what is in flight on the second.

        What comes within `SAME_S` of the first is the same one: schedulers and terminals tell every
        process of a group, and the process that launched this one passes it on.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {
            number: handler
            for number in (signal.SIGINT, signal.SIGTERM)
            if (handler := signal.getsignal(number)) != signal.SIG_IGN
        }
        first: float | None = None

        def interrupt() -> None:
            nonlocal first
            if first is not None:
                if time.monotonic() - first > SAME_S:
                    for task in self.flying:
                        task.cancel()
                return
            first = time.monotonic()
            self.stop = KeyboardInterrupt()
            log.warning(
                "interrupted: waiting for %d requests in flight; Ctrl-C again drops them",
                len(self.flying),
            )
            self.changed.set()

        loop = asyncio.get_running_loop()
        for number in before:
            loop.add_signal_handler(number, interrupt)
        try:
            yield
        finally:
            for number, handler in before.items():
                loop.remove_signal_handler(number)
                signal.signal(number, handler)

    def _told(self, stop: BaseException) -> BaseException:
        """Return what stopped the pool with the counts in its message."""
        done, failed = len(self.found.responses), len(self.found.failed)
        remaining = len(self.asked) - done - failed
        counts = (
            f"done {done}, failed {failed}, left {remaining}; every answer is kept, the same "
            "command goes on from here"
        )
        if isinstance(stop, KeyboardInterrupt):
            log.warning("interrupted: %s", counts)
            return KeyboardInterrupt(f"interrupted: {counts}")
        if isinstance(stop, UserError):
            return type(stop)(f"{stop}. {counts[0].upper()}{counts[1:]}")
        return stop

    def _budget_message(self, next_usd: float) -> str:
        spent = budget.spent_usd(self.llm, self.store)
        rest = sum(
            budget.bound(self.asked[key], self.price, self.factor) or 0.0 for key in self.todo
        )
        return (
            f"llm.budget_usd={self.llm.budget_usd:g}: {spent:.4f} USD are spent at "
            f"{self.llm.endpoint} for {self.llm.model} (all runs of this "
            f"store), and the next request could cost {next_usd:.4f}. To go on: "
            f"llm.budget_usd={_rounded_up(spent + rest)} covers the rest at most"
        )


def backoff(tries: int) -> float:
    """Return seconds to wait after that many tries: doubling, at most `LONGEST_WAIT_S`, half of it
    random."""
    return min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** (tries - 1)) * random.uniform(0.5, 1.0)


def check_budget(llm: LLMConfig, price: budget.Price | None) -> None:
    """Refuse a budget that cannot be kept, since a price or a bound is unknown."""
    if price is None:
        raise UserError(
            f"llm.budget_usd={llm.budget_usd:g}: {llm.model} has no price in {llm.prices}; add "
            "it, or set llm.budget_usd=null"
        )
    if llm.max_tokens is None and price.output > 0:
        raise UserError(
            f"llm.budget_usd={llm.budget_usd:g}: without llm.max_tokens an answer has no bound; "
            "set it, or set llm.budget_usd=null"
        )


def _rounded_up(usd: float) -> float:
    return round(usd * 1.01 + 0.005, 2)


def _in_thread(session: Callable[[], Coroutine[Any, Any, Obtained]]) -> Obtained:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(lambda: asyncio.run(session())).result()
