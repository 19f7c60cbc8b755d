"""Errors of the tracking store itself, told in one line with the way on.

Tells a server that does not answer from one that refuses, and both from a full disk; writes the
failure of a run into the run where that is still possible. Does not retry (MLflow's client does).
"""

from __future__ import annotations

import errno
import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from mlflow.exceptions import MlflowException
from requests.exceptions import RequestException

from touchstone.errors import UserError


def readable_uri(uri: str) -> str:
    """Return the URI without user and password."""
    scheme, _, rest = uri.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}" if "@" in rest else uri


@contextmanager
def telling_trouble(uri: str) -> Iterator[None]:
    """Turn an error of the store itself (no answer, no space) into one line that says how to go on.

    Raises
    ------
    UserError
        In its place.
    """
    try:
        yield
    except (MlflowException, OSError) as error:
        trouble = store_trouble(uri, error)
        if trouble is None:
            raise
        raise UserError(trouble) from error


def store_trouble(uri: str, error: BaseException) -> str | None:
    """Return what to tell about an error of the store itself, None for any other error."""
    way_out = "what is finished is kept; then the same command runs just what is missing"
    if is_away(error):
        return f"the tracking server {readable_uri(uri)} does not answer; start it, {way_out}"
    if is_refused(error):
        return f"{readable_uri(uri)}: {reason(error)}; {way_out}"
    if isinstance(error, MlflowException) and "sqlite3.OperationalError" in str(error):
        return (
            f"cannot write the tracking store {readable_uri(uri)}: {reason(error)}; mend that, "
            f"{way_out}"
        )
    if isinstance(error, OSError) and error.errno in (
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EFBIG,
        errno.EROFS,
    ):
        return (
            f"cannot write {error.filename or 'a file'}: {error.strerror}; free some space, "
            f"{way_out}"
        )
    return None


def is_away(error: BaseException) -> bool:
    """Return whether an error says that the tracking server did not answer, or only with server
    errors, until MLflow's client gave up."""
    is_request = isinstance(error, MlflowException) and str(error).startswith("API request to ")
    return (is_request or isinstance(error, RequestException)) and not is_refused(error)


def is_refused(error: BaseException) -> bool:
    """Return whether an error says that the tracking server did not let this user in."""
    is_answer = isinstance(error, (MlflowException, RequestException))
    return (
        is_answer and re.search(r"error code 40[13]\b|^40[13] Client Error", str(error)) is not None
    )


def traceback_of(error: BaseException, restricted: bool) -> str:
    if not restricted:
        return "".join(traceback.format_exception(error))
    frames = traceback.extract_tb(error.__traceback__)
    return f"{type(error).__name__} (message withheld: restricted corpus)\n" + "".join(
        f"  {f.filename}:{f.lineno} {f.name}\n" for f in frames
    )


def reason(error: BaseException) -> str:
    """Return what an error says in one line; of a database driver's many lines, the driver's
    own."""
    if is_refused(error):
        return (
            "the server wants a user and a password that it knows; set MLFLOW_TRACKING_USERNAME "
            "and MLFLOW_TRACKING_PASSWORD"
        )
    text = str(error).strip() or type(error).__name__
    driver = re.search(r"\(sqlite3\.OperationalError\) (.+)", text)
    line = driver[1] if driver else text.splitlines()[0]
    return re.sub(r"://[^/\s@]+@", "://", line)[:300]  # user and password of tracking.uri
