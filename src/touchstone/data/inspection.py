"""`touchstone inspect FILE`: what a file of labels is, what is odd in it, and the YAML that reads
it.

Recognises the format (data/recognise.py), reads the file with categories as it finds them, and
counts. `--save NAME` writes corpus, task and taxonomy skeletons into ./conf. Shows column names and
categories, no sentence: whoever looks may sit beside somebody else.
"""

from __future__ import annotations

import argparse
import re
from collections import Counter
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from touchstone.data import readers
from touchstone.data.examples import contradictory
from touchstone.data.files import find, quoted
from touchstone.data.ids import form
from touchstone.data.labels import hearing
from touchstone.data.pairs import MARK
from touchstone.data.people import knows_patients
from touchstone.data.recognise import recognised
from touchstone.errors import UserError
from touchstone.foreign_text import tell
from touchstone.schema import CategoryConfig, GoldFiles, TaxonomyConfig
from touchstone.taxonomy import taxonomy_of

SHOWN = 30  # categories
UNTRANSLATED = ("labelled_notes", "bio_tsv", "relation_tsv")  # readers without `label_map`
RELATED = "related"  # what relation_tsv's label 1 is called
ALONE = "none_of_these"  # category that stands in while the words of a file are heard


@dataclass(frozen=True)
class Inspection:
    """What a file is.

    Attributes
    ----------
    files : as `corpus.gold` would name it.
    words : its labels or types -> the category id that stands for each.
    frame : its example table, with those categories.
    counted : what the reader counted.
    odd : what to look at before using it, a sentence each.
    """

    files: GoldFiles
    words: dict[str, str]
    frame: pd.DataFrame
    counted: dict[str, Any]
    odd: tuple[str, ...]

    @property
    def kind(self) -> str:
        """The kind of task that the labels allow."""
        if self.files.spans_as == "relations" or self.files.reader == "relation_tsv":
            return "relation"
        if self.frame["spans"].map(bool).any():
            return "ner"
        several = self.frame["labels"].map(len).max() > 1
        if len(self.words) == 1:
            return "binary"
        return "multilabel" if several else "multiclass"


def inspect(path: str | Path, **keys: Any) -> Inspection:
    """Say what a file or folder of labels is.

    Parameters
    ----------
    path : the file.
    keys : of `corpus.gold`, which are taken instead of what is recognised.

    Raises
    ------
    UserError
        If it is of no known format, or its reader refuses it.
    """
    file = find(path, folder=True).resolve()
    files = GoldFiles(path=str(file), **keys) if "reader" in keys else recognised(file)
    for name, value in keys.items():
        setattr(files, name, value)
    with hearing() as heard:
        frame, _ = readers.read_gold_files(files, _taxonomy([ALONE]), None)
    words = {word: identifier(word) for word in sorted(heard)}
    if files.reader in UNTRANSLATED:  # their words are the categories
        types = {span["type"] for spans in frame["spans"] for span in spans}
        words = {word: word for word in sorted({*heard, *types})} or {RELATED: RELATED}
    taxonomy = _taxonomy(list(dict.fromkeys(words.values())) or [ALONE])
    files.label_map = {word: one for word, one in words.items() if word != one} | files.label_map
    frame, counted = readers.read_gold_files(files, taxonomy, None)
    odd = [*oddities(frame), *_unread(files, counted)]
    return Inspection(files, words, frame, counted, tuple(odd))


def _unread(files: GoldFiles, counted: dict[str, Any]) -> list[str]:
    """Return that a file holds relations, where they are not read."""
    relations = counted.get("relations", 0) or counted.get("links", 0)
    if not relations or files.spans_as == "relations":
        return []
    return [
        f"{relations} relations between entities, not read; a task of relations: spans_as=relations"
    ]


def identifier(word: str) -> str:
    """Return a category id for a word of a file.

    >>> identifier("Cognitive Impairment"), identifier("73211009")
    ('cognitive_impairment', 'code_73211009')
    """
    name = re.sub(r"\W+", "_", word.strip().lower()).strip("_") or "category"
    return f"code_{name}" if name[0].isdigit() else f"{name}_" if name == "none" else name


def oddities(frame: pd.DataFrame) -> list[str]:
    """Return what is odd in an example table: duplicates with other labels, classes of one patient,
    rows sorted by label, ids that differ in form, ids that look like row numbers."""
    odd = []
    said = frame["labels"].map(tuple)
    differing = contradictory(frame)
    repeated = int(frame["text"].duplicated().sum())
    if differing:
        odd.append(f"{differing} texts stand several times with different labels")
    elif repeated:
        odd.append(f"{repeated} texts stand there before")
    patients: dict[str, set[str]] = {}
    for row in frame.itertuples(index=False):
        for name in {*row.labels, *(span["type"] for span in row.spans)}:
            patients.setdefault(name, set()).add(row.patient_id)
    alone = sorted(name for name, people in patients.items() if len(people) == 1)
    if alone:
        unit = "patient" if knows_patients(frame) else "document"
        odd.append(f"of one {unit} only, so never in training and test: {', '.join(alone)}")
    changes = int((said != said.shift()).sum())
    if said.nunique() > 1 and len(frame) > 20 and changes <= said.nunique():
        odd.append("the rows are sorted by label: documents of one label each?")
    forms = Counter(form(one) for one in frame["patient_id"].unique())
    twice = sum(count > 1 for count in forms.values())
    if twice:
        odd.append(f"{twice} patients have ids that differ in form alone (001 and 1)")
    if not knows_patients(frame) and frame["doc_id"].nunique() == len(frame):
        odd.append("each row is a document of its own: intervals count sentences, not patients")
    if not frame["labels"].map(bool).any() and not frame["spans"].map(bool).any():
        odd.append("nothing is labelled")
    return odd


