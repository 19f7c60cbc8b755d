import json
import multiprocessing
import stat
import time

import pandas as pd
import pytest

import touchstone.cache
from touchstone import cli
from touchstone.cache import MARKER, cached, entries, prune, verify
from touchstone.data.examples import examples, read_parquet
from touchstone.errors import UserError
from touchstone.llm.store import Store


def store(value, folder):
    (folder / "value.json").write_text(json.dumps(value))


def load(folder):
    return json.loads((folder / "value.json").read_text())


def get(folder, key, compute=lambda: 1, version=1):
    return cached(folder, "stage", key, version, compute, store, load)


def test_a_result_is_computed_once_and_then_reused(tmp_path):
    calls = []
    for expected in (False, True):
        assert get(tmp_path, {"a": 1}, lambda: calls.append(1) or 5) == (5, expected)
    assert len(calls) == 1


@pytest.mark.parametrize("change", [{"key": {"a": 2}}, {"version": 2}])
def test_another_key_or_version_never_hits(tmp_path, change):
    get(tmp_path, {"a": 1})
    assert get(tmp_path, **{"key": {"a": 1}, "compute": lambda: 9, **change}) == (9, False)


def test_nothing_is_stored_when_the_computation_fails(tmp_path):
    with pytest.raises(ZeroDivisionError):
        get(tmp_path, {"a": 1}, lambda: 1 / 0)
    assert list(entries(tmp_path)) == [] and get(tmp_path, {"a": 1}) == (1, False)


def test_a_result_that_must_not_be_kept_is_computed_again(tmp_path):
    for value in (1, 2):
        assert cached(
            tmp_path, "stage", {}, 1, lambda value=value: value, store, load, keep=lambda _: False
        ) == (value, False)
    assert list(entries(tmp_path)) == []


def test_a_folder_without_its_marker_is_no_result(tmp_path):
    get(tmp_path, {"a": 1})
    next(tmp_path.rglob(MARKER)).unlink()
    assert get(tmp_path, {"a": 1}, lambda: 2) == (2, False)


def test_files_are_for_the_owner_only(tmp_path):
    get(tmp_path / "cache", {"a": 1})
    modes = {
        path.name: stat.S_IMODE(path.stat().st_mode)
        for path in (tmp_path / "cache").rglob("*")
        if not path.name.endswith(".lock")
    }
    assert modes["value.json"] == modes[MARKER] == 0o600 and modes["stage"] == 0o700


def test_a_cache_or_store_that_was_opened_to_others_is_closed_again_and_that_is_told(
    tmp_path, caplog
):
    cache = tmp_path / "cache"
    get(cache, {"a": 1})
    with Store(cache / "llm"):
        pass
    for path in (cache, cache / "llm", cache / "llm" / "responses.sqlite"):
        path.chmod(0o777)
    get(cache, {"a": 2})
    assert f"the cache {cache} was open to others; it is 0700 again" in caplog.text
    with Store(cache / "llm"):
        pass
    assert "was open to others; it is 0600 again" in caplog.text
    for path in (cache, cache / "llm", cache / "llm" / "responses.sqlite"):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0


def slow(folder, results):
    def compute():
        time.sleep(0.5)
        with open(folder / "calls", "a") as handle:
            handle.write("x")
        return 3

    results.put(get(folder, {"a": 1}, compute))


def test_processes_that_need_the_same_result_compute_it_once(tmp_path):
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    workers = [context.Process(target=slow, args=(tmp_path, results)) for _ in range(4)]
    for worker in workers:
        worker.start()
    found = [results.get(timeout=30) for _ in workers]
    for worker in workers:
        worker.join()
    assert [value for value, _ in found] == [3] * 4 and sum(not reused for _, reused in found) == 1
    assert (tmp_path / "calls").read_text() == "x"


def test_verify_finds_what_was_changed_and_prune_removes_it(tmp_path):
    get(tmp_path, {"a": 1})
    assert verify(tmp_path) == []
    next(tmp_path.rglob("value.json")).write_text("7")
    assert [fault for _, fault in verify(tmp_path)] == ["value.json has changed"]
    next(tmp_path.rglob("value.json")).unlink()
    assert [fault for _, fault in verify(tmp_path)] == ["value.json is gone"]
    assert (
        prune(tmp_path, older_than_days=1) == 0
        and prune(tmp_path, stage="other") == 0
        and prune(tmp_path) == 1
    )
    assert list(entries(tmp_path)) == []


@pytest.mark.parametrize("bit", range(8))
def test_one_flipped_bit_is_noticed_and_the_result_computed_again(tmp_path, caplog, bit):
    """A flip that still loads: a digit becomes another digit or sign, never the stored value."""
    get(tmp_path, {"a": 1}, lambda: 52)
    _forget()
    file = next(tmp_path.rglob("value.json"))
    file.write_bytes(bytes([file.read_bytes()[0] ^ (1 << bit)]) + file.read_bytes()[1:])
    assert get(tmp_path, {"a": 1}, lambda: 52) == (52, False)
    assert "value.json has changed; computing it again" in caplog.text
    _forget()
    assert get(tmp_path, {"a": 1}, lambda: 0) == (52, True)


