"""touchstone list, ui and doctor: which sweeps there are, where they are shown, what is missing."""

import socket
import sys

import pytest
import report_store as made

from touchstone import cli, tracking
from touchstone.report import closing
from touchstone.run import ui


@pytest.fixture
def said(capsys):
    def said(*arguments, status=0):
        assert cli.main([*map(str, arguments)]) == status
        out = capsys.readouterr()
        return out.out + out.err

    return said


def test_list_shows_each_sweep_with_cells_and_best_newest_first(said):
    store = made.empty_study("listed")
    best = tracking.start_run(store, "gold_bronze · gold of 5", tags={}, params={})
    for study in ("listed", "other"):
        sweep = made.log_sweep(store, study)
        tracking.log_metrics(
            store, sweep, {"n_cells": 4, "n_finished": 3, "best/ad_multiclass": 0.4342}
        )
        tracking.set_tags(store, sweep, {"touchstone.best": best})
    head, first, second = said("list", "--store", store.folder).splitlines()[:3]
    assert head.split() == ["id", "study", "date", "status", "cells", "best", "of"]
    assert first.startswith(sweep[:8]) and "other" in first and "listed" in second
    assert "3/4" in first and "ad_multiclass 0.434" in first and "gold_bronze · gold of 5" in first
    assert "other" not in said("list", "listed", "--store", store.folder)
    assert "no sweep of study none" in said("list", "none", "--store", store.folder)


def test_ui_serves_without_telemetry_and_leaves_its_port_for_printed_links(said, monkeypatch):
    store = made.empty_study("served")
    started = {}

    class Done:
        returncode = 0

    def run(command, env, check):
        started.update(command=command, env=env)
        return Done

    monkeypatch.setattr(ui.subprocess, "run", run)
    assert closing.port(store) == "5000"
    port = free_port()
    assert f"http://127.0.0.1:{port}" in said("ui", "--store", store.folder, "--port", port)
    assert started["command"] == [
        *(sys.executable, "-m", "mlflow", "server", "--backend-store-uri", store.uri),
        *("--host", "127.0.0.1", "--port", str(port), "--workers", "1"),
    ]
    assert started["env"]["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert closing.port(store) == str(port)


def test_ui_refuses_a_port_that_is_taken(said):
    store = made.empty_study("taken")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        told = said("ui", "--store", store.folder, "--port", port, status=1)
    assert told.strip() == (
        f"error: --port {port}: something is served there already; choose another port"
    )


def test_doctor_tells_what_is_there_and_never_a_key(said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    monkeypatch.delenv("AZURE_OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("TOUCHSTONE_DATA", raising=False)
    (tmp_path / ".cache" / "gold").mkdir(parents=True)
    (tmp_path / ".cache" / "gold" / "a").write_bytes(bytes(3 * 2**20))
    told = said("doctor")
    lines = {tuple(line.split()[:2]): line for line in told.splitlines()}
    assert lines["ok", "OPENAI_API_KEY"].endswith("llm=openai, llm=openai_batch: set")
    assert lines["note", "AZURE_OPENAI_API_KEY"].endswith("llm=azure: not set")
    assert "sk-secret" not in told
    assert lines["ok", "cache/gold"].endswith("3.0 MB")
    assert "the first run makes it" in lines["note", "store"]
    assert ("ok", "mlflow") in lines and ("ok", "processors") in lines


def test_doctor_fails_where_the_data_folder_is_none(said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TOUCHSTONE_DATA", str(tmp_path / "absent"))
    assert "absent is no folder" in said("doctor", status=1)


def free_port():
    with socket.socket() as tried:
        tried.bind(("127.0.0.1", 0))
        return tried.getsockname()[1]
