"""Canaries: words that stand only in restricted text must be nowhere in what a sweep with failures
wrote, outside the 0600 stores."""

import gzip
import hashlib
import json
import os
import random
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from fake_llm_server import FakeLLM
from grid import ROOT, run, small_taxonomy
from preloaded import completed

from touchstone.data.readers.labelled_notes import read_labels
from touchstone.data.readers.sentences_jsonl import read as read_sentences
from touchstone.data.shards import iter_shards
from touchstone.errors import UserError
from touchstone.pseudonyms import KEY_FILE, pseudonyms_of
from touchstone.run.hydra_errors import explain
from touchstone.schema import GoldFiles, PoolFiles

CANARY = re.compile(rb"(?i)kanarie[a-z]{6}")
CATEGORIES = ("cognitive_impairment", "coping_strategy", "diagnostic_tests")


def canary(random_words: random.Random) -> str:
    return "kanarie" + "".join(random_words.choices("bcdfghklmnprst", k=6))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    """Fourteen patients and eight pool notes; every sentence holds words of its own that stand
    nowhere else."""
    folder = tmp_path_factory.mktemp("restricted_corpus")
    words = random.Random(0)

    def note(name: str, n: int) -> tuple[str, list[list[int]], list[str]]:
        text, offsets, labels = "", [], []
        for number in range(n):
            sentence = (
                f"{canary(words).capitalize()} was seen with {canary(words)} on visit {number}."
            )
            offsets.append([len(text), len(text) + len(sentence)])
            text += sentence + " "
            labels.append(CATEGORIES[number % 3] if number % 2 else "none")
        return text.strip(), offsets, labels

    gold, labels = [], ["note_id\tsentence\tlabels"]
    for patient in range(14):
        text, offsets, names = note(f"P{patient}", 9)
        gold.append(
            {
                "note_id": f"P{patient}-1",
                "patient_id": f"P{patient}",
                "note_type": "Note",
                "text": text,
                "sentences": offsets,
            }
        )
        labels += [f"P{patient}-1\t{number}\t{name}" for number, name in enumerate(names)]
    pool = [
        {
            "note_id": f"Q{i}",
            "patient_id": f"Q{i}",
            "note_type": "Note",
            "text": note(f"Q{i}", 7)[0],
        }
        for i in range(8)
    ]
    (folder / "notes.jsonl").write_text("".join(json.dumps(row) + "\n" for row in gold))
    (folder / "labels.tsv").write_text("\n".join(labels) + "\n")
    (folder / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in pool))
    return folder


def overrides(folder: Path) -> list[str]:
    return [
        "corpus.name=ward_notes",
        "corpus.access=restricted",
        "corpus.gold.path=notes.jsonl",
        "corpus.gold.labels=labels.tsv",
        "corpus.gold.annotators=[]",
        "corpus.pool.path=pool.jsonl",
        "task.gold_patients=5",
        "generation.bronze_per_category=4",
        "generation.bronze_none=4",
        "generation.sentences_per_request=4",
        f"paths.data={folder}",
    ]


