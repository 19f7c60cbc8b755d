"""Archives of strangers: small ones that unpack to much, paths that lead out, damage."""

import gzip
import io
import tarfile

import pytest

from touchstone.errors import UserError
from touchstone.reproduce import archive
from touchstone.reproduce.archive import unpacked


def packed(path, members):
    """Write an archive of (name, bytes or TarInfo)."""
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members:
            if isinstance(content, tarfile.TarInfo):
                tar.addfile(content)
                continue
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def test_runs_and_answers_are_unpacked_and_code_is_not(tmp_path):
    names = ["b/cells/abc/tags.json", "b/recordings/a.jsonl", "b/bundle.json", "b/src/evil.py"]
    path = packed(tmp_path / "b.tar.gz", [(name, b"{}") for name in names])
    folder = unpacked(path, tmp_path / "out")
    there = {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}
    assert folder == tmp_path / "out" / "b"
    assert there == {"cells/abc/tags.json", "recordings/a.jsonl", "bundle.json"}


def test_a_small_archive_that_unpacks_to_much_writes_nothing(tmp_path):
    path = packed(tmp_path / "b.tar.gz", [("b/cells/a/tags.json", bytes(30_000_000))])
    with pytest.raises(UserError, match=r"unpacks to more than \d+ MB from 0.0 MB; nothing"):
        unpacked(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_bounds_on_size_and_number_of_files(tmp_path, monkeypatch):
    path = packed(tmp_path / "b.tar.gz", [(f"b/cells/{n}/x", b"abc") for n in range(5)])
    monkeypatch.setattr(archive, "MOST_FILES", 4)
    with pytest.raises(UserError, match="holds more than 4 files; nothing was unpacked"):
        unpacked(path, tmp_path / "out")
    monkeypatch.setattr(archive, "MOST_FILES", 5)
    monkeypatch.setattr(archive, "MOST_MB", 0)
    with pytest.raises(UserError, match="unpacks to more than 0 MB"):
        unpacked(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_header_of_any_length_is_not_read_into_memory(tmp_path):
    header = tarfile.TarInfo("x")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 20_000_000
    with gzip.open(tmp_path / "b.tar.gz", "wb") as file:
        file.write(header.tobuf() + bytes(header.size))
    with pytest.raises(UserError, match="b.tar.gz: no archive of a bundle, .* too long"):
        unpacked(tmp_path / "b.tar.gz", tmp_path / "out")


def link(name, target):
    member = tarfile.TarInfo(name)
    member.type, member.linkname = tarfile.SYMTYPE, target
    return name, member


@pytest.mark.parametrize(
    "member",
    [
        ("b/cells/../../../owned", b"x"),
        link("b/cells/a", "/etc"),
        link("b/cells/a", "../../../.."),
    ],
)
def test_a_path_that_leads_out_is_one_line(tmp_path, member):
    path = packed(tmp_path / "b.tar.gz", [member])
    with pytest.raises(UserError, match="leads out of the bundle's folder; nothing was run"):
        unpacked(path, tmp_path / "deep" / "out")
    assert not (tmp_path / "owned").exists() and not (tmp_path / "deep" / "owned").exists()


@pytest.mark.parametrize(
    "content",
    [b"", b"no archive", gzip.compress(b"no archive" * 100)],
    ids=["empty", "text", "packed text"],  # a gzip holds the time: no name for two workers
)
def test_what_is_no_archive_is_one_line(tmp_path, content):
    (tmp_path / "b.tar.gz").write_bytes(content)
    with pytest.raises(UserError, match="b.tar.gz: no archive of a bundle, or a damaged one"):
        unpacked(tmp_path / "b.tar.gz", tmp_path / "out")


def test_an_archive_of_something_else_is_told(tmp_path):
    path = packed(tmp_path / "b.tar.gz", [("b/readme", b"x")])
    with pytest.raises(UserError, match="is no bundle: it holds no folder with cells/"):
        unpacked(path, tmp_path / "out")
