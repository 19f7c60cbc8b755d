"""What asking took: requests, tokens, money.

Only what a call sent counts as tokens and money, so that a resumed run does not count twice. Tokens
that an endpoint did not count are estimated from above, and money is then unknown, never 0. Does
not keep budgets: budget.py does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from touchstone.digest import digest, digest_rows
from touchstone.llm import budget, chat
from touchstone.llm.protocol import Obtained, Request, Response

if TYPE_CHECKING:
    from touchstone.schema import LLMConfig

COUNTS = (
    "sent",
    "failed",
    "prompt_tokens",
    "completion_tokens",
    "reasoning_tokens",
    "cached_tokens",
    "tries",
)
ALL_TOKENS = ("answers_prompt_tokens", "answers_completion_tokens")


@dataclass(frozen=True)
class Usage:
    """What a call of `ask` used.

    Attributes
    ----------
    requests : distinct requests, those asked again included.
    cached : answered from the store or a recording.
    sent : answered by the backend now.
    failed : sent, and not answered after all tries.
    prompt_tokens, completion_tokens, reasoning_tokens, cached_tokens : of the answers of now, as
        the endpoint counts them; reasoning tokens are among the completion's, cached tokens among
        the prompt's.
    answers_prompt_tokens, answers_completion_tokens : of all answers, replayed ones too: what
        asking anew would take. As the endpoint counted them, else about what their text has.
    tries : requests sent over the wire now, repetitions included.
    cost_usd : of the answers of now; None where a price is unknown, or where the endpoint did not
        count its tokens and they cost something.
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
    answers_prompt_tokens: int = 0
    answers_completion_tokens: int = 0
    tries: int = 0
    cost_usd: float | None = 0.0
    served_models: tuple[str, ...] = ()
    recording: str = ""

    def reused(self) -> Usage:
        """Return the usage of the same answers taken from a cache: nothing sent, nothing spent."""
        nothing: dict[str, Any] = dict.fromkeys(COUNTS, 0)
        return replace(self, cached=self.requests, cost_usd=0.0, **nothing)


def total_usage(parts: Sequence[Usage]) -> Usage:
    """Return what several calls used together; a cost that is unknown makes the sum unknown."""
    costs = [part.cost_usd for part in parts]
    added = {
        name: sum(getattr(part, name) for part in parts)
        for name in ("requests", "cached", *COUNTS, *ALL_TOKENS)
    }
    return Usage(
        **added,
        cost_usd=None if None in costs else sum(cost or 0.0 for cost in costs),
        served_models=tuple(sorted({model for part in parts for model in part.served_models})),
        recording=digest([part.recording for part in parts]),
    )


def usage_of(
    asked: Mapping[str, Request], first: Obtained, second: Obtained, llm: LLMConfig
) -> Usage:
    """Return what two rounds of asking used: the first answers, and those asked again."""
    responses = {**first.responses, **second.responses}
    new = first.new | second.new
    counts: Counter[str] = Counter()
    for key in new:
        counts.update(chat.tokens(responses[key].usage) or {})
    of_all: Counter[str] = Counter()
    for key, response in responses.items():
        of_all.update(_tokens(asked[key], response))
    cost: float | None = 0.0
    if new:
        price = budget.price_of(llm, batch=llm.backend in ("batch_file", "openai_batch"))
        unknown = bool(first.uncounted | second.uncounted)
        cost = None if price is None else price.cost(counts)
        free = price is not None and price.input == price.output == 0
        cost = None if unknown and not free else cost
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
        **{f"answers_{name}": of_all[name] for name in ("prompt_tokens", "completion_tokens")},
    )


def _tokens(request: Request, response: Response) -> Mapping[str, int]:
    """Return the tokens of one answer as its endpoint counted them, else about what the texts
    have."""
    return chat.tokens(response.usage) or {
        "prompt_tokens": budget.prompt_tokens(request),
        "completion_tokens": budget.count_tokens(response.text),
    }
