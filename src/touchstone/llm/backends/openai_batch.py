"""The `openai_batch` backend: OpenAI's Batch API, at half the price, within 24 hours.

Submit, poll, collect; what failed or expired there is submitted again. A batch is noted in the
store with a token before it is created and carries the token in its metadata, so a process killed
at any moment finds its batches again and submits nothing twice. Keys are those of the `openai`
backend: answers of one serve the other.
"""

from __future__ import annotations

import json
import logging
import time
import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from touchstone.errors import BudgetExceeded, UserError
from touchstone.llm import batches, budget, clients
from touchstone.llm.backends import batch_file
from touchstone.llm.batches import Batch
from touchstone.llm.facts import fact
from touchstone.llm.leases import new_owner
from touchstone.llm.pool import check_budget
from touchstone.llm.protocol import Obtained, Request
from touchstone.llm.store import Store
from touchstone.progress import progress as showing

if TYPE_CHECKING:
    import openai

    from touchstone.schema import LLMConfig

log = logging.getLogger(__name__)
_ENDED = ("completed", "failed", "expired", "cancelled")
_LIMIT_MB = 200
_TOKEN = "touchstone"  # name in the batch's metadata


def answer(asked: Mapping[str, Request], store: Store, llm: LLMConfig, progress: bool) -> Obtained:
    """Have requests (by key) answered by batches; returns when all are answered or given up, which
    may take a day.

    Raises
    ------
    UserError
        If the endpoint refuses or fails; batches that run there are remembered.
    BudgetExceeded
        If the next request could pass `llm.budget_usd`.
    KeyboardInterrupt
        Batches go on there; the same command collects them.
    """
    import openai

    if llm.budget_usd is not None:
        check_budget(llm, budget.price_of(llm, batch=True))
    run = _Run(asked, store, llm, clients.batch(llm))
    try:
        with showing(
            next(iter(asked.values())).stage or "requests", len(asked), "requests", shown=progress
        ) as report:
            run.until_answered(report)
    except openai.OpenAIError as error:
        if fault := clients.certificate_fault(error):
            raise UserError(
                f"{llm.endpoint}: its certificate is refused ({fault}); nothing was sent"
            ) from None
        code = getattr(error, "status_code", type(error).__name__)
        raise UserError(
            f"{llm.endpoint}: the Batch API failed ({code}); submitted batches are remembered, "
            "the same command goes on"
        ) from None
    except KeyboardInterrupt:
        log.warning(
            "interrupted: %d answered; submitted batches go on there, the same command collects "
            "them",
            len(run.found.responses),
        )
        raise
    return run.found


