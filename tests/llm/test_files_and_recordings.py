"""Requests out and answers in as files, and replay of recordings."""

from __future__ import annotations

import argparse
import json
import stat

import pytest

from touchstone import cli
from touchstone.errors import EstimateOnly, MissingRecording, PendingRequests, UserError
from touchstone.llm import recording, recording_commands
from touchstone.llm.answers import loads
from touchstone.llm.ask import ask
from touchstone.llm.backends import batch_file
from touchstone.llm.protocol import ParseError, Request
from touchstone.llm.store import Store
from touchstone.schema import LLMConfig

SCHEMA = {
    "title": "answer",
    "type": "object",
    "properties": {"n": {"type": "integer"}},
    "required": ["n"],
    "additionalProperties": False,
}


def config(tmp_path, backend="batch_file", **changes):
    settings = {
        "name": backend,
        "backend": backend,
        "model": "claude",
        "endpoint": "file",
        "location": "local",
        "batch_dir": str(tmp_path / "batch"),
    }
    return LLMConfig(**{**settings, **changes})


def request(number, **changes):
    messages = (
        {"role": "system", "content": "Count."},
        {"role": "user", "content": f"How many? {number}"},
    )
    return Request(
        messages, SCHEMA, {"max_tokens": 50, "temperature": None}, **{"stage": "count", **changes}
    )


def parse(request, text):
    value, _ = loads(text)
    if not isinstance(value, dict) or not isinstance(value.get("n"), int):
        raise ParseError('answer {"n": integer}')
    return value["n"]


def answer(path, lines, mode="w"):
    path.parent.mkdir(exist_ok=True, parents=True)
    with open(path, mode) as handle:
        for line in lines:
            handle.write(line if isinstance(line, str) else json.dumps(line) + "\n")


def pending(requests, llm, tmp_path, **settings):
    with pytest.raises(PendingRequests) as caught:
        ask(requests, parse, llm, folder=tmp_path / "llm", **settings)
    return caught.value


def short(request, text, llm):
    return {"custom_id": request.key(llm.endpoint, llm.model), "text": text}


def test_pending_requests_are_written_as_openai_batch_lines(tmp_path):
    llm = config(tmp_path)
    error = pending([request(1), request(2), request(1)], llm, tmp_path)
    assert error.n == 2
    lines = [json.loads(line) for path in error.paths for line in path.read_text().splitlines()]
    assert [line["custom_id"] for line in lines] == [
        request(n).key("file", "claude") for n in (1, 2)
    ]
    assert lines[0]["method"] == "POST" and lines[0]["url"] == "/v1/chat/completions"
    assert lines[0]["body"] == {
        "model": "claude",
        "messages": [dict(message) for message in request(1).messages],
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "answer", "schema": SCHEMA, "strict": True},
        },
        "max_tokens": 50,
    }


