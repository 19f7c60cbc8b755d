"""Secrets: read from the environment or a .env file, never from YAML, never shown.

A configuration names environment variables (`llm.api_key_env`, `llm.headers_env`), not keys;
`scrub` is for what is logged all the same, since a key pasted into a YAML file or an override is a
mistake that must not reach a tracking server.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from touchstone.errors import UserError

if TYPE_CHECKING:
    from touchstone.schema import LLMConfig

HIDDEN = "***"
_NAMES = re.compile(
    r"(api_?key|secret|passw(or)?d|authorization|credential|(^|_)token$|access_token|auth_token)",
    re.IGNORECASE,
)
_VALUES = re.compile(
    r"(sk-[A-Za-z0-9_-]{16,}|hf_[A-Za-z0-9]{16,}|gh[pousr]_[A-Za-z0-9]{16,}|AKIA[0-9A-Z]{16}|eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]*|"
    r"(?:gsk|r8|glpat|pplx|xai|nvapi)[_-][A-Za-z0-9_-]{16,}|AIza[\w-]{30,}|"
    r"Bearer\s+[\w.~+/-]{16,}=*)"
)
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]{0,59}")  # as variables are named by convention
# user and password, or a token, before the host; a path of a file (sqlite:////) has none
_IN_URL = re.compile(r"(?<=://)(?!/)[^@\s\"',]+(?=@)")
_IN_QUERY = re.compile(
    r"(?<=[?&])((?:api[_-]?key|key|token|access_token|sig|password)=)[^&\s\"',]+", re.IGNORECASE
)


def refuse_pasted(overrides: Iterable[str]) -> None:
    """Refuse overrides (KEY=VALUE) that hold a secret instead of the name of a variable.

    Raises
    ------
    UserError
        Naming the key, never the value; to be called before anything is written.
    """
    for override in overrides:
        key, _, value = override.partition("=")
        name = key.lstrip("+~")
        for part in value.strip("[]{}\"' ").split(","):
            _refuse(name, part.rpartition(":")[2] if name == "llm.headers_env" else part)


def refuse_secrets(llm: LLMConfig) -> None:
    """As `refuse_pasted`, for a composed configuration: a YAML file may hold a secret as well."""
    _refuse("llm.api_key_env", llm.api_key_env or "")
    _refuse("llm.endpoint", llm.endpoint)
    for name, variable in llm.headers_env.items():
        _refuse(f"llm.headers_env.{name}", variable)


def _refuse(key: str, value: str) -> None:
    value = value.strip("\"' ")
    if "${" in value:
        return
    names_variable = key == "llm.api_key_env" or key.startswith("llm.headers_env")
    if names_variable and value not in ("", "null"):
        named = _VARIABLE.fullmatch(value) and not _VALUES.search(value)
        if not named and not _value(value):
            raise UserError(
                f"{key}: this is not the name of an environment variable, and may be a key itself; "
                "it was not written anywhere. Put the key into a variable or a file .env, and name "
                f"the variable: {key}=MY_KEY"
            )
    elif value.lower().startswith("http") and (_IN_URL.search(value) or _IN_QUERY.search(value)):
        raise UserError(
            f"{key}: a user, a password or a key stands in the address; it was not written "
            "anywhere. Take it out, and name variables for what the server wants: llm.headers_env, "
            "llm.api_key_env, MLFLOW_TRACKING_USERNAME and _PASSWORD"
        )
    elif _VALUES.search(value):
        raise UserError(
            f"{key}: the value looks like a key; it was not written anywhere. Put it into an "
            "environment variable and name that: llm.api_key_env=MY_KEY"
        )


def secret(variable: str, what: str) -> str:
    """Return the value of an environment variable, from the environment or from `.env` in the
    working folder.

    Parameters
    ----------
    variable : its name.
    what : the setting that names it, for the error.

    Raises
    ------
    UserError
        If it is not set.
    """
    value = os.environ.get(variable) or _dotenv(str(Path.cwd() / ".env")).get(variable)
    if not value:
        raise UserError(
            f"{what}={variable}: that environment variable is not set; export it, or write "
            f"{variable}=... into a file .env here"
        )
    return value


def api_key(llm: LLMConfig) -> str:
    """Return the key for an endpoint, 'none' where the configuration names no variable (a local
    server wants none).

    Nothing is taken from OPENAI_API_KEY by itself: a key must not reach a server that it was not
    meant for.
    """
    return secret(llm.api_key_env, "llm.api_key_env") if llm.api_key_env else "none"


def headers(llm: LLMConfig) -> dict[str, str]:
    """Return the extra headers of an endpoint, their values from the environment."""
    return {
        name: secret(variable, f"llm.headers_env.{name}")
        for name, variable in llm.headers_env.items()
    }


def scrub(plain: Any) -> Any:
    """Return plain data (a configuration) with every secret replaced by `***`.

    Hidden are values under names such as api_key, password or token (names that end in `_env` hold
    a variable's name and stay), values that look like keys of known providers, user and password in
    URLs, and every value that stands in a variable that the configuration names under `api_key_env`
    or `headers_env`.

    Examples
    --------
    >>> llm = {"api_key": "abc", "api_key_env": "OPENAI_API_KEY", "max_tokens": 5}
    >>> scrub({"llm": {**llm, "endpoint": "https://me:pw@host/v1"}})
    {'llm': {'api_key': '***', 'api_key_env': 'OPENAI_API_KEY', 'max_tokens': 5,
    'endpoint': 'https://***@host/v1'}}
    """
    return _scrubbed(plain, _values_named(plain))


def _scrubbed(plain: Any, known: frozenset[str]) -> Any:
    if isinstance(plain, Mapping):
        return {
            name: HIDDEN if _hides(str(name), value) else _scrubbed(value, known)
            for name, value in plain.items()
        }
    if isinstance(plain, (list, tuple)):
        return [_scrubbed(value, known) for value in plain]
    if isinstance(plain, str):
        for value in known:
            plain = plain.replace(value, HIDDEN)
        plain = _IN_QUERY.sub(rf"\1{HIDDEN}", _VALUES.sub(HIDDEN, plain))
        return _IN_URL.sub(HIDDEN, plain)
    return plain


def _hides(name: str, value: Any) -> bool:
    return (
        isinstance(value, str)
        and bool(value)
        and not name.endswith("_env")
        and bool(_NAMES.search(name))
    )


def _values_named(plain: Any) -> frozenset[str]:
    """Return the values of the environment variables that the configuration names: whatever their
    name or form, they are secrets."""
    values: set[str] = set()
    if isinstance(plain, Mapping):
        for name, value in plain.items():
            if name == "api_key_env" and isinstance(value, str):
                values.add(_value(value))
            elif name == "headers_env" and isinstance(value, Mapping):
                values.update(_value(str(variable)) for variable in value.values())
            else:
                values |= _values_named(value)
    elif isinstance(plain, (list, tuple)):
        values.update(*(_values_named(value) for value in plain))
    return frozenset(
        value for value in values if len(value) >= 8
    )  # shorter ones would blank ordinary words


def _value(variable: str) -> str:
    return os.environ.get(variable) or _dotenv(str(Path.cwd() / ".env")).get(variable) or ""


@lru_cache(maxsize=4)
def _dotenv(path: str) -> dict[str, str | None]:
    if not Path(path).is_file():
        return {}
    from dotenv import dotenv_values

    return dict(dotenv_values(path))
