"""The tables of a Hugging Face data set on disk: Arrow files of `save_to_disk`, or Parquet.

Reads them with pyarrow, and the names of codes from the features that stand beside or in them.
Downloads a data set of the hub as its Parquet conversion. Does not know what columns mean.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from touchstone.data import parts
from touchstone.errors import UserError, no_such

NAMES = {"train": "train", "validation": "dev", "valid": "dev", "dev": "dev", "test": "test"}
SPLIT = re.compile(r"(train|validation|valid|dev|test)\b")
HUB = re.compile(r"[\w.-]+/[\w.-]+")
CONVERTED = "refs/convert/parquet"  # the branch where the hub keeps data sets as Parquet


@dataclass(frozen=True)
class Rows:
    """One split: its rows, columns, the names of its codes by column, and its digest."""

    values: list[dict[str, Any]]
    columns: tuple[str, ...]
    names: Mapping[str, list[str]]
    origin: str

    def named(self, column: str, value: Any) -> Any:
        """Return a code, or a list of codes, as the names that the data set gives them."""
        known = self.names.get(column)
        if known is None or value is None:
            return value
        if isinstance(value, list):
            return [known[code] if isinstance(code, int) else code for code in value]
        return known[value] if isinstance(value, int) and 0 <= value < len(known) else value


def splits_of(
    path: str, data_folder: str | Path | None, options: Mapping[str, Any]
) -> dict[str, Rows]:
    """Return train, dev and test of a data set, or '' alone where it has no published split.

    Raises
    ------
    UserError
        If it is neither a folder nor on the hub, or a split that `options.splits` names is missing.
    """
    folder = _folder(path, data_folder, options)
    files: dict[str, list[Path]] = {}
    for file in [*parts.inside(folder, ".arrow"), *parts.inside(folder, ".parquet")]:
        name = file.relative_to(folder).as_posix()
        if file.name.startswith("cache-"):
            continue
        match = SPLIT.search(name)
        files.setdefault(match[1] if match else "", []).append(file)
    if not files:
        raise UserError(f"{path}: no .arrow or .parquet files; save_to_disk makes such a folder")
    order = [*NAMES, ""]  # training first, as in every other corpus
    chosen = options.get("splits") or sorted(files, key=order.index)
    for name in chosen:
        if name not in files:
            raise UserError(f"{path}: {no_such('split', str(name), files)}")
    out: dict[str, Rows] = {}
    for name in chosen:
        split = NAMES.get(name, "") if len(chosen) > 1 else ""
        out[split] = _rows(files[name], folder)
    if len(chosen) > 1 and not {"train", "test"} <= set(out):
        raise UserError(
            f"{path}: has {', '.join(map(str, files))}, and no train and test. Take one part, "
            "which "
            "is then split: +corpus.gold.options={splits: [train]}"
        )
    return out


def _rows(files: list[Path], folder: Path) -> Rows:
    try:
        tables = [_table(file) for file in files]
    except (pa.ArrowException, OSError):
        raise UserError(f"{files[0]}: damaged, or not Arrow or Parquet") from None
    table = pa.concat_tables(tables, promote_options="default")
    features = _features(table, files[0].parent)
    names = {column: found for column, one in features.items() if (found := _codes(one))}
    origin = parts.origin_of(folder)
    return Rows(table.to_pylist(), tuple(table.column_names), names, origin)


def _table(file: Path) -> pa.Table:
    if file.suffix == ".parquet":
        return pq.read_table(file)
    with pa.memory_map(str(file)) as source:
        return pa.ipc.open_stream(source).read_all()


def _features(table: pa.Table, folder: Path) -> dict[str, Any]:
    info = folder / "dataset_info.json"
    if info.exists():
        return dict(json.loads(info.read_text(encoding="utf-8")).get("features") or {})
    described = (table.schema.metadata or {}).get(b"huggingface")
    return dict(json.loads(described).get("info", {}).get("features") or {}) if described else {}


def _codes(feature: Any) -> list[str] | None:
    """Return the names of a ClassLabel, alone or in a list."""
    if isinstance(feature, Mapping):
        names = feature.get("names")
        if feature.get("_type") == "ClassLabel" and isinstance(names, list):
            return names
        return _codes(feature.get("feature"))
    return None


def _folder(path: str, data_folder: str | Path | None, options: Mapping[str, Any]) -> Path:
    hub = sorted({"config", "revision"} & set(options))
    try:
        folder = parts.located(path, None, data_folder)
    except UserError:
        if not HUB.fullmatch(path):
            raise
        return _downloaded(path, options)
    if not folder.is_dir():
        raise UserError(f"{folder}: a data set of Hugging Face is a folder; see save_to_disk")
    if hub:
        raise UserError(f"corpus.gold.options.{hub[0]}: {folder} is a folder; it has none")
    return folder


def _downloaded(name: str, options: Mapping[str, Any]) -> Path:
    from huggingface_hub import snapshot_download

    config = options.get("config")
    patterns = [f"{config}/*", f"{config}/**"] if config else ["**/*.parquet", "*.parquet"]
    try:
        folder = Path(
            snapshot_download(
                name,
                repo_type="dataset",
                revision=options.get("revision") or CONVERTED,
                allow_patterns=patterns,
            )
        )
    except Exception as error:  # no network, no such name, no permission: of many classes
        raise UserError(
            f"{name}: no such folder, and not to be had from the hub ({type(error).__name__}). "
            "Save it where there is a network: load_dataset(...).save_to_disk(FOLDER)"
        ) from None
    configs = [one.name for one in folder.iterdir() if one.is_dir()]
    if not config and len(configs) > 1:
        raise UserError(
            f"{name}: has several configurations ({', '.join(sorted(configs))}). Name one: "
            "+corpus.gold.options={config: NAME}"
        )
    return folder / config if config else folder
