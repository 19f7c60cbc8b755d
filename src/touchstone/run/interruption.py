"""Ctrl-C and SIGTERM where cells run in joblib's processes: each is told once and waits for the
calls that it has in flight, and only then does the sweep end.

Left to itself joblib kills its processes at once, and answers that are paid for go with them. The
launching process passes the signal on; a process that got it ends its cell and begins no other.
Does not know the calls (llm/pool.py waits for them) nor forked processes (workers.py).
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

log = logging.getLogger(__name__)

JOBLIB = "JoblibLauncher"
_ending = threading.Event()  # this process was told to end


class Interrupted(Exception):
    """Ends the job of a process that was told to end; not a KeyboardInterrupt, which would end the
    other processes too."""


@contextmanager
def passed_on(launcher: str) -> Iterator[None]:
    """Around a launch, in the launching process: pass the first Ctrl-C on to joblib's processes and
    wait for them; the second ends them.

    Parameters
    ----------
    launcher : `_target_` of the launcher; any other than joblib's is left alone.

    Raises
    ------
    KeyboardInterrupt When all processes have ended their cells.
    """
    if not launcher.endswith(JOBLIB) or threading.current_thread() is not threading.main_thread():
        yield
        return
    interrupted = False

    def interrupt(*_: Any) -> None:
        nonlocal interrupted
        processes = multiprocessing.active_children()
        if interrupted or not processes:
            raise KeyboardInterrupt
        interrupted = True
        log.warning(
            "interrupted: each cell waits for its requests in flight; Ctrl-C again drops them"
        )
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid or 0, signal.SIGTERM)

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    except Exception:
        if not interrupted:  # else of a process that had not yet begun, and so was killed
            raise
    finally:
        signal.signal(signal.SIGINT, before)
    if interrupted:
        raise KeyboardInterrupt


@contextmanager
def heeded(launcher: str) -> Iterator[None]:
    """Around a job, in a process of joblib's: end the job when told to, and begin none after that.

    Raises
    ------
    Interrupted Instead of KeyboardInterrupt.
    """
    if not launcher.endswith(JOBLIB):
        yield
        return
    if _ending.is_set():
        raise Interrupted("the sweep was interrupted before this cell began")
    at_work, launching = True, os.getppid()

    def interrupt(*_: Any) -> None:
        _ending.set()
        if at_work:
            raise KeyboardInterrupt
        if os.getppid() != launching:  # is gone, and nobody else would end this process
            os._exit(128 + signal.SIGTERM)

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # from a terminal it reaches the launching process
    signal.signal(signal.SIGTERM, interrupt)  # too, which passes it on as SIGTERM
    try:
        yield
    except KeyboardInterrupt as stop:
        _ending.set()
        raise Interrupted(str(stop) or "interrupted") from None
    finally:
        at_work = False
