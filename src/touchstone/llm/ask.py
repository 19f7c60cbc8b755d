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
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from touchstone.llm import answers, budget, guard, recording, unanswered
from touchstone.llm.exchanges import FIRST, Exchange, attempt, plain, sampled
from touchstone.llm.protocol import Obtained, ParseError, Request, Response, normal_endpoint
from touchstone.llm.store import Store
from touchstone.llm.usage import Usage, usage_of

if TYPE_CHECKING:
    import pandas as pd

    from touchstone.schema import LLMConfig

log = logging.getLogger(__name__)
__all__ = ["Answers", "ParseError", "Usage", "ask"]
Parse = Callable[[Request, str], Any]


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
    exchanges : a sample of requests with what came of them, see exchanges.py; none of restricted
        requests.
    """

    values: list[Any]
    responses: list[Response | None]
    quarantine: pd.DataFrame
    usage: Usage
    warnings: list[str] = field(default_factory=list)
    keys: tuple[str, ...] = ()
    exchanges: tuple[Exchange, ...] = ()


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
        by_key = dict(zip(keys, requests, strict=True))
        first = _obtain(by_key, llm, store, progress, parse)
        values, again, reasons = _parsed(requests, keys, first, parse)
        if llm.backend == "batch_file" and store is not None:
            _mend(values, again, reasons, first, keys, parse, llm, store)
        keys_again = {
            index: request.key(llm.endpoint, llm.model) for index, request in again.items()
        }
        asked_again = {keys_again[index]: request for index, request in again.items()}
        second = _obtain(asked_again, llm, store, progress, None)
        unanswered.settle(by_key, first, asked_again, second, llm, store, corpus)
    responses = [first.responses.get(key) for key in keys]
    first_reasons = dict(reasons)
    reasons |= {i: first.failed[key] for i, key in enumerate(keys) if key in first.failed}
    for index, request in again.items():
        response = second.responses.get(keys_again[index])
        if response is None:
            why = second.failed.get(keys_again[index], "not recorded")
            reasons[index] += f"; asked again: {why}"
            continue
        responses[index] = response
        try:
            values[index] = answers.read(parse, request, response)
            del reasons[index]
        except ParseError as error:
            reasons[index] = str(error)
    rows = []
    for index, reason in sorted(reasons.items()):
        response = responses[index]
        rows.append(
            {
                "stage": requests[index].stage,
                "key": keys_again.get(index, keys[index]),
                "reason": reason,
                "text": response.text if response is not None else "",
            }
        )
    warnings = list(dict.fromkeys(first.notes + second.notes)) + _changed_model(
        [*first.responses.values(), *second.responses.values()]
    )
    if uncounted := first.uncounted | second.uncounted:
        warnings.append(
            f"{llm.endpoint} did not count the tokens of {len(uncounted)} answers (or counted what "
            "cannot be): they are estimated from above for the budget, their cost is unknown"
        )
    return Answers(
        values,
        responses,
        _quarantine(rows),
        usage_of(by_key | asked_again, first, second, llm),
        warnings,
        tuple(dict.fromkeys([*first.responses, *second.responses])),
        _exchanges(
            requests, keys, first, first_reasons, again, keys_again, second, reasons, values
        ),
    )


def _exchanges(
    requests: Sequence[Request],
    keys: Sequence[str],
    first: Obtained,
    first_reasons: Mapping[int, str],
    again: Mapping[int, Request],
    keys_again: Mapping[int, str],
    second: Obtained,
    reasons: Mapping[int, str],
    values: Sequence[Any],
) -> tuple[Exchange, ...]:
    """Return a sample of the requests with what came of them, see `exchanges.sampled`."""
    chosen: list[Exchange] = []
    for index, (request, key) in enumerate(zip(requests, keys, strict=True)):
        failed = index in reasons or index in again
        if request.restricted or not (failed or index < FIRST):
            continue
        why = first_reasons.get(index) or first.failed.get(key, "")
        attempts = [attempt(request, first.responses.get(key), why)]
        if index in again:
            key_again = keys_again[index]
            response = second.responses.get(key_again)
            why = reasons.get(index, "") if response else second.failed.get(key_again, "")
            attempts.append(attempt(again[index], response, why))
        value = None if index in reasons else plain(values[index])
        chosen.append(Exchange(key, request.stage, dict(request.params), tuple(attempts), value))
    return sampled(chosen)


def _obtain(
    asked: Mapping[str, Request],
    llm: LLMConfig,
    store: Store | None,
    progress: bool,
    parse: Parse | None,
) -> Obtained:
    """Return what the store or the recording holds, and what the backend answers of the rest; with
    `parse`, the backend can tell whether the first of many answers can be read."""
    if not asked:
        return Obtained()
    if store is None:
        return Obtained(
            _by_any_key(asked, llm, lambda wanted: recording.replay(llm.recording, wanted))
        )
    obtained = Obtained(_by_any_key(asked, llm, store.get))
    missing = {key: request for key, request in asked.items() if key not in obtained.responses}
    if llm.backend == "batch_file":
        # what is recorded need not be answered again: a clean clone exports nothing that is shipped
        obtained.responses |= recording.replay(llm.recording, missing)
        missing = {key: asked[key] for key in missing if key not in obtained.responses}
    if missing and (llm.backend == "batch_file" or not llm.estimate_only):
        _announce(missing, llm, store)
        from touchstone.llm.own_backend import backend_of  # brings a library only to send

        if parse is not None and not _any_readable(parse, asked, obtained):
            missing = {
                key: replace(request, unreadable=partial(_unreadable, parse, request))
                for key, request in missing.items()
            }
        _add(obtained, backend_of(llm.backend)(missing, store, llm, progress))
    return obtained


def _any_readable(parse: Parse, asked: Mapping[str, Request], obtained: Obtained) -> bool:
    known = (_unreadable(parse, asked[key], found) for key, found in obtained.responses.items())
    return any(reason is None for reason in known)


def _unreadable(parse: Parse, request: Request, response: Response) -> str | None:
    try:
        answers.read(parse, request, response)
    except ParseError as error:
        return str(error)
    return None


def _add(obtained: Obtained, more: Obtained) -> None:
    obtained.responses |= more.responses
    obtained.new |= more.new
    obtained.failed |= more.failed
    obtained.uncounted |= more.uncounted
    obtained.tries += more.tries
    obtained.notes += more.notes


def _by_any_key(
    asked: Mapping[str, Request],
    llm: LLMConfig,
    look_up: Callable[[Mapping[str, Request]], dict[str, Response]],
) -> dict[str, Response]:
    """Look requests up by key; those that are not there by the keys that earlier versions gave
    them, which followed the spelling of the endpoint."""
    found = look_up(asked)
    normal = normal_endpoint(llm.endpoint)
    for spelling in {llm.endpoint, f"{normal}/"} - {normal} if "://" in normal else ():
        left = {
            request.key_as_written(spelling, llm.model): key
            for key, request in asked.items()
            if key not in found
        }
        older = look_up({old: asked[key] for old, key in left.items()})
        found |= {left[old]: replace(one, key=left[old]) for old, one in older.items()}
    return found


def _mend(
    values: list[Any],
    again: dict[int, Request],
    reasons: dict[int, str],
    first: Obtained,
    keys: Sequence[str],
    parse: Parse,
    llm: LLMConfig,
    store: Store,
) -> None:
    """Let a right answer in a file take the place of one that was refused."""
    from touchstone.llm.backends.batch_file import all_answers

    others = all_answers(llm, {keys[index] for index in again})
    for index in list(again):
        for response in others.get(keys[index], ()):
            request = replace(again[index], messages=again[index].messages[:-2])
            if _unreadable(parse, request, response) is None:
                values[index] = parse(request, response.text)
                first.responses[keys[index]] = response
                store.put(
                    response,
                    endpoint=llm.endpoint,
                    model=llm.model,
                    request=request,
                    stage=request.stage,
                    restricted=request.restricted,
                    replace=True,
                )
                del again[index], reasons[index]
                break


def _announce(missing: Mapping[str, Request], llm: LLMConfig, store: Store) -> None:
    """Say what the requests will cost at most, before the first is sent."""
    if llm.backend == "batch_file":
        return
    price = budget.price_of(llm, batch=llm.backend == "openai_batch")
    rows = budget.estimates(
        missing, missing, price, budget.scale(store.spent(llm.endpoint, llm.model))
    )
    costs = [row.cost_usd for row in rows]
    known = sum(cost for cost in costs if cost is not None)
    cost = "cost unknown" if None in costs else f"at most {known:.4f} USD"
    log.info(
        "%s: %d requests to %s at %s, %s",
        ", ".join(row.stage for row in rows),
        len(missing),
        llm.model,
        llm.endpoint,
        cost,
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
            continue
        try:
            values[index] = answers.read(parse, request, response)
        except ParseError as error:
            reasons[index] = str(error)
            if response.refused:  # a stand-off recording has no text to show the model again
                continue
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
