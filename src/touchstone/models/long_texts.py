"""Texts longer than an encoder reads at once: windows, and what is pooled from them.

A text that fits is one window, the same token ids as ever. A longer one is read in windows of
`max_length` tokens that overlap by a quarter, so that what stands at a border is seen whole once
(segments of 200 tokens, 50 shared: Pappagari et al. 2019, "Hierarchical transformers for long
document classification", section 3). The vectors of its windows are pooled (Sun et al. 2019, "How
to fine-tune BERT for text classification", section 5.3.1, hierarchical methods):

- fine-tuned encoders take the maximum of each component and learn through it. One sentence of a
  note can decide, and a window without it is not taught that the note's label stands in it;
- frozen encoders take the mean over tokens, scaled to length 1, as for the tokens of a sentence.

No window is left out. Entities have windows of their own, cut between words: see align.py.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

OVERLAP = 4  # a window shares one part in this many with the one before it

# Tokens of a training batch whose activations are kept; of more (a batch of long notes) they are
# computed again in the backward pass, window by window, which costs a third more time, no memory.
KEPT_TOKENS = 8192

log = logging.getLogger("touchstone.console")


@dataclass(frozen=True)
class Windows:
    """The windows of n texts, each text's together and in order.

    Attributes
    ----------
    ids : token ids of each window with special tokens.
    starts : number of each text's first window, and at the end the number of windows, shape
        (n + 1,).
    """

    ids: list[np.ndarray]
    starts: np.ndarray

    @property
    def tokens(self) -> np.ndarray:
        """Tokens of each window, shape (n_windows,)."""
        return np.array([len(ids) for ids in self.ids], dtype=np.int64)

    @property
    def text_tokens(self) -> np.ndarray:
        """Tokens of each text over all its windows, shape (n,)."""
        return np.diff(np.append(0, np.cumsum(self.tokens))[self.starts])

    @property
    def long(self) -> np.ndarray:
        """Numbers of the texts that have several windows, rising."""
        return np.flatnonzero(np.diff(self.starts) > 1)

    def of(self, texts: Sequence[int] | np.ndarray) -> tuple[list[np.ndarray], list[int]]:
        """Return the windows of some texts in their order, and how many each has."""
        ranges = [range(self.starts[text], self.starts[text + 1]) for text in texts]
        return [self.ids[i] for one in ranges for i in one], [len(one) for one in ranges]


def tokenise(tokenizer: Any, texts: Sequence[str], max_length: int) -> Windows:
    """Return the windows of texts: at most `max_length` tokens each, special tokens included."""
    if not texts:
        return Windows([], np.zeros(1, dtype=np.int64))
    encoded = tokenizer(
        list(texts),
        truncation=True,
        max_length=max_length,
        stride=max_length // OVERLAP,
        return_overflowing_tokens=True,
        return_attention_mask=False,
        return_token_type_ids=False,
    )
    counts = np.bincount(encoded["overflow_to_sample_mapping"], minlength=len(texts))
    return Windows(
        [np.asarray(ids, dtype=np.int64) for ids in encoded["input_ids"]],
        np.append(0, np.cumsum(counts)),
    )


def tell(windows: Windows, max_length: int) -> None:
    """Say how many texts are longer than the encoder reads at once; the same line once in a
    process."""
    if len(windows.long):
        _tell(
            f"{len(windows.long):,} of {len(windows.starts) - 1:,} texts are longer than "
            f"classifier.max_length={max_length} tokens: read whole, in windows, and pooled"
        )


@functools.lru_cache(maxsize=64)
def _tell(message: str) -> None:
    log.info(message)


def pooled_mean(vectors: np.ndarray, windows: Windows) -> np.ndarray:
    """Return one vector of length 1 for each text, shape (n, d): of a single window its own, of
    several their mean, each weighted by its tokens.

    Parameters
    ----------
    vectors : of the windows, length 1 each, shape (n_windows, d).
    """
    pooled = vectors[windows.starts[:-1]]
    tokens = windows.tokens
    for text in windows.long:
        part = slice(windows.starts[text], windows.starts[text + 1])
        mean = np.average(vectors[part].astype(np.float64), axis=0, weights=tokens[part])
        pooled[text] = mean / max(float(np.linalg.norm(mean)), 1e-12)
    return pooled


def pooled_max(vectors: Any, counts: Sequence[int]) -> Any:
    """Return the largest value of each component over the windows of each text: a tensor
    (n_windows, d) and the windows of each text to (n, d)."""
    import torch

    return torch.stack([part.amax(dim=0) for part in vectors.split(list(counts))])
