"""Where files are: the folders of YAML files, and paths, URIs and file names made of one another.

A project's own `./conf` lies over the packaged one, file by file. MLflow speaks of places as URIs,
in which a blank, an umlaut, `#`, `%` or `?` is escaped; everything here that turns a path into a
URI or back goes through `uri_of` and `path_of`. Does not read or write anything.
"""

from __future__ import annotations

import os
import re
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from touchstone.errors import UserError

PACKAGED = Path(__file__).parent / "conf"  # of a checkout: a link to its conf/


def conf_dir() -> Path:
    """Return the folder of YAML files that comes with the package.

    Raises
    ------
    UserError
        If the installation lacks it.
    """
    if not (PACKAGED / "config.yaml").is_file():
        raise UserError(
            f"{PACKAGED} is missing: this installation lacks its configuration; install it again"
        )
    return PACKAGED


def project_conf() -> Path | None:
    """Return the project's own folder of YAML files, `./conf`; None where there is none, or where
    the working folder is the checkout of the package itself."""
    own = Path.cwd() / "conf"
    return own if own.is_dir() and not own.samefile(conf_dir()) else None


def conf_dirs() -> list[Path]:
    """Return the folders of YAML files, the first that has a file counts."""
    return [*filter(None, [project_conf()]), conf_dir()]


def conf_file(name: str | Path) -> Path:
    """Return the file of that name below conf/: the project's own, else the packaged one, which
    need not exist."""
    return next(
        (path for folder in conf_dirs() if (path := folder / name).exists()), conf_dir() / name
    )


def conf_names(group: str) -> list[str]:
    """Return the values of a configuration group that have a file, sorted.

    >>> conf_names("tracking")
    ['default']
    """
    return sorted({path.stem for folder in conf_dirs() for path in (folder / group).glob("*.yaml")})


def uri_of(path: str | Path) -> str:
    """Return the `file:` URI of a path, which is made absolute.

    >>> uri_of("/data/mein Ordner/50%")
    'file:///data/mein%20Ordner/50%25'
    """
    return "file://" + quote(os.path.abspath(path))


def path_of(uri: str) -> Path:
    """Return the path that a `file:` URI names; a plain path is returned as it is.

    >>> path_of("file:///data/mein%20Ordner/50%25").as_posix()
    '/data/mein Ordner/50%'
    >>> path_of("/data/50%25").as_posix()
    '/data/50%25'
    """
    return Path(unquote(urlsplit(uri).path)) if is_file_uri(uri) else Path(uri)


def sqlite_uri(path: str | Path) -> str:
    """Return the URI of an SQLite database, whose path is made absolute.

    >>> sqlite_uri("/data/mein Ordner/50%?/mlflow.db")
    'sqlite+pysqlite:////data/mein Ordner/50%25%3F/mlflow.db'

    Named with its driver where something is escaped: MLflow makes the folder of a plain `sqlite:`
    URI without unescaping it.
    """
    escaped = re.sub("[%?]", lambda found: quote(found[0]), os.path.abspath(path))
    scheme = "sqlite" if escaped == os.path.abspath(path) else "sqlite+pysqlite"
    return f"{scheme}:///{escaped}"


def path_of_sqlite(uri: str) -> Path:
    """Return the path of the database that an `sqlite:` URI names, as SQLAlchemy reads it.

    >>> path_of_sqlite("sqlite+pysqlite:////data/50%25%3F/mlflow.db").as_posix()
    '/data/50%?/mlflow.db'
    """
    return Path(unquote(uri.partition(":///")[2].partition("?")[0]))


def is_file_uri(uri: str) -> bool:
    """Return whether a URI names a place on this machine's disks."""
    return uri.startswith("file:")


def file_name(name: str) -> str:
    """Return a name (of a study, a run) as one that a file or folder can have anywhere: one part,
    without characters that a shell, a URL or a file system reads, at most 80 long.

    A name that had to be changed ends in four digits of its digest, so that two never become one.

    >>> file_name("two_directions"), file_name("gold|tfidf_logreg|guideline|s0")
    ('two_directions', 'gold_tfidf_logreg_guideline_s0-2eba')
    >>> file_name("../outside")
    'outside-62ca'
    """
    safe = re.sub(r"[^\w.+=-]+", "_", name, flags=re.ASCII).strip("._-")[:80]
    return (
        safe
        if safe and safe == name
        else f"{safe or 'name'}-{sha256(name.encode()).hexdigest()[:4]}"
    )
