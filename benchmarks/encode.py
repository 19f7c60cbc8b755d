"""Sentence vectors of all-MiniLM-L6-v2: ours against sentence_transformers.encode, ratios measured
in one run.

    python benchmarks/encode.py [--sentences 1000] [--threads N]

Sentences of the demo corpus at their natural lengths, cut after 128 tokens by both;
sentence-transformers with its default batch size. Loading is not timed, tokenising is. The
candidates take turns, so that a busy moment of the machine hits all of them; the best time of each
counts. Vectors are compared too: a faster wrong answer does not pass. Exit code 1 if a ratio is
missed or could not be measured (`pip install sentence-transformers`); the ratio with bfloat16 is
only asked of a CPU that has it.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import sys
import time
from pathlib import Path

import numpy as np

import touchstone.demo
from touchstone.models import limit_threads

NOTES = Path(touchstone.demo.__file__).parent / "ad_corpus" / "gold_notes.jsonl"
MAX_LENGTH = 128
REPEATS = 4
SAME_PRECISION, WITH_BFLOAT16 = 1.0, 2.5  # least ratio to sentence_transformers
FURTHEST = {
    "float32": 1e-5,
    "bfloat16": 2e-2,
}  # largest difference of a coordinate to sentence_transformers in float32


def sentences(n: int) -> list[str]:
    """Return n sentences of the demo notes, spread over the corpus."""
    notes = [json.loads(line) for line in NOTES.read_text(encoding="utf-8").splitlines()]
    found = [note["text"][start:end] for note in notes for start, end in note["sentences"]]
    return [found[i] for i in np.random.default_rng(0).permutation(len(found))[:n]]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sentences", type=int, default=1000)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    arguments = parser.parse_args()
    if importlib.util.find_spec("sentence_transformers") is None:
        print(
            "not measured: sentence-transformers is not installed (pip install "
            "sentence-transformers)"
        )
        return 1
    limit_threads(arguments.threads)
    import torch
    from sentence_transformers import SentenceTransformer

    from touchstone.models.encoder import encode, find_encoder, has_bfloat16, load

    torch.set_num_threads(arguments.threads)
    texts = sentences(arguments.sentences)
    minilm = find_encoder("minilm")
    dtypes = ["float32"] + ["bfloat16"] * has_bfloat16(torch.device("cpu"))
    candidates = {}
    for dtype in dtypes:
        theirs = SentenceTransformer(
            str(minilm.path), device="cpu", model_kwargs={"dtype": getattr(torch, dtype)}
        )
        theirs.max_seq_length = MAX_LENGTH
        ours = load(minilm, max_length=MAX_LENGTH, dtype=dtype, device="cpu")
        candidates["sentence_transformers", dtype] = lambda theirs=theirs: theirs.encode(
            texts, show_progress_bar=False
        )
        candidates["touchstone", dtype] = lambda ours=ours: encode(ours, texts)

    best, vectors = dict.fromkeys(candidates, float("inf")), {}
    for turn in range(REPEATS + 1):
        for name, run in candidates.items():
            started = time.perf_counter()
            vectors[name] = run()
            if turn:  # the first warms up
                best[name] = min(best[name], time.perf_counter() - started)

    print(
        f"all-MiniLM-L6-v2, {len(texts)} sentences, {arguments.threads} threads, best of {REPEATS}"
    )
    print(f"{'':24}{'precision':>10}{'sentences/s':>13}{'largest difference':>20}")
    wrong = False
    for (who, dtype), seconds in best.items():
        furthest = float(
            np.abs(vectors[who, dtype] - vectors["sentence_transformers", "float32"]).max()
        )
        wrong |= who == "touchstone" and furthest > FURTHEST[dtype]
        print(f"{who:24}{dtype:>10}{len(texts) / seconds:>13.0f}{furthest:>20.1e}")
    ratios = [
        (
            "same precision, " + d,
            best["sentence_transformers", d] / best["touchstone", d],
            SAME_PRECISION,
        )
        for d in dtypes
    ]
    if "bfloat16" in dtypes:
        ratios.append(
            (
                "bfloat16 against float32",
                best["sentence_transformers", "float32"] / best["touchstone", "bfloat16"],
                WITH_BFLOAT16,
            )
        )
    else:
        print("bfloat16: this CPU does not have it, so its ratio is not asked for")
    missed = wrong
    for what, ratio, least in ratios:
        missed |= ratio < least
        print(
            f"{what:40} {ratio:5.2f} x   (at least {least}) {'ok' if ratio >= least else 'MISSED'}"
        )
    if wrong:
        print("the vectors are not those of sentence_transformers")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
