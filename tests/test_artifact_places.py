"""Stores that somebody sent: nothing is fetched from where they say, nothing read outside."""

import shutil
import sqlite3
import urllib.parse
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from touchstone import tracking
from touchstone.errors import UserError
from touchstone.report import reading

ADDRESSES = ["s3://bucket/x", "ftp://h/x", "mlflow-artifacts:/1/x", "hdfs://h/x", "S3://bucket/x"]


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A store with one run that has a file, as (folder, run id)."""
    folder = tmp_path_factory.mktemp("store")
    store = tracking.open_store(None, "s", folder)
    run = tracking.start_run(store, "cell", tags={}, params={})
    tracking.log_text(store, run, "hello", "config.yaml")
    tracking.end_run(store, run, "FINISHED")
    return folder, run


@pytest.fixture
def sent(own, tmp_path):
    """The database alone, sent; and a function that writes another place into it."""
    folder, run = own
    shutil.copy(folder / "mlflow.db", tmp_path / "mlflow.db")

    def point(uri):
        with closing(sqlite3.connect(tmp_path / "mlflow.db")) as database:
            database.execute("UPDATE runs SET artifact_uri = ?", (uri,))
            database.commit()
        store = tracking.open_existing(tmp_path)
        return store, tracking.find_run(store, run)

    return point


@pytest.mark.parametrize("uri", ADDRESSES)
def test_an_address_in_a_database_file_is_refused(sent, uri):
    store, run = sent(uri)
    with pytest.raises(UserError, match="said to lie at .*; nothing is fetched from addresses"):
        tracking.artifacts(store, run)
    assert reading.text(store, run, "config.yaml") == ""


def test_a_server_named_by_a_database_file_is_never_asked(sent):
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(urllib.parse.urlsplit(self.path).path)
            self.send_error(404)

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        store, run = sent(f"http://127.0.0.1:{server.server_port}/x")
        with pytest.raises(UserError, match="nothing is fetched"):
            tracking.artifacts(store, run)
        assert reading.text(store, run, "config.yaml") == "" and not asked
    finally:
        server.shutdown()
        server.server_close()


def test_a_folder_that_is_no_runs_folder_is_not_read(sent, tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "config.yaml").write_text("secret")
    store, run = sent((tmp_path / "home").as_uri())
    with pytest.raises(UserError, match="are neither at .* nor at"):
        tracking.artifacts(store, run)
    assert reading.text(store, run, "config.yaml") == ""


def test_artefacts_beside_the_database_are_read_whatever_it_names(own, sent, tmp_path):
    folder, run_id = own
    shutil.copytree(folder / "artifacts", tmp_path / "artifacts")
    store, run = sent("s3://bucket/x")
    assert reading.text(store, run, "config.yaml") == "hello"
    assert tracking.artifacts(store, run).is_relative_to(tmp_path)
    (file,) = tmp_path.glob(f"artifacts/*/{run_id}/artifacts/config.yaml")
    file.unlink()
    file.symlink_to("/etc/hostname")
    with pytest.raises(UserError, match="config.yaml is a link out of its folder"):
        reading.text(store, run, "config.yaml")


def test_ones_own_store_is_read_where_it_says(own):
    folder, run_id = own
    store = tracking.open_existing(folder)
    assert reading.text(store, tracking.find_run(store, run_id), "config.yaml") == "hello"
