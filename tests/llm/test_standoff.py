"""Stand-off recordings: what an LLM said about sentences, without the sentences."""

from __future__ import annotations

import json
import re

import pandas as pd
import pytest
from grid import DATA
from hypothesis import given, settings
from hypothesis import strategies as st
from report_store import composed

from touchstone import cli
from touchstone.configuration import checked
from touchstone.errors import MissingRecording, UserError
from touchstone.generate.data_to_label import entities, sentences
from touchstone.llm import recording, standoff
from touchstone.llm.ask import ask
from touchstone.llm.marks import write_marks
from touchstone.llm.protocol import Request, Response
from touchstone.llm.store import Store
from touchstone.pipeline import run_cell
from touchstone.schema import LLMConfig

needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"no public corpora in {DATA}")
CATEGORIES = ("memory", "mood")
TEXTS = (
    "Forgets the names of her three grandchildren.",
    "Mood low since the move in March.",
    "Walks to the shop alone every day.",
)


class Taxonomy:
    ids = CATEGORIES

    def ordered(self, labels):
        return [name for name in self.ids if name in set(labels)]


def llm_of(path):
    return LLMConfig(
        name="recorded",
        backend="recorded",
        model="m",
        endpoint="file",
        location="local",
        recording=str(path),
    )


def request(texts, *, marks=False, restricted=False, again=()):
    lines = "\n".join(f"{number}. {text}" for number, text in enumerate(texts, start=1))
    asked = {number: f"doc/{number}" for number in range(1, len(texts) + 1)}
    content = f"Label.\n\n<sentences>\n(context) Before it all.\n{lines}\n</sentences>\n\nAnswer."
    schema = entities.schema() if marks else sentences.schema(Taxonomy())
    context = {"example_ids": asked} | ({"texts": dict(enumerate(texts, start=1))} if marks else {})
    messages = ({"role": "user", "content": content}, *again)
    return Request(messages, schema, stage="silver", restricted=restricted, context=context)


def labels_answer(labels):
    entries = [
        {"id": number, "labels": list(names), "confidence": "high"}
        for number, names in enumerate(labels, start=1)
    ]
    return json.dumps({"sentences": entries})


def stored(folder, *pairs):
    store = Store(folder)
    for asked, text in pairs:
        key = asked.key("file", "m")
        response = Response(key, text, model="m", created="2026-11-28T08:00:00Z")
        store.put(
            response,
            endpoint="file",
            model="m",
            request=asked,
            stage=asked.stage,
            restricted=asked.restricted,
        )
    return store


def exported(tmp_path, *pairs, **how):
    path = tmp_path / "out.jsonl"
    with stored(tmp_path / "store", *pairs) as store:
        recording.export_stand_off(store, path, **how)
    return path


def parse_labels(asked, text):
    return sentences.parse(asked, text, Taxonomy())


def parse_marks(asked, text):
    return entities.parse(asked, text, Taxonomy())


def replayed(path, asked, parse):
    return ask([asked], parse, llm_of(path), folder=path.parent / "none")


def test_labels_come_back_and_no_word_of_the_sentences_is_in_the_file(tmp_path):
    asked, answer = request(TEXTS), labels_answer([["memory"], ["mood"], []])
    path = exported(tmp_path, (asked, answer))
    assert not any(text in path.read_text() for text in TEXTS)
    answers = replayed(path, asked, parse_labels)
    assert answers.values == [parse_labels(asked, answer)]
    assert answers.responses[0].text == answer
    assert recording.verify(path) == recording.Verified(1, 0, ())


words = st.text(st.characters(blacklist_categories=("Cs", "Cc", "Zl", "Zp")), min_size=1)
texts = st.lists(words.map(str.strip).filter(bool), min_size=1, max_size=4)


@given(texts, st.data())
@settings(deadline=None, max_examples=60)
def test_marks_come_back_over_the_readers_own_copy(tmp_path_factory, given_texts, data):
    spans = []
    for text in given_texts:
        cut = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=4)))
        pairs = [(a, b) for a, b in zip(cut[::2], cut[1::2], strict=False)]
        kinds = [
            {"start": a, "end": b, "type": data.draw(st.sampled_from(CATEGORIES))}
            for a, b in pairs
            if text[a:b].strip()
        ]
        spans.append(kinds)
    asked = request(given_texts, marks=True)
    entries = [
        {"id": number, "text": write_marks(text, marked), "confidence": "low"}
        for number, (text, marked) in enumerate(zip(given_texts, spans, strict=True), start=1)
    ]
    answer = json.dumps({"sentences": entries}, ensure_ascii=False)
    path = exported(tmp_path_factory.mktemp("marks"), (asked, answer))
    assert replayed(path, asked, parse_marks).values == [parse_marks(asked, answer)]


def test_another_copy_of_the_text_is_refused_with_file_line_and_sentence(tmp_path):
    path = exported(tmp_path, (request(TEXTS), labels_answer([[], [], []])))
    other = request([TEXTS[0], "Mood low since the move in April.", TEXTS[2]])
    with pytest.raises(MissingRecording, match=r"out\.jsonl, line 1: sentence 2 differs"):
        replayed(path, other, parse_labels)


