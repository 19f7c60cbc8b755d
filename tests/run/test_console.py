"""What run.py makes of its arguments before Hydra reads them, and of the errors that come back,
without running a cell."""

from __future__ import annotations

import doctest
import errno
import shutil
import signal

import pytest
from grid import ROOT
from preloaded import completed

from touchstone.run import console
from touchstone.run.console import _overrides_first
from touchstone.run.hydra_errors import explain


@pytest.mark.parametrize(
    ("arguments", "ordered"),
    [
        (["task=a", "-m", "mixture=b,c"], ["task=a", "mixture=b,c", "-m"]),
        (["-m", "a=b"], ["a=b", "-m"]),
        (
            ["--config-name", "other", "a=b", "-cd", "folder", "c=d"],
            ["a=b", "c=d", "--config-name", "other", "-cd", "folder"],
        ),
        (
            ["--config-dir=folder", "a=b", "--package", "llm", "c=d"],
            ["a=b", "c=d", "--config-dir=folder", "--package", "llm"],
        ),
        (["-c", "job", "a=b", "--multirun"], ["a=b", "-c", "job", "--multirun"]),
        (["-sc", "install=bash"], ["install=bash", "-sc"]),
        (["--info", "config", "a=b"], ["a=b", "--info", "config"]),
        (["--info", "a=b"], ["a=b", "--info"]),
        (["--config-n", "other", "a=b"], ["a=b", "--config-n", "other"]),
        (["a=b", "--", "-m"], ["a=b", "--", "-m"]),
        (["~a", "b=-1"], ["~a", "b=-1"]),
        ([], []),
    ],
)
def test_flags_stand_behind_the_overrides_with_what_they_take(arguments, ordered):
    assert _overrides_first(arguments) == ordered


def test_overrides_may_stand_on_both_sides_of_a_flag(tmp_path):
    done = completed("task=ad_binary", "--cfg", "job", "seeds=3", cwd=tmp_path)
    assert done.returncode == 0 and "kind: binary" in done.stdout and "seeds: 3" in done.stdout, (
        done.stderr
    )


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        (
            "mixture=gold,",
            "mixture=gold,: a value is missing beside a comma; write mixture=VALUE,VALUE",
        ),
        ("foo", "foo: not of the form key=value; write key=value"),
        ("=", "=: not of the form key=value; write key=value"),
        (
            "corpus.pool.keep=(",
            """corpus.pool.keep=(: not a value that can be read; quote it: 'corpus.pool.keep="("'""",  # noqa: E501
        ),
        ("corpus.pool.keep='a", """quote it: 'corpus.pool.keep="..."'"""),
        (
            "hydra.launcher.nope=1",
            'hydra.launcher.nope=1: no key "nope" below hydra.launcher; hydra/launcher=NAME '
            "chooses one",
        ),
        (
            "hydra.sweeper.nope=1",
            'hydra.sweeper.nope=1: no key "nope". There are: max_batch_size, params (below '
            "hydra.sweeper)",
        ),
        ("hydra.run.nope=1", 'hydra.run.nope=1: no key "nope". There are: dir (below hydra.run)'),
        ("experiment=two_directions", "write +experiment=two_directions"),
        ("mixture=glob(zz*)", "mixture=glob(zz*): matches nothing. There are: bronze, gold,"),
        (
            "hydra.run.dir=/proc/x/y",
            "cannot write /proc/x: No such file or directory; choose another folder with "
            "hydra.run.dir=FOLDER",
        ),
        (
            "hydra.run.dir=afile",
            "cannot write afile: it is a file; choose another folder with hydra.run.dir=FOLDER",
        ),
    ],
)
def test_what_hydra_cannot_read_or_write_is_told_in_our_words(tmp_path, argument, said):
    (tmp_path / "afile").write_text("x")
    done = completed(argument, cwd=tmp_path)
    lines = done.stderr.strip().splitlines()
    assert (
        done.returncode == 1
        and len(lines) == 1
        and lines[0].startswith("error: ")
        and said in lines[0]
    ), done.stderr


def test_the_settings_of_a_launcher_are_listed(tmp_path):
    done = completed("-m", "hydra/launcher=joblib", "hydra.launcher.n_job=1", cwd=tmp_path)
    assert (
        'hydra.launcher.n_job=1: no key "n_job". Did you mean n_jobs? There are: ' in done.stderr
    ), done.stderr


def test_a_read_only_working_folder_is_told_with_the_key_to_change():
    error = OSError(errno.EROFS, "Read-only file system", "multirun")
    assert explain(error) == (
        "cannot write multirun: Read-only file system; choose another folder with "
        "hydra.run.dir=FOLDER or hydra.sweep.dir=FOLDER"
    )
    assert explain(error, ["hydra.run.dir=/a", "-m"]).endswith(
        "choose another folder with hydra.sweep.dir=FOLDER"
    )
    inside = PermissionError(errno.EACCES, "Permission denied", "/a/b/run.log")
    assert "choose another folder with hydra.run.dir=FOLDER" in explain(
        inside, ["hydra.run.dir='/a/b/${now:%H}'"]
    )
    assert "choose another folder with paths.cache=FOLDER" in explain(
        OSError(errno.EROFS, "Read-only file system", ".cache/gold")
    )
    assert explain(PermissionError(errno.EACCES, "Permission denied", "notes.csv")).startswith(
        "PermissionError: "
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            ("version: 1", "version: abc"),
            "conf/taxonomy/mine.yaml, taxonomy.version: Value 'abc' of type 'str' could not be "
            "converted to",
        ),
        (("version: 1", "version: [1"), "conf/taxonomy/mine.yaml, line "),
        (
            ("version: 1", "defaults: [nope]\nversion: 1"),
            'conf/taxonomy/mine.yaml, defaults: no taxonomy "nope". There are: alzheimer,',
        ),
        (
            ("name: gene_disease", "name: ours\nprecedence: [nope]"),
            "taxonomy ours: precedence must list every category once; look at nope",
        ),
    ],
)
def test_a_fault_in_a_copy_names_the_file_and_the_key_or_line(tmp_path, change, said):
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    content = (ROOT / "conf" / "taxonomy" / "gene_disease.yaml").read_text()
    assert change[0] in content
    (tmp_path / "conf" / "taxonomy" / "mine.yaml").write_text(content.replace(*change))
    done = completed("taxonomy=mine", cwd=tmp_path)
    assert done.returncode == 1 and said in done.stderr and len(done.stderr.splitlines()) == 1, (
        done.stderr
    )


def test_the_docstring_examples_hold():
    assert doctest.testmod(console).failed == 0


def test_sigterm_ends_what_a_shell_started_in_the_background():
    """Such a process, of cron and job scripts, too, has Ctrl-C ignored from its start."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with pytest.raises(KeyboardInterrupt):
            console._interrupt()
    finally:
        signal.signal(signal.SIGINT, before)
