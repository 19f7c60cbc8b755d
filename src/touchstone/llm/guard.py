"""The data-use guard: text of a restricted corpus goes nowhere that no agreement covers.

    recorded, transformers  nothing leaves the machine; `llm.trust_remote_code` lets a model
                            folder's code read the notes and needs llm.approved_for too
    openai, openai_batch    location=local: every address of the endpoint is on this machine or in a
                            private network (addresses.py); else the corpus must stand in
                            llm.approved_for
    batch_file              llm.purpose must say why; the file is 0600 and its name says RESTRICTED

Checked before anything is sent or written. What may be logged of restricted text is what
`publishable` leaves. Does not de-identify and does not know what an agreement allows: it makes
people name it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from touchstone.errors import UserError
from touchstone.llm.addresses import local_addresses
from touchstone.llm.protocol import Request
from touchstone.pseudonyms import Pseudonyms, pseudonyms_of

if TYPE_CHECKING:
    import pandas as pd

    from touchstone.schema import LLMConfig

IDS = ("example_id", "doc_id", "patient_id", "note_id")
TEXTS = ("text", "reason", "note_type")
KEYS = ("key", "origin")  # digests of whole requests: with one sentence each, a guess can be tested


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
    if llm.backend == "recorded":
        return
    if llm.backend == "transformers":
        if llm.trust_remote_code and corpus not in llm.approved_for:
            raise UserError(
                f"{named} is restricted and llm.trust_remote_code=true lets code of the folder "
                f"{llm.model} read its text; nothing was loaded. If an agreement covers that code: "
                f"llm.approved_for=[{corpus or 'NAME'}]"
            )
        return
    if llm.backend == "batch_file":
        if not (llm.purpose or "").strip():
            raise UserError(
                f"{named} is restricted and llm={llm.name} would write its text to a file; "
                "nothing was written. "
                "Say what the file is for: llm.purpose='...' (the file is made readable to you "
                "only and marked RESTRICTED)"
            )
        return
    if corpus and corpus in llm.approved_for:
        return
    if llm.location != "local":
        raise UserError(
            f"{named} is restricted and llm={llm.name} is remote; nothing was sent. Use a local "
            "backend (llm=vllm, llm=ollama, "
            "llm=llamacpp, llm=transformers), or, if an agreement allows it, name the corpus: "
            f"llm.approved_for=[{corpus or 'NAME'}]"
        )
    local_addresses(llm.endpoint)


def publishable(
    table: pd.DataFrame, with_text: bool, pseudonyms: Pseudonyms | None
) -> pd.DataFrame:
    """Return a table as it may be logged: without `with_text`, ids, texts, note types and reasons
    as keyed digests.

    Parameters
    ----------
    pseudonyms : of the cache folder; None only where `with_text`.
    """
    if with_text or pseudonyms is None:
        return table
    how = {
        **dict.fromkeys(IDS, pseudonyms.identifier),
        **dict.fromkeys(TEXTS, pseudonyms.text),
        **dict.fromkeys(KEYS, pseudonyms.request),
    }
    return table.assign(
        **{
            name: [_hidden(value, how[name]) for value in table[name]]
            for name in table.columns
            if name in how
        }
    )


def logged_id(config: Mapping[str, Any]) -> Callable[[str], str]:
    """Return the function that turns an id of the corpus into the id that the runs of a
    configuration show, so that tables of a run join with the reader's own data."""
    shown = config["tracking"].get("log_restricted_text", False)
    if config["corpus"]["access"] != "restricted" or shown:
        return str
    return pseudonyms_of(config["paths"]["cache"]).identifier


def _hidden(value: object, how: Callable[[str], str]) -> object:
    """Return the digest of a value; what is empty stays empty."""
    return how(str(value)) if isinstance(value, (str, int, float)) and str(value) else value
