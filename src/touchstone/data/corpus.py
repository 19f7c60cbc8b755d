"""A corpus as the pipeline sees it: expert-labelled examples with splits, and the unlabelled pool
as sentences.

Dispatches to one reader per file format and keeps what came out in the stage cache. Does not sample
gold or generate anything.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from touchstone import plugins
from touchstone.cache import cached
from touchstone.data import foreign, parts, people, readers
from touchstone.data.examples import (
    check,
    contradictory,
    read_parquet,
    sorted_by_label,
    write_parquet,
)
from touchstone.data.files import find
from touchstone.data.split import assign_splits, split_table
from touchstone.digest import digest_input, digest_rows
from touchstone.errors import UserError
from touchstone.schema import CorpusConfig, GoldFiles, TaskConfig
from touchstone.source_table import SYNTHETIC
from touchstone.taxonomy import Taxonomy

PUBLIC = "public"  # corpus.access
GOLD_FILES = ("path", "labels", "train", "dev", "test")
CONTRADICTORY = 0.01  # share of texts with several labelings from which a run warns of them
GOLD_VERSION = 2  # 2: a column that a header names twice, and an id as long as a text, are refused
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Gold:
    """The expert-labelled part of a corpus.

    Attributes
    ----------
    frame : example table with every row's split set.
    splits : table of patient_id, split, order, n_sentences, as saved with the run.
    provenance : file digests and what the reader counted (repaired tags, ...).
    """

    frame: pd.DataFrame
    splits: pd.DataFrame
    provenance: Mapping[str, Any]

    def part(self, split: str) -> pd.DataFrame:
        """Return the rows of train, dev or test."""
        return self.frame[self.frame["split"] == split].reset_index(drop=True)


def read_gold(
    corpus: CorpusConfig,
    task: TaskConfig,
    taxonomy: Taxonomy,
    data_folder: str | None,
    cache: str | Path,
    fold: tuple[int, int] | None = None,
) -> Gold:
    """Read a corpus's expert labels and split them; `fold` as in `assign_splits`.

    Raises
    ------
    UserError For a corpus without gold, an unknown reader, a missing or malformed file, an unknown
        category, or an empty split.
    """
    if corpus.gold is None:
        raise UserError(
            f"corpus={corpus.name} has no expert labels (gold); it can only be a pool. Give it "
            "gold files, or choose another corpus"
        )
    gold = with_subgroups(corpus.gold, task)
    files = _gold_files(gold, data_folder)
    digests = {name: parts.origin_of(path) for name, path in files.items()}
    key = {
        "corpus": corpus.name,
        "gold": asdict(gold),
        "files": digests,
        "categories": list(taxonomy.ids),
        "split": [task.test_fraction, task.dev_fraction, task.split_seed, *(fold or ())],
        **_code(corpus.gold.reader),
    }
    restricted = corpus.access == "restricted"

    def compute() -> tuple[pd.DataFrame, dict[str, Any]]:
        frame, counted = readers.read_gold_files(
            gold, taxonomy, data_folder, restricted=restricted, public=corpus.access == PUBLIC
        )
        check(frame, taxonomy.ids)
        frame = assign_splits(
            frame,
            test_fraction=task.test_fraction,
            dev_fraction=task.dev_fraction,
            seed=task.split_seed,
            fold=fold,
        )
        return frame, counted

    (frame, counted), reused = cached(cache, "gold", key, GOLD_VERSION, compute, _save, _load)
    _check_units(corpus.gold, task, frame)
    frame, left_out = _apart(corpus, frame)
    log.info("gold: %d sentences %s", len(frame), "reused" if reused else "read and split")
    for split in ("train", "test"):
        if not (frame["split"] == split).any():
            raise UserError(
                f"corpus={corpus.name}: the {split} split is empty; check corpus.gold and "
                "task.test_fraction"
            )
    differing = contradictory(frame)
    if differing > CONTRADICTORY * frame["text"].nunique():  # a short sentence may mean two things
        log.warning(
            "corpus=%s: %d texts stand several times with different labels; `touchstone inspect` "
            "shows what is odd in a file",
            corpus.name,
            differing,
        )
    for split in sorted_by_label(frame):
        log.warning(
            "corpus=%s: the %s sentences are sorted by label, so their order tells it; relations "
            "are asked about in an order drawn by seed, everything else as it stands",
            corpus.name,
            split,
        )
    overlap = {"overlap": corpus.overlap, "left_out_of_training": left_out} if left_out else {}
    return Gold(
        frame, split_table(frame, task.split_seed), {"files": digests, **counted, **overlap}
    )


def _check_units(gold: GoldFiles, task: TaskConfig, frame: pd.DataFrame) -> None:
    """Raise a UserError where the task learns from pairs of entities and the gold has none, or the
    other way round; every sentence would count as `none`."""
    if task.kind == "relation" and frame["spans"].map(bool).any():
        raise UserError(
            f"task.kind=relation learns from pairs of entities, and corpus.gold.spans_as="
            f"{gold.spans_as} reads entities alone. Write corpus.gold.spans_as=relations"
        )
    if task.kind == "ner" and gold.spans_as != "spans":
        raise UserError(
            f"task.kind=ner learns from entities, and corpus.gold.spans_as={gold.spans_as} makes "
            "labels of them. Write corpus.gold.spans_as=spans"
        )


def with_subgroups(gold: GoldFiles, task: TaskConfig) -> GoldFiles:
    """Return the files with the columns of `task.subgroups` among those that are kept."""
    columns = [name for name in task.subgroups if name not in gold.subgroup_fields]
    return replace(gold, subgroup_fields=[*gold.subgroup_fields, *columns]) if columns else gold


def _apart(corpus: CorpusConfig, frame: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """Leave out of train (and dev) whoever is in test (or dev), see data/people.py."""
    test = frame[frame["split"] == "test"]
    rest, lost = people.kept_apart(
        frame[frame["split"] != "test"],
        people.held_out({"test": test}),
        what="train",
        overlap=corpus.overlap,
    )
    train, fewer = people.kept_apart(
        rest[rest["split"] == "train"],
        people.held_out({"dev": rest[rest["split"] == "dev"]}),
        what="train",
        overlap=corpus.overlap,
    )
    if not lost + fewer:
        return frame, 0
    dev = rest.loc[rest["split"] == "dev", "example_id"]
    ids = {*train["example_id"], *dev, *test["example_id"]}
    return frame[frame["example_id"].isin(ids)].reset_index(drop=True), lost + fewer


def read_sites(
    gold: Gold,
    corpus: CorpusConfig,
    task: TaskConfig,
    taxonomy: Taxonomy,
    data_folder: str | None,
) -> tuple[Gold, dict[str, pd.DataFrame]]:
    """Read the expert-labelled test sets of other places.

    Returns
    -------
    gold : as it was; with `corpus.overlap=drop` without people of a site in train and dev.
    sites : name -> example table. They are scored and never learned from; a category that none of
        a site's sentences has is undefined there.

    Raises
    ------
    UserError
        As the readers; for a site with a published split, or whose name is none; for people of a
        site in the training gold, see data/people.py.
    """
    sites: dict[str, pd.DataFrame] = {}
    for name, files in corpus.sites.items():
        place = f"corpus.sites.{name}"
        if not re.fullmatch(r"[\w-]+", name):
            raise UserError(f"{place}: the name of a site is letters, digits, _ and -")
        if files.path is None:
            raise UserError(f"{place} needs path: a site is one test set, without parts")
        frame, _ = readers.read_gold_files(
            with_subgroups(files, task),
            taxonomy,
            data_folder,
            restricted=corpus.access == "restricted",
            public=corpus.access == PUBLIC,
            place=place,
        )
        check(frame, taxonomy.ids)
        ids = [f"{name}:{example_id}" for example_id in frame["example_id"]]
        sites[name] = frame.assign(split="test", example_id=ids)
    tested = gold.frame["split"] == "test"
    kept, lost = people.kept_apart(
        gold.frame[~tested], people.held_out(sites), what="train", overlap=corpus.overlap
    )
    if lost:
        frame = pd.concat([kept, gold.frame[tested]], ignore_index=True)
        left_out = {"overlap": corpus.overlap, "left_out_for_sites": lost}
        splits = split_table(frame, task.split_seed)
        gold = Gold(frame, splits, {**gold.provenance, **left_out})
    return gold, sites


@dataclass(frozen=True)
class Pool:
    """The unlabelled pool of data-to-label, which need not fit into memory.

    Attributes
    ----------
    key : plain data that names its content; equal keys mean equal sentences.
    parts : begins to read it: DataFrame[example_id, doc_id, patient_id, note_type, text, candidate]
        of whole notes, some thousand of them each, in reading order. Raises UserError for a
        malformed file, or at the end if there was nothing to ask about.
    """

    key: Mapping[str, Any]
    parts: Callable[[], Iterator[pd.DataFrame]]


def read_pool(
    corpus: CorpusConfig,
    seed: int,
    data_folder: str | None,
    cache: str | Path,
    rest_of_train: pd.DataFrame,
    processes: int = 1,
    held: people.HeldOut | None = None,
) -> Pool:
    """Open the pool of a corpus.

    Parameters
    ----------
    seed : of the sample of patients where `corpus.pool.max_notes` limits the pool.
    cache : keeps the segmentation of each part.
    rest_of_train : training examples whose gold labels are not used; the pool of corpora that bring
        no other text. Their labels are not looked at.
    processes : that segment, where there is more than one part.
    held : people who are tested on; see data/people.py.

    Raises
    ------
    UserError
        For a corpus without a pool, an unknown reader, or a missing file; when it is read, for
        somebody of `held` in it.
    """
    from touchstone.data import shards
    from touchstone.data.readers import rest_of_train as rest

    pool = corpus.pool
    if pool is None:
        raise UserError(
            f"corpus={corpus.name} has no unlabelled pool for data-to-label; set corpus.pool, or "
            "choose a mixture without silver"
        )
    if pool.reader == readers.REST_OF_TRAIN:
        readers.check_keys(readers.POOL, pool, rest.sentences, "POOL_KEYS")
        sentences = rest.sentences(rest_of_train, pool, seed)
        return Pool(
            {"sentences": digest_rows(sentences.to_dict("records"))},
            lambda: _counted(corpus, [sentences]),
        )
    if pool.path is None:
        raise UserError(
            f"corpus.pool.path=null: corpus.pool.reader={pool.reader} needs a file of notes"
        )
    readers.pool_reader(pool)
    path, restricted = find(pool.path, data_folder), corpus.access == "restricted"

    held = held or people.HeldOut()

    def apart(sentences: pd.DataFrame) -> pd.DataFrame:
        return people.kept_apart(sentences, held, what="the pool", overlap=corpus.overlap)[0]

    def parts() -> Iterator[pd.DataFrame]:
        read = shards.iter_shards(
            path,
            pool,
            seed,
            size=shards.SHARD_NOTES,
            restricted=restricted,
            public=corpus.access == PUBLIC,
        )
        segmented = shards.segment_shards(read, pool.candidates, cache=cache, processes=processes)
        return _counted(corpus, (apart(sentences) for _, sentences in segmented))

    dropping = {"held": sorted(held.documents)} if corpus.overlap == people.DROP else {}
    return Pool(
        {
            "pool": asdict(pool),
            "file": digest_input(path),
            "seed": seed,
            **_code(pool.reader),
            **dropping,
        },
        parts,
    )


def _counted(corpus: CorpusConfig, parts: Iterable[pd.DataFrame]) -> Iterator[pd.DataFrame]:
    """Pass the parts on, and say at the end how much there was."""
    notes = sentences = candidates = 0
    for part in parts:
        notes, sentences, candidates = (
            notes + part["doc_id"].nunique(),
            sentences + len(part),
            candidates + int(part["candidate"].sum()),
        )
        yield part
    log.info("pool: %d notes, %d sentences, %d of them candidates", notes, sentences, candidates)
    if not candidates:
        raise UserError(
            f"corpus={corpus.name}: the pool has no sentences to label; check corpus.pool (keep, "
            "candidates, max_notes, reserve) and the gold taken"
        )


def input_digests(corpus: CorpusConfig, data_folder: str | None) -> dict[str, str | None]:
    """Return the digest of each file that the corpus names, None for one that is missing (reading
    it says so)."""
    files = (
        {name: str(getattr(corpus.gold, name)) for name in GOLD_FILES if getattr(corpus.gold, name)}
        if corpus.gold
        else {}
    )
    if corpus.pool is not None:
        files |= {
            f"pool.{name}": str(value)
            for name in ("path", "labels")
            if (value := getattr(corpus.pool, name))
        }
    for source in SYNTHETIC:
        names = foreign.paths_of(corpus, source)
        files |= {f"{source}.{number}": name for number, name in enumerate(names)}
    files |= {f"sites.{name}": str(site.path) for name, site in corpus.sites.items() if site.path}
    digests: dict[str, str | None] = {}
    for name, path in files.items():
        try:
            digests[name] = parts.origin_of(
                parts.located(path, corpus.gold.fold if corpus.gold else None, data_folder)
            )
        except (UserError, OSError):
            digests[name] = None
    return digests


def _gold_files(gold: GoldFiles, data_folder: str | None) -> dict[str, Path]:
    names = {name: getattr(gold, name) for name in GOLD_FILES}
    paths = {}
    for name, value in names.items():
        if value:
            try:
                paths[name] = parts.located(str(value), gold.fold, data_folder)
            except UserError:
                if gold.reader != "huggingface":  # may be a name of the hub; the reader tells
                    raise
    return paths


def _code(reader: str) -> dict[str, Any]:
    """Return what names the code of a user's own reader, nothing for the package's own."""
    files = plugins.own_files((reader, readers.FOLDER))
    return {"reader": [digest_input(file) for file in files]} if files else {}


def _save(value: tuple[pd.DataFrame, dict[str, Any]], folder: Path) -> None:
    import json

    write_parquet(value[0], folder / "gold.parquet")
    (folder / "counted.json").write_text(json.dumps(value[1]))


def _load(folder: Path) -> tuple[pd.DataFrame, dict[str, Any]]:
    import json

    return read_parquet(folder / "gold.parquet"), json.loads((folder / "counted.json").read_text())
