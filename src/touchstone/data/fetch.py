"""Download a public corpus from its publisher, verified and idempotent: `touchstone fetch NAME`.

What is missing comes from the urls in conf/corpus/NAME.yaml, is written aside, compared with its
sha256 and renamed; what is already there is used, and compared too, never overwritten. A file whose
checksum nobody has recorded is said to be unverified, with its digest. Does not read the corpora,
and redistributes none of them.
"""

from __future__ import annotations

import argparse
import http.client
import shutil
import tempfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from touchstone.digest import digest_file
from touchstone.errors import UserError, no_such
from touchstone.foreign_text import tell
from touchstone.paths import conf_file, conf_names
from touchstone.schema import CorpusConfig, Source

FOLDS = range(1, 11)  # what {fold} in `source.files` stands for
TIMEOUT_S = 60.0
Say = Callable[[str], None]


def fetch(corpus: CorpusConfig, data_folder: str | Path | None, say: Say = tell) -> list[Path]:
    """Make sure that all files of a corpus are in the data folder, downloading those that are not.

    Parameters
    ----------
    corpus : its `source` names the urls, the files and their checksums.
    data_folder : paths.data; made if it does not exist.
    say : takes one line for each file, and one for the licence.

    Returns
    -------
    list of the files, in the order of the configuration.

    Raises
    ------
    UserError No source, no folder, no connection, an answer that is no archive or lacks a file, a
        folder that cannot be written, a checksum that differs. Files fetched before the error stay,
        complete; none is ever left half written.
    """
    source = corpus.source
    if source is None or not (source.files or source.convert):
        raise UserError(
            f"corpus={corpus.name}: conf/corpus/{corpus.name}.yaml names no source to fetch from. "
            "Get the files from their publisher and put them below paths.data"
        )
    if data_folder is None:
        raise UserError(
            "no folder to fetch into: set TOUCHSTONE_DATA=FOLDER, or touchstone fetch NAME --data "
            "FOLDER"
        )
    folder = Path(data_folder).expanduser()
    files = _wanted(source)
    say(f"{corpus.name}: licence {corpus.license}; cite {corpus.citation}")
    present = [name for name in files if (folder / name).exists()]
    for name in present:
        _verify(folder / name, name, corpus, say, "already there")
    missing = {name: origin for name, origin in files.items() if name not in present}
    if missing:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(
                dir=folder, prefix=".fetch-"
            ) as aside:  # same disk as the target, so renaming is atomic
                _fetch_missing(corpus, missing, folder, Path(aside), say)
        except zipfile.BadZipFile:
            raise UserError(f"{source.url}: the archive is damaged. Try again") from None
        except OSError as error:
            raise UserError(
                f"{folder}: {error.strerror or error}. Fetch into another folder: touchstone "
                f"fetch {corpus.name} --data FOLDER"
            ) from None
    return [folder / name for name in files]


def corpus_named(name: str) -> CorpusConfig:
    """Read conf/corpus/NAME.yaml, checked against the schema.

    Raises
    ------
    UserError
        If there is no such corpus, or its file does not fit the schema.
    """
    from omegaconf import DictConfig, OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    choices = conf_names("corpus")
    if name not in choices:
        raise UserError(no_such("corpus", name, choices))
    path = conf_file(f"corpus/{name}.yaml")
    try:
        settings = cast(DictConfig, OmegaConf.load(path))
        parents = [
            parent for parent in settings.pop("defaults", []) if parent != "_self_"
        ]  # a variant names its parent, as for Hydra
        layers = [OmegaConf.load(conf_file(f"corpus/{parent}.yaml")) for parent in parents]
        return OmegaConf.to_object(
            OmegaConf.merge(OmegaConf.structured(CorpusConfig), *layers, settings)
        )  # type: ignore[return-value]
    except OmegaConfBaseException as error:
        raise UserError(f"{path}: {str(error).splitlines()[0]}") from None


def add_cli(subparsers: Any) -> None:
    """Add `fetch NAME [--data FOLDER]` to the command line; its `run` takes the parsed arguments
    and returns the exit code."""
    parser = subparsers.add_parser(
        "fetch", help="download a public corpus from its publisher, verified"
    )
    parser.add_argument("name", metavar="NAME", help="a corpus of conf/corpus, e.g. ncbi_disease")
    parser.add_argument(
        "--data", metavar="FOLDER", help="where to; default: the folder in TOUCHSTONE_DATA"
    )
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    import os

    fetch(corpus_named(arguments.name), arguments.data or os.environ.get("TOUCHSTONE_DATA"))
    return 0