def test_answers_in_both_forms_are_collected_in_the_order_of_the_requests(tmp_path):
    llm = config(tmp_path)
    asked = [request(1), request(2), request(1)]
    pending(asked, llm, tmp_path)
    completion = {
        "id": "c",
        "model": "claude-x",
        "choices": [{"message": {"content": '{"n": 22}'}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 3},
    }
    answer(
        tmp_path / "batch/answers.jsonl",
        [
            {
                "custom_id": asked[1].key("file", "claude"),
                "response": {"status_code": 200, "body": completion},
                "error": None,
            },
            short(asked[0], '{"n": 11}', llm),
        ],
    )
    answers = ask(asked, parse, llm, folder=tmp_path / "llm")
    assert answers.values == [11, 22, 11]
    assert answers.usage.requests == answers.usage.sent == 2
    assert (
        answers.usage.prompt_tokens,
        answers.usage.completion_tokens,
        answers.usage.cost_usd,
    ) == (9, 3, None)
    assert answers.usage.served_models == ("claude-x",)
    assert answers.quarantine.empty and list(answers.quarantine.columns) == [
        "stage",
        "key",
        "reason",
        "text",
    ]
    again = ask(asked, parse, llm, folder=tmp_path / "llm")
    assert again.values == answers.values and again.usage.sent == 0 and again.usage.cached == 2
    assert again.usage.recording == answers.usage.recording


def test_partial_answers_are_kept_and_only_the_rest_stays_pending(tmp_path):
    llm = config(tmp_path)
    asked = [request(n) for n in range(4)]
    first = pending(asked, llm, tmp_path)
    answer(
        tmp_path / "batch/answers_a.jsonl", [short(asked[n], f'{{"n": {n}}}', llm) for n in (0, 1)]
    )
    error = pending(asked, llm, tmp_path)
    assert error.n == 2 and error.paths == first.paths, (
        "a request that stands in a file already is not written again"
    )
    answer(
        tmp_path / "batch/answers_b.jsonl", [short(asked[n], f'{{"n": {n}}}', llm) for n in (2, 3)]
    )
    assert ask(asked, parse, llm, folder=tmp_path / "llm").values == [0, 1, 2, 3]
    more = [*asked, request(9)]
    error = pending(more, llm, tmp_path)
    assert (
        error.n == 1
        and not first.paths[0].exists()
        and (tmp_path / "batch/answered" / first.paths[0].name).exists()
    )


def test_an_answer_that_does_not_parse_is_asked_again_with_the_reason_then_quarantined(tmp_path):
    llm = config(tmp_path)
    good, bad = request(1), request(2)
    answer(tmp_path / "batch/answers.jsonl", [short(good, '{"n": 1}', llm), short(bad, "two", llm)])
    error = pending([bad, good], llm, tmp_path)
    line = json.loads(error.paths[0].read_text())
    assert line["body"]["messages"][2] == {"role": "assistant", "content": "two"}
    assert "no JSON" in line["body"]["messages"][3]["content"]
    answer(
        tmp_path / "batch/answers2.jsonl",
        [{"custom_id": line["custom_id"], "text": '{"n": "two"}'}],
    )
    answers = ask([bad, good], parse, llm, folder=tmp_path / "llm")
    assert answers.values == [None, 1]
    assert set(answers.keys) == {
        bad.key("file", "claude"),
        good.key("file", "claude"),
        line["custom_id"],
    }
    assert answers.quarantine.to_dict("records") == [
        {
            "stage": "count",
            "key": line["custom_id"],
            "reason": 'answer {"n": integer}',
            "text": '{"n": "two"}',
        }
    ]


def test_broken_foreign_and_duplicate_lines_are_reported_and_not_used(tmp_path):
    llm = config(tmp_path)
    asked = [request(1), request(2), request(3)]
    failed = {
        "custom_id": asked[2].key("file", "claude"),
        "response": {"status_code": 500, "body": {}},
        "error": {"code": "server_error"},
    }
    lines = [
        short(asked[0], '{"n": 1}', llm),
        short(asked[0], '{"n": 7}', llm),
        short(request(99), '{"n": 99}', llm),
        '{"custom_id": \n',
        failed,
        short(asked[1], '{"n": 2}', llm),
    ]
    answer(tmp_path / "batch/answers.jsonl", lines)
    told = str(pending(asked, llm, tmp_path))
    for part in (
        "line 2: request",
        "answered twice",
        "line 3: foreign",
        "line 4: not JSON",
        "line 5: request",
        "server_error",
    ):
        assert part in told
    answer(tmp_path / "batch/answers.jsonl", [short(asked[2], '{"n": 3}', llm)], "a")
    answers = ask(asked, parse, llm, folder=tmp_path / "llm")
    assert answers.values == [1, 2, 3]
    assert any("foreign" in warning for warning in answers.warnings)
    assert any("answered differently before" in warning for warning in answers.warnings)


def test_files_are_split_by_their_limits(tmp_path):
    llm = config(tmp_path, batch_max_requests=2)
    assert len(pending([request(n) for n in range(5)], llm, tmp_path).paths) == 3
    big = config(tmp_path, batch_dir=str(tmp_path / "big"), batch_max_mb=1)
    long = [request("x" * 600_000 + str(n)) for n in range(3)]
    paths = pending(long, big, tmp_path).paths
    assert len(paths) == 3 and all(path.stat().st_size < 1_000_000 for path in paths)
    with pytest.raises(UserError, match="larger than llm.batch_max_mb=1"):
        ask([request("x" * 1_100_000)], parse, big, folder=tmp_path / "llm")


def test_restricted_requests_are_exported_only_with_a_purpose_and_marked(tmp_path):
    secret = request("CANARY", restricted=True)
    with pytest.raises(UserError, match="purpose") as caught:
        ask([secret], parse, config(tmp_path), folder=tmp_path / "llm", corpus="mimic")
    assert "CANARY" not in str(caught.value) and not (tmp_path / "batch").exists()
    llm = config(tmp_path, purpose="labelled on the approved machine")
    error = pending([secret, request(1)], llm, tmp_path, corpus="mimic")
    (marked,) = [path for path in error.paths if "RESTRICTED" in path.name]
    (plain,) = [path for path in error.paths if "RESTRICTED" not in path.name]
    assert stat.S_IMODE(marked.stat().st_mode) == 0o600
    assert "CANARY" in marked.read_text() and "CANARY" not in plain.read_text()
    note = marked.with_suffix(".txt")
    assert (
        "labelled on the approved machine" in note.read_text()
        and "CANARY" not in note.read_text()
        and "mimic" in note.read_text()
    )


def exported(tmp_path, requests, values):
    """Answer requests by file and export the store as a recording."""
    llm = config(tmp_path)
    answer(
        tmp_path / "batch/answers.jsonl",
        [short(one, f'{{"n": {value}}}', llm) for one, value in zip(requests, values, strict=True)],
    )
    ask(requests, parse, llm, folder=tmp_path / "llm")
    path = tmp_path / "made.jsonl"
    with Store(tmp_path / "llm") as store:
        assert recording.export(store, path) == (len(requests), 0)
    return path


def test_a_recording_made_from_answer_files_replays_under_the_same_keys(tmp_path):
    asked = [request(1), request(2)]
    path = exported(tmp_path, asked, [1, 2])
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert (
        lines[0]["request"]["messages"][1]["content"] == "How many? 1"
        and lines[0]["request"]["stage"] == "count"
    )
    assert lines[0]["response"] == '{"n": 1}' and lines[0]["model"] == "claude" and lines[0]["date"]
    replayed = ask(
        asked, parse, config(tmp_path, "recorded", recording=str(path)), folder=tmp_path / "none"
    )
    assert replayed.values == [1, 2] and replayed.usage.cost_usd == 0 and replayed.usage.sent == 0
    assert not (tmp_path / "none").exists(), "a replay needs no store"
    by_key_only = tmp_path / "keys.jsonl"
    by_key_only.write_text(
        "".join(
            json.dumps({"key": line["key"], "response": line["response"]}) + "\n" for line in lines
        )
    )
    llm = config(tmp_path, "recorded", recording=f"{by_key_only}")
    assert ask(asked, parse, llm, folder=tmp_path / "none").values == [1, 2]


def test_a_recording_miss_names_the_digest_and_two_ways_to_get_it(tmp_path):
    path = exported(tmp_path, [request(1)], [1])
    llm = config(tmp_path, "recorded", recording=str(path))
    with pytest.raises(MissingRecording) as caught:
        ask([request(1), request(2)], parse, llm, folder=tmp_path / "none")
    key = request(2).key("file", "claude")
    assert caught.value.keys == [key] and key[:16] in str(caught.value)
    assert "llm=batch_file" in str(caught.value) and "llm=openai" in str(caught.value)


def test_a_second_question_that_was_not_recorded_goes_to_quarantine(tmp_path):
    path = tmp_path / "r.jsonl"
    lines = [
        {"key": request(n).key("file", "claude"), "response": text}
        for n, text in ((1, '{"n": 1}'), (2, "no"))
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    answers = ask(
        [request(2), request(1)],
        parse,
        config(tmp_path, "recorded", recording=str(path)),
        folder=tmp_path,
    )
    assert answers.values == [None, 1]
    assert (
        answers.quarantine["text"].tolist() == ["no"]
        and "not recorded" in answers.quarantine["reason"][0]
    )


def test_several_recordings_are_read_and_the_first_answer_counts(tmp_path):
    for name, value in (("a", 1), ("b", 2)):
        lines = [
            {"key": request(n).key("file", "claude"), "response": f'{{"n": {value}}}'}
            for n in ("both", name)
        ]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    llm = config(tmp_path, "recorded", recording=f"{tmp_path / 'a.jsonl'},{tmp_path / 'b.jsonl'}")
    assert ask(
        [request("both"), request("a"), request("b")], parse, llm, folder=tmp_path
    ).values == [1, 1, 2]
    with pytest.raises(UserError, match="no such file"):
        ask(
            [request(1)],
            parse,
            config(tmp_path, "recorded", recording="absent.jsonl"),
            folder=tmp_path,
        )


def test_a_malformed_recording_line_is_named_with_its_number(tmp_path):
    path = tmp_path / "r.jsonl"
    path.write_text(json.dumps({"key": "0" * 64, "response": "x"}) + "\n\n{broken\n")
    with pytest.raises(UserError, match="r.jsonl, line 3: not JSON"):
        ask([request(1)], parse, config(tmp_path, "recorded", recording=str(path)), folder=tmp_path)


def test_verify_recomputes_keys_and_finds_conflicts(tmp_path):
    path = exported(tmp_path, [request(1), request(2)], [1, 2])
    assert recording.verify(path) == recording.Verified(2, 2, ())
    first, second = [json.loads(line) for line in path.read_text().splitlines()]
    second["request"]["messages"][1]["content"] += " changed"
    twice = {**first, "response": "other"}
    path.write_text("".join(json.dumps(line) + "\n" for line in (first, second, twice)))
    problems = recording.verify(path).problems
    assert (
        len(problems) == 2
        and "line 2: the key is not that of the request" in problems[0]
        and "line 3" in problems[1]
    )


def test_import_fills_a_store_and_keeps_what_is_there(tmp_path):
    path = exported(tmp_path, [request(1), request(2)], [1, 2])
    with Store(tmp_path / "other") as store:
        assert recording.import_(store, path) == (2, 0)
        assert recording.import_(store, path) == (0, 0)
        changed = tmp_path / "changed.jsonl"
        changed.write_text(path.read_text().replace('{\\"n\\": 1}', '{\\"n\\": 5}'))
        assert recording.import_(store, changed) == (0, 1)
        second = tmp_path / "again.jsonl"
        recording.export(store, second)
    assert second.read_text() == path.read_text()
    assert ask([request(1)], parse, config(tmp_path), folder=tmp_path / "other").usage.cached == 1


def test_the_shipped_recordings_are_sound():
    for path in recording.shipped():
        assert recording.verify(path).problems == ()


def test_estimate_only_says_what_is_missing_and_writes_nothing(tmp_path):
    llm = config(tmp_path, estimate_only=True)
    with pytest.raises(EstimateOnly) as caught:
        ask([request(1), request(2)], parse, llm, folder=tmp_path / "llm")
    (row,) = caught.value.estimate
    assert (row.stage, row.requests, row.calls, row.completion_tokens, row.cost_usd) == (
        "count",
        2,
        2,
        100,
        None,
    )
    assert not (tmp_path / "batch").exists()


def run_cli(*arguments):
    parser = argparse.ArgumentParser()
    recording_commands.add_cli(parser.add_subparsers(required=True))
    parsed = parser.parse_args(["recording", *map(str, arguments)])
    return parsed.run(parsed)


def test_the_command_moves_answers_out_and_in_and_checks_them(tmp_path, capsys):
    llm = config(tmp_path)
    asked = [request(1), request(2), request(3, restricted=True)]
    llm.purpose = "a test"
    answer(tmp_path / "batch/answers.jsonl", [short(one, '{"n": 1}', llm) for one in asked])
    ask(asked, parse, llm, folder=tmp_path / "cache/llm")
    cache = ("--cache", tmp_path / "cache")
    assert run_cli("export", tmp_path / "out.jsonl", *cache) == 0
    told = capsys.readouterr().out
    assert "2 answers written" in told and "1 answers about restricted text left out" in told
    assert (
        run_cli(
            "export",
            tmp_path / "all.jsonl",
            "--restricted",
            "--without-requests",
            "--stage",
            "count",
            *cache,
        )
        == 0
    )
    lines = [json.loads(line) for line in (tmp_path / "all.jsonl").read_text().splitlines()]
    assert (
        len(lines) == 3
        and all("request" not in line for line in lines)
        and [line.get("restricted") for line in lines] == [None, None, True]
    )
    assert stat.S_IMODE((tmp_path / "all.jsonl").stat().st_mode) == 0o600
    assert run_cli("verify", tmp_path / "out.jsonl") == 0
    assert "2 answers, 2 keys recomputed, 0 problems" in capsys.readouterr().out
    assert run_cli("import", tmp_path / "out.jsonl", "--cache", tmp_path / "new") == 0
    assert "2 answers added" in capsys.readouterr().out
    (tmp_path / "out.jsonl").write_text('{"key": "abc", "response": "x"}\n{"key": 1}\n[]\n')
    assert run_cli("verify", tmp_path / "out.jsonl") == 1
    told = capsys.readouterr().out
    assert "line 1" in told and "line 2" in told and "line 3" in told
    assert run_cli("verify") == 0, "the shipped recordings"


def test_a_folder_of_recordings_is_read_whole_and_an_unreadable_one_is_told(tmp_path):
    (tmp_path / "many").mkdir()
    for n in (1, 2):
        (tmp_path / "many" / f"{n}.jsonl").write_text(
            json.dumps({"key": request(n).key("file", "claude"), "response": f'{{"n": {n}}}'})
            + "\n"
        )
    assert ask(
        [request(1), request(2)],
        parse,
        config(tmp_path, "recorded", recording=str(tmp_path / "many")),
        folder=tmp_path,
    ).values == [
        1,
        2,
    ]
    (tmp_path / "latin.jsonl").write_bytes(b'{"key": "\xe9"}')
    with pytest.raises(UserError, match="not UTF-8"):
        recording.verify(tmp_path / "latin.jsonl")
    with pytest.raises(UserError, match="cannot read the recording"):
        recording.verify(tmp_path / "absent.jsonl")


def test_the_same_request_asked_for_two_purposes_is_read_with_each_ones_context(tmp_path):
    """Two bronze sentences may be the same text: one request, one answer, two example ids."""
    llm = config(tmp_path)
    one, other = request(1, context={"id": "a"}), request(1, context={"id": "b"})
    answer(tmp_path / "batch/answers.jsonl", [short(one, '{"n": 1}', llm)])
    answers = ask(
        [one, other],
        lambda request, text: (request.context["id"], text),
        llm,
        folder=tmp_path / "llm",
    )
    assert answers.values == [("a", '{"n": 1}'), ("b", '{"n": 1}')] and answers.usage.requests == 1


def test_an_unknown_backend_lists_those_there_are(tmp_path):
    with pytest.raises(UserError, match='no backend "opnai". Did you mean openai'):
        ask([request(1)], parse, config(tmp_path, "opnai"), folder=tmp_path)


def test_a_batch_folder_that_cannot_be_written_is_one_clear_line(tmp_path):
    (tmp_path / "batch").write_text("a file")
    with pytest.raises(UserError, match="cannot write to llm.batch_dir"):
        ask([request(1)], parse, config(tmp_path), folder=tmp_path / "llm")


def told_by_the_command(capsys, *arguments):
    """Return the one line in which `touchstone recording` tells a mistake."""
    assert cli.main(["recording", *map(str, arguments)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    return line


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (
            ("--stage", "cuont"),
            'no stage "cuont". Did you mean count? There are: count; models: claude',
        ),
        (("--model", "other"), 'stages: count; no model "other". There are: claude'),
        (
            ("--stage", "count"),
            "1 answers about restricted text left out; --restricted writes them too",
        ),
    ],
)
def test_an_export_of_nothing_leaves_the_file_and_says_what_there_is(
    tmp_path, capsys, wanted, said
):
    secret = request(1, restricted=True)
    llm = config(tmp_path, purpose="a test")
    answer(tmp_path / "batch/answers.jsonl", [short(secret, '{"n": 1}', llm)])
    ask([secret], parse, llm, folder=tmp_path / "cache/llm")
    keep = tmp_path / "keep.jsonl"
    keep.write_text("as it was\n")
    assert told_by_the_command(
        capsys, "export", keep, "--cache", tmp_path / "cache", *wanted
    ).endswith(f"nothing written to {keep}: {said}")
    assert keep.read_text() == "as it was\n" and not list(tmp_path.glob("*.part"))


def test_an_export_makes_no_store_and_says_where_it_cannot_write(tmp_path, capsys):
    assert "no response store in" in told_by_the_command(
        capsys, "export", tmp_path / "out.jsonl", "--cache", tmp_path / "nowhere"
    )
    assert not list(tmp_path.iterdir())
    with Store(tmp_path / "empty/llm"):
        pass
    assert "has no answers yet" in told_by_the_command(
        capsys, "export", tmp_path / "out.jsonl", "--cache", tmp_path / "empty"
    )
    path = exported(tmp_path, [request(1)], [1])
    assert run_cli("import", path, "--cache", tmp_path / "cache") == 0
    capsys.readouterr()
    said = told_by_the_command(
        capsys, "export", path / "below.jsonl", "--cache", tmp_path / "cache"
    )
    assert f"cannot write the recording {path / 'below.jsonl'}: " in said


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("usage", "x", '"usage" must be an object'),
        ("date", 7, '"date" must be text'),
        ("finish_reason", ["stop"], '"finish_reason" must be text'),
        ("endpoint", {}, '"endpoint" must be text'),
        ("request", {"stage": 3}, '"stage" must be text'),
        ("request", "who?", '"request" must be an object'),
        ("request", {"messages": [], "params": []}, "the key is not that of the request"),
    ],
)
def test_a_recorded_field_of_another_type_is_named_with_its_line(tmp_path, name, value, said):
    path = exported(tmp_path, [request(1), request(2)], [1, 2])
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[1][name] = value
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    (problem,) = recording.verify(path).problems
    assert problem.startswith("line 2: ") and said in problem
    with Store(tmp_path / "other") as store:
        with pytest.raises(UserError, match="made.jsonl, line 2: ") as raised:
            recording.import_(store, path)
        assert said in str(raised.value) and len(store) == 0


