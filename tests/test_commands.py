"""Printed commands: a shell, then Hydra, read back exactly what was meant."""

import shlex

from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st

from touchstone import commands

ODD = st.text(st.sampled_from("ab1 ,=:'\"\\/.$(){}[]|*%#äü-"), min_size=1, max_size=15)


@given(ODD)
def test_a_value_comes_back_from_its_override(value):
    written = commands.override("hydra.sweep.dir", value)
    if "${" not in value:  # an interpolation, which Hydra keeps as it is
        assert OverridesParser.create().parse_override(written).value() == value
    assert commands.value_of(written) == value


@given(st.lists(ODD, max_size=4))
def test_arguments_come_back_from_a_command_line(arguments):
    assert shlex.split(commands.run_command(arguments)) == ["python", "run.py", *arguments]


def test_the_program_is_the_one_that_was_started(monkeypatch):
    assert commands.run_command(["-m"]) == "python run.py -m"
    monkeypatch.setenv(commands.PROGRAM, "touchstone run")
    assert commands.run_command(["-m"]) == "touchstone run -m"
