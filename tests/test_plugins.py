"""A short name, a dotted path, a file or an entry point: what each finds, and how mistakes in the
user's code are told."""

import sys
import types
from importlib.metadata import EntryPoint, EntryPoints

import pytest

from touchstone import plugins
from touchstone.errors import UserError

FOLDER = "touchstone.data.readers"
KEY = "corpus.gold.reader"


def write(project, name, text):
    file = project / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def test_a_short_name_is_a_file_of_the_folder():
    from touchstone.data.readers import bio_tsv

    assert plugins.load(KEY, "bio_tsv", FOLDER, "read") is bio_tsv.read
    assert "notes" in plugins.names(FOLDER) and "notes" not in plugins.names(FOLDER, "read")


def test_an_unknown_short_name_is_answered_with_those_there_are_and_how_to_name_ones_own():
    with pytest.raises(UserError) as error:
        plugins.load(KEY, "bio_tvs", FOLDER, "read")
    assert str(error.value).startswith(
        'corpus.gold.reader=bio_tvs: no reader "bio_tvs". Did you mean bio_tsv? There are: '
    )
    choices = str(error.value).partition("There are: ")[2]
    assert all(name in choices for name in ("labelled_notes", "relation_tsv", "bio_tsv"))
    assert "noteevents" not in choices
    assert str(error.value).endswith("Your own: MODULE.NAME or FILE.py:NAME")


def test_a_module_for_another_key_is_refused_with_those_for_this_one():
    with pytest.raises(
        UserError, match="corpus.gold.reader=noteevents: not for this key. .*bio_tsv"
    ):
        plugins.load(KEY, "noteevents", FOLDER, "read")


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("my_readers.py", "my_readers.read_charts"),
        ("my_readers.py", "my_readers.py:read_charts"),
        ("plugins/charts.py", "plugins/charts.py:read_charts"),
        ("ward/readers/charts.py", "ward.readers.charts.read_charts"),
    ],
)
def test_a_function_of_a_file_in_the_working_folder(project, file, name):
    write(project, file, "def read_charts():\n    return 'charts'\n")
    loaded = plugins.load(KEY, name, FOLDER, "read")
    assert loaded() == "charts"
    assert plugins.load(KEY, name, FOLDER, "read") is loaded
    assert plugins.own_files((name, FOLDER)) == [(project / file).resolve()]


def test_a_changed_file_is_read_again(project):
    write(project, "my_code.py", "def f():\n    return 1\n")
    assert plugins.load_path("metrics", "my_code.f")() == 1
    write(project, "my_code.py", "def f():\n    return 22\n")
    assert plugins.load_path("metrics", "my_code.f")() == 22


def test_a_file_of_the_same_name_in_another_folder_is_another_file(project, monkeypatch):
    for folder, value in (("one", 1), ("two", 2)):
        write(project, f"{folder}/my_code.py", f"def f():\n    return {value}\n")
        monkeypatch.chdir(project / folder)
        assert plugins.load_path("metrics", "my_code.f")() == value


def test_a_file_imports_what_lies_beside_it(project):
    write(project, "plugins/charts.py", "import chart_words\n\nread = chart_words.word\n")
    write(project, "plugins/chart_words.py", "def word():\n    return 'beside'\n")
    assert plugins.load(KEY, "plugins/charts.py:read", FOLDER, "read")() == "beside"


def test_a_file_named_like_a_module_that_is_loaded_is_refused(project):
    write(project, "json.py", "def f():\n    return 1\n")
    with pytest.raises(
        UserError, match=r"metrics=json.f: Python has a module json already .*rename"
    ):
        plugins.load_path("metrics", "json.f")


def test_an_importable_module(project):
    import math

    assert plugins.load_path("metrics", "math.sqrt") is math.sqrt
    assert plugins.own_files(("math.sqrt", None), ("sklearn.svm.LinearSVC", None)) == []
    assert plugins.own_files(("bio_tsv", FOLDER)) == []


def test_an_entry_point_of_an_installed_package(project, monkeypatch):
    def read():
        return "from a package"

    module = types.ModuleType("charts_package")
    module.read = read
    monkeypatch.setitem(sys.modules, "charts_package", module)
    entry = EntryPoint("charts", "charts_package:read", "touchstone.readers")
    monkeypatch.setattr(plugins, "_entries", lambda group: EntryPoints([entry]).select(group=group))
    assert plugins.load(KEY, "charts", FOLDER, "read") is read
    with pytest.raises(UserError, match="Did you mean charts"):
        plugins.load(KEY, "chart", FOLDER, "read")
    with pytest.raises(UserError, match="no backend"):
        plugins.load("llm.backend", "charts", "touchstone.llm.backends", "answer")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("absent.py:read", "corpus.gold.reader=absent.py:read: no file absent.py in "),
        ("absent_module.read", "no module absent_module in "),
        ("my_code.reed", 'no name "reed". Did you mean read?'),
        (".read", "not of the form MODULE.NAME or FILE.py:NAME"),
        ("my_code:", "not of the form MODULE.NAME or FILE.py:NAME"),
    ],
)
def test_what_is_not_there_is_said(project, name, message):
    write(project, "my_code.py", "def read():\n    pass\n")
    with pytest.raises(UserError) as error:
        plugins.load(KEY, name, FOLDER, "read")
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("import absent_package\n", 1, "ModuleNotFoundError: No module named 'absent_package'"),
        ("x = 1\ndef read(:\n", 2, "SyntaxError: "),
        ("\n\nraise ValueError('two\\nlines')\n", 3, "ValueError: two lines"),
    ],
)
def test_an_error_in_the_file_is_told_with_file_and_line(project, text, line, message):
    file = write(project, "my_code.py", text)
    with pytest.raises(UserError) as error:
        plugins.load(KEY, "my_code.read", FOLDER, "read")
    told = str(error.value)
    assert told.startswith(f"corpus.gold.reader=my_code.read: {file.resolve()}, line {line}: ")
    assert message in told and "\n" not in told
    write(project, "my_code.py", "def read():\n    return 'mended'\n")
    assert plugins.load(KEY, "my_code.read", FOLDER, "read")() == "mended"


def test_an_error_under_way_names_the_users_line_not_the_library_it_called(project):
    file = write(project, "my_code.py", "import json\n\n\ndef f():\n    return json.loads('{')\n")
    function = plugins.load_path("metrics", "my_code.f")
    with pytest.raises(UserError) as error, plugins.blaming("metrics", "my_code.f"):
        function()
    assert f"metrics=my_code.f: {file.resolve()}, line 5: JSONDecodeError: " in str(error.value)


def test_restricted_text_in_the_words_of_an_error_is_withheld(project):
    with pytest.raises(UserError) as error, plugins.blaming(KEY, "a.b", withheld=True):
        raise ValueError("Mrs Smith forgets names")
    assert "Smith" not in str(error.value)
    assert "ValueError (its message is withheld: the corpus is restricted)" in str(error.value)


def test_a_users_mistake_passes_as_it_is():
    with pytest.raises(UserError, match="^seeds=0$"), plugins.blaming(KEY, "a.b"):
        raise UserError("seeds=0")


def test_what_must_be_copied_for_a_file_to_be_imported_elsewhere(project):
    alone = write(project, "my_code.py", "")
    write(project, "ward/__init__.py", "")
    inside = write(project, "ward/readers/charts.py", "")
    write(project, "ward/readers/__init__.py", "")
    assert plugins.code_root(alone) == alone
    assert plugins.code_root(inside) == project / "ward"
