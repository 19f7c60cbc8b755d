"""LLM requests as MLflow traces on the run of their generation: what was asked, what came back in
which time and for how many tokens, and what the parser made of it.

Of each generation the sample of `llm/exchanges.py`: its first 20 requests and all with an answer
that could not be used; never of a restricted corpus. A trace is the request; its spans are the
asking and the reading, twice where it was asked again. Written in one call, since MLflow's own
tracing writes five times for each trace. A store that takes no traces costs a warning, not the
cell.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from mlflow.entities import Span
from mlflow.exceptions import MlflowException
from mlflow.tracing.constant import SpanAttributeKey, TraceTagKey

from touchstone.digest import digest
from touchstone.llm.exchanges import Attempt, Exchange
from touchstone.tracking import Store
from touchstone.tracking_errors import is_away, reason

log = logging.getLogger(__name__)
AT_ONCE = 100  # traces that MLflow links to a run in one call
STEP = 1000  # ns between what follows on one another
OK, ERROR = "STATUS_CODE_OK", "STATUS_CODE_ERROR"


def log_traces(
    store: Store, run_id: str, exchanges: Sequence[Exchange], prompts: Sequence[Mapping[str, str]]
) -> None:
    """Write a trace for each exchange and link it to the run.

    Parameters
    ----------
    prompts : {"name", "version"} of the registered prompts that the requests were made of.
    """
    for start in range(0, len(exchanges), AT_ONCE):
        part = exchanges[start : start + AT_ONCE]
        traces = {_trace_id(run_id, one): spans(one, run_id, prompts) for one in part}
        try:
            store.client.log_spans(
                store.experiment_id, [one for row in traces.values() for one in row]
            )
            store.client.link_traces_to_run(list(traces), run_id)
            for trace in traces if prompts else ():
                store.client.link_prompts(trace, prompts)
        except (MlflowException, NotImplementedError) as error:
            if is_away(error):
                raise
            log.warning("the store takes no traces of LLM requests: %s", reason(error))
            return


def spans(exchange: Exchange, run_id: str, prompts: Sequence[Mapping[str, str]]) -> list[Span]:
    """Return the trace of an exchange: the request, and below it each asking and each reading."""
    trace, now = _trace_id(run_id, exchange), time.time_ns()
    times: list[tuple[int, int]] = []
    for one in exchange.attempts:  # clocks of seconds would show them in another order
        start, end = _times(one, now)
        late = max(0, times[-1][1] + STEP - start) if times else 0
        times.append((start + late, end + late))
    last = exchange.attempts[-1]
    tags = {
        TraceTagKey.TRACE_NAME: exchange.stage,
        TraceTagKey.LINKED_PROMPTS: json.dumps([dict(one) for one in prompts]),
        "touchstone.request": exchange.key,
    }
    root = _span(
        trace,
        exchange.stage,
        "CHAIN",
        (min(start for start, _ in times), max(end for _, end in times)),
        inputs={"messages": list(exchange.attempts[0].messages)},
        outputs=last.reason or exchange.value,
        error=last.reason,
        attributes={
            SpanAttributeKey.TRACE_TAG_PREFIX + name: value for name, value in tags.items()
        },
    )
    rows = [root]
    for number, (one, when) in enumerate(zip(exchange.attempts, times, strict=True), 1):
        again = " again" if number > 1 else ""
        rows.append(
            _span(
                trace,
                f"ask{again}",
                "CHAT_MODEL",
                when,
                parent=root,
                inputs={"messages": list(one.messages), **exchange.params},
                outputs=_completion(one),
                error="" if one.answer is not None else one.reason,
                attributes=_facts(one),
            )
        )
        if one.answer is not None:
            rows.append(
                _span(
                    trace,
                    f"read{again}",
                    "PARSER",
                    (when[1], when[1]),
                    parent=root,
                    inputs=one.answer,
                    outputs=one.reason or exchange.value,
                    error=one.reason,
                )
            )
    return rows


def _trace_id(run_id: str, exchange: Exchange) -> str:
    """Return the same id whenever the same run is written again."""
    return "tr-" + digest({"run": run_id, "request": exchange.key})[:32]


def _times(one: Attempt, now: int) -> tuple[int, int]:
    """Return when an attempt began and ended, in ns since 1970; a moment where nobody measured."""
    try:
        end = int(datetime.fromisoformat(one.created).timestamp() * 1e9)
    except ValueError:
        end = now
    return end - int((one.latency_s or 0.0) * 1e9), end


def _completion(one: Attempt) -> dict[str, Any] | None:
    """Return an answer as chat completions look, which MLflow's page draws as a conversation."""
    if one.answer is None:
        return None
    message = {"role": "assistant", "content": one.answer}
    return {
        "model": one.model,
        "choices": [{"index": 0, "message": message, "finish_reason": one.finish_reason}],
    }


def _facts(one: Attempt) -> dict[str, Any]:
    facts: dict[str, Any] = {"touchstone.tries": one.tries}
    if one.model:
        facts[SpanAttributeKey.MODEL] = one.model
    if one.latency_s is not None:
        facts["touchstone.latency_s"] = one.latency_s
    if one.tokens:
        asked, answered = one.tokens["prompt_tokens"], one.tokens["completion_tokens"]
        facts[SpanAttributeKey.CHAT_USAGE] = {
            "input_tokens": asked,
            "output_tokens": answered,
            "total_tokens": asked + answered,
        }
    return facts


def _span(
    trace: str,
    name: str,
    kind: str,
    when: tuple[int, int],
    *,
    inputs: Any,
    outputs: Any,
    error: str,
    parent: Span | None = None,
    attributes: Mapping[str, Any] | None = None,
) -> Span:
    values = {
        SpanAttributeKey.REQUEST_ID: trace,
        SpanAttributeKey.SPAN_TYPE: kind,
        SpanAttributeKey.INPUTS: inputs,
        SpanAttributeKey.OUTPUTS: outputs,
        **(attributes or {}),
    }
    place = {"trace": trace, "name": name, "parent": parent.span_id if parent else ""}
    return Span.from_dict(
        {
            "name": name,
            "trace_id": trace,
            "span_id": digest(place)[:16],
            "parent_span_id": parent.span_id if parent else None,
            "start_time_unix_nano": when[0],
            "end_time_unix_nano": when[1],
            "status": {"code": ERROR if error else OK, "message": _utf8(error)},
            "attributes": {
                key: _utf8(json.dumps(value, ensure_ascii=False)) for key, value in values.items()
            },
            "events": [],
        }
    )


def _utf8(text: str) -> str:
    """Return a text that a database takes: half a surrogate pair, which answers can hold, becomes
    a question mark."""
    return text.encode("utf-8", "replace").decode("utf-8")
