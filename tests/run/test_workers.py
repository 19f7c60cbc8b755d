"""Tasks in forked processes: their order, their GPUs, and what becomes of one that fails or
dies."""

import os
import signal
import time

import pytest
from omegaconf import OmegaConf

from hydra_plugins.touchstone_local import LocalLauncher
from touchstone.errors import UserError
from touchstone.run import local, workers
from touchstone.run.workers import side_by_side, visible_gpus


def test_answers_come_in_the_order_of_the_tasks():
    def task(number: int) -> int:
        time.sleep(0.02 * (5 - number))
        return number * number

    assert side_by_side(task, 5, 3) == [0, 1, 4, 9, 16]
    assert side_by_side(task, 0, 3) == []


def test_workers_stay_for_the_next_task_and_there_are_as_many_as_asked_for():
    answers = side_by_side(lambda number: time.sleep(0.05) or os.getpid(), 6, 2)
    assert len(set(answers)) == 2 and os.getpid() not in answers


def test_each_worker_sees_one_gpu_and_there_are_no_more_workers_than_gpus(monkeypatch):
    monkeypatch.setenv(workers.GPUS, "3,5")
    assert visible_gpus() == ["3", "5"]

    def task(number: int) -> tuple[int, str]:
        time.sleep(0.05)
        return os.getpid(), os.environ[workers.GPUS]

    answers = side_by_side(task, 8, 4, visible_gpus())
    assert len(set(answers)) == 2 and {gpu for _, gpu in answers} == {"3", "5"}
    seen = side_by_side(lambda number: os.environ[workers.GPUS], 2, 2)
    assert seen == ["3,5", "3,5"]  # gpus: false
    monkeypatch.setenv(workers.GPUS, "")
    assert visible_gpus() == []


def test_an_error_comes_back_and_the_others_go_on():
    class Odd(Exception):
        def __init__(self, one, two):
            super().__init__(one)

    def task(number: int) -> int:
        if number == 1:
            raise UserError("no such thing")
        if number == 2:
            raise Odd("cannot be pickled", "whole")
        return number

    answers = side_by_side(task, 4, 2)
    assert (answers[0], answers[3]) == (0, 3)
    assert isinstance(answers[1], UserError) and str(answers[1]) == "no such thing"
    assert "cannot be pickled" in str(answers[2])


def test_a_worker_that_dies_loses_its_task_only():
    def task(number: int) -> int:
        if number == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return number

    answers = side_by_side(task, 5, 2)
    assert [answers[i] for i in (0, 2, 3, 4)] == [0, 2, 3, 4]
    assert isinstance(answers[1], UserError) and "ended with SIGKILL" in str(answers[1])


def test_no_processes_is_no_number_of_processes():
    launcher = LocalLauncher(n_jobs=0)
    launcher.config = OmegaConf.create({"threads": 1, "hydra": {}})
    with pytest.raises(UserError, match="hydra.launcher.n_jobs=0: must be at least 1, or null"):
        local.launch(launcher, [["mixture=gold"]], 0)
