"""Read an export of Label Studio: JSON (tasks with annotations) or JSON-MIN.

Choices are labels of the whole text, labels are mentions; relations join them where `spans_as:
relations` asks for pairs, and are counted else, as ratings and text areas are. The text is the
field of `data` that `text_field` names, documents and patients likewise. Of several annotators see
data/annotators.py (`ground_truth` is the adjudicated one). Skipped annotations and tasks that
nobody has labelled are left out and told. Offsets are those of the browser, UTF-16 units. Each task
is one example, unless `segment: true`. Hypertext is refused: its offsets are places in HTML.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from touchstone.data import annotated, parts, records
from touchstone.data.annotated import Annotation, Document, mentions_of, relations_between
from touchstone.data.annotators import Vote, read_single, read_votes
from touchstone.data.pairs import UNNAMED, Link
from touchstone.data.tables import json_of
from touchstone.errors import UserError
from touchstone.schema import GoldFiles
from touchstone.taxonomy import Taxonomy

KEYS = (*parts.KEYS, *annotated.KEYS, *records.KEYS, "annotator")
OWN = ("id", "annotator", "annotation_id", "created_at", "updated_at", "lead_time")  # JSON-MIN
Texts = list[list[Vote]]
Said = tuple[tuple[str, ...], list[Annotation], list[Link]]  # labels, mentions, relations


def read(
    files: GoldFiles, taxonomy: Taxonomy, data_folder: str | Path | None
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Read an export as an example table.

    Returns
    -------
    frame, counted : see `annotated.table_of`; with several annotators also `annotators.settled`;
        `unlabelled` tasks, `skipped` annotations, and results `not_used`.

    Raises
    ------
    UserError
        With file and task: no text, offsets that do not fit, an unknown category.
    """
    return read_votes(_votes, files, taxonomy, data_folder, left="left out")


def read_annotators(files: GoldFiles, data_folder: str | Path | None) -> pd.DataFrame:
    """Return what each annotator said; see `annotators.single`."""
    return read_single(_votes, files, data_folder)


def _votes(part: parts.Part, files: GoldFiles, counted: Counter[str]) -> Texts:
    tasks = json_of(part.path)
    if not isinstance(tasks, list) or not all(isinstance(task, Mapping) for task in tasks):
        raise UserError(f"{part.path}: must be a list of tasks: Label Studio's export JSON")
    drafts: list[tuple[int, str, bool, Document, Said]] = []
    numbers: dict[str, int] = {}
    for number, task in enumerate(tasks, start=1):
        where = f"{part.path}, task {task.get('id', number)}"
        data = task.get("data", task)
        if not isinstance(data, Mapping):
            raise UserError(f"{where}: data must be an object")
        document = records.document(data, files, where, part)
        said = list(_said(task, where, counted))
        if not said:
            counted["unlabelled tasks"] += 1
        key = str(task.get("id", number))
        index = numbers.setdefault(key, len(numbers))
        for annotator, final, results in said:
            regions = _results(results, where, files, counted)
            drafts.append((index, annotator, final, document, regions))
    places = mentions_of(
        [(document.where, document.text, marks) for *_, document, (_, marks, _) in drafts],
        path=part.path,
        given=files.offsets,
        usual="utf16",
    )
    texts: Texts = [[] for _ in numbers]
    for (index, annotator, final, document, (labels, marks, links)), mentions in zip(
        drafts, places, strict=True
    ):
        joined = relations_between(marks, mentions, links, document.where)
        vote = records.with_annotations(document, labels, mentions, joined)
        texts[index].append(Vote(annotator, vote, final))
    return [votes for votes in texts if votes]


def _said(
    task: Mapping[str, Any], where: str, counted: Counter[str]
) -> Iterator[tuple[str, bool, list[Any]]]:
    """Yield annotator, whether adjudicated, and the results of each annotation of a task."""
    if "data" not in task:  # JSON-MIN: one object an annotation
        yield str(task.get("annotator", "")), False, _minimal(task)
        return
    annotations = task.get("annotations", task.get("completions", []))
    if not isinstance(annotations, list):
        raise UserError(f"{where}: annotations must be a list")
    for one in annotations:
        if one.get("was_cancelled"):
            counted["skipped annotations"] += 1
            continue
        who = one.get("completed_by", "")
        if isinstance(who, Mapping):
            who = who.get("email") or who.get("id", "")
        yield str(who), bool(one.get("ground_truth")), list(one.get("result") or [])


def _minimal(task: Mapping[str, Any]) -> list[Any]:
    results: list[Any] = []
    for name, value in task.items():
        if name in OWN:
            continue
        if isinstance(value, str) and value.startswith("[{"):
            value = json.loads(value)
        if isinstance(value, list) and all(isinstance(one, Mapping) for one in value):
            results += [{"type": "labels", "value": one} for one in value if "start" in one]
        elif isinstance(value, Mapping) and "choices" in value:
            results.append({"type": "choices", "value": value})
    return results


def _results(results: list[Any], where: str, files: GoldFiles, counted: Counter[str]) -> Said:
    labels: list[str] = []
    marks: list[Annotation] = []
    links: list[Link] = []
    for result in results:
        kind, value = result.get("type"), result.get("value") or {}
        if kind == "choices":
            labels += value.get("choices", [])
        elif kind == "labels":
            start, end = value.get("start"), value.get("end")
            if not (isinstance(start, int) and isinstance(end, int)):
                raise UserError(
                    f"{where}: offsets of HTML, not of a text. Export from a project whose "
                    "labelling interface has Text, not HyperText"
                )
            places = ((start, end, value.get("text")),)
            names = (str(result["id"]),) if "id" in result else ()
            marks += [Annotation(places, name, (), names) for name in value.get("labels", [])]
        elif kind == "relation" and files.spans_as != "relations":
            counted["relations"] += 1
        elif kind == "relation":
            kinds = result.get("labels") or [UNNAMED]
            ends = str(result.get("from_id", "")), str(result.get("to_id", ""))
            links += [Link(str(name), *ends) for name in kinds]
        else:
            counted["results of another kind"] += 1
    return tuple(dict.fromkeys(labels)), marks, links