class Annotator:
    """Answers with labels; every third note badly, quoting the note, so that it ends in
    quarantine."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, body: dict) -> str:
        text = body["messages"][1]["content"]
        if "<sentences>" not in text:
            lines = re.findall(r"^(\d+)\. ", text, re.MULTILINE)
            category = re.search(r"^([a-z_]+) \(", text, re.MULTILINE)
            labels = [category[1]] if category and "something of the category" in text else []
            return json.dumps(
                {
                    "sentences": [
                        {"id": int(n), "text": f"written {n} {random.random()}", "labels": labels}
                        for n in lines
                    ]
                }
            )
        numbered = re.findall(r"^(\d+)\. (.*)$", text.split("<sentences>")[-1], re.MULTILINE)
        if "Q3" in text or hash(numbered[0][1]) % 3 == 0:
            return "I will not label: " + numbered[0][1]  # unusable, and it quotes the note
        return json.dumps(
            {
                "sentences": [
                    {"id": int(n), "labels": [CATEGORIES[int(n) % 3]], "confidence": "high"}
                    for n, _ in numbered
                ]
            }
        )


@pytest.fixture(scope="module")
def written(corpus, tmp_path_factory):
    """A sweep with a quarantined answer, failing cells and debug output; returns (folder, stdout +
    stderr)."""
    folder = tmp_path_factory.mktemp("restricted_run")
    with FakeLLM(answer=Annotator()) as server:
        llm = ["llm=vllm", f"llm.endpoint={server.url}", "llm.model=fake", "llm.timeout_s=20"]
        llm += ["llm.tolerate=1"]  # a third of the notes ends in quarantine
        done = run(
            "-m",
            "mixture=gold,gold_silver,silver,baseline/zero_shot",
            "classifier=tfidf_logreg",
            "prompt=guideline_fewshot",
            *llm,
            *overrides(corpus),
            cwd=folder,
        )
        wrong = completed(
            "mixture=gold",
            "corpus.gold.text_field=nope",
            *llm,
            *overrides(corpus),
            "debug=true",
            cwd=folder,
        )
    refused = completed(
        "mixture=silver", "llm=openai", "llm.api_key_env=null", *overrides(corpus), cwd=folder
    )
    exported = completed("mixture=silver", "llm=batch_file", *overrides(corpus), cwd=folder)
    assert wrong.returncode == 1 and refused.returncode == 1 and exported.returncode == 1
    assert "gold_silver" in done.stdout, done.stderr
    return folder, {"sweep": done, "wrong": wrong, "refused": refused, "exported": exported}


def test_no_canary_is_in_anything_that_was_printed(written):
    _, runs = written
    for name, done in runs.items():
        found = CANARY.findall((done.stdout + done.stderr).encode())
        assert not found, (name, len(found))


def test_no_canary_is_in_any_byte_outside_the_private_stores(written):
    folder, _ = written
    leaking, private = [], 0
    for path in folder.rglob("*"):
        if not path.is_file() or not CANARY.search(path.read_bytes()):
            continue
        if stat.S_IMODE(path.stat().st_mode) == 0o600 and path.is_relative_to(folder / ".cache"):
            private += 1
        else:
            leaking.append(str(path.relative_to(folder)))
    assert not leaking
    assert private, "the search must be able to find canaries where they may be"


@pytest.fixture
def leaked(tmp_path):
    """A function that reads a corpus and returns the message of the error that ends it, after
    looking for canaries in it."""

    def read(read_corpus, said: str) -> str:
        with pytest.raises(UserError, match=said) as caught:
            read_corpus()
        told = explain(caught.value)
        assert not CANARY.search(told.encode()), told
        return told

    return read


SENTENCE = "Kanariebcdfgh was seen with kanariemnprst."


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"labels_field": "text"},
            r'gold.jsonl, line 1: no category "\[text not shown\]". There are: falls, memory',
        ),
        (
            {"doc_field": "long"},
            r'gold.jsonl, line 1: field "long" must be an id, at most 100 characters in one line',
        ),
        ({"patient_field": "lines"}, r'gold.jsonl, line 1: field "lines" must be an id'),
        (
            {"doc_field": "nope"},
            r'no field "nope" \(fields: doc_id, text, labels, long, lines, \[text not shown',
        ),
    ],
)
def test_a_wrong_field_shows_no_text(tmp_path, leaked, changes, said):
    row = {
        "doc_id": "d1",
        "text": SENTENCE,
        "labels": [],
        "long": SENTENCE * 3,
        "lines": SENTENCE.replace(" ", "\n"),
        SENTENCE: 1,
    }
    (tmp_path / "gold.jsonl").write_text(json.dumps(row) + "\n")
    gold = GoldFiles(**{"reader": "sentences_jsonl", "path": "gold.jsonl", **changes})
    assert "gold.jsonl" in leaked(lambda: read_sentences(gold, small_taxonomy(), tmp_path), said)


@pytest.mark.parametrize(
    ("name", "field", "reader"),
    [
        *(
            (name, field, "notes")
            for name in ("notes.csv", "notes.tsv", "notes.csv.gz")
            for field in ("note_id", "text")
        ),
        *((name, "text", "noteevents") for name in ("notes.csv", "notes.csv.gz")),
    ],
)
def test_notes_without_a_header_show_no_text(tmp_path, leaked, name, field, reader):
    content = "\n".join(f"{n}{',' if 'csv' in name else chr(9)}{SENTENCE}" for n in range(3)) + "\n"
    (tmp_path / name).write_bytes(
        gzip.compress(content.encode()) if name.endswith("gz") else content.encode()
    )
    fields = {"id_field": "0" if field == "text" else "note_id"} if reader == "notes" else {}
    pool = PoolFiles(reader=reader, **fields)
    told = leaked(lambda: list(iter_shards(tmp_path / name, pool, 0)), r"\[text not shown\]")
    assert "has the file no header line?" in told and "text_field=Kan" not in told


def test_a_label_file_without_a_header_shows_no_text(tmp_path, leaked):
    (tmp_path / "labels.tsv").write_text(f"n1\t0\t{SENTENCE}\nn1\t1\t{SENTENCE}\n")
    assert "labels.tsv" in leaked(
        lambda: read_labels(tmp_path / "labels.tsv", ["n1/0"], small_taxonomy()),
        "a label file is a TSV with note_id, sentence, labels",
    )
    (tmp_path / "labels.tsv").write_text(f"note_id\tsentence\tlabels\n{SENTENCE}\t0\tnone\n")
    assert "labels.tsv" in leaked(
        lambda: read_labels(tmp_path / "labels.tsv", ["n1/0"], small_taxonomy()),
        r"no note \[text not shown",
    )
    (tmp_path / "labels.tsv").write_text(f"note_id\tsentence\tlabels\nn1\t{SENTENCE}\tnone\n")
    assert "labels.tsv" in leaked(
        lambda: read_labels(tmp_path / "labels.tsv", ["n1/0"], small_taxonomy()),
        r"note n1 has no sentence \[text not shown",
    )


def test_an_id_column_of_text_is_refused_by_the_mimic_reader(tmp_path, leaked):
    (tmp_path / "notes.csv").write_text(
        f'note_id,subject_id,note_type,text\n"{SENTENCE * 3}",1,DS,x\n'
    )
    pool = PoolFiles(reader="mimic_iv_note")
    told = leaked(
        lambda: list(iter_shards(tmp_path / "notes.csv", pool, 0)),
        'the column "note_id" must hold ids',
    )
    assert "notes.csv" in told


def test_private_folders_are_closed_to_others(written):
    folder, _ = written
    for path in [folder / ".cache", *(p for p in (folder / ".cache").rglob("*") if p.is_dir())]:
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


CALL = re.compile(r"^(\d+) +(openat|mkdir|mkdirat|umask|clone3?|fork|vfork)\((.*)\) += (\d+)")


def widest(trace: Path) -> dict[Path, int]:
    """Return path -> mode with which each file and folder was created, from a trace of strace of a
    process in the same folder."""
    umasks: dict[str, int] = {}
    modes: dict[Path, int] = {}
    for line in trace.read_text(errors="replace").splitlines():
        if not (match := CALL.match(line)):
            continue
        process, call, arguments, result = match.groups()
        if call == "umask":
            umasks[process] = int(arguments, 8)
        elif call in ("clone", "clone3", "fork", "vfork"):
            umasks[result] = umasks.get(process, 0)
        elif "mkdir" in call or "O_CREAT" in arguments:
            mode = int(arguments.rpartition(", ")[2], 8) & ~umasks.get(process, 0)
            path = trace.parent / arguments.split('"')[1]
            if path not in modes or "O_EXCL" in arguments:  # else SQLite opens what is there
                modes[path] = modes.get(path, 0) | mode
    return modes


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_no_file_that_can_hold_notes_is_open_to_others_for_a_moment(corpus, tmp_path):
    """Under a umask that closes nothing, from the first call that makes each file or folder."""
    trace = tmp_path / "trace"
    calls = "trace=openat,mkdir,mkdirat,umask,clone,clone3,fork,vfork"
    with FakeLLM(answer=Annotator()) as server:
        llm = ["llm=vllm", f"llm.endpoint={server.url}", "llm.model=fake", "llm.tolerate=1"]
        command = [sys.executable, str(ROOT / "run.py"), "mixture=gold_silver", *llm]
        done = subprocess.run(
            ["strace", "-f", "-qq", "-e", calls, "-o", trace, *command, *overrides(corpus)],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
            capture_output=True,
            text=True,
            preexec_fn=lambda: os.umask(0),
        )
    assert done.returncode == 0, done.stderr
    # a lock is an empty file
    private = {
        path: mode
        for path, mode in widest(trace).items()
        if ".cache" in path.parts and path.suffix != ".lock"
    }
    names = " ".join(path.name for path in private)
    assert "responses.sqlite" in names and KEY_FILE in names and ".parquet" in names
    assert [f"{mode:o} {path}" for path, mode in private.items() if mode & 0o077] == []


def test_digests_and_counts_are_logged_instead(written):
    folder, _ = written
    training = [pd.read_parquet(path) for path in (folder / "mlflow").rglob("training.parquet")]
    assert training and all(
        text.startswith("[withheld ") for frame in training for text in frame["text"]
    )


def test_no_id_and_no_guessed_sentence_is_found_outside_the_private_stores(written, corpus):
    """A reader of store, tables and bundles knows the corpus' ids and may guess its sentences."""
    folder, _ = written
    notes = [json.loads(line) for line in (corpus / "notes.jsonl").read_text().splitlines()]
    sentences = {note["text"][a:b] for note in notes for a, b in note["sentences"]}
    guesses = {hashlib.sha256(sentence.encode()).hexdigest()[:8] for sentence in sentences}
    ids = re.compile(rb"(?<![A-Za-z0-9])[PQ]\d{1,2}-\d|(?<![A-Za-z0-9])[PQ]\d{1,2}/\d")
    lengths = re.compile(rb"\[\d+ characters")
    searched = 0
    for path in folder.rglob("*"):
        if not path.is_file() or path.is_relative_to(folder / ".cache"):
            continue
        content = path.read_bytes()
        if path.suffix == ".parquet":
            content = pd.read_parquet(path).to_csv().encode()
        searched += 1
        assert not ids.search(content) and not lengths.search(content), path
        for digest in guesses:
            assert digest.encode() not in content, path
    assert searched > 30


def test_who_has_the_cache_joins_pseudonyms_back_to_the_corpus(written):
    folder, _ = written
    ours = pseudonyms_of(folder / ".cache")
    assert stat.S_IMODE((folder / ".cache" / KEY_FILE).stat().st_mode) == 0o600
    tables = [pd.read_parquet(path) for path in (folder / "mlflow").rglob("predictions.parquet")]
    patients = set().union(*(table["patient_id"] for table in tables))
    assert patients and patients <= {ours.identifier(f"P{number}") for number in range(14)}


def test_a_remote_llm_and_an_export_without_purpose_are_refused_before_anything_is_sent(written):
    _, runs = written
    assert "restricted" in runs["refused"].stderr and "nothing was sent" in runs["refused"].stderr
    assert "purpose" in runs["exported"].stderr


def test_text_is_logged_only_on_request(corpus, tmp_path):
    done = completed(
        "mixture=gold", "tracking.log_restricted_text=true", *overrides(corpus), cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert any(
        CANARY.search(path.read_bytes()) for path in (tmp_path / "mlflow").rglob("training.parquet")
    )
