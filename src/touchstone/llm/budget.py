"""What requests cost: estimated before they are sent, bounded while they are sent, counted when
they are answered.

Prices stand in conf/prices.yaml, dated, for users to edit; a model that is not in it has no price,
and money is then shown as unknown. Tokens are estimated from the text (no tokenizer is downloaded)
and rescaled by what the endpoint counted so far. Money is what the table says, not what a provider
bills: requests that timed out here may have been answered, and billed, there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from touchstone.errors import UserError
from touchstone.llm import chat
from touchstone.llm.protocol import Request, Response

if TYPE_CHECKING:
    from touchstone.llm.store import Store
    from touchstone.schema import LLMConfig

MARGIN = 1.15  # of the rescaled estimate, to make it a bound
UNSCALED = 1.5  # the same while the endpoint has not counted yet
_PIECE = re.compile(r"[A-Za-z]{1,6}|[0-9]{1,3}|[^\sA-Za-z0-9]")


@dataclass(frozen=True)
class Price:
    """USD per million tokens.

    Attributes
    ----------
    input, cached_input, output : for new prompt tokens, prompt tokens that the provider had cached,
        and completion tokens.
    as_of : the day on which somebody looked it up, '' where there is nothing to look up.
    """

    input: float
    cached_input: float
    output: float
    as_of: str = ""

    def cost(self, tokens: Mapping[str, int]) -> float:
        """Return USD for prompt_tokens, of which cached_tokens, and completion_tokens."""
        cached = tokens.get("cached_tokens", 0)
        new = tokens.get("prompt_tokens", 0) - cached
        return (
            new * self.input
            + cached * self.cached_input
            + tokens.get("completion_tokens", 0) * self.output
        ) / 1e6


@dataclass(frozen=True)
class Estimate:
    """What asking would take, per stage: upper bounds, cached requests left out.

    Attributes
    ----------
    stage : which stage asks.
    requests : distinct requests of the stage.
    cached : those answered already.
    calls : those to send.
    prompt_tokens : estimated from the text, with a margin.
    completion_tokens : max_tokens of each; None where a request has no max_tokens, so that there is
        no bound.
    cost_usd : None where the price or the bound is unknown.
    cost_if_all_asked_again_usd : the same if no answer parsed and each was asked once more.
    as_of : date of the price.
    """

    stage: str
    requests: int
    cached: int
    calls: int
    prompt_tokens: int
    completion_tokens: int | None
    cost_usd: float | None
    cost_if_all_asked_again_usd: float | None
    as_of: str = ""


def spent_usd(llm: LLMConfig, store: Store) -> float:
    """Return what was ever spent at an endpoint for a model, from this store; 0 without a price."""
    spent = 0.0
    for row in store.spent(llm.endpoint, llm.model):
        price = price_of(llm, bool(row["batch"]))
        spent += 0.0 if price is None else price.cost(row)
    return spent


def price_of(llm: LLMConfig, batch: bool = False) -> Price | None:
    """Return the price of `llm.model`, None where the table has none.

    Parameters
    ----------
    batch : at the batch price.

    Raises
    ------
    UserError
        If the table cannot be read.
    """
    table = _table(str(_path(llm.prices)))
    # A batch file is answered who knows where: its location says only that nothing is sent from
    # here.
    local = llm.location == "local" and llm.backend != "batch_file"
    row = table["local"] if local else table["models"].get(llm.model)
    return _price(row, float(table.get("batch_factor", 1.0)) if batch else 1.0)


def listed_price(model: str, prices: str) -> Price | None:
    """Return what the table of prices says of a model, wherever it is asked; None where it says
    nothing.

    Raises
    ------
    UserError
        If the table cannot be read.
    """
    return _price(_table(str(_path(prices)))["models"].get(model), 1.0)


def _price(row: Mapping[str, Any] | None, factor: float) -> Price | None:
    if row is None or row.get("input") is None or row.get("output") is None:
        return None
    cached = row["input"] if row.get("cached_input") is None else row["cached_input"]
    return Price(
        row["input"] * factor, cached * factor, row["output"] * factor, str(row.get("as_of") or "")
    )


def count_tokens(text: str) -> int:
    """Return about how many tokens a text has: one for each six letters of a word begun, three
    digits, or other character."""
    return len(_PIECE.findall(text))


def prompt_tokens(request: Request) -> int:
    """Return about how many prompt tokens a request has: its messages with their frame, and its
    schema."""
    total = sum(count_tokens(message["content"]) + 4 for message in request.messages) + 3
    return total + (count_tokens(json.dumps(request.schema)) if request.schema is not None else 0)


def used_tokens(request: Request | None, response: Response) -> tuple[dict[str, int], bool]:
    """Return the tokens of an answer for the budget, and whether the endpoint counted them; where
    it did not, or counted what cannot be, they are estimated from above."""
    estimated = prompt_tokens(request) if request is not None else 0
    counts = chat.tokens(response.usage)
    if counts is not None:
        return {**counts, "estimated_tokens": estimated}, True
    completion = round(count_tokens(response.text) * UNSCALED) + 1
    limit = None if request is None else request.params.get("max_tokens")
    guess = {
        "prompt_tokens": round(estimated * UNSCALED),
        "completion_tokens": completion if limit is None else max(completion, limit),
        "reasoning_tokens": 0,
        "cached_tokens": 0,
    }
    return {**guess, "estimated_tokens": 0}, False


def scale(spent: Iterable[Mapping[str, int]]) -> float:
    """Return the factor that makes estimates a bound, from what the endpoint counted for the
    requests estimated so far."""
    spent = list(spent)
    counted, estimated = (
        sum(row["prompt_tokens"] for row in spent),
        sum(row["estimated_tokens"] for row in spent),
    )
    return UNSCALED if min(counted, estimated) < 1000 else MARGIN * counted / estimated


def bound(request: Request, price: Price | None, factor: float) -> float | None:
    """Return the most that one request can cost in USD; None where the price is unknown or it has
    no max_tokens."""
    if price is None:
        return None
    if price.input == price.output == 0:
        return 0.0
    limit = request.params.get("max_tokens")
    if limit is None:
        return None
    return price.cost(
        {"prompt_tokens": round(prompt_tokens(request) * factor), "completion_tokens": limit}
    )


def estimates(
    asked: Mapping[str, Request], missing: Iterable[str], price: Price | None, factor: float
) -> list[Estimate]:
    """Return one estimate per stage.

    Parameters
    ----------
    asked : requests by key.
    missing : keys of those that nobody answered yet.
    """
    missing = set(missing)
    stages: dict[str, list[str]] = {}
    for key, request in asked.items():
        stages.setdefault(request.stage, []).append(key)
    rows = []
    for stage, keys in stages.items():
        sent = [asked[key] for key in keys if key in missing]
        tokens_in = sum(round(prompt_tokens(request) * factor) for request in sent)
        limits = [request.params.get("max_tokens") for request in sent]
        tokens_out = None if None in limits else sum(limit or 0 for limit in limits)
        cost = twice = None
        if price is not None and tokens_out is not None:
            cost = price.cost({"prompt_tokens": tokens_in, "completion_tokens": tokens_out})
            # Asked again, a request carries its answer and the reason (about 100 tokens) too.
            again = {
                "prompt_tokens": tokens_in + tokens_out + 100 * len(sent),
                "completion_tokens": tokens_out,
            }
            twice = cost + price.cost(again)
        rows.append(
            Estimate(
                stage,
                len(keys),
                len(keys) - len(sent),
                len(sent),
                tokens_in,
                tokens_out,
                cost,
                twice,
                price.as_of if price else "",
            )
        )
    return rows


def added(rows: Iterable[Estimate]) -> list[Estimate]:
    """Return one estimate per stage, the sum of those given: a stage may ask in several parts. What
    has no bound has none in the sum."""
    stages: dict[str, Estimate] = {}
    for row in rows:
        sofar = stages.get(row.stage)
        if sofar is None:
            stages[row.stage] = row
            continue
        numbers: dict[str, Any] = {
            field.name: (getattr(sofar, field.name), getattr(row, field.name))
            for field in fields(row)[1:-1]
        }
        summed: dict[str, Any] = {
            name: None if None in pair else sum(pair) for name, pair in numbers.items()
        }
        stages[row.stage] = replace(row, **summed)
    return list(stages.values())


def table(rows: Sequence[Estimate], llm: LLMConfig) -> str:
    """Return estimates as text for the terminal, with a line that says what kind of bound it is."""
    from tabulate import tabulate

    heads = [
        "stage",
        "requests",
        "cached",
        "to send",
        "prompt tokens",
        "completion tokens",
        "USD",
        "USD if all are asked again",
    ]
    lines = [
        [
            row.stage,
            row.requests,
            row.cached,
            row.calls,
            row.prompt_tokens,
            _shown(row.completion_tokens),
            _usd(row.cost_usd),
            _usd(row.cost_if_all_asked_again_usd),
        ]
        for row in rows
    ]
    dates = sorted({row.as_of for row in rows if row.as_of})
    price = (
        f"prices as of {', '.join(dates)}"
        if dates
        else "no price needed"
        if llm.location == "local"
        else f"no price for {llm.model} in {llm.prices}"
    )
    note = (
        f"Upper bounds for {llm.model} at {llm.endpoint}: every completion at max_tokens; cached "
        f"requests excluded; {price}. Nothing was sent."
    )
    return tabulate(lines, heads, tablefmt="simple") + "\n" + note


def _shown(value: int | None) -> str:
    return "no bound" if value is None else str(value)


def _usd(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.4f}" if value < 1 else f"{value:.2f}"


def _path(prices: str) -> Path:
    from touchstone.paths import conf_file

    return (
        Path(prices) if Path(prices).is_absolute() or Path(prices).exists() else conf_file(prices)
    )


@lru_cache(maxsize=8)
def _table(path: str) -> dict[str, Any]:
    import yaml

    try:
        with open(path, encoding="utf-8") as handle:
            prices = yaml.safe_load(handle)
    except (OSError, yaml.YAMLError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no valid YAML"
        raise UserError(f"llm.prices={path}: cannot read the price table: {reason}") from error
    if not isinstance(prices, dict) or not isinstance(prices.get("models"), dict):
        raise UserError(
            f"llm.prices={path}: a price table has the keys models, local and batch_factor"
        )
    return {"local": None, **prices}
