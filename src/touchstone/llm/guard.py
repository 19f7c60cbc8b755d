"""The data-use guard: text of a restricted corpus goes nowhere that no agreement covers.

    recorded, transformers     nothing leaves the machine openai, openai_batch       location=local:
    an address of this machine or of a private network; else the corpus must stand in
                               llm.approved_for
    batch_file                 llm.purpose must say why; the file is 0600 and its name says
    RESTRICTED

Checked before anything is sent or written. What may be logged of restricted text is `redacted`.
Does not de-identify and does not know what an agreement allows: it makes people name it.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Iterable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from touchstone.errors import UserError
from touchstone.llm.protocol import Request

if TYPE_CHECKING:
    import pandas as pd

    from touchstone.schema import LLMConfig

_PRIVATE_NAMES = (".local", ".internal", ".lan", ".intranet", ".home.arpa", ".localhost")


def check(requests: Iterable[Request], llm: LLMConfig, corpus: str, access: str = "public") -> None:
    """Refuse restricted requests that `llm` may not see.

    Parameters
    ----------
    requests : what is about to be asked; those with `restricted` are held to the rules.
    corpus : name of the corpus, as `approved_for` lists it.
    access : `restricted` holds all of them to the rules.

    Raises
    ------
    UserError
        Naming corpus and config and the ways out; nothing was sent.
    """
    if access != "restricted" and not any(request.restricted for request in requests):
        return
    named = f"corpus {corpus}" if corpus else "a corpus (not named here)"
    if llm.backend in ("recorded", "transformers"):
        return
    if llm.backend == "batch_file":
        if not (llm.purpose or "").strip():
            raise UserError(
                f"{named} is restricted and llm={llm.name} would write its text to a file; nothing was written. "
                "Say what the file is for: llm.purpose='...' (the file is made readable to you only and marked RESTRICTED)"
            )
        return
    if corpus and corpus in llm.approved_for:
        return
    if llm.location != "local":
        raise UserError(
            f"{named} is restricted and llm={llm.name} is remote; nothing was sent. Use a local backend (llm=vllm, llm=ollama, "
            f"llm=llamacpp, llm=transformers), or, if an agreement allows it, name the corpus: llm.approved_for=[{corpus or 'NAME'}]"
        )
    host = urlsplit(llm.endpoint).hostname or ""
    if not is_private(host):
        raise UserError(
            f"{named} is restricted and llm={llm.name} says location=local, but {host or llm.endpoint} is neither this machine nor in a "
            f"private network; nothing was sent. If an agreement covers it: llm.location=remote llm.approved_for=[{corpus or 'NAME'}]"
        )


def is_private(host: str) -> bool:
    """Tell whether a host is this machine or in a private network, by its name or number alone (no
    look-up is made).

    Examples
    --------
    >>> is_private("127.0.0.1"), is_private("10.1.2.3"), is_private("gpu7"), is_private("api.openai.com")
    (True, True, True, False)
    """
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return (
            host == "localhost" or (bool(host) and "." not in host) or host.endswith(_PRIVATE_NAMES)
        )
    return address.is_loopback or address.is_private or address.is_link_local


def redacted(text: str) -> str:
    """Return what may be shown of a restricted text: its length and the start of its digest.

    Examples
    --------
    >>> redacted("Patient seen today.")
    '[19 characters, sha256 0a6c7b86]'
    """
    return f"[{len(text)} characters, sha256 {hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}]"


def publishable(table: pd.DataFrame, with_text: bool) -> pd.DataFrame:
    """Return a table as it may be logged: without `with_text`, texts and the reasons that may quote
    them redacted."""
    if with_text or "text" not in table:
        return table
    columns = [name for name in ("text", "reason") if name in table]
    return table.assign(
        **{name: [redacted(str(value)) for value in table[name]] for name in columns}
    )