def test_a_question_about_quite_other_text_is_not_compared_with_it(tmp_path):
    path = exported(tmp_path, (request(TEXTS), labels_answer([[], [], []])))
    with pytest.raises(MissingRecording) as caught:
        replayed(path, request(["A.", "B.", "C."]), parse_labels)
    assert "differs" not in str(caught.value)


def test_an_answer_that_was_asked_again_stands_as_the_second_one(tmp_path):
    first, told = "Sorry, " + TEXTS[0], "the answer holds no JSON"
    again = ({"role": "assistant", "content": first}, {"role": "user", "content": told})
    asked, second = request(TEXTS), request(TEXTS, again=again)
    answer = labels_answer([["memory"], [], []])
    path = exported(tmp_path, (asked, first), (second, answer))
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines[0]["stand_off"] == {"refused": told, "again": second.key("file", "m")}
    assert replayed(path, asked, parse_labels).values == [parse_labels(asked, answer)]


def test_an_answer_that_never_parsed_is_its_reason_only(tmp_path):
    path = exported(tmp_path, (request(TEXTS), TEXTS[0]))
    assert TEXTS[0] not in path.read_text()
    answers = replayed(path, request(TEXTS), parse_labels)
    assert answers.values == [None]
    assert answers.quarantine["reason"].tolist() == [
        "the answer holds no JSON; answer with one JSON object and nothing else"
    ]


def test_a_reason_keeps_no_longer_quotation():
    assert standoff.reason("id 1: 'low mood since March' is no category; 'mood' is") == (
        "id 1: '...' is no category; 'mood' is"
    )


def test_labels_of_restricted_text_need_a_purpose_and_are_private(tmp_path, capsys):
    asked = request(TEXTS, restricted=True)
    stored(tmp_path / "cache" / "llm", (asked, labels_answer([[], [], []]))).close()
    out = tmp_path / "out.jsonl"
    command = ["recording", "export", str(out), "--stand-off", "--cache", str(tmp_path / "cache")]
    assert cli.main(command) == 1
    assert "1 answers about restricted text left out" in capsys.readouterr().err
    assert cli.main([*command, "--restricted"]) == 1
    assert "--purpose" in capsys.readouterr().err
    assert cli.main([*command, "--restricted", "--purpose", "share with partners"]) == 0
    assert out.stat().st_mode & 0o777 == 0o600
    assert "share with partners" in out.with_suffix(".txt").read_text()
    (line,) = map(json.loads, out.read_text().splitlines())
    digests = [row["digest"] for row in line["stand_off"]["sentences"]]
    assert {len(digest) for digest in digests} == {standoff.RESTRICTED_DIGITS}


def test_what_a_model_wrote_by_itself_is_left_out_and_counted(tmp_path, capsys):
    written = Request(({"role": "user", "content": "Write."},), {"title": "written"}, stage="b")
    stored(tmp_path / "llm", (written, "{}"), (request(TEXTS), labels_answer([[]]))).close()
    command = ["recording", "export", str(tmp_path / "o.jsonl"), "--stand-off"]
    assert cli.main([*command, "--cache", str(tmp_path)]) == 0
    assert "1 answers left out: not about numbered sentences" in capsys.readouterr().out


def test_a_stand_off_recording_is_replayed_and_not_imported(tmp_path):
    path = exported(tmp_path, (request(TEXTS), labels_answer([[], [], []])))
    with Store(tmp_path / "other") as store, pytest.raises(UserError, match="llm=recorded"):
        recording.import_(store, path)


def test_verify_names_a_line_whose_shape_is_wrong(tmp_path):
    path = exported(tmp_path, (request(TEXTS), labels_answer([[], [], []])))
    path.write_text(path.read_text().replace('"confidence": "high"', '"confidence": "sure"'))
    assert "line 1" in recording.verify(path).problems[0]


HEADLINES = (  # as measured with the recordings in full
    ("task=ncbi_disease", "task.llm_test_sentences=null", 940, 0.870),
    ("task=bc5cdr_disease", "task.llm_test_sentences=300", 300, 0.841),
)


@needs_data
@pytest.mark.parametrize(("task", "sample", "n", "f1"), HEADLINES)
def test_the_shipped_answers_replay_to_the_scores_that_were_measured(tmp_path, task, sample, n, f1):
    where = [f"paths.data={DATA}", f"paths.cache={tmp_path}"]
    config = checked(composed("mixture=baseline/zero_shot", task, sample, *where))
    cell = run_cell(config)
    assert round(cell.metrics["f1"], 3) == f1
    assert len(cell.predictions) == n


@needs_data
def test_the_shipped_files_hold_no_four_words_of_the_corpus():
    frame = pd.read_csv(
        DATA / "ncbi_disease" / "test.tsv", sep="\t", header=None, quoting=3, dtype=str
    )
    tokens = [word.casefold() for word in frame[0].dropna()]
    there = {tuple(tokens[start : start + 4]) for start in range(len(tokens) - 3)}
    (path,) = [
        path for path in recording.shipped() if path.stem == "ncbi_disease_guideline_zero_shot"
    ]
    values = re.findall(r"[^\s\"\[\]{},:]+", path.read_text().casefold())
    assert not there & {tuple(values[start : start + 4]) for start in range(len(values) - 3)}
