"""Keyed digests: what stands for ids and texts of restricted corpora wherever they leave the
private stores.

An unkeyed digest of a short text can be undone by hashing likely texts ("BP 120/80."), one of an id
by counting. So both are HMAC-SHA256 (RFC 2104) with a random key that stays in the cache folder,
0600, and is in no store and no bundle. Equal texts have equal digests, so tables still join; with
the cache folder one can join them back to one's own data. No length is told. Does not decide what
is restricted (llm/guard.py) and does not hide what one may infer from labels or counts.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from touchstone.errors import UserError
from touchstone.private import FILE, private_folder

KEY_FILE = "pseudonyms.key"
KEY_BYTES = 32
NOT_SHOWN = "[text not shown]"  # where no key is at hand: messages of errors


@dataclass(frozen=True)
class Pseudonyms:
    """The key of one cache folder."""

    key: bytes

    def identifier(self, value: str) -> str:
        """Return what stands for an id: `p` and 20 hex digits; a mark after `#` (a repeated row)
        stays."""
        name, mark, number = value.partition("#")
        return f"p{self._digest('id', name)[:20]}{mark}{number}"

    def text(self, value: str) -> str:
        """Return what stands for a text, a reason or a note type."""
        return f"[withheld {self._digest('text', value)[:16]}]"

    def request(self, key: str) -> str:
        """Return what stands for a request's key, which is a digest of its whole text: as long as
        the key, so that it reads like one."""
        return self._digest("request", key)

    def _digest(self, what: str, value: str) -> str:
        message = f"{what}\0{value}".encode("utf-8", "surrogatepass")
        return hmac.new(self.key, message, hashlib.sha256).hexdigest()


def pseudonyms_of(cache: str | Path) -> Pseudonyms:
    """Return the pseudonyms of a cache folder; its key is made on first use, by whichever process
    comes first.

    Raises
    ------
    UserError
        If the key cannot be read or written.
    """
    path = Path(cache).absolute() / KEY_FILE
    try:
        private_folder(path.parent)
        if not path.exists():
            _create(path)
        return Pseudonyms(_read(path, path.stat().st_mtime_ns))
    except OSError as error:
        raise UserError(
            f"cannot use the key {path}: {error.strerror}; set paths.cache to a folder that you own"
        ) from error


def _create(path: Path) -> None:
    aside = path.with_name(f"{path.name}.{secrets.token_hex(8)}.part")
    with open(os.open(aside, os.O_CREAT | os.O_WRONLY | os.O_EXCL, FILE), "wb") as handle:
        handle.write(secrets.token_bytes(KEY_BYTES))
        handle.flush()
        os.fsync(handle.fileno())
    try:
        os.link(aside, path)  # the first process wins, and no one reads half a key
    except FileExistsError:
        pass
    finally:
        aside.unlink()


@lru_cache(maxsize=8)
def _read(path: Path, _changed: int) -> bytes:
    key = path.read_bytes()
    if len(key) != KEY_BYTES:
        raise UserError(f"{path} is no key of {KEY_BYTES} bytes; restore it, or remove it")
    return key
