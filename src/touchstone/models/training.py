"""The training loop that the sentence classifier and the tagger share.

AdamW with linear warm-up and decay, batches of similar length in random order, bfloat16 autocast
where the device has it, a floor on the number of steps (a fixed number of epochs starves a small
set: 50 sentences end as all `O`), and the best state on dev kept. On a CPU one seed and one thread
count give the same weights, bit for bit; on a GPU that is not promised. Does not tokenise, and
knows neither labels nor files. Source: Devlin et al. 2019, section 4.1; Mosbach et al. 2021 on
training small sets for longer.
"""

from __future__ import annotations

import copy
import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from touchstone.progress import progress
from touchstone.schema import TransformerConfig

# batches that are sorted together: enough to leave little padding, few enough to keep batches mixed
POOL = 32

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plan:
    """How to train; see `schema.TransformerConfig` for the meaning of the values, their ranges and
    reasons."""

    learning_rate: float = TransformerConfig.learning_rate
    epochs: int = TransformerConfig.epochs
    min_steps: int = TransformerConfig.min_steps
    batch_size: int = TransformerConfig.batch_size
    warmup: float = TransformerConfig.warmup
    weight_decay: float = TransformerConfig.weight_decay
    patience: int | None = TransformerConfig.patience
    bucket: bool = TransformerConfig.bucket

    def steps(self, n: int) -> int:
        """Return the number of steps for n examples: `epochs` passes, and at least `min_steps`."""
        return max(self.epochs * math.ceil(n / self.batch_size), self.min_steps)


@dataclass
class History:
    """What happened in training.

    Attributes
    ----------
    steps : taken.
    losses : mean training loss between two looks at dev (or of each of `epochs` equal parts without
        dev).
    dev : (step, score) of each look at dev.
    kept : step whose weights were kept.
    """

    steps: int = 0
    losses: list[float] = field(default_factory=list)
    dev: list[tuple[int, float]] = field(default_factory=list)
    kept: int = 0


def train(
    model: Any,
    lengths: np.ndarray,
    loss_of: Callable[[np.ndarray], Any],
    plan: Plan,
    *,
    device: Any,
    dtype: str,
    random_state: int,
    dev_score: Callable[[], float] | None = None,
) -> History:
    """Train a torch module in place and leave it in evaluation mode, with the weights that were
    best on dev.

    Parameters
    ----------
    model : module on `device`; randomness within it (dropout) is seeded here, its initial weights
        are the caller's.
    lengths : tokens of each training example, shape (n,).
    loss_of : maps the indices of a batch to its loss, a scalar tensor; called in training mode
        under autocast.
    dtype : float32, or bfloat16 for autocast (weights stay in float32).
    random_state : decides the order of the examples and the dropout.
    dev_score : score of the current weights, higher is better; looked at `epochs` times at equal
        distances, however many steps there are. Of equal scores the later counts. None trains to
        the end and keeps the last weights.
    """
    import torch

    total = plan.steps(len(lengths))
    looks = {math.ceil(total * (i + 1) / plan.epochs) for i in range(plan.epochs)}
    optimizer = torch.optim.AdamW(
        _groups(model, plan.weight_decay),
        lr=plan.learning_rate,
        fused=device.type in ("cpu", "cuda"),
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: _factor(step, total, plan.warmup)
    )
    order = batches(lengths, plan, np.random.default_rng(random_state))
    history, best, best_state, since = History(), -math.inf, None, []
    with (
        torch.random.fork_rng(devices=[device] if device.type == "cuda" else []),
        progress("training", total, "steps") as done,
    ):
        torch.manual_seed(random_state)
        model.train()
        for step in range(1, total + 1):
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=dtype == "bfloat16"):
                loss = loss_of(next(order))
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad(set_to_none=True)
            since.append(loss.detach())
            history.steps = history.kept = step
            done(step)
            if step not in looks:
                continue
            history.losses.append(float(torch.stack(since).mean()))
            since = []
            if dev_score is None:
                continue
            model.eval()
            score = dev_score()
            model.train()
            history.dev.append((step, score))
            if score >= best:
                best, best_state, best_step = score, copy.deepcopy(model.state_dict()), step
            if _stalled(history.dev, plan.patience):
                log.info("training stopped after %d of %d steps: no gain on dev", step, total)
                break
    if best_state is not None:
        model.load_state_dict(best_state)
        history.kept = best_step
    model.eval()
    return history


def batches(lengths: np.ndarray, plan: Plan, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield batches of indices without end; each pass holds every example once, in another order.

    With `bucket`, the examples of a pass are shuffled, cut into pools of `POOL` batches, sorted by
    length within a pool, cut into batches, and the batches of the pass shuffled.
    """
    n = len(lengths)
    while True:
        order = rng.permutation(n)
        if plan.bucket:
            size = POOL * plan.batch_size
            pools = [order[i : i + size] for i in range(0, n, size)]
            order = np.concatenate(
                [pool[np.argsort(lengths[pool], kind="stable")] for pool in pools]
            )
        chunks = [order[i : i + plan.batch_size] for i in range(0, n, plan.batch_size)]
        if plan.bucket:
            chunks = [chunks[i] for i in rng.permutation(len(chunks))]
        yield from chunks


def balanced_weights(
    classes: np.ndarray, n_classes: int, sample_weight: np.ndarray | None = None
) -> np.ndarray:
    """Return a weight for each class: total weight / (classes that occur x weight of the class), 0
    for classes that do not occur.

    The rule of scikit-learn's `class_weight="balanced"`; examples so weighted have the same total
    in every class.
    """
    counts = np.bincount(classes, weights=sample_weight, minlength=n_classes).astype(np.float64)
    present = counts > 0
    weights = np.zeros(n_classes)
    weights[present] = counts.sum() / (present.sum() * counts[present])
    return weights


def _stalled(dev: list[tuple[int, float]], patience: int | None) -> bool:
    """Tell whether none of the last `patience` looks scored above the best before them; a best of 0
    has not begun to learn yet."""
    if patience is None or len(dev) <= patience:
        return False
    scores = [score for _, score in dev]
    best = max(scores[:-patience])
    return best > 0 and max(scores[-patience:]) <= best


def _factor(step: int, total: int, warmup: float) -> float:
    """Return the learning rate's factor: linear from 0 to 1 over the warm-up, then linear to 0."""
    rise = max(1, round(total * warmup)) if warmup else 0
    return (
        (step + 1) / (rise + 1) if step < rise else max(0.0, (total - step) / max(1, total - rise))
    )


def _groups(model: Any, weight_decay: float) -> list[dict[str, Any]]:
    """Split parameters: biases and normalisation (one dimension) do not decay."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