def corpus_yaml(found: Inspection, name: str) -> str:
    """Return the corpus as YAML: what is not at its default."""
    gold = set_keys(found.files)
    corpus = {
        "name": name,
        "access": "restricted",
        "license": "to be stated",
        "gold": gold,
    }
    return f"# touchstone run corpus={name} task={name}\n{_yaml(corpus)}"


def set_keys(files: GoldFiles) -> dict[str, Any]:
    """Return the reader, and the keys that are not at their defaults."""
    keys: dict[str, Any] = {"reader": files.reader}
    for one in fields(files):
        default = one.default_factory() if one.default_factory is not MISSING else one.default
        value = getattr(files, one.name)
        if one.name != "reader" and value != default:
            keys[one.name] = value
    return keys


def task_yaml(found: Inspection, name: str) -> str:
    """Return a task on the corpus: its kind, all gold, and a study of its own."""
    groups = {"corpus": name, "taxonomy": name}
    if found.kind == "ner":
        groups |= {"generation": "ner", "classifier": "tagger"}
    elif found.kind == "relation":
        groups |= {"generation": "relation", "classifier": "tfidf_words_logreg"}
    defaults = "".join(
        f"  - override /{group}@_global_.{group}: {value}\n" for group, value in groups.items()
    )
    body = {"name": name, "study": name, "kind": found.kind, "gold_patients": None}
    return f"# touchstone run task={name}\ndefaults:\n{defaults}  - _self_\n{_yaml(body)}"


def taxonomy_yaml(found: Inspection, name: str) -> str:
    """Return a taxonomy with the categories found; what counts as each is left to be written."""
    categories = [
        {"id": one, "name": word, "counts": f"to be written: what counts as {word}"}
        for word, one in found.words.items()
    ]
    taxonomy: dict[str, Any] = {"name": name, "version": 1, "title": "to be written"}
    if found.kind == "relation":
        both = Counter(tuple(sorted(MARK.findall(text))) for text in found.frame["text"])
        taxonomy["marks"] = list(both.most_common(1)[0][0])  # the two types that are paired
    taxonomy["categories"] = categories
    return (
        f"# touchstone run taxonomy={name}\n# The annotation guideline as data: prompts show the "
        "LLM "
        f"what counts as each category.\n{_yaml(taxonomy)}"
    )


def described(found: Inspection) -> list[str]:
    """Return what is printed about a file."""
    frame, files = found.frame, found.files
    looks = found.counted.get("looks", {})
    looks = ", ".join(looks.values()) if isinstance(looks, dict) else ""
    counts = Counter(
        name
        for row in frame.itertuples(index=False)
        for name in [*row.labels, *(span["type"] for span in row.spans)]
    )
    lines = [
        f"{files.path}: {files.reader}{f' ({looks})' if looks else ''}",
        f"{len(frame)} texts, {frame['doc_id'].nunique()} documents, "
        + (
            f"{frame['patient_id'].nunique()} patients"
            if knows_patients(frame)
            else "patients not known"
        ),
        f"{len(counts)} categories, {found.kind}: "
        + ", ".join(f"{quoted(name)} {count}" for name, count in counts.most_common(SHOWN)),
    ]
    return lines + [f"look at: {one}" for one in found.odd]


def add_cli(subparsers: Any) -> None:
    """Declare `touchstone inspect`."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "inspect", help="what a file of labels is, what is odd in it, and the YAML that reads it"
    )
    parser.add_argument("file", help="file or folder with labels")
    parser.add_argument("keys", nargs="*", metavar="KEY=VALUE", help="keys of corpus.gold")
    parser.add_argument("--save", metavar="NAME", help="write conf/corpus, task and taxonomy/NAME")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    keys = {}
    known = [one.name for one in fields(GoldFiles)]
    for one in arguments.keys:
        name, equals, value = one.partition("=")
        name = name.removeprefix("corpus.gold.")
        if not equals or name not in known:
            raise UserError(f"{one}: KEY=VALUE with one of {', '.join(known)}")
        keys[name] = yaml.safe_load(value)
    found = inspect(arguments.file, **keys)
    tell("\n".join(described(found)))
    if arguments.save:
        tell(*saved(found, arguments.save, Path("conf")), sep="\n")
    else:
        name = identifier(Path(arguments.file).stem)
        tell(f"\nconf/corpus/{name}.yaml (--save {name} writes it, with task and taxonomy):\n")
        tell(corpus_yaml(found, name), end="")
    return 0


def saved(found: Inspection, name: str, conf: Path) -> list[str]:
    """Write corpus, task and taxonomy of that name, and return what to do next.

    Raises
    ------
    UserError
        If a file of that name is there, or the name is none.
    """
    if not re.fullmatch(r"\w+", name):
        raise UserError(f"{name}: a name is letters, digits and _")
    texts = {
        conf / "corpus" / f"{name}.yaml": corpus_yaml(found, name),
        conf / "task" / f"{name}.yaml": task_yaml(found, name),
        conf / "taxonomy" / f"{name}.yaml": taxonomy_yaml(found, name),
    }
    for path in texts:
        if path.exists():
            raise UserError(f"{path} is there already; choose another name, or remove it")
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return [f"written: {path}" for path in texts] + [
        f"next: fill in {conf}/taxonomy/{name}.yaml, then: touchstone run task={name} mixture=gold"
    ]


def _taxonomy(ids: list[str]) -> Any:
    categories = [CategoryConfig(id=one, name=one, counts=one) for one in ids]
    return taxonomy_of(TaxonomyConfig(name="found", version=1, title="-", categories=categories))


def _yaml(value: Any) -> str:
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=100)