def test_a_flipped_bit_in_cached_gold_changes_no_label(tmp_path):
    """Three flipped bits in the plain pages of a Parquet file went into the scores unsaid."""
    frame = examples(
        {
            "example_id": f"e{n}",
            "text": f"sentence {n}",
            "source": "gold",
            "doc_id": "d",
            "patient_id": "p",
            "split": "train",
            "origin": "o",
            "labels": ["a"],
        }
        for n in range(50)
    )

    def gold():
        return cached(tmp_path, "gold", {}, 1, lambda: frame, _write_frame, _read_frame)[0]

    before = gold()
    file = next(tmp_path.rglob("gold.parquet"))
    whole = file.read_bytes()
    for place in (whole.index(b"sentence 7"), len(whole) // 2, len(whole) - 20):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        _forget()
        pd.testing.assert_frame_equal(gold(), before)
        whole = file.read_bytes()


def test_a_result_of_a_newer_format_is_one_clear_line_and_stays(tmp_path):
    get(tmp_path, {"a": 1})
    _forget()
    marker = next(tmp_path.rglob(MARKER))
    described = json.loads(marker.read_text())
    marker.write_text(json.dumps({**described, "format": 2}))
    with pytest.raises(UserError, match="format 2, written by a newer touchstone; .* format 1"):
        get(tmp_path, {"a": 1})
    marker.write_text(json.dumps({k: v for k, v in described.items() if k != "format"}))
    assert get(tmp_path, {"a": 1}) == (1, True)  # as before results carried a format


@pytest.mark.parametrize("text", ["", "[]", '{"files": 3}', "[" * 100_000, '{"files": {"x": 1}}'])
def test_a_description_that_cannot_be_read_is_computed_again(tmp_path, text):
    get(tmp_path, {"a": 1})
    _forget()
    next(tmp_path.rglob(MARKER)).write_text(text)
    assert get(tmp_path, {"a": 1}, lambda: 2) == (2, False)


def _forget():
    """As a new process would be: nothing is remembered."""
    touchstone.cache._remembered.clear()


def _write_frame(frame, folder):
    frame.to_parquet(folder / "gold.parquet", compression=None)


def _read_frame(folder):
    return read_parquet(folder / "gold.parquet")


def test_an_unwritable_cache_is_one_clear_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="paths.cache"):
        get(tmp_path / "file", {"a": 1})


def command(capsys, *arguments):
    """Return exit status, output and errors of `touchstone cache`."""
    status = cli.main(["cache", *map(str, arguments)])
    return status, *capsys.readouterr()


@pytest.mark.parametrize("days", ["-5", "nan", "inf"])
def test_an_age_that_is_no_number_of_days_removes_nothing(tmp_path, capsys, days):
    get(tmp_path, {"a": 1})
    status, _, told = command(capsys, "prune", "--folder", tmp_path, "--older-than", days)
    assert (
        status == 1
        and told
        == f"error: --older-than {days}: must be a number of days, at least 0; nothing was removed\n"  # noqa: E501
    )
    assert len(list(entries(tmp_path))) == 1


@pytest.mark.parametrize("action", ["list", "prune", "verify"])
def test_every_action_tells_a_folder_or_stage_that_is_not_there(tmp_path, capsys, action):
    nowhere = tmp_path / "nowhere"
    assert command(capsys, action, "--folder", nowhere) == (
        1,
        "",
        f"error: no cache in {nowhere}; name paths.cache of the runs: --folder FOLDER\n",
    )
    assert "has no results" in command(capsys, action, "--folder", tmp_path, "--stage", "stage")[2]
    get(tmp_path, {"a": 1})
    assert command(capsys, action, "--folder", tmp_path, "--stage", "stgae") == (
        1,
        "",
        'error: --stage: no stage "stgae". Did you mean stage? There are: stage\n',
    )
    assert len(list(entries(tmp_path))) == 1


def test_every_action_is_about_the_stage_that_is_named(tmp_path, capsys):
    get(tmp_path, {"a": 1})
    cached(tmp_path, "other", {}, 1, lambda: 2, store, load)
    next((tmp_path / "other").rglob("value.json")).write_text("7")
    status, listed, _ = command(capsys, "list", "--folder", tmp_path, "--stage", "stage")
    assert status == 0 and [line.split()[0] for line in listed.splitlines()] == ["stage"]
    assert command(capsys, "verify", "--folder", tmp_path, "--stage", "stage")[:2] == (
        0,
        "0 damaged of 1 results\n",
    )
    assert command(capsys, "verify", "--folder", tmp_path)[0] == 1
    assert command(capsys, "prune", "--folder", tmp_path, "--stage", "other", "--older-than", "0")[
        :2
    ] == (0, "removed 1 results\n")
    assert [entry.stage for entry in entries(tmp_path)] == ["stage"]
