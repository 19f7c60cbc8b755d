"""Keyed digests of restricted ids and texts, and files that only their owner can read."""

from __future__ import annotations

import os
import stat
import threading

import pytest

from touchstone.errors import UserError
from touchstone.private import close_to_others, private_folder, private_umask, write_private
from touchstone.pseudonyms import KEY_FILE, Pseudonyms, pseudonyms_of


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def open_umask():
    before = os.umask(0)
    yield
    os.umask(before)


def test_equal_values_are_joined_and_another_key_gives_other_digests(tmp_path):
    ours, theirs = pseudonyms_of(tmp_path / "ours"), pseudonyms_of(tmp_path / "theirs")
    assert ours == pseudonyms_of(tmp_path / "ours")
    assert ours.identifier("P7") == ours.identifier("P7") != ours.identifier("P8")
    assert ours.identifier("P7") != theirs.identifier("P7")
    assert ours.text("BP 120/80.") != theirs.text("BP 120/80.")
    assert ours.identifier("P7#2") == ours.identifier("P7") + "#2"


def test_a_digest_tells_neither_length_nor_what_kind_of_value_it_was():
    ours = Pseudonyms(b"k" * 32)
    assert len(ours.text("a")) == len(ours.text("a" * 500))
    assert ours.text("P7")[10:26] not in ours.identifier("P7")


def test_the_key_is_made_once_by_whoever_comes_first(tmp_path, open_umask):
    keys = []
    threads = [
        threading.Thread(target=lambda: keys.append(pseudonyms_of(tmp_path / "c" / "d").key))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(keys)) == 1 and len(keys) == 8
    assert mode(tmp_path / "c" / "d" / KEY_FILE) == 0o600
    assert [path.name for path in (tmp_path / "c" / "d").iterdir()] == [KEY_FILE]


def test_a_damaged_key_is_told(tmp_path):
    (tmp_path / KEY_FILE).write_bytes(b"short")
    with pytest.raises(UserError, match="is no key of 32 bytes"):
        pseudonyms_of(tmp_path)


def test_private_files_are_private_whatever_the_umask(tmp_path, open_umask):
    folder = private_folder(tmp_path / "a" / "b")
    write_private(folder / "notes.txt", "text")
    assert mode(folder / "notes.txt") == 0o600
    assert mode(folder) == mode(folder.parent) == 0o700
    with private_umask():
        (folder / "other.txt").write_text("by a library")
    assert mode(folder / "other.txt") == 0o600
    (folder / "after.txt").write_text("public again")
    assert mode(folder / "after.txt") == 0o666


def test_a_leftover_of_a_killed_process_does_not_lend_its_mode(tmp_path):
    aside = tmp_path / "notes.txt.part"
    aside.write_text("old")
    aside.chmod(0o644)
    write_private(tmp_path / "notes.txt", "new")
    assert mode(tmp_path / "notes.txt") == 0o600 and not aside.exists()


def test_a_folder_that_was_opened_is_closed_and_that_is_told(tmp_path):
    tmp_path.chmod(0o755)
    assert close_to_others(tmp_path) and mode(tmp_path) == 0o700
    assert not close_to_others(tmp_path)
