"""What the touchstone command says of a store that is none, of a server that is away, and of what
nobody foresaw: one line each."""

import json
import os
import socket
import sqlite3

import pytest
import report_store as made
from omegaconf import OmegaConf
from preloaded import copy_store

from touchstone import cli, tracking
from touchstone.errors import UserError
from touchstone.report.grid import collect
from touchstone.reproduce import reproduce


@pytest.fixture(autouse=True)
def one_line(monkeypatch):
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)


def failed(capsys, *arguments):
    """Return the line in which a command tells why it failed."""
    assert cli.main([*map(str, arguments)]) == 1
    told = capsys.readouterr().err
    assert told.startswith("error: ") and len(told.splitlines()) == 1, told
    return told.removeprefix("error: ").strip()


def test_an_error_that_nobody_foresaw_is_one_line_with_the_way_to_its_traceback(
    monkeypatch, capsys
):
    monkeypatch.setattr("touchstone.cache.entries", lambda *_: 1 / 0)
    asked = ("cache", "list", "--folder", ".")
    assert (
        failed(capsys, *asked)
        == "ZeroDivisionError: division by zero (debug=true shows the traceback)"
    )
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")  # so that it is put back
    assert cli.main([*asked, "debug=true"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_user_and_password_of_a_uri_stand_in_no_error(monkeypatch, capsys):
    def refuse(*_):
        raise RuntimeError("no way to https://somebody:secret@host/x")

    monkeypatch.setattr("touchstone.cache.entries", refuse)
    assert "https://host/x" in failed(capsys, "cache", "list", "--folder", ".")


def test_ctrl_c_is_a_word(monkeypatch, capsys):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("touchstone.cache.entries", interrupt)
    assert (
        cli.main(["cache", "list", "--folder", "."]) == 130
        and capsys.readouterr().err == "interrupted\n"
    )


@pytest.mark.parametrize(
    "content", [b"", b"no database at all, but long enough to hold a header of SQLite\n" * 99]
)
def test_a_file_that_is_no_store_is_refused_and_left_as_it_was(tmp_path, capsys, content):
    file = tmp_path / "e.db"
    file.write_bytes(content)
    said = failed(capsys, "table", "two_directions", "--store", file)
    assert str(file) in said and ("no tracking store" in said or "not a database" in said)
    assert file.read_bytes() == content and list(tmp_path.iterdir()) == [file]


def test_a_database_of_something_else_gets_no_tables_of_mlflow(tmp_path):
    with sqlite3.connect(tmp_path / "notes.db") as database:
        database.execute("CREATE TABLE notes (text TEXT)")
    database.close()
    with pytest.raises(UserError, match="it has no tables of MLflow"):
        tracking.open_existing(f"sqlite:///{tmp_path / 'notes.db'}")
    assert tracking.open_existing(copy_store(tmp_path / "mlflow")).folder == tmp_path / "mlflow"


@pytest.mark.parametrize("uri", ["foo://x", "http://[bad", "postgresql+nope://u:secret@host/x"])
def test_a_uri_that_cannot_be_opened_is_one_line(capsys, uri):
    said = failed(capsys, "table", "two_directions", "--store", uri)
    assert said.startswith("cannot open the tracking store ") and "secret" not in said


def test_a_server_that_is_away_is_asked_a_few_times_and_the_waiting_is_told(
    monkeypatch, capsys, caplog
):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        uri = f"http://127.0.0.1:{taken.getsockname()[1]}"
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "8")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")
    said = failed(capsys, "table", "two_directions", "--store", uri)
    assert (
        said
        == f"the tracking server {uri} does not answer; start it, or name another store: --store FOLDER_OR_URI"  # noqa: E501
    )
    waits = [message for message in caplog.messages if "waiting" in message]
    assert waits == [
        f"the tracking server does not answer; waiting, {left} more tries" for left in (2, 1, 0)
    ]
    assert (
        os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "8"
        and "MLFLOW_HTTP_REQUEST_TIMEOUT" not in os.environ
    )


def test_a_study_without_a_run_is_told_from_a_wrong_name(tmp_path):
    folder, _, _ = made.shared()
    there = tracking.open_existing(folder / "mlflow")
    with pytest.raises(
        UserError,
        match="study synthetic_mining: no run of it in this store; python run.py -m .experiment=synthetic_mining makes",  # noqa: E501
    ):
        collect(there, "synthetic_mining")
    with pytest.raises(UserError, match='no study "synthetic_minig". There are: '):
        collect(there, "synthetic_minig")
    empty = tracking.open_existing(copy_store(tmp_path / "mlflow"))
    with pytest.raises(
        UserError,
        match="there are no sweeps in sqlite://.*; python run.py -m .experiment=hoc makes one",
    ):
        collect(empty, "hoc")
    with pytest.raises(UserError, match="experiment=NAME makes one .NAME: bronze_match, controls"):
        collect(empty, "mine")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("task.nope=1", 'task.nope=1: no key "nope". There are: '),
        ("nope=1", 'nope=1: no key "nope". '),
        ("seeds=abc", "seeds: Value 'abc' of type 'str' could not be converted to Integer"),
        ("seeds=0", "seeds=0: must be at least 1"),
        (
            "llm.backend=openai",
            "llm.backend=openai: recorded answers are replayed here and nothing is sent; to ask again: python run.py llm=openai",  # noqa: E501
        ),
        ("llm={backend: batch_file}", "llm.backend=batch_file: recorded answers are replayed here"),
    ],
)
def test_a_change_that_does_not_fit_or_would_send_is_one_line(
    tmp_path, capsys, monkeypatch, change, said
):
    monkeypatch.setattr(
        "touchstone.pipeline.run_cell", lambda config: pytest.fail("the cell was run")
    )
    config = OmegaConf.to_container(made.composed("mixture=gold"), resolve=True)
    (tmp_path / "jobs.json").write_text(
        json.dumps([{"config": config, "changes": ["seed=1", change], "own_code": str(tmp_path)}])
    )
    assert reproduce._child(tmp_path / "jobs.json", tmp_path / "done.json") == 1
    told = capsys.readouterr().err
    assert (
        told.startswith(said)
        and len(told.splitlines()) == 1
        and not (tmp_path / "done.json").exists()
    )
