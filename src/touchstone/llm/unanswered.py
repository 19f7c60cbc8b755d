"""What is left when a backend has done what it can: cost estimates, recordings that lack a request,
requests that wait in files.

Each is raised as an error of its own, after all stages were asked (pipeline.py). Does not ask.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from touchstone.errors import EstimateOnly, MissingRecording, PendingRequests
from touchstone.llm import budget, recording
from touchstone.llm.protocol import Obtained, Request
from touchstone.llm.store import Store

if TYPE_CHECKING:
    from touchstone.schema import LLMConfig


def settle(
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
        raise MissingRecording(
            f"{len(missing)} of {len(asked)} requests{stage} are not in the recording, the first "
            f"is {key[:16]} ({llm.model} at {llm.endpoint}). {other}Two ways to get them: "
            "llm=batch_file writes them to a file to be answered; llm=openai (or another endpoint) "
            "asks them now. A recording that you have is named by llm.recording=PATH",
            keys=list(missing),
            stage=request.stage,
        )
    if llm.backend == "batch_file":
        missing |= {key: request for key, request in again.items() if key not in second.responses}
        if missing and llm.partial:
            first.failed |= {key: "it waits for an answer" for key in missing}
        elif missing:
            assert store is not None, "batch files keep their answers in the store"
            raise _pending(missing, asked, llm, store, corpus, first.notes + second.notes)


def _pending(
    missing: Mapping[str, Request],
    asked: Mapping[str, Request],
    llm: LLMConfig,
    store: Store,
    corpus: str,
    notes: Sequence[str],
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
    accepted = len(asked) - len(missing)
    progress = f"{accepted} of {len(asked)} accepted, {len(missing)} remain. " if accepted else ""
    refused = "".join(f"\n  {note}" for note in dict.fromkeys(notes))
    return PendingRequests(
        f"{progress}{len(missing)} requests wait for answers in {', '.join(map(str, paths))}. "
        f'Answer each line as an OpenAI-Batch output line, or as {{"custom_id": ..., "text": ...}},'
        f" in {llm.batch_dir}/answers*.jsonl, and run the same command again{refused}",
        paths,
        len(missing),
    )
