"""A language model of twenty lines for tests: it reads the prompts of the three families of tasks
and answers by simple rules.

`annotate(body)` takes the body of a chat completion and returns the answer's text;
`FakeLLM(answer=annotate)` serves it. Diseases are the words of `DISEASES`; a relation holds where
the sentence says "linked". `small_corpora` writes corpora that it can annotate.
"""

from __future__ import annotations

import json
import random
import re
from pathlib import Path
from typing import Any

from touchstone.llm.marks import write_marks

DISEASES = ("gout", "asthma", "flu", "breast cancer", "ataxia", "Marfan syndrome")
HALLMARKS = ([], ["Resisting cell death"], ["Cellular energetics", "Inducing angiogenesis"])
NUMBERED = re.compile(r"^(\d+)\. (.*)$", re.MULTILINE)


def mark(text: str) -> str:
    """Mark every disease that the model knows."""
    found = re.finditer("|".join(DISEASES), text)
    return write_marks(
        text, [{"start": match.start(), "end": match.end(), "type": "Disease"} for match in found]
    )


def annotate(body: dict[str, Any]) -> str:
    asked = body["messages"][1]["content"]
    if "<sentences>" in asked:
        lines = NUMBERED.findall(asked.split("<sentences>\n")[1].split("</sentences>")[0])
        if "@GENE$" in body["messages"][0]["content"]:
            return _json(
                "sentences",
                [
                    {"id": int(n), "labels": ["related"] * ("linked" in text), "confidence": "high"}
                    for n, text in lines
                ],
            )
        return _json(
            "sentences",
            [{"id": int(n), "text": mark(text), "confidence": "medium"} for n, text in lines],
        )
    lines = NUMBERED.findall(asked)
    if asked.startswith("List names"):
        return _json(
            "lists",
            [
                {"id": int(n), "names": [f"{DISEASES[int(n) % 6]} {n}", DISEASES[int(n) % 6]]}
                for n, _ in lines
            ],
        )
    if "@GENE$" in asked:
        positive = "of the category related" in asked
        return _json(
            "sentences",
            [
                {"id": int(n), "text": _pair(line, positive), "labels": ["related"] * positive}
                for n, line in lines
            ],
        )
    return _json("sentences", [{"id": int(n), "text": _sentence(line)} for n, line in lines])


def _pair(line: str, positive: bool) -> str:
    first, second, *rest = invented(sum(map(ord, line)))
    return (
        f"{first} {second} @GENE$ {'linked to' if positive else 'seen beside'} @DISEASE$ "
        f"{' '.join(rest)}."
    )


def _sentence(line: str) -> str:
    names = re.match(r"names: ([^|]+) \|", line)
    marked = [f"<Disease>{name}</Disease>" for name in names[1].split("; ")] if names else []
    first, *rest = invented(sum(map(ord, line)))
    return f"{first} {' and '.join(marked)} {' '.join(rest)}."


def _json(under: str, entries: list[dict[str, Any]]) -> str:
    return json.dumps({under: entries})


def invented(number: int, count: int = 6) -> list[str]:
    """Words that no other number has: sentences made of them are no near duplicates."""
    letters = random.Random(number)
    return ["".join(letters.choices("abdeiklmnoprstuvz", k=7)) for _ in range(count)]


def small_corpora(folder: Path) -> Path:
    """Write an NCBI-disease, a GAD and a HoC of a few dozen sentences, and return the folder for
    paths.data."""
    for part, first, size in (("train", 0, 40), ("devel", 100, 8), ("test", 200, 12)):
        tagged, pairs = [], []
        for number in range(first, first + size):
            *before, last = invented(number)
            disease = DISEASES[number % 6].split() if number % 3 else []
            words = [*before, *disease, last, "."]
            tags = [
                "B-Disease" if word in disease[:1] else "I-Disease" if word in disease else "O"
                for word in words
            ]
            tagged.append(
                "".join(f"{word}\t{tag}\n" for word, tag in zip(words, tags, strict=True))
            )
            verb, label = ("linked to", 1) if number % 2 else ("seen beside", 0)
            pairs.append(
                f"{' '.join(before[:3])} @GENE$ {verb} @DISEASE$ {before[3]} {last} .\t{label}\n"
            )
        _write(folder / "ncbi_disease" / f"{part}.tsv", "\n".join(tagged))
        if part == "test":
            _write(
                folder / "gad" / "1" / "test.tsv",
                "index\tsentence\tlabel\n"
                + "".join(f"{i}\t{pair}" for i, pair in enumerate(pairs)),
            )
        elif part == "train":
            _write(folder / "gad" / "1" / "train.tsv", "".join(pairs))
    rows = [
        {
            "doc_id": f"d{number // 4}",
            "text": " ".join(invented(300 + number)),
            "labels": HALLMARKS[number % 3],
        }
        for number in range(120)
    ]
    _write(folder / "hoc" / "hoc.jsonl", "\n".join(json.dumps(row) for row in rows))
    return folder


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
