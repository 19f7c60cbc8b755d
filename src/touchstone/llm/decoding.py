"""Choosing the next tokens of a batch: seeded per request, bounded per request, and within a JSON
schema.

One logits processor does all three, so that plain greedy generation picks what it leaves: a row's
draw depends on its own seed and its own logits only, never on which other requests share the batch.
The schema is enforced by llguidance (MIT; the engine behind several servers' structured output), an
optional extra; without it the schema is told in the prompt and checked on arrival.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import torch
from transformers import LogitsProcessor

from touchstone.errors import UserError
from touchstone.llm.protocol import Request

CONSTRAINED = find_spec("llguidance") is not None  # pip install touchstone-nlp[constrained]


@dataclass
class Row:
    """One request of a batch.

    Attributes
    ----------
    seed : of its draws.
    limit : the most tokens it may generate.
    temperature : None or 0 = the likeliest token.
    top_p : draw from the smallest set of tokens with this mass; None = all.
    matcher : llguidance's state of its schema; None = free text.
    """

    seed: int
    limit: int
    temperature: float | None = None
    top_p: float | None = None
    matcher: Any = None
    ended: bool = False

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)


def row_of(request: Request, key: str, limit: int, guide: Any) -> Row:
    """Return the state of a request; its seed is its key, which holds the seed of its sampling
    parameters and its sample index.

    Parameters
    ----------
    guide : from `guide_of`; None = not constrained.
    """
    matcher = None
    if guide is not None and request.schema is not None:
        from llguidance import LLMatcher

        # One layout only: free white space is a trap that an unsure model does not leave before its
        # limit.
        layout: Any = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
        matcher = LLMatcher(
            guide,
            LLMatcher.grammar_from_json_schema(json.dumps(request.schema), overrides=layout),
            log_level=0,
        )
        if matcher.is_error():
            raise UserError(
                "the answer's JSON schema cannot be enforced by llguidance: "
                "llm.structured=instruction tells it to the model instead"
            )
    return Row(
        int(key[:15], 16),
        limit,
        request.params.get("temperature"),
        request.params.get("top_p"),
        matcher,
    )


def guide_of(tokenizer: Any, n_vocab: int, ends: Sequence[int]) -> Any:
    """Return llguidance's view of a fast tokenizer, None where llguidance is not installed or the
    tokenizer is not a fast one."""
    if not CONSTRAINED or not getattr(tokenizer, "is_fast", False):
        return None
    import llguidance.hf

    return llguidance.hf.from_tokenizer(
        tokenizer, n_vocab=max(n_vocab, len(tokenizer)), eos_token=list(ends)
    )


class Decoder(LogitsProcessor):
    """Leaves exactly one token for each row.

    Parameters
    ----------
    rows : one for each row of the batch.
    ends : ids of the tokens that end an answer.
    beat : called at every step, e.g. to say that this process is alive.
    """

    def __init__(
        self, rows: Sequence[Row], ends: Sequence[int], beat: Callable[[], None] = lambda: None
    ):
        self.rows, self.ends, self.beat, self.step = rows, list(ends), beat, 0

    def __call__(self, input_ids: torch.LongTensor, scores: torch.Tensor) -> torch.Tensor:
        self.beat()
        scores = scores.float()
        chosen = torch.empty(len(self.rows), dtype=torch.long)
        for index, row in enumerate(self.rows):
            if self.step:
                self._consume(row, int(input_ids[index, -1]))
            if row.ended or self.step >= row.limit:
                row.ended, chosen[index] = True, self.ends[0]
            else:
                chosen[index] = _draw(row, _allowed(row, scores[index]))
        self.step += 1
        return torch.full_like(scores, -torch.inf).scatter_(
            1, chosen.to(scores.device)[:, None], 0.0
        )

    def _consume(self, row: Row, token: int) -> None:
        if row.ended:
            return
        if token in self.ends:
            row.ended = True
        elif row.matcher is not None and not row.matcher.consume_token(token):
            row.ended = (
                True  # cannot go on within the schema; what there is is checked by the parser
            )


def _allowed(row: Row, scores: torch.Tensor) -> torch.Tensor:
    """Return a row's logits with the tokens that its schema forbids at minus infinity."""
    if row.matcher is None:
        return scores
    allowed = (
        torch.frombuffer(bytearray(row.matcher.compute_logit_bias()), dtype=torch.uint8)[
            : scores.shape[0]
        ].to(scores.device)
        > 0
    )
    if not bool(allowed.any()):
        return scores
    masked = torch.full_like(scores, -torch.inf)
    masked[: allowed.shape[0]] = torch.where(allowed, scores[: allowed.shape[0]], -torch.inf)
    return masked


def _draw(row: Row, scores: torch.Tensor) -> int:
    """Return the likeliest token, or a token drawn by inverting the cumulative distribution at a
    number from the row's own generator."""
    if not row.temperature:
        return int(scores.argmax())
    probabilities, order = torch.softmax(scores / row.temperature, dim=-1).sort(
        descending=True, stable=True
    )
    cumulative = probabilities.double().cumsum(-1)
    mass = cumulative[-1]
    if row.top_p is not None and row.top_p < 1:
        mass = cumulative[
            torch.searchsorted(cumulative, row.top_p * mass).clamp(max=len(cumulative) - 1)
        ]
    place = torch.searchsorted(cumulative, row.random.random() * mass)
    return int(order[place.clamp(max=len(order) - 1)])
