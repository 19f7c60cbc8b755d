"""What a generated data set took: tokens and money, and what asking all of it anew would cost.

A data set whose answers were all replayed, from a recording or the response store, cost nothing
this time: that is no price. So it is called replayed, and an estimate stands beside it, at the
prices of the user's table as they are today. Does not count tokens (llm/usage.py).
"""

from __future__ import annotations

from dataclasses import dataclass

from touchstone.llm import budget
from touchstone.report.grid import Grid
from touchstone.tracking import Run

COUNTED = ("prompt_tokens", "completion_tokens")


@dataclass(frozen=True)
class Spending:
    """What a generation took.

    Attributes
    ----------
    replayed : whether no answer was asked for when it was made.
    usd : spent when it was made; None where a price was unknown.
    tokens_in, tokens_out : of all its answers, replayed ones too; None in runs of earlier versions.
    today_usd : what asking anew would cost; None where tokens or the price are unknown.
    as_of : the day of that price, '' without one.
    """

    replayed: bool
    usd: float | None
    tokens_in: int | None
    tokens_out: int | None
    today_usd: float | None
    as_of: str = ""

    def words(self) -> str:
        """Return the cost in words."""
        spent = "unknown" if self.usd is None else f"{self.usd:.2f} USD"
        if not self.replayed:
            return spent
        if self.today_usd is None:
            return "replayed; what asking anew would cost is unknown"
        return f"replayed; asking anew would cost about {self.today_usd:.2f} USD"


def spending(grid: Grid, run: Run) -> Spending:
    """Return what the run of a generation took."""
    numbers = run.data.metrics
    replayed = not numbers.get("llm/sent") and bool(numbers.get("llm/cached"))
    start = "llm/answers_" if "llm/answers_prompt_tokens" in numbers else "llm/"
    tokens: dict[str, int] = {}
    if start != "llm/" or not replayed:  # runs of earlier versions counted what they sent only
        tokens = {name: int(numbers.get(f"{start}{name}", 0)) for name in COUNTED}
    price = budget.listed_price(run.data.params.get("model", ""), _prices(grid))
    return Spending(
        replayed=replayed,
        usd=numbers.get("llm/cost_usd"),
        tokens_in=tokens.get("prompt_tokens"),
        tokens_out=tokens.get("completion_tokens"),
        today_usd=price.cost(tokens) if price and tokens else None,
        as_of=price.as_of if price else "",
    )


def _prices(grid: Grid) -> str:
    """Return the table of prices that the cells were run with."""
    return next((cell.config["llm"].get("prices") for cell in grid.cells), None) or "prices.yaml"
