"""A project that `touchstone init` makes: it runs at once, and overwrites nothing."""

import pytest
from preloaded import completed

from touchstone.errors import UserError
from touchstone.run.init import init


def test_what_it_makes_runs_at_once(tmp_path):
    written = {str(path.relative_to(tmp_path)) for path in init(tmp_path)}
    assert {
        "run.py",
        ".gitignore",
        "README.md",
        "conf/corpus/mine.yaml",
        "conf/task/mine.yaml",
        "conf/taxonomy/mine.yaml",
    } <= written
    done = completed("task=mine", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len((tmp_path / "README.md").read_text().splitlines()) <= 12


def test_no_file_is_overwritten(tmp_path):
    (tmp_path / "run.py").write_text("mine")
    with pytest.raises(UserError, match="run.py is there already and is not overwritten"):
        init(tmp_path)
    assert (tmp_path / "run.py").read_text() == "mine" and not (tmp_path / "conf").exists()


def test_what_can_hold_notes_is_ignored_by_git(tmp_path):
    init(tmp_path)
    ignored = (tmp_path / ".gitignore").read_text().split()
    assert {"batch/", ".cache/", "mlflow/", "data/", ".env"} <= set(ignored)