class _Run:
    """One call of `answer`."""

    def __init__(
        self, asked: Mapping[str, Request], store: Store, llm: LLMConfig, client: openai.OpenAI
    ):
        self.asked, self.store, self.llm, self.client = asked, store, llm, client
        self.found = Obtained()
        self.tries: Counter[str] = Counter()
        self.told: dict[str, str] = {}  # batch id -> the status last logged
        self.owner = new_owner()
        self.price = budget.price_of(llm, batch=True)
        self.tokens_field = (
            fact(store, llm.endpoint, llm.model, "tokens_field") or "max_completion_tokens"
        )

    def until_answered(self, report: Callable[[float], None]) -> None:
        while True:
            open_batches = [
                batch for batch in self._open() if not set(batch.keys).isdisjoint(self.asked)
            ]
            busy = {key for batch in open_batches for key in batch.keys}
            answered = self.store.get(key for key in self.asked if key not in self.found.responses)
            self.found.responses |= answered  # by another process
            left = [
                key
                for key in self.asked
                if key not in busy
                and key not in self.found.responses
                and key not in self.found.failed
            ]
            if left:
                open_batches += self._submit(left, open_batches)
            if not open_batches:
                return
            if not any([self._collected(batch, report) for batch in open_batches]):
                time.sleep(self.llm.poll_s)

    def _open(self) -> list[Batch]:
        """Return the open batches, after finding or forgetting those whose submission was
        interrupted."""
        jobs = batches.running(self.store, self.llm.endpoint, self.llm.model)
        lost = [batch for batch in jobs if batch.batch_id is None and not batch.alive]
        if not lost:
            return jobs
        there = {
            (batch.metadata or {}).get(_TOKEN): batch.id
            for batch in self.client.batches.list(limit=100)
        }
        for batch in lost:
            if batch.token in there:
                batches.name(self.store, batch.token, there[batch.token])
            else:
                batches.close(self.store, batch.token)
        return batches.running(self.store, self.llm.endpoint, self.llm.model)

    def _submit(self, keys: list[str], open_batches: list[Batch]) -> list[Batch]:
        """Submit as many requests as the budget allows, in as many batches as the size limits
        ask."""
        keys, bounds = self._affordable(keys, open_batches)
        structured = "json_schema" if self.llm.structured == "auto" else self.llm.structured
        lines = {
            key: batch_file.line(
                key,
                self.asked[key],
                self.llm.model,
                tokens_field=self.tokens_field,
                structured=structured,
            )
            for key in keys
        }
        for part in batch_file.parts(
            lines, self.llm.batch_max_requests, min(self.llm.batch_max_mb, _LIMIT_MB)
        ):
            token = uuid.uuid4().hex
            reserved = sum(bounds[key] for key in part)
            taken = batches.begin(
                self.store,
                token,
                list(part),
                self.llm.endpoint,
                self.llm.model,
                self.owner,
                reserved,
            )
            if not taken:
                continue
            try:
                content = "".join(part[key] + "\n" for key in taken).encode()
                uploaded = self.client.files.create(
                    file=("requests.jsonl", content), purpose="batch"
                )
                batch = self.client.batches.create(
                    input_file_id=uploaded.id,
                    endpoint="/v1/chat/completions",
                    completion_window="24h",
                    metadata={_TOKEN: token},
                )
            except BaseException:
                batches.orphan(
                    self.store, token
                )  # it may have been created all the same: the next look finds out
                raise
            batches.name(self.store, token, batch.id)
            self.found.tries += len(taken)
            log.info("submitted batch %s with %d requests", batch.id, len(taken))
        return [batch for batch in self._open() if not set(batch.keys).isdisjoint(keys)]

    def _affordable(
        self, keys: list[str], open_batches: list[Batch]
    ) -> tuple[list[str], dict[str, float]]:
        if self.llm.budget_usd is None:
            return keys, dict.fromkeys(keys, 0.0)
        factor = budget.scale(self.store.spent(self.llm.endpoint, self.llm.model))
        spent = budget.spent_usd(self.llm, self.store)
        room = (
            self.llm.budget_usd
            - spent
            - sum(
                batch.reserved_usd
                for batch in batches.running(self.store, self.llm.endpoint, self.llm.model)
            )
        )
        bounds = {key: budget.bound(self.asked[key], self.price, factor) or 0.0 for key in keys}
        chosen = []
        for key in keys:
            if bounds[key] > room:
                break
            room -= bounds[key]
            chosen.append(key)
        if not chosen and not open_batches:
            raise BudgetExceeded(
                f"llm.budget_usd={self.llm.budget_usd:g}: {spent:.4f} USD are spent, and the next "
                f"request could cost {bounds[keys[0]]:.4f}. "
                f"Done {len(self.found.responses)}, left {len(keys)}; every answer is kept. To go "
                "on, raise llm.budget_usd: the rest costs at "
                f"most {sum(bounds.values()):.4f} more"
            )
        return chosen, bounds

    def _collected(self, batch: Batch, report: Callable[[float], None]) -> bool:
        """Poll a batch; when it has ended, take its answers and return True."""
        if batch.batch_id is None:  # another process is submitting it now
            return False
        there = self.client.batches.retrieve(batch.batch_id)
        if self.told.get(batch.batch_id) != there.status:
            self.told[batch.batch_id] = there.status
            log.info("batch %s of %d requests: %s", batch.batch_id, len(batch.keys), there.status)
        if there.status not in _ENDED:
            return False
        answered: set[str] = set()
        for name in filter(None, (there.output_file_id, there.error_file_id)):
            for raw in self.client.files.content(name).text.splitlines():
                answered |= self._take(raw, batch)
        codes = sorted(
            {
                error.code or "unknown"
                for error in (there.errors.data if there.errors else None) or []
            }
        )
        for key in set(batch.keys) - answered:
            self._failed(
                key,
                f"the batch {there.status}" + (f" ({', '.join(codes)})" if codes else ""),
                again=there.status != "failed",
            )
        batches.close(self.store, batch.token)
        report(len(self.found.responses) + len(self.found.failed))
        if there.status == "failed":
            raise UserError(
                f"{self.llm.endpoint} refused batch {batch.batch_id} "
                f"({', '.join(codes) or 'no reason given'}); nothing was answered"
            )
        return True

    def _take(self, raw: str, batch: Batch) -> set[str]:
        """Store the answer of one line, or note its failure; return its key."""
        try:
            line: Mapping[str, Any] = json.loads(raw)
            key = line["custom_id"]
        except (ValueError, KeyError, TypeError, RecursionError):
            return set()
        if len(raw) > self.llm.max_answer_mb * clients.MIB:
            self._failed(key, "the answer is larger than llm.max_answer_mb", again=False)
            return {key}
        if key not in batch.keys:
            self.found.notes.append(f"batch {batch.batch_id}: a line with an id that was not asked")
            return set()
        response, problem = batch_file.completion_of(line, key)
        request = self.asked.get(key)
        if problem:
            status = (line.get("response") or {}).get("status_code")
            self._failed(
                key,
                problem,
                again=status is None or status in (200, 408, 409, 429) or status >= 500,
            )
        else:
            # What another call asked for in the same batch is kept for it, without its text, which
            # only that call knows.
            counts, known = budget.used_tokens(request, response)
            if not known:
                self.found.uncounted.add(key)
            new = self.store.put(
                response,
                endpoint=self.llm.endpoint,
                model=self.llm.model,
                request=request,
                stage=request.stage if request else "",
                restricted=request.restricted if request else True,
                tokens=counts,
                batch=True,
            )
            if request is not None:
                self.found.responses[key] = response
                self.found.new |= {key} if new else set()
        return {key}

    def _failed(self, key: str, reason: str, again: bool) -> None:
        self.tries[key] += 1
        if key in self.asked and (not again or self.tries[key] >= self.llm.max_tries):
            self.found.failed[key] = f"{reason} ({self.tries[key]} tries)"
