"""Compare our sentence segmentation with sentence-splitter and pysbd: F1 on reference offsets,
agreement on wrapped text, speed.

    python benchmarks/segmentation.py

The notes are the demo corpus (150 notes with reference offsets), as written and hard-wrapped at 80
columns. The rules were developed on these notes: the F1 of ours is a development figure, that of
the others is not. The competitors are optional (`pip install sentence-splitter pysbd`); a row whose
package is missing says so. Exit code 1 if ours is not both the best and the fastest.
"""

from __future__ import annotations

import importlib
import json
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import touchstone.demo
from touchstone.data import segment as ours

NOTES = Path(touchstone.demo.__file__).parent / "ad_corpus" / "gold_notes.jsonl"
COLUMNS = 80


def locate(text: str, pieces: list[str]) -> list[tuple[int, int]]:
    """Return the offsets of pieces that follow each other in the text; white space at their ends is
    left out."""
    out, at = [], 0
    for piece in map(str.strip, pieces):
        start = text.find(piece, at) if piece else -1
        if start >= 0:
            at = start + len(piece)
            out.append((start, at))
    return out


def by_line(split: Callable[[str], list[str]]) -> Callable[[str], list[tuple[int, int]]]:
    """Lift a splitter of running text to a note, taking each line for a paragraph: right for notes
    that were not wrapped."""
    return lambda text: locate(
        text, [piece for line in text.split("\n") if line.strip() for piece in split(line)]
    )


def by_paragraph(split: Callable[[str], list[str]]) -> Callable[[str], list[tuple[int, int]]]:
    """Lift a splitter of running text to a note, joining all lines up to a blank one: right for
    wrapped notes without lists."""

    def segment(text: str) -> list[tuple[int, int]]:
        flat = "\n\n".join(paragraph.replace("\n", " ") for paragraph in text.split("\n\n"))
        return locate(
            flat, [piece for line in flat.split("\n\n") if line.strip() for piece in split(line)]
        )

    return segment


def sentence_splitter() -> Callable[[str], list[str]]:
    return importlib.import_module("sentence_splitter").SentenceSplitter(language="en").split


def pysbd() -> Callable[[str], list[str]]:
    return importlib.import_module("pysbd").Segmenter(language="en", clean=False).segment


SPLITTERS: dict[str, Callable[[], Callable[[str], list[tuple[int, int]]]]] = {
    "touchstone": lambda: ours.segment,
    "sentence-splitter, by line": lambda: by_line(sentence_splitter()),
    "sentence-splitter, by paragraph": lambda: by_paragraph(sentence_splitter()),
    "pysbd, by line": lambda: by_line(pysbd()),
    "pysbd, by paragraph": lambda: by_paragraph(pysbd()),
}


def f1(found: set, expected: set) -> float:
    return 2 * len(found & expected) / (len(found) + len(expected))


def wrap(text: str) -> str:
    return "\n".join(
        textwrap.fill(line, COLUMNS, break_long_words=False, break_on_hyphens=False)
        for line in text.split("\n")
    )


def main() -> int:
    notes = [json.loads(line) for line in NOTES.read_text(encoding="utf-8").splitlines()]
    expected = {(note["note_id"], *span) for note in notes for span in note["sentences"]}
    texts = {
        (note["note_id"], " ".join(note["text"][start:end].split()))
        for note in notes
        for start, end in note["sentences"]
    }
    size = sum(len(note["text"].encode()) for note in notes) / 1e6
    print(
        f"{len(notes)} notes, {len(expected)} sentences, {size:.2f} MB; wrapped: at {COLUMNS} "
        "columns"
    )
    print(f"{'splitter':<34}{'F1':>8}{'F1 wrapped':>12}{'MB/s':>8}")
    scores: dict[str, tuple[float, float]] = {}
    for name, make in SPLITTERS.items():
        try:
            split = make()
        except ImportError:
            print(f"{name:<34}not installed")
            continue
        best = float("inf")
        for _ in range(1 if "pysbd" in name else 3):
            start = time.perf_counter()
            found = {(note["note_id"], *span) for note in notes for span in split(note["text"])}
            best = min(best, time.perf_counter() - start)
        wrapped = {
            (note["note_id"], " ".join(text[start:end].split()))
            for note in notes
            for text in [wrap(note["text"])]
            for start, end in split(text)
        }
        scores[name] = (f1(found, expected), size / best)
        print(
            f"{name:<34}{scores[name][0]:>8.4f}{f1(wrapped, texts):>12.4f}{scores[name][1]:>8.2f}"
        )
    best_f1, best_speed = (max(score[which] for score in scores.values()) for which in (0, 1))
    return 0 if scores["touchstone"] == (best_f1, best_speed) else 1


if __name__ == "__main__":
    sys.exit(main())