def _wanted(source: Source) -> dict[str, str]:
    """Return file below the data folder -> where it comes from (url, member of the archive, or name
    of a conversion)."""
    out: dict[str, str] = {}
    for name, origin in source.files.items():
        if "{fold}" in name:
            out |= {
                name.replace("{fold}", str(fold)): origin.replace("{fold}", str(fold))
                for fold in FOLDS
            }
        else:
            out[name] = origin
    return out | source.convert


def _fetch_missing(
    corpus: CorpusConfig, missing: dict[str, str], folder: Path, aside: Path, say: Say
) -> None:
    source = corpus.source
    assert source is not None  # fetch checks it
    archive = aside / "archive.zip"
    if source.url:
        _download(source.url, archive, say)
        _check(archive, source.sha256, f"what {source.url} sent", corpus)
        if not zipfile.is_zipfile(archive):
            raise UserError(
                f"{source.url}: the answer is no zip archive (a page that asks to confirm?). "
                f"Download it by hand and unpack its files below {folder}"
            )
    for number, (name, origin) in enumerate(missing.items()):
        part = aside / str(number)
        if not source.url:
            _download(origin, part, say)
        else:
            with zipfile.ZipFile(archive) as opened:
                part.write_bytes(
                    _converted(opened, origin)
                    if name in source.convert
                    else _member(opened, origin, source.url)
                )
        _verify(part, name, corpus, say, "fetched")
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        part.replace(target)


def _download(url: str, to: Path, say: Say) -> None:
    say(f"downloading {url}")
    request = urllib.request.Request(url, headers={"User-Agent": "touchstone"})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer, open(to, "wb") as handle:
            shutil.copyfileobj(answer, handle)
            expected = answer.headers.get("Content-Length")
    except urllib.error.HTTPError as error:
        raise UserError(
            f"{url}: the server answered {error.code} ({error.reason}). If the publisher moved "
            "the file, change the url in conf/corpus"
        ) from None
    except (
        urllib.error.URLError,
        http.client.HTTPException,
        TimeoutError,
        ConnectionError,
    ) as error:
        raise UserError(
            f"{url}: no answer ({getattr(error, 'reason', error)}). Try again, or put the files "
            "there by hand"
        ) from None
    if expected is not None and to.stat().st_size != int(expected):
        raise UserError(
            f"{url}: the connection broke after {to.stat().st_size} of {expected} bytes. Try again"
        )


def _member(archive: zipfile.ZipFile, end: str, url: str) -> bytes:
    """Read the one member whose path ends in `end`: archives differ in the folder they wrap around
    their files."""
    members = [name for name in archive.namelist() if f"/{name}".endswith(f"/{end}")]
    if len(members) != 1:
        raise UserError(
            f"{url}: {len(members)} files of the archive end in {end}, one was expected. "
            "If the publisher changed the archive, change source.files in conf/corpus"
        )
    return archive.read(members[0])


def _converted(archive: zipfile.ZipFile, how: str) -> bytes:
    from touchstone.data.hoc import hoc_jsonl

    conversions = {"hoc": hoc_jsonl}
    if how not in conversions:
        raise UserError(f"corpus.source.convert: {no_such('conversion', how, conversions)}")
    return conversions[how](archive)


def _verify(path: Path, name: str, corpus: CorpusConfig, say: Say, how: str) -> None:
    assert corpus.source is not None  # fetch checks it
    expected = corpus.source.sha256s.get(name)
    found = _check(path, expected, name if how == "fetched" else str(path), corpus)
    say(
        f"{name}: {how}, verified"
        if expected
        else f"{name}: {how}, not verified: no checksum known; its sha256 is {found}"
    )


def _check(path: Path, expected: str | None, what: str, corpus: CorpusConfig) -> str:
    """Return the sha256 of a file, after comparing it with what conf/corpus says it should be."""
    digest = digest_file(path)
    if expected and digest != expected:
        raise UserError(
            f"{what}: sha256 {digest} is not the recorded {expected}; nothing was changed. If you "
            "trust this version, "
            f"write its sha256 into conf/corpus/{corpus.name}.yaml; otherwise remove the file and "
            "fetch again"
        )
    return digest