def test_import_takes_no_request_that_is_not_that_of_its_key_and_null_is_absent(tmp_path):
    path = exported(tmp_path, [request(1), request(2)], [1, 2])
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    nothing = {"usage": None, "fingerprint": None, "served_model": None}
    path.write_text("".join(json.dumps({**line, **nothing}) + "\n" for line in lines))
    with Store(tmp_path / "other") as store:
        assert recording.import_(store, path) == (2, 0)
    lines[1]["request"]["messages"][1]["content"] = "something else"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with Store(tmp_path / "third") as store:
        with pytest.raises(
            UserError,
            match="line 2: the key is not that of the request .* nothing of this file was imported",
        ):
            recording.import_(store, path)
        assert len(store) == 0
        path.write_text("".join(json.dumps({**line, "request": None}) + "\n" for line in lines))
        assert recording.import_(store, path) == (2, 0), (
            "a request that is left out cannot be checked"
        )


def test_each_request_file_is_read_whole_once_however_many_parts_ask(tmp_path, monkeypatch):
    """A pool of a million sentences comes in parts, each of which looks for its requests."""
    lines = 0
    read = batch_file._lines

    def counting(path):
        nonlocal lines
        for line in read(path):
            lines += 1
            yield line

    monkeypatch.setattr(batch_file, "_lines", counting)
    parts, size = 12, 20
    with Store(tmp_path / "store") as store:
        for part in range(parts):
            asked = [request(n) for n in range(part * size, (part + 1) * size)]
            pending = {one.key("file", "claude"): one for one in asked}
            paths = batch_file.export(tmp_path / "batch", pending, "claude", store)
            assert len(paths) == 1
            assert batch_file.export(tmp_path / "batch", pending, "claude", store) == paths
    # once whole, and the first line at each look whether the file is answered
    assert lines <= parts * size + 2 * parts * parts
