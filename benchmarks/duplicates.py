"""Near duplicates without comparing all pairs: growth, and the answers of comparing them all.

    python benchmarks/duplicates.py [--sizes 5000,20000,100000]

Sentences of the demo and of the corpora in TOUCHSTONE_DATA; where there are too few, some with
their words in another order, and one in twenty with up to six characters changed. CPU seconds. Exit
code 1 when the time from the first size to the last grows with a power above 1.5, or the answers
for the first size are not those of all pairs.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from pathlib import Path

import numpy as np
from rapidfuzz import fuzz, process

from touchstone.data.segment import sentences
from touchstone.similarity import duplicates, normalise

ROOT = Path(__file__).resolve().parents[1]
CUTOFF, EXPONENT = 90, 1.5


def main() -> int:
    """Print the table and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", default="5000,20000,100000")
    sizes = [int(size) for size in parser.parse_args().sizes.split(",")]
    texts = real(sizes[-1])
    took = []
    print(f"{'sentences':>10} {'CPU s':>8} {'duplicates':>11}")
    for size in sizes:
        started = time.process_time()
        found = duplicates(texts[:size], CUTOFF)
        took.append(time.process_time() - started)
        print(f"{size:10,} {took[-1]:8.2f} {len(found):11,}", flush=True)
    power = math.log(took[-1] / took[0]) / math.log(sizes[-1] / sizes[0])
    started = time.process_time()
    same = duplicates(texts[: sizes[0]], CUTOFF) == by_all_pairs(texts[: sizes[0]])
    all_pairs = time.process_time() - started - took[0]
    print(f"growth: power {power:.2f} (limit {EXPONENT})")
    print(
        f"all pairs of {sizes[0]:,}: {all_pairs:.2f} CPU s, "
        f"answers {'the same' if same else 'DIFFER'}"
    )
    return 0 if same and power <= EXPONENT else 1


def real(n: int) -> list[str]:
    """Return n different sentences in an order of chance."""
    data = os.environ.get("TOUCHSTONE_DATA")
    files = [*(ROOT / "src" / "touchstone" / "demo").rglob("*_notes.jsonl")]
    files += [path for path in Path(data).rglob("*") if path.is_file()] if data else []
    lines = [
        line for file in files for line in file.read_text("utf-8", errors="replace").splitlines()
    ]
    every = [*dict.fromkeys(text for line in lines if line.strip() for text in sentences(line))]
    rng = np.random.default_rng(0)
    texts = [every[i] for i in rng.permutation(len(every))[:n]]
    for i in range(n - len(texts)):
        text = every[i % len(every)]
        texts.append(edited(text, rng) if rng.random() < 0.05 else shuffled(text, rng))
    return texts


def edited(text: str, rng: np.random.Generator) -> str:
    letters = [*text]
    for _ in range(rng.integers(0, 7)):
        letters[rng.integers(len(letters))] = chr(97 + rng.integers(26))
    return "".join(letters)


def shuffled(text: str, rng: np.random.Generator) -> str:
    return " ".join(rng.permutation(text.split()))


def by_all_pairs(texts: list[str]) -> dict[int, str]:
    """The definition: each text against every earlier one that is kept."""
    reasons: dict[int, str] = {}
    first: dict[str, int] = {}
    for position, text in enumerate(texts):
        if first.setdefault(normalise(text), position) != position:
            reasons[position] = "exact_duplicate"
    forms, positions = [*first], [*first.values()]
    for start in range(0, len(forms), 512):
        block = forms[start : start + 512]
        ratios = process.cdist(
            block, forms[: start + len(block)], scorer=fuzz.ratio, score_cutoff=CUTOFF
        )
        for row, column in zip(*np.nonzero(ratios), strict=True):
            later, earlier = positions[start + row], positions[column]
            if earlier < later and earlier not in reasons:
                reasons[later] = "near_duplicate"
    return reasons


if __name__ == "__main__":
    sys.exit(main())
