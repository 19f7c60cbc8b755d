"""The response store: versions, damage, what replaces what, and claims whose clocks do not
agree."""

from __future__ import annotations

import json
import shutil
import sqlite3
import stat

import pytest

from touchstone.errors import UserError
from touchstone.llm import leases
from touchstone.llm.protocol import Request, Response
from touchstone.llm.store import Store
from touchstone.llm.store_schema import VERSION

KEY = "ab" * 32
OLD = """
CREATE TABLE responses (key BLOB PRIMARY KEY, text TEXT NOT NULL, finish_reason TEXT NOT NULL,
    model TEXT NOT NULL, usage TEXT NOT NULL, latency_s REAL, tries INTEGER NOT NULL,
    created TEXT NOT NULL, endpoint TEXT NOT NULL, asked_model TEXT NOT NULL, stage TEXT NOT NULL,
    restricted INTEGER NOT NULL, request BLOB);
CREATE TABLE spend (endpoint TEXT, model TEXT, batch INTEGER, requests INTEGER,
    prompt_tokens INTEGER, cached_tokens INTEGER, completion_tokens INTEGER,
    estimated_tokens INTEGER, PRIMARY KEY (endpoint, model, batch));
INSERT INTO spend VALUES ('http://E/v1/', 'm', 0, 1, 10, 0, 5, 10);
INSERT INTO spend VALUES ('http://e/v1', 'm', 0, 2, 20, 0, 5, 20);
"""


def row(key, text, finish="stop"):
    return (
        bytes.fromhex(key),
        text,
        finish,
        "m",
        "{}",
        None,
        1,
        "",
        "http://E/v1/",
        "m",
        "s",
        0,
        None,
    )


def old_store(folder):
    """A store as a version without numbers, and without fingerprints, wrote it."""
    folder.mkdir(parents=True)
    with sqlite3.connect(folder / "responses.sqlite") as db:
        db.executescript(OLD)
        marks = ",".join("?" * 13)
        db.execute(f"INSERT INTO responses VALUES ({marks})", row(KEY, "kept"))
        db.execute(f"INSERT INTO responses VALUES ({marks})", row("cd" * 32, "", "error"))
        db.execute(f"INSERT INTO responses VALUES ({marks})", row("ef" * 32, "", "tool_calls"))
    db.close()


def test_an_older_store_is_brought_forward_and_a_copy_kept(tmp_path):
    old_store(tmp_path / "llm")
    with Store(tmp_path / "llm") as store:
        assert store.get([KEY])[KEY].text == "kept" and store.get([KEY])[KEY].fingerprint == ""
        assert len(store) == 1, "errors that came with status 200 are not kept"
        (spent,) = store.spent("http://e/v1", "m")
        assert spent["requests"] == 3 and spent["prompt_tokens"] == 30
        assert store.put(Response("12" * 32, "new"), endpoint="e", model="m", request=None)
    copy = tmp_path / "llm" / "responses-version-1.sqlite"
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    with sqlite3.connect(copy) as db:
        assert db.execute("SELECT count(*) FROM responses").fetchone()[0] == 3
    with Store(tmp_path / "llm") as store:
        assert len(store) == 2


def test_a_newer_store_is_refused_before_anything_is_sent(tmp_path):
    Store(tmp_path).close()
    with sqlite3.connect(tmp_path / "responses.sqlite") as db:
        db.execute(f"PRAGMA user_version = {VERSION + 1}")
    before = (tmp_path / "responses.sqlite").read_bytes()
    with pytest.raises(UserError, match=f"version {VERSION + 1}.*Nothing was sent"):
        Store(tmp_path)
    assert (tmp_path / "responses.sqlite").read_bytes() == before


def test_a_damaged_byte_is_asked_again_and_never_quoted(tmp_path, caplog):
    with Store(tmp_path) as store:
        store.put(Response(KEY, "Mrs Elm forgets names"), endpoint="e", model="m", request=None)
        store.db.execute(
            "UPDATE responses SET text = CAST(x'4d7273ff20456c6d' AS TEXT) WHERE key = ?",
            (bytes.fromhex(KEY),),
        )
        assert store.get([KEY]) == {} and len(store) == 0
    assert "damaged" in caplog.text and "Elm" not in caplog.text


def test_a_usage_that_is_no_json_is_damage_too(tmp_path):
    with Store(tmp_path) as store:
        store.put(Response(KEY, "x"), endpoint="e", model="m", request=None)
        store.db.execute("UPDATE responses SET usage = '{'")
        assert store.get([KEY]) == {}


def test_an_answer_is_replaced_only_where_that_is_asked_for(tmp_path):
    where = {"endpoint": "e", "model": "m", "request": Request(())}
    with Store(tmp_path) as store:
        assert store.put(Response(KEY, "refused"), **where)
        assert not store.put(Response(KEY, "other"), **where)
        assert store.get([KEY])[KEY].text == "refused"
        assert store.put(Response(KEY, "right"), **where, replace=True)
        assert store.get([KEY])[KEY].text == "right"


@pytest.fixture
def clock(monkeypatch):
    """Both clocks of this machine, in the test's hand."""
    times = {"wall": 1_000_000.0, "steady": 100.0}
    monkeypatch.setattr(leases.time, "time", lambda: times["wall"])
    monkeypatch.setattr(leases.time, "monotonic", lambda: times["steady"])
    monkeypatch.setattr(leases, "_heard", {})
    return times


def owner_elsewhere():
    machine, *rest = json.loads(leases.new_owner())
    return json.dumps(["other-host/" + machine, *rest])


def test_a_claim_of_a_machine_whose_clock_is_ahead_falls_when_its_heartbeat_stops(clock):
    other, ahead = owner_elsewhere(), clock["wall"] + 3600
    assert leases.alive(other, ahead, clock["wall"])
    clock["steady"] += leases.CLAIM_S - 1
    assert leases.alive(other, ahead + 10, clock["wall"]), "it beats"
    clock["steady"] += leases.CLAIM_S + 1
    assert not leases.alive(other, ahead + 10, clock["wall"])


def test_a_claim_of_this_machine_is_bounded_too_where_its_clock_was_set_back(clock):
    ours = leases.new_owner()
    heard = clock["wall"]
    clock["wall"] -= 7200
    assert leases.alive(ours, heard, clock["wall"])
    clock["steady"] += 10 * leases.CLAIM_S + 1
    assert not leases.alive(ours, heard, clock["wall"])


def test_an_owner_that_cannot_be_read_holds_nothing_for_long(clock):
    assert leases.alive("garbage", clock["wall"], clock["wall"])
    clock["steady"] += leases.CLAIM_S + 1
    assert not leases.alive("garbage", clock["wall"], clock["wall"])


def test_a_copied_store_opens_elsewhere(tmp_path):
    with Store(tmp_path / "a") as store:
        store.put(Response(KEY, "x"), endpoint="e", model="m", request=None)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    with Store(tmp_path / "b") as store:
        assert store.get([KEY])[KEY].text == "x"
