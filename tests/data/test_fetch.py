"""Fetching public corpora, from a server of the test's own: verified, idempotent, never half a
file."""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from grid import DATA, ROOT

from touchstone.data.fetch import add_cli, corpus_named, fetch
from touchstone.data.hoc import hallmarks, hoc_jsonl
from touchstone.errors import UserError
from touchstone.schema import CorpusConfig, Source


@pytest.fixture
def server():
    """Serves `pages` (path -> bytes), notes each path asked for, and cuts the answer short for
    paths in `cut`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            served.asked.append(self.path)
            body = served.pages.get(self.path)
            self.send_response(200 if body is not None else 404)
            self.send_header(
                "Content-Length", str(len(body or b"") + (10 if self.path in served.cut else 0))
            )
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *arguments):
            pass

    served = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served.pages, served.asked, served.cut = {}, [], set()
    served.base = f"http://127.0.0.1:{served.server_port}"
    thread = threading.Thread(target=served.serve_forever, args=(0.01,))
    thread.start()
    yield served
    served.shutdown()
    thread.join()
    served.server_close()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def zipped(**members: str | bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def corpus(**source) -> CorpusConfig:
    return CorpusConfig(name="toy", license="CC0", citation="Nobody 2026", source=Source(**source))


def two_files(server) -> CorpusConfig:
    server.pages |= {"/a": b"one\n", "/b": b"two\n"}
    files = {"toy/train.tsv": f"{server.base}/a", "toy/test.tsv": f"{server.base}/b"}
    return corpus(files=files, sha256s={"toy/train.tsv": sha256(b"one\n")})


def test_missing_files_are_downloaded_verified_and_said(server, tmp_path):
    said = []
    paths = fetch(two_files(server), tmp_path / "new", said.append)
    assert paths == [tmp_path / "new/toy/train.tsv", tmp_path / "new/toy/test.tsv"]
    assert [path.read_bytes() for path in paths] == [b"one\n", b"two\n"]
    assert said[0] == "toy: licence CC0; cite Nobody 2026"
    assert "toy/train.tsv: fetched, verified" in said
    assert (
        "toy/test.tsv: fetched, not verified: no checksum known; its sha256 is "
        f"{sha256(b'two' + bytes([10]))}" in said
    )
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == [
        "toy"
    ]  # nothing is left aside


def test_a_second_fetch_asks_for_nothing_and_verifies_what_is_there(server, tmp_path):
    config = two_files(server)
    fetch(config, tmp_path)
    server.asked.clear()
    said = []
    fetch(config, tmp_path, said.append)
    assert server.asked == [] and "toy/train.tsv: already there, verified" in said


def test_only_what_is_missing_is_asked_for(server, tmp_path):
    config = two_files(server)
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy/train.tsv").write_bytes(b"one\n")
    fetch(config, tmp_path)
    assert server.asked == ["/b"]


def test_a_file_with_another_checksum_is_an_error_and_is_not_overwritten(server, tmp_path):
    config = two_files(server)
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy/train.tsv").write_bytes(b"mine\n")
    with pytest.raises(
        UserError,
        match=(
            f"toy/train.tsv: sha256 {sha256(b'mine' + bytes([10]))} is not the recorded .* "
            "conf/corpus/toy.yaml"
        ),
    ):
        fetch(config, tmp_path)
    assert (tmp_path / "toy/train.tsv").read_bytes() == b"mine\n" and server.asked == []


def test_a_download_with_another_checksum_is_not_kept(server, tmp_path):
    config = two_files(server)
    server.pages["/a"] = b"changed by the publisher\n"
    with pytest.raises(UserError, match="toy/train.tsv: sha256 .* is not the recorded"):
        fetch(config, tmp_path)
    assert list(tmp_path.rglob("*")) == []


def test_a_broken_connection_leaves_the_complete_files_and_the_next_fetch_goes_on(server, tmp_path):
    config = two_files(server)
    server.cut.add("/b")
    with pytest.raises(
        UserError, match=r"/b: (the connection broke after 4 of 14 bytes|no answer)"
    ):
        fetch(config, tmp_path)
    assert [path.name for path in tmp_path.rglob("*.tsv")] == ["train.tsv"]
    server.cut.clear()
    server.asked.clear()
    fetch(config, tmp_path)
    assert server.asked == ["/b"]


def test_a_missing_page_and_a_dead_server_are_told(server, tmp_path):
    with pytest.raises(UserError, match="/gone: the server answered 404"):
        fetch(corpus(files={"x": f"{server.base}/gone"}), tmp_path)
    with pytest.raises(UserError, match="no answer .* put the files there by hand"):
        fetch(corpus(files={"x": "http://127.0.0.1:9/x"}), tmp_path)


def test_folds_come_out_of_one_archive_whatever_folder_it_wraps_them_in(server, tmp_path):
    members = {
        f"REdata/GAD/{fold}/{part}.tsv": f"{fold} {part}"
        for fold in range(1, 11)
        for part in ("train", "test")
    }
    server.pages["/re.zip"] = zipped(**members, **{"__MACOSX/REdata/GAD/1/._train.tsv": "no"})
    config = corpus(
        url=f"{server.base}/re.zip",
        sha256=sha256(server.pages["/re.zip"]),
        files={
            "gad/{fold}/train.tsv": "GAD/{fold}/train.tsv",
            "gad/{fold}/test.tsv": "GAD/{fold}/test.tsv",
        },
        sha256s={"gad/1/train.tsv": sha256(b"1 train")},
    )
    paths = fetch(config, tmp_path)
    assert len(paths) == 20 and server.asked == ["/re.zip"]
    assert (tmp_path / "gad/10/test.tsv").read_text() == "10 test"
    config.source.sha256 = "0" * 64
    (tmp_path / "gad/1/train.tsv").unlink()
    with pytest.raises(UserError, match=r"what .*/re.zip sent: sha256 .* is not the recorded 000"):
        fetch(config, tmp_path)


def test_an_archive_that_is_none_or_lacks_a_file_is_told(server, tmp_path):
    server.pages |= {
        "/page": b"<html>confirm</html>",
        "/zip": zipped(**{"a/x.tsv": "", "b/x.tsv": ""}),
        "/bad": zipped(x="data").replace(b"data", b"dat!"),
    }
    with pytest.raises(UserError, match="/page: the answer is no zip archive"):
        fetch(corpus(url=f"{server.base}/page", files={"x.tsv": "x.tsv"}), tmp_path)
    with pytest.raises(
        UserError, match="/zip: 2 files of the archive end in x.tsv, one was expected"
    ):
        fetch(corpus(url=f"{server.base}/zip", files={"x.tsv": "x.tsv"}), tmp_path)
    with pytest.raises(UserError, match="/zip: 0 files of the archive end in y.tsv"):
        fetch(corpus(url=f"{server.base}/zip", files={"y.tsv": "y.tsv"}), tmp_path)
    with pytest.raises(UserError, match="/bad: the archive is damaged"):
        fetch(corpus(url=f"{server.base}/bad", files={"x": "x"}), tmp_path)
    with pytest.raises(
        UserError, match='corpus.source.convert: no conversion "hcc". Did you mean hoc'
    ):
        fetch(corpus(url=f"{server.base}/zip", convert={"x": "hcc"}), tmp_path)
    assert list(tmp_path.rglob("*.tsv")) == []


def hoc_archive(**changes: bytes) -> bytes:
    members = {
        "Hallmarks-of-Cancer-d066/README.md": b"",
        "Hallmarks-of-Cancer-d066/text/20.txt": "Cells grew and died .\nWe asked why .\nNa\ufffdve cells .\n".encode(),  # noqa: E501
        "Hallmarks-of-Cancer-d066/labels/20.txt": b"<Sustaining proliferative signaling--Cell cycle ANDResisting cell death-- AND Resisting cell death--Apoptosis< <NULL",  # noqa: E501
        "Hallmarks-of-Cancer-d066/text/100.txt": b"Broken byte \xff .\n",
        "Hallmarks-of-Cancer-d066/labels/100.txt": b"<  Cellular energetics--Glycolysis",
    }
    return zipped(
        **{name: content for name, content in (members | changes).items() if content is not None}
    )


def test_hallmarks_become_one_jsonl_of_top_level_labels(server, tmp_path):
    server.pages["/hoc.zip"] = hoc_archive()
    (path,) = fetch(
        corpus(url=f"{server.base}/hoc.zip", convert={"hoc/hoc.jsonl": "hoc"}), tmp_path
    )
    text = path.read_text(encoding="utf-8")
    rows = [json.loads(line) for line in text.splitlines()]
    assert rows == [
        {
            "doc_id": "100",
            "sent": 0,
            "text": "Broken byte \ufffd .",
            "labels": ["Cellular energetics"],
        },
        {
            "doc_id": "20",
            "sent": 0,
            "text": "Cells grew and died .",
            "labels": ["Resisting cell death", "Sustaining proliferative signaling"],
        },
        {"doc_id": "20", "sent": 1, "text": "We asked why .", "labels": []},
        {"doc_id": "20", "sent": 2, "text": "Na\ufffdve cells .", "labels": []},
    ]
    assert text.splitlines()[0] == (
        '{"doc_id": "100", "sent": 0, "text": "Broken byte \ufffd .", "labels": ["Cellular '
        'energetics"]}'
    )


def test_a_changed_layout_of_the_hallmarks_is_told():
    for archive, message in (
        (zipped(readme=b""), "has no text/PMID.txt"),
        (
            hoc_archive(**{"Hallmarks-of-Cancer-d066/labels/20.txt": None}),
            "text/20.txt but no labels/20.txt",
        ),
    ):
        with (
            pytest.raises(UserError, match=message),
            zipfile.ZipFile(io.BytesIO(archive)) as opened,
        ):
            hoc_jsonl(opened)


def test_the_conversion_writes_the_file_that_the_checksum_is_of(tmp_path):
    """Back from the JSONL to the publisher's layout and forth again: byte for byte the file whose
    sha256 stands in conf/corpus/hoc.yaml."""
    path = DATA / "hoc/hoc.jsonl"
    if not path.exists():
        pytest.skip(f"{path} is not there; touchstone fetch hoc gets it")
    text, labels = {}, {}
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        text[row["doc_id"]] = text.get(row["doc_id"], "") + row["text"] + "\n"
        labels[row["doc_id"]] = (
            labels.get(row["doc_id"], "")
            + "<"
            + " AND".join(f"{label}--Some class" for label in row["labels"])
        )
    members = {f"wrap/text/{doc}.txt": content for doc, content in text.items()} | {
        f"wrap/labels/{doc}.txt": content for doc, content in labels.items()
    }
    with zipfile.ZipFile(io.BytesIO(zipped(**members))) as archive:
        assert sha256(hoc_jsonl(archive)) == corpus_named("hoc").source.sha256s["hoc/hoc.jsonl"]


def test_no_label_is_no_label():
    assert hallmarks(" ") == hallmarks("NULL") == []


def test_what_cannot_be_fetched_says_what_to_do(tmp_path):
    with pytest.raises(UserError, match="corpus=toy: conf/corpus/toy.yaml names no source"):
        fetch(CorpusConfig(name="toy"), tmp_path)
    with pytest.raises(
        UserError, match="set TOUCHSTONE_DATA=FOLDER, or touchstone fetch NAME --data FOLDER"
    ):
        fetch(corpus(files={"x": "http://127.0.0.1:9/x"}), None)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="file: .* Fetch into another folder"):
        fetch(corpus(files={"x": "http://127.0.0.1:9/x"}), tmp_path / "file")


def test_the_command_reads_the_configuration_and_lists_the_choices(tmp_path, monkeypatch, capsys):
    parser = argparse.ArgumentParser()
    add_cli(parser.add_subparsers())
    with pytest.raises(UserError, match='no corpus "ncbi_diseases". Did you mean ncbi_disease'):
        corpus_named("ncbi_diseases")
    arguments = parser.parse_args(["fetch", "toy"])
    (tmp_path / "conf/corpus").mkdir(parents=True)
    (tmp_path / "conf/config.yaml").write_text("")
    (tmp_path / "conf/corpus/base.yaml").write_text(
        "name: base\nlicense: CC0\nsource: {files: {toy/x.tsv: 'http://127.0.0.1:9/x'}}\n"
    )
    (tmp_path / "conf/corpus/toy.yaml").write_text("defaults: [base, _self_]\nname: toy\n")
    (tmp_path / "conf/corpus/broken.yaml").write_text("name: toy\nlicence: CC0\n")
    (tmp_path / "data/toy").mkdir(parents=True)
    (tmp_path / "data/toy/x.tsv").write_text("x")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TOUCHSTONE_DATA", str(tmp_path / "data"))
    assert arguments.run(arguments) == 0
    assert "toy: licence CC0" in capsys.readouterr().out
    with pytest.raises(UserError, match="toy/x.tsv|no answer"):
        arguments = parser.parse_args(["fetch", "toy", "--data", str(tmp_path / "elsewhere")])
        arguments.run(arguments)
    with pytest.raises(UserError, match="broken.yaml: Key 'licence' not in 'CorpusConfig'"):
        corpus_named("broken")


def test_recorded_checksums_are_those_of_the_files_that_are_here():
    recorded = {}
    for path in (ROOT / "conf/corpus").glob("*.yaml"):
        source = corpus_named(path.stem).source
        recorded |= source.sha256s if source else {}
    places = {
        name: [DATA / name, DATA / name.replace("gad/1/", "gad/")] for name in recorded
    }  # a copy of fold 1 alone has no folder
    here = {name: path for name, paths in places.items() for path in paths if path.exists()}
    if not here:
        pytest.skip(f"no public corpora in {DATA}")
    assert {name: sha256(path.read_bytes()) for name, path in here.items()} == {
        name: recorded[name] for name in here
    }
