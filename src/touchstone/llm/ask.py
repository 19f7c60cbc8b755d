"""Ask an LLM: requests in, parsed values out, whichever backend answers.

In order: the data-use guard; answers already stored or recorded; the backend for the rest; parsing;
one more try with the reason for each answer that does not parse; then quarantine. Values stand in
the order of the requests, one bad row touches no other, and no request is paid for twice. Does not
know what is asked: building requests and parsing answers belong to the stages.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from touchstone.digest import digest, digest_rows
from touchstone.errors import EstimateOnly, MissingRecording, PendingRequests
from touchstone.llm import budget, chat, guard, recording
from touchstone.llm.protocol import Obtained, ParseError, Request, Response
from touchstone.llm.store import Store

if TYPE_CHECKING:
    import pandas as pd

    from touchstone.schema import LLMConfig

log = logging.getLogger(__name__)
__all__ = ["Answers", "ParseError", "Usage", "ask"]
Parse = Callable[[Request, str], Any]


@dataclass(frozen=True)
class Usage:
    """What a call of `ask` used. Only what this call sent counts as tokens and money, so that a
    resumed run does not count twice.

    Attributes
    ----------
    requests : distinct requests, those asked again included.
    cached : answered from the store or a recording.
    sent : answered by the backend now.
    failed : sent, and not answered after all tries.
    prompt_tokens, completion_tokens, reasoning_tokens, cached_tokens : of the answers of now, as
        the endpoint counts them; reasoning tokens are among the completion's, cached tokens among
        the prompt's.
    tries : requests sent over the wire now, repetitions included.
    cost_usd : of the answers of now; None where a price is unknown.
    served_models : the models that answered, of old and new answers alike.
    recording : digest over key and text of every answer used; the same answers have the same,
        wherever they came from.
    """

    requests: int = 0
    cached: int = 0
    sent: int = 0
    failed: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int = 0
    cached_tokens: int = 0
    tries: int = 0
    cost_usd: float | None = 0.0
    served_models: tuple[str, ...] = ()
    recording: str = ""

    def reused(self) -> Usage:
        """Return the usage of the same answers taken from a cache: nothing sent, nothing spent."""
        nothing = dict.fromkeys(
            (
                "sent",
                "failed",
                "prompt_tokens",
                "completion_tokens",
                "reasoning_tokens",
                "cached_tokens",
                "tries",
            ),
            0,
        )
        return replace(self, cached=self.requests, cost_usd=0.0, **nothing)


def total_usage(parts: Sequence[Usage]) -> Usage:
    """Return what several calls used together; a cost that is unknown makes the sum unknown."""
    costs = [part.cost_usd for part in parts]
    added = {
        name: sum(getattr(part, name) for part in parts)
        for name in (
            "requests",
            "cached",
            "sent",
            "failed",
            "prompt_tokens",
            "completion_tokens",
            "reasoning_tokens",
            "cached_tokens",
            "tries",
        )
    }
    return Usage(
        **added,
        cost_usd=None if None in costs else sum(costs),
        served_models=tuple(sorted({model for part in parts for model in part.served_models})),
        recording=digest([part.recording for part in parts]),
    )


@dataclass(frozen=True)
class Answers:
    """The answers to a list of requests.

    Attributes
    ----------
    values : parsed value for each request, None where quarantined.
    responses : the response that the value was read from, or the last one tried; None where there
        is none.
    quarantine : DataFrame of stage, key, reason, text: answers that could not be used and requests
        that failed. Of a restricted corpus it may quote notes: log what `guard.publishable` leaves
        of it.
    usage : what it took.
    warnings : e.g. that the served model changed under way, or lines of an answer file that fit
        nothing.
    keys : of every response used, first answers that were asked again included: what a recording
        needs to replay the call.
    """

    values: list[Any]
    responses: list[Response | None]
    quarantine: pd.DataFrame
    usage: Usage
    warnings: list[str] = field(default_factory=list)
    keys: tuple[str, ...] = ()


def ask(
    requests: Iterable[Request],
    parse: Parse,
    llm: LLMConfig,
    *,
    folder: str | Path,
    corpus: str = "",
    progress: bool = False,
) -> Answers:
    """Ask for the completion of every request and parse it.

    Parameters
    ----------
    requests : may hold the same request several times; it is asked once.
    parse : `parse(request, text) -> value`; raises ParseError with the reason if the answer cannot
        be used. It is then asked once more, with the answer and the reason; a second failure goes
        to quarantine.
    llm : which LLM and how it is reached.
    folder : of the response store.
    corpus : name of the corpus whose text the requests hold, for the guard.
    progress : show progress on the terminal.

    Raises
    ------
    UserError
        Refused by the guard; wrong configuration; endpoint down (everything answered is kept).
    PendingRequests, MissingRecording, EstimateOnly, BudgetExceeded See errors.py. `PendingRequests`
        has `paths` and `n`, `MissingRecording` has `keys`, `EstimateOnly` has `estimate`.
    """
    requests = list(requests)
    guard.check(requests, llm, corpus)
    keys = [request.key(llm.endpoint, llm.model) for request in requests]
    with nullcontext() if llm.backend == "recorded" else Store(folder) as store:
        asked = dict(zip(keys, requests, strict=True))
        first = _obtain(asked, llm, store, progress)
        values, again, reasons = _parsed(requests, keys, first, parse)
        keys_again = {
            index: request.key(llm.endpoint, llm.model) for index, request in again.items()
        }
        asked_again = {keys_again[index]: request for index, request in again.items()}
        second = _obtain(asked_again, llm, store, progress)
        _settle(asked, first, asked_again, second, llm, store, corpus)
    responses = [first.responses.get(key) for key in keys]
    for index, request in again.items():
        key = keys_again[index]
        if key not in second.responses:
            reasons[index] += f"; asked again: {second.failed.get(key, 'not recorded')}"
            continue
        responses[index] = second.responses[key]
        try:
            values[index] = parse(request, responses[index].text)
            del reasons[index]
        except ParseError as error:
            reasons[index] = str(error)
    rows = [
        {
            "stage": requests[i].stage,
            "key": keys_again.get(i, keys[i]),
            "reason": reason,
            "text": responses[i].text if responses[i] else "",
        }
        for i, reason in sorted(reasons.items())
    ]
    warnings = list(dict.fromkeys(first.notes + second.notes)) + _changed_model(
        [*first.responses.values(), *second.responses.values()]
    )
    used = tuple(dict.fromkeys([*first.responses, *second.responses]))
    return Answers(
        values,
        responses,
        _quarantine(rows),
        _usage(asked | asked_again, first, second, llm),
        warnings,
        used,
    )


def _obtain(
    asked: Mapping[str, Request], llm: LLMConfig, store: Store | None, progress: bool
) -> Obtained:
    """Return what the store or the recording holds, and what the backend answers of the rest."""
    if not asked:
        return Obtained()
    if store is None:
        return Obtained(recording.replay(llm.recording, asked))
    obtained = Obtained(store.get(asked))
    if (
        llm.backend == "batch_file"
    ):  # what is recorded need not be answered again: a clean clone exports nothing that is shipped
        left = {key: request for key, request in asked.items() if key not in obtained.responses}
        obtained.responses |= recording.replay(llm.recording, left)
    missing = {key: request for key, request in asked.items() if key not in obtained.responses}
    if missing and (llm.backend == "batch_file" or not llm.estimate_only):
        _announce(missing, llm, store)
        from touchstone.llm.own_backend import backend_of  # brings a library only to send

        found = backend_of(llm.backend)(missing, store, llm, progress)
        found.responses = {**obtained.responses, **found.responses}
        return found
    return obtained


def _announce(missing: Mapping[str, Request], llm: LLMConfig, store: Store) -> None:
    """Say what the requests will cost at most, before the first is sent."""
    if llm.backend == "batch_file":
        return
    price = budget.price_of(llm, batch=llm.backend == "openai_batch")
    rows = budget.estimates(
        missing, missing, price, budget.scale(store.spent(llm.endpoint, llm.model))
    )
    costs = [row.cost_usd for row in rows]
    cost = "cost unknown" if None in costs else f"at most {sum(costs):.4f} USD"
    log.info(
        "%s: %d requests to %s at %s, %s",
        ", ".join(row.stage for row in rows),
        len(missing),
        llm.model,
        llm.endpoint,
        cost,
    )


def _settle(
    asked: Mapping[str, Request],
    first: Obtained,
    again: Mapping[str, Request],
    second: Obtained,
    llm: LLMConfig,
    store: Store | None,
    corpus: str,
) -> None:
    """Raise if requests are left that somebody has to answer first."""
    missing = {
        key: request
        for key, request in asked.items()
        if key not in first.responses and key not in first.failed
    }
    if llm.estimate_only:
        missing |= {key: request for key, request in again.items() if key not in second.responses}
        batch = llm.backend in ("batch_file", "openai_batch")
        factor = (
            budget.scale(store.spent(llm.endpoint, llm.model))
            if store is not None
            else budget.UNSCALED
        )
        rows = budget.estimates({**asked, **missing}, missing, budget.price_of(llm, batch), factor)
        raise EstimateOnly(budget.table(rows, llm), rows)
    if llm.backend == "recorded" and missing:
        key, request = next(iter(missing.items()))
        stage = f" of stage {request.stage}" if request.stage else ""
        differing = "; ".join(recording.differences(llm.recording, missing)[:3])
        other = f"Your copy of the text is not the recorded one: {differing}. " if differing else ""
        error = MissingRecording(
            f"{len(missing)} of {len(asked)} requests{stage} are not in the recording, the first is {key[:16]} ({llm.model} at "
            f"{llm.endpoint}). {other}Two ways to get them: llm=batch_file writes them to a file to be answered; llm=openai (or another endpoint) "
            "asks them now. A recording that you have is named by llm.recording=PATH"
        )
        error.keys, error.n, error.stage = list(missing), len(missing), request.stage
        raise error
    if llm.backend == "batch_file":
        missing |= {key: request for key, request in again.items() if key not in second.responses}
        if missing:
            raise _pending(missing, llm, store, corpus, first.notes + second.notes)


def _pending(
    missing: Mapping[str, Request], llm: LLMConfig, store: Store, corpus: str, notes: Sequence[str]
) -> PendingRequests:
    from touchstone.llm.backends.batch_file import export

    paths = export(
        llm.batch_dir,
        missing,
        llm.model,
        store,
        max_requests=llm.batch_max_requests,
        max_mb=llm.batch_max_mb,
        corpus=corpus,
        purpose=llm.purpose,
    )
    told = "".join(f"\n  {note}" for note in dict.fromkeys(notes))
    return PendingRequests(
        f"{len(missing)} requests wait for answers in {', '.join(map(str, paths))}. Answer each line as an OpenAI-Batch output line, or as "
        f'{{"custom_id": ..., "text": ...}}, in {llm.batch_dir}/answers*.jsonl, and run the same command again{told}',
        paths,
        len(missing),
    )


def _usage(
    asked: Mapping[str, Request], first: Obtained, second: Obtained, llm: LLMConfig
) -> Usage:
    responses = {**first.responses, **second.responses}
    new = first.new | second.new
    counts = Counter()
    for key in new:
        counts.update(chat.tokens(responses[key].usage))
    cost: float | None = 0.0
    if new:
        price = budget.price_of(llm, batch=llm.backend in ("batch_file", "openai_batch"))
        cost = None if price is None else price.cost(counts)
    return Usage(
        requests=len(asked),
        cached=len(responses) - len(new),
        sent=len(new),
        failed=len(first.failed) + len(second.failed),
        tries=first.tries + second.tries,
        cost_usd=cost,
        served_models=tuple(
            sorted({response.model for response in responses.values() if response.model})
        ),
        recording=digest_rows(
            {"key": key, "text": response.text} for key, response in responses.items()
        ),
        **{
            name: counts[name]
            for name in ("prompt_tokens", "completion_tokens", "reasoning_tokens", "cached_tokens")
        },
    )


def _parsed(
    requests: Sequence[Request], keys: Sequence[str], first: Obtained, parse: Parse
) -> tuple[list[Any], dict[int, Request], dict[int, str]]:
    """Parse the first answers: values, the requests to ask again by index, and the reasons by
    index."""
    values: list[Any] = [None] * len(requests)
    again: dict[int, Request] = {}
    reasons: dict[int, str] = {}
    for index, (request, key) in enumerate(zip(requests, keys, strict=True)):
        response = first.responses.get(key)
        if response is None:
            if key in first.failed:
                reasons[index] = first.failed[key]
            continue
        if response.refused:
            reasons[index] = response.refused
            continue
        try:
            values[index] = parse(request, response.text)
        except ParseError as error:
            reasons[index] = str(error)
            again[index] = _with_reason(request, response.text, str(error))
    return values, again, reasons


def _with_reason(request: Request, text: str, reason: str) -> Request:
    """Return the request that shows a model its unusable answer and says what is wrong with it."""
    # An empty answer (a refusal) is named: many chat templates reject an empty turn, or two turns
    # of the user in a row.
    said = {"role": "assistant", "content": text or "(no answer)"}
    return replace(request, messages=(*request.messages, said, {"role": "user", "content": reason}))


def _changed_model(responses: Iterable[Response]) -> list[str]:
    served = Counter(response.model for response in responses if response.model)
    if len(served) < 2:
        return []
    return [
        "the served model changed under way: "
        + ", ".join(f"{name} ({count} answers)" for name, count in served.most_common())
    ]


def _quarantine(rows: Sequence[Mapping[str, str]]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(rows, columns=["stage", "key", "reason", "text"]).astype("str")
