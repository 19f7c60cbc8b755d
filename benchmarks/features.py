"""Which n-grams TF-IDF should count on relations: chosen on a dev part of GAD's training file.

    TOUCHSTONE_DATA=... python benchmarks/features.py [--corpus gad] [--splits 5]

Of the training file of fold 1 a tenth is held out, drawn by seed, several times, copies of one
source sentence on one side; logistic regression learns from 200 sentences of the rest, from 1,000
and from all of them. Prints the mean F1 of `related` and AUC of each choice of n-grams. The test
file is never opened. What came out, and the choice that follows, stand in docs/grid.md; the choice
is conf/classifier/tfidf_words_logreg.yaml. Not a test: some minutes on one processor.
"""

from __future__ import annotations

import argparse
import csv
import os
from pathlib import Path

import numpy as np
from sklearn.metrics import f1_score, roc_auc_score

from touchstone.generate.order import siblings
from touchstone.models.tfidf import TfidfClassifier

CHOICES = {
    "words 1-2": {"word_ngrams": 2, "char_ngrams": 0},
    "words 1-2, characters 2-4": {"word_ngrams": 2, "char_ngrams": 4},
}
SIZES = (200, 1000, None)  # sentences learned from; None for all


def main() -> None:
    """Print a line for each choice of features and size of gold."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", default="gad")
    parser.add_argument("--splits", type=int, default=5)
    options = parser.parse_args()
    texts, labels = training_file(options.corpus)
    print(f"{options.corpus}: {len(texts)} training sentences, {options.splits} dev parts")
    copies = siblings(texts, ("@GENE$", "@DISEASE$"))
    print(f"{len(copies)} source sentences", flush=True)
    for size in SIZES:
        for name, features in CHOICES.items():
            results = [
                dev_scores(texts, labels, copies, features, size, seed)
                for seed in range(options.splits)
            ]
            f1, auc = np.mean(results, axis=0)
            print(f"{size or 'all':>5}  {name:26}  F1 {f1:.3f}  AUC {auc:.3f}", flush=True)


def training_file(corpus: str) -> tuple[list[str], np.ndarray]:
    """Return the sentences and 0/1 labels of fold 1's training file, in its order."""
    folder = Path(os.environ["TOUCHSTONE_DATA"]) / corpus
    path = next(path for path in (folder / "1/train.tsv", folder / "train.tsv") if path.exists())
    with path.open(encoding="utf-8", newline="") as stream:
        rows = [row for row in csv.reader(stream, delimiter="\t", quoting=csv.QUOTE_NONE) if row]
    rows = [row[-2:] for row in rows if row[-1] in ("0", "1")]
    return [text for text, _ in rows], np.array([int(label) for _, label in rows])


def dev_scores(
    texts: list[str],
    labels: np.ndarray,
    copies: list[list[int]],
    features: dict[str, int],
    size: int | None,
    seed: int,
) -> tuple[float, float]:
    """Return F1 of `related` and AUC on a tenth of the sources, after learning from others."""
    order = np.random.default_rng(seed).permutation(len(copies))
    n_dev = len(copies) // 10
    dev = [i for group in order[:n_dev] for i in copies[group]]
    train = [i for group in order[n_dev:] for i in copies[group]][:size]
    model = TfidfClassifier(kind="relation", n_classes=2, **features)
    model.fit([texts[i] for i in train], labels[train])
    scores = model.predict_proba([texts[i] for i in dev])[:, 1]
    return f1_score(labels[dev], scores >= 0.5), roc_auc_score(labels[dev], scores)


if __name__ == "__main__":
    main()
