"""The files of a corpus's gold: one, or one for each part of a published split.

Finds files and folders, names them in messages, digests them. Does not read them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from touchstone.data.files import find, fold_file
from touchstone.digest import digest, digest_input
from touchstone.errors import UserError
from touchstone.schema import GoldFiles

KEYS = ("path", "train", "dev", "test", "fold")


@dataclass(frozen=True)
class Part:
    """A file or folder, the split that it is ('' where the corpus publishes none), its digest."""

    path: Path
    split: str
    origin: str


def parts_of(files: GoldFiles, data_folder: str | Path | None) -> list[Part]:
    """Return the files to read: `path`, or `train`, `test` and perhaps `dev`.

    Raises
    ------
    UserError
        If neither or both are set, or a file is missing.
    """
    named = {"train": files.train, "dev": files.dev, "test": files.test}
    published = {split: name for split, name in named.items() if name}
    key = f"corpus.gold.reader={files.reader}"
    if files.path and published:
        raise UserError(
            f"{key}: corpus.gold.path and corpus.gold.{next(iter(published))} are both set. Name "
            "one file that is to be split, or train and test (and dev) as they were published"
        )
    if not files.path and not ("train" in published and "test" in published):
        raise UserError(f"{key} needs corpus.gold.path, or corpus.gold.train and corpus.gold.test")
    wanted = {"": files.path} if files.path else published
    out = []
    for split, name in wanted.items():
        path = located(str(name), files.fold, data_folder)
        out.append(Part(path, split, origin_of(path)))
    return out


def located(name: str, fold: int | None, data_folder: str | Path | None) -> Path:
    """Return the file or folder that a corpus names; see `files.find`."""
    if "{fold}" in name:
        return fold_file(name, fold, data_folder and str(data_folder))
    return find(name, data_folder, folder=True)


def origin_of(path: Path) -> str:
    """Return the digest of a file, or of a folder: the names and digests of all files in it."""
    if not path.is_dir():
        return digest_input(path)
    return digest([[str(one.relative_to(path)), digest_input(one)] for one in inside(path)])


def inside(folder: Path, ending: str = "") -> list[Path]:
    """Return the files below a folder, sorted, without hidden ones."""
    return sorted(_walk(folder, ending))


def _walk(folder: Path, ending: str) -> Iterator[Path]:
    for path in folder.rglob(f"*{ending}"):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.is_file() and not hidden:
            yield path
