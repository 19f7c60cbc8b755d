"""Tasks side by side in processes forked from this one: what it has imported they have at once.

A worker takes one task after another. One that dies takes only its task with it: the others go on,
and another worker takes its place. Ctrl-C and SIGTERM reach every worker once, which then ends its
task as a single process would. Workers end with the process that started them. Where several GPUs
are visible, each worker sees one of them. Does not know what a task is (the launcher `local` runs
cells). Not for Windows, which cannot fork.
"""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import pickle
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from touchstone.errors import UserError

GPUS = "CUDA_VISIBLE_DEVICES"
DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG of prctl(2)
_fork = multiprocessing.get_context("fork")


@dataclass
class _Worker:
    """A forked process, our end of the pipe to it, its GPU, and the number of the task that it
    has."""

    process: Any
    pipe: Connection
    gpu: str | None
    task: int | None = None


def side_by_side(
    do: Callable[[int], Any],
    n_tasks: int,
    n_workers: int,
    gpus: Sequence[str] = (),
    answered: Callable[[], None] = lambda: None,
) -> list[Any]:
    """Return the answers of tasks 0 to n_tasks - 1, in their order.

    Parameters
    ----------
    do : called in a worker with the number of a task; what it returns is pickled.
    n_workers : tasks at a time, at least 1.
    gpus : as in CUDA_VISIBLE_DEVICES; a worker sees one of them, so no more workers than these are
        started. Empty leaves the variable as it is.
    answered : called here after each answer.

    Returns
    -------
    What `do` returned; an exception, not raised, where it raised one or its worker died.
    """
    n_workers = min(n_workers, n_tasks, len(gpus) or n_workers)
    answers: list[Any] = [None] * n_tasks
    tasks = iter(range(n_tasks))
    workers = [_started(do, gpus[i] if gpus else None) for i in range(n_workers)]
    try:
        for worker in workers:
            _give(worker, next(tasks, None))
        while busy := [worker for worker in workers if worker.task is not None]:
            for pipe in wait([worker.pipe for worker in busy]):
                worker = next(worker for worker in busy if worker.pipe is pipe)
                number = worker.task
                assert number is not None
                try:
                    answers[number] = worker.pipe.recv()
                except (EOFError, OSError):
                    worker.process.join()
                    answers[number] = UserError(
                        f"the process of a cell ended with {_how(worker.process.exitcode)}; "
                        "the others went on"
                    )
                    workers.remove(worker)
                    worker = _started(do, worker.gpu)
                    workers.append(worker)
                _give(worker, next(tasks, None))
                answered()
    finally:
        _end(workers)
    return answers


def visible_gpus() -> list[str]:
    """Return the GPUs of this machine as CUDA_VISIBLE_DEVICES names them, without loading torch."""
    named = os.environ.get(GPUS)
    if named is not None:
        return [name.strip() for name in named.split(",") if name.strip() not in ("", "-1")]
    return [str(i) for i, _ in enumerate(Path("/proc/driver/nvidia/gpus").glob("*"))]


def _started(do: Callable[[int], Any], gpu: str | None) -> _Worker:
    ours, theirs = _fork.Pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    process = _fork.Process(target=_work, args=(do, theirs, gpu, os.getpid()))
    process.start()
    theirs.close()
    return _Worker(process, ours, gpu)


def _give(worker: _Worker, task: int | None) -> None:
    worker.task = task
    if task is not None:
        worker.pipe.send(task)


def _end(workers: Sequence[_Worker]) -> None:
    """Let idle workers go; tell busy ones that they are to stop, and wait for them; at a Ctrl-C
    meanwhile tell them again."""
    for worker in workers:
        if worker.task is not None:
            worker.process.terminate()
        else:
            with contextlib.suppress(OSError):  # it has just died
                worker.pipe.send(None)
    while alive := [worker for worker in workers if worker.process.is_alive()]:
        try:
            for worker in alive:
                worker.process.join()
        except KeyboardInterrupt:
            for worker in alive:
                worker.process.terminate()


def _how(status: int | None) -> str:
    if status is not None and status < 0:
        return signal.Signals(-status).name
    return f"status {status}"


def _work(do: Callable[[int], Any], pipe: Connection, gpu: str | None, parent: int) -> None:
    """Take tasks until there are none; leave without what the parent has to do at its end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # from a terminal it reaches the parent too,
    signal.signal(signal.SIGTERM, _interrupt)  # which passes it on as SIGTERM
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(DIE_WITH_PARENT, signal.SIGKILL)
    if gpu is not None:
        os.environ[GPUS] = gpu
    status = 0
    try:
        while os.getppid() == parent and (task := pipe.recv()) is not None:
            try:
                answer = do(task)
            except Exception as error:  # noqa: BLE001 - passed on
                answer = error
            pipe.send_bytes(_pickled(answer))
    except KeyboardInterrupt:
        status = 130
    except (EOFError, OSError):  # the parent is gone
        status = 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _pickled(answer: Any) -> bytes:
    try:
        sent = pickle.dumps(answer)
        pickle.loads(sent)
        return sent
    except Exception:  # noqa: BLE001 - some exceptions cannot be put together again
        return pickle.dumps(RuntimeError(f"{type(answer).__name__}: {answer}"))


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt
