import string
from pathlib import Path

import numpy as np
import pytest
from grid import DATA, ROOT
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rapidfuzz import fuzz, process

from touchstone import similarity
from touchstone.data.segment import sentences
from touchstone.similarity import duplicates, normalise, repeating, resembling

SENTENCES = st.lists(
    st.text(alphabet="abcab 1é\u4e2d,", max_size=30)
    | st.text(max_size=30)
    | st.sampled_from(["a" * 700, "a" * 640 + "b" * 60, "the cat sat on the mat", "the cat sat"]),
    max_size=14,
)
CUTOFFS = st.floats(1, 100) | st.sampled_from([50, 80, 90, 100])


def by_all_pairs(texts: list[str], cutoff: float) -> tuple[dict[int, str], np.ndarray]:
    """The definition, written out: each text against each earlier one."""
    forms = [normalise(text) for text in texts]
    reasons: dict[int, str] = {}
    repeats = np.zeros(len(texts), dtype=bool)
    for later, form in enumerate(forms):
        ratios = process.cdist([form], forms[:later], scorer=fuzz.ratio, score_cutoff=cutoff)[0]
        same = [other for other in range(later) if forms[other] == form]
        near = [int(other) for other in np.flatnonzero(ratios)]
        repeats[later] = bool(same or near)
        if same:
            reasons[later] = "exact_duplicate"
        elif any(other not in reasons for other in near):
            reasons[later] = "near_duplicate"
    return reasons, repeats


@given(SENTENCES, CUTOFFS)
@example(["", "", "!"], 90.0)
@settings(max_examples=100, deadline=None)
def test_the_duplicates_are_those_of_comparing_all_pairs(texts, cutoff):
    reasons, repeats = by_all_pairs(texts, cutoff)
    assert duplicates(texts, cutoff) == reasons
    assert repeating(texts, cutoff).tolist() == repeats.tolist()


@given(SENTENCES, SENTENCES, CUTOFFS)
@example([""], [""], 80.0)
@settings(max_examples=100, deadline=None)
def test_what_resembles_a_test_sentence_is_what_comparing_all_pairs_finds(texts, tests, cutoff):
    found = resembling(texts, tests, cutoff).tolist()
    assert found == [
        i
        for i, text in enumerate(texts)
        if any(fuzz.ratio(normalise(text), normalise(test)) >= cutoff for test in tests)
        or any(shares_eight_words(text, test) for test in tests)
    ]


def shares_eight_words(text: str, test: str) -> bool:
    one, other = f" {normalise(text)} ", f" {normalise(test)} "
    words = one.split()
    return any(f" {' '.join(words[i : i + 8])} " in other for i in range(len(words) - 7))


def test_results_do_not_depend_on_chunks_blocks_and_workers(monkeypatch):
    rng = np.random.default_rng(0)
    base = ["".join(rng.choice([*"abcdefgh "], 40)) for _ in range(60)]
    texts = [edited(text, rng) for _ in range(5) for text in base]
    reasons, repeats = by_all_pairs(texts, 85)
    assert 50 < len(reasons) < 250
    for chunk, rows, columns, few in ((7, 3, 5, 1), (64, 16, 32, 10**6), (4096, 64, 4096, 32)):
        monkeypatch.setattr(similarity, "CHUNK", chunk)
        monkeypatch.setattr(similarity, "ROWS", rows)
        monkeypatch.setattr(similarity, "COLUMNS", columns)
        monkeypatch.setattr(similarity, "FEW", few)
        for threads in (1, 3):
            assert duplicates(texts, 85, threads) == reasons
            assert repeating(texts, 85, threads).tolist() == repeats.tolist()


def edited(text: str, rng: np.random.Generator) -> str:
    letters = [*text]
    for _ in range(rng.integers(0, 9)):
        letters[rng.integers(len(letters))] = string.ascii_lowercase[rng.integers(26)]
    return "".join(letters)


def real_sentences() -> list[str]:
    """Sentences of the corpora that are here: some 40,000 of notes and abstracts."""
    files = [*(ROOT / "src" / "touchstone" / "demo").rglob("*_notes.jsonl")]
    files += [
        *(DATA / "mts_dialog").glob("*"),
        *(DATA / "hoc").glob("*"),
        *(DATA / "gad").glob("*"),
    ]
    text = "\n".join(Path(file).read_text(encoding="utf-8", errors="replace") for file in files)
    lines = [line for line in text.splitlines() if line.strip()]
    return [sentence for line in lines for sentence in sentences(line)]


@pytest.mark.slow
@pytest.mark.skipif(not DATA.is_dir(), reason="no corpora here: set TOUCHSTONE_DATA")
def test_twenty_thousand_real_sentences_have_the_duplicates_of_all_pairs():
    texts = real_sentences()[:20_000]
    assert len(texts) == 20_000
    assert duplicates(texts, 90) == by_blocks(texts, 90)
    tests, rest = texts[::10], [text for i, text in enumerate(texts) if i % 10]
    expected = {
        start + int(row)
        for start in range(0, len(rest), 512)
        for row in np.flatnonzero(
            process.cdist(
                [normalise(text) for text in rest[start : start + 512]],
                [normalise(text) for text in tests],
                scorer=fuzz.ratio,
                score_cutoff=80,
            ).any(axis=1)
        )
    }
    known = {gram for test in tests for gram in similarity._ngrams(normalise(test))}
    expected |= {
        i
        for i, text in enumerate(rest)
        if not known.isdisjoint(similarity._ngrams(normalise(text)))
    }
    assert resembling(rest, tests, 80).tolist() == sorted(expected)


def by_blocks(texts: list[str], cutoff: float) -> dict[int, str]:
    """All pairs, a block of rows at a time: the definition, at a size at which it takes minutes."""
    reasons: dict[int, str] = {}
    first: dict[str, int] = {}
    for position, text in enumerate(texts):
        if first.setdefault(normalise(text), position) != position:
            reasons[position] = "exact_duplicate"
    forms, positions = [*first], [*first.values()]
    for start in range(0, len(forms), 512):
        block = forms[start : start + 512]
        ratios = process.cdist(
            block, forms[: start + len(block)], scorer=fuzz.ratio, score_cutoff=cutoff
        )
        for row, column in zip(*np.nonzero(ratios), strict=True):
            later, earlier = positions[start + row], positions[column]
            if earlier < later and earlier not in reasons:
                reasons[later] = "near_duplicate"
    return reasons
