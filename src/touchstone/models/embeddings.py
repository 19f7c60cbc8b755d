"""Sentence vectors of a frozen encoder, kept on disk: each text is encoded once, whichever cell or
process comes first.

Vectors lie in the stage cache as blocks: the texts' digests and a matrix. A block is computed under
a lock and written whole, so a killed run keeps every block it finished, and a process waits for
another one for a block at the most. Texts themselves are not stored. Does not decide which encoder:
see encoder.py.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from filelock import FileLock

from touchstone.cache import MARKER, cached, intact
from touchstone.digest import digest
from touchstone.errors import UserError
from touchstone.models.encoder import Encoder, device_of, encode, load, precision_of
from touchstone.progress import progress

VERSION = 3  # of the vectors: raise it when encoder.encode gives other numbers
STAGE = "embeddings"
BLOCK = 4096  # texts; about 20 s of MiniLM on 2 cores, the longest that another process waits

log = logging.getLogger(__name__)


def embed(
    texts: Sequence[str],
    encoder: Encoder,
    *,
    cache_folder: str | Path | None,
    max_length: int = 128,
    dtype: str = "float32",
    batch_size: int = 64,
    device: str = "auto",
) -> np.ndarray:
    """Return the unit-length sentence vectors of texts, from the cache where they are known.

    Parameters
    ----------
    texts : n texts; repeated ones are encoded once.
    cache_folder : root of the stage cache; None computes everything and keeps nothing.
    max_length, dtype, device : see `encoder.load`. batch_size : see `encoder.encode`. All but the
        batch size are part of the key.

    Returns
    -------
    array of shape (n, d), float32.
    """
    names = [_name(text) for text in texts]
    text_of = dict(zip(names, texts, strict=True))
    unique = sorted(
        text_of, key=lambda name: (-len(text_of[name]), name)
    )  # blocks of similar length: batches fill evenly
    place = device_of(device)
    precision = precision_of(dtype, place)
    in_memory = functools.cache(
        lambda: load(encoder, max_length=max_length, dtype=precision, device=device)
    )  # only if a text is missing

    def compute(wanted: list[str], done: Callable[[int], None]) -> np.ndarray:
        return encode(
            in_memory(), [text_of[name] for name in wanted], batch_size=batch_size, done=done
        )

    if not unique:
        return np.zeros((0, 0), dtype=np.float32)
    if cache_folder is None:
        with progress("embedding", len(unique), "sentences") as done:
            vectors = compute(unique, done)
    else:
        import torch

        # another version or device rounds differently; the number of threads was measured to make
        # no difference
        settings = {
            "max_length": max_length,
            "dtype": precision,
            "device": place.type,
            "torch": torch.__version__,
        }
        space = digest({"encoder": encoder.digest, **settings})
        vectors = _through_cache(unique, space, Path(cache_folder) / STAGE, compute)
    row = {name: number for number, name in enumerate(unique)}
    return vectors[[row[name] for name in names]]


def _through_cache(
    names: list[str],
    space: str,
    folder: Path,
    compute: Callable[[list[str], Callable[[int], None]], np.ndarray],
) -> np.ndarray:
    """Return the vectors of texts by their digests, from blocks on disk and from new blocks."""
    store = _Blocks(names, space, folder)
    store.read_new()
    missing = store.missing(names)
    log.info("embeddings: %d of %d texts reused", len(names) - len(missing), len(names))
    if not missing:
        return store.vectors
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with progress("embedding", len(missing), "sentences") as done:
            for start in range(0, len(missing), BLOCK):
                with FileLock(str(folder / f"{space[:32]}.lock")):
                    store.read_new()  # what another process made while we waited
                    block = store.missing(missing[start : start + BLOCK])
                    if block:
                        key = {"space": space, "texts": digest(block)}
                        shift = functools.partial(_shifted, done, start)
                        job = functools.partial(compute, block, shift)
                        cached(
                            folder.parent,
                            STAGE,
                            key,
                            VERSION,
                            job,
                            functools.partial(_save, block),
                            _load,
                        )
                        store.read_new()
    except PermissionError as error:
        raise UserError(
            f"cannot write the cache {folder}: {error.strerror}; set paths.cache to a folder you "
            "own"
        ) from error
    return store.vectors


class _Blocks:
    """The vectors of `names` as they are found in the blocks of one space; every block is read
    once."""

    def __init__(self, names: list[str], space: str, folder: Path) -> None:
        self.row = {name: number for number, name in enumerate(names)}
        self.space, self.folder = space, folder
        self.known = np.zeros(len(names), dtype=bool)
        self.read: set[str] = set()
        self.vectors = np.zeros((len(names), 0), dtype=np.float32)

    def missing(self, names: list[str]) -> list[str]:
        return [name for name in names if not self.known[self.row[name]]]

    def read_new(self) -> None:
        for marker in sorted(self.folder.glob(f"*/{MARKER}")):
            if marker.parent.name in self.read or self.known.all():
                continue
            with contextlib.suppress(FileNotFoundError):  # pruned just now
                if self._read(marker):
                    self.read.add(marker.parent.name)

    def _read(self, marker: Path) -> bool:
        """Read a block where it is of this space; return whether it need not be looked at again: a
        damaged one will be computed again."""
        try:
            described = json.loads(marker.read_text(encoding="utf-8"))
            ours = described["key"]["space"] == self.space and described["version"] == VERSION
        except (KeyError, RecursionError, TypeError, ValueError):
            ours = True  # perhaps: its damage is told below
        if not ours:
            return True
        if not intact(marker.parent):
            return False
        names, vectors = _load(marker.parent)
        pairs = [(self.row[name], number) for number, name in enumerate(names) if name in self.row]
        if not pairs:
            return True
        rows, numbers = map(list, zip(*pairs, strict=True))
        if not self.vectors.shape[1]:
            self.vectors = np.zeros((len(self.row), vectors.shape[1]), dtype=np.float32)
        self.vectors[rows] = vectors[numbers]
        self.known[rows] = True
        with contextlib.suppress(OSError):  # a cache that may only be read
            os.utime(marker)  # last use, for `touchstone cache prune`
        return True


def _shifted(done: Callable[[int], None], start: int, n: int) -> None:
    """Tell the progress of a block as that of the whole."""
    done(start + n)


def _name(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _save(names: list[str], vectors: np.ndarray, folder: Path) -> None:
    np.save(folder / "names.npy", np.array(names, dtype="S64"))
    np.save(folder / "vectors.npy", vectors)


def _load(folder: Path) -> tuple[list[str], np.ndarray]:
    return [name.decode() for name in np.load(folder / "names.npy")], np.load(
        folder / "vectors.npy", mmap_mode="r"
    )
