"""The tables about the data: how much of what, what was dropped and why, its quality, and how far
the annotators agree.

Counts come from the cells' data sets, quality from data_quality.py, agreement from the corpus's
annotator files, which are not in the store: where they are gone the table is left out and the
reason given.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from touchstone.data.readers import read_annotators
from touchstone.errors import UserError
from touchstone.evaluate.agreement import agreement
from touchstone.evaluate.intervals import bounds, resamples
from touchstone.evaluate.quality.distributions import ALL, label_sets, lengths, masks
from touchstone.evaluate.quality.table import MEASURES
from touchstone.mixture import DROPS
from touchstone.report import reading
from touchstone.report.comparisons import N_RESAMPLES, generator
from touchstone.report.grid import Grid, taxonomy
from touchstone.report.tables.captions import HEADS, varying
from touchstone.report.tables.layout import Column, Entry, Row, Table, count
from touchstone.report.tables.quality import Made, configuration, corpus_gold, training_gold
from touchstone.taxonomy import NONE, taxonomy_of

# What the quality table shows of all measures, in this order; the generation's run has the rest.
# Not among them: label_error_rate (confident learning). On a few hundred sentences of rare
# categories it calls 0.27 of gold and 0.66 to 0.92 of silver wrong where 0.04 are: no error rate.
SHOWN = (
    ("Amount", ("count", "length_mean", "length_sd")),
    (
        "Like gold?",
        ("length_distance", "category_divergence", "vocabulary_overlap", "two_sample_auc"),
    ),
    (
        "New?",
        (
            "novel_3grams",
            "copied_longest/gold",
            "copied_longest/prompt_examples",
            "copied_longest/pool",
        ),
    ),
    ("Varied?", ("distinct_1", "distinct_2", "self_bleu", "vendi", "near_duplicates")),
    (
        "Right?",
        ("round_trip", "round_trip_kappa", "true_precision", "true_recall"),
    ),
    ("Safe?", ("identifiers", "identifiers/placeholder")),
)
BY_CATEGORY = (
    "count",
    "length_mean",
    "two_sample_auc",
    "distinct_2",
    "round_trip",
    "true_f1",
)
TITLES = {
    "count": "sentences",
    "length_mean": "words per sentence",
    "length_sd": "their standard deviation",
    "length_distance": "length distance (KS)",
    "category_divergence": "category divergence (JS), bits",
    "vocabulary_overlap": "vocabulary shared with gold",
    "two_sample_auc": "told from gold, AUC",
    "novel_3grams": "word triples not in gold",
    "copied_longest/gold": "longest copy of gold, words",
    "copied_longest/prompt_examples": "longest copy of prompt examples, words",
    "copied_longest/pool": "longest copy of pool, words",
    "distinct_1": "distinct words",
    "distinct_2": "distinct word pairs",
    "self_bleu": "self-BLEU",
    "vendi": "Vendi score per sentence",
    "near_duplicates": "near duplicates",
    "round_trip": "round trip: label given again",
    "round_trip_kappa": "round trip: Cohen's kappa",
    "true_precision": "precision of the labels",
    "true_recall": "recall of the labels",
    "true_f1": "F1 of the labels",
    "identifiers": "sentences with an identifier",
    "identifiers/placeholder": "sentences with a placeholder",
}
WHOLE = {"count", "copied_longest", "identifiers", "true_n", "round_trip_n", "diversity_n"}
ONE_DIGIT = {"length_mean", "length_sd", "length_median"}
AGREEMENT = {
    "cohen_kappa": "Cohen's κ",
    "fleiss_kappa": "Fleiss' κ",
    "krippendorff_alpha": "Krippendorff's α",
    "observed": "observed",
}


def statistics_table(grid: Grid, made: list[Made]) -> Table:
    """Return how much data there is: sentences, documents, patients, length and category counts of
    gold and generated data."""
    gold, cell, _ = training_gold(grid)
    cell = cell or grid.cells[0]
    known = taxonomy(cell.config)
    whole = max(grid.cells, key=lambda one: one.predictions["example_id"].nunique())
    parts: list[tuple[str, str, pd.DataFrame, str]] = [("gold", "training", gold, cell.run_id)]
    parts += [
        (
            "gold",
            part,
            reading.examples(grid.store, whole.run, f"datasets/{part}.parquet"),
            whole.run_id,
        )
        for part in ("dev", "test")
    ]
    parts += [("generated", one.name, one.frame, one.run.info.run_id) for one in made]
    parts = [part for part in parts if len(part[2])]
    facts: dict[str, dict[str, Entry]] = {}
    for _, name, frame, run_id in parts:
        scopes = masks(label_sets(frame), known.ids)
        numbers = {
            "sentences": len(frame),
            "documents": frame["doc_id"].nunique(),
            "patients": frame["patient_id"].nunique(),
        }
        if name not in ("training", "dev", "test"):
            numbers.pop("patients")
        for fact, n in numbers.items():
            facts.setdefault(fact, {})[name] = count(n, run_id)
        n_words = (
            Entry(runs=(run_id,))
            if reading.withheld(frame)
            else Entry(float(lengths(frame).mean()), digits=1, runs=(run_id,))
        )
        facts.setdefault("words per sentence", {})[name] = n_words
        facts.setdefault("with a category, %", {})[name] = Entry(
            100 * float(1 - scopes[NONE].mean()), digits=1, runs=(run_id,)
        )
        for category in known.ids:
            facts.setdefault(known[category].name, {})[name] = count(
                int(scopes[category].sum()), run_id
            )
    order = [
        "sentences",
        "documents",
        "patients",
        "words per sentence",
        "with a category, %",
        *(c.name for c in known.categories),
    ]
    categories = {c.name for c in known.categories}
    rows = [
        Row((fact,), facts[fact], "categories" if fact in categories else "size")
        for fact in order
        if fact in facts
    ]
    columns = tuple(Column(name, name, group) for group, name, _, _ in parts)
    corpus = cell.config["corpus"]
    text = (
        f"Sentences of {corpus['name']} (licence {corpus['license']}, {corpus['access']}) and of "
        "the generated data before any was dropped. "
        "Training gold is what the cells were allowed to use. Below the rule: sentences with each "
        "category; some have several."
    )
    return Table(f"{grid.study}_data", "Data", text, ("",), columns, tuple(rows))


def composition_table(grid: Grid) -> Table:
    """Return what went into each mixture and what was dropped, by source and reason."""
    counted = ["available", *DROPS, "repeated", "used"]
    learned = [cell for cell in grid.cells if cell.axes["mixture"] != "zero_shot"]
    axes = [axis for axis in varying([cell.axes for cell in learned]) if axis != "classifier"]
    rows: dict[tuple, Row] = {}
    for cell in learned:
        labels = tuple(cell.axes[axis] for axis in axes)
        for row in reading.table(grid.store, cell.run, "composition").to_dict("records"):
            entries = {name: count(row.get(name, 0), cell.run_id) for name in counted}
            rows.setdefault(
                (labels, row["source"]), Row((*labels, row["source"]), entries, " ".join(labels))
            )
    shown = tuple(
        Column(name, name.replace("_", " "))
        for name in counted
        if any(row.entries[name].value for row in rows.values()) or name == "used"
    )
    text = (
        "Sentences available from each source, dropped for each reason, and used (first seed). "
        "filtered: refused by the mixture's filter; "
        "leakage: too close to a test sentence; not sampled: beyond the count or ratio asked for; "
        "repeated: copies that a control adds."
    )
    heads = (*(HEADS[axis] for axis in axes), "Source")
    return Table(
        f"{grid.study}_composition",
        "What went into the mixtures",
        text,
        heads,
        shown,
        tuple(rows.values()),
    )


def quality_table(grid: Grid, table: pd.DataFrame) -> Table:
    """Return the quality of the generated data beside gold's own, all categories together."""
    whole = table[table["category"] == ALL]
    rows, notes = [], []
    for block, measures in SHOWN:
        for measure in measures:
            found = whole[(whole["measure"] == measure) & whole["value"].notna()]
            if len(found):
                entries = {row["name"]: _entry(row) for row in found.to_dict("records")}
                rows.append(Row((block, TITLES[measure]), entries, block))
                if (meaning := MEASURES[measure.partition("/")[0]]) != TITLES[measure]:
                    notes.append(f"{TITLES[measure]}: {meaning}")
    unsaid = whole[whole["value"].isna() & (whole["note"] != "")]
    notes += [
        f"{', '.join(dict.fromkeys(records['name']))}, "
        f"{', '.join(TITLES.get(m, m) for m in dict.fromkeys(records['measure']))}: {note}"
        for note, records in unsaid.groupby("note", sort=False)
    ]
    text = (
        "Generated data against the training gold, all categories together; the column gold is "
        "what gold itself has, to read the others against."
    )
    columns = tuple(Column(name, name) for name in dict.fromkeys(["gold", *table["name"]]))
    return Table(
        f"{grid.study}_quality",
        "Quality of the generated data",
        text,
        ("", "Measure"),
        columns,
        tuple(rows),
        tuple(dict.fromkeys(notes)),
    )


def quality_by_category(grid: Grid, table: pd.DataFrame) -> Table:
    """Return the quality of the generated data category by category."""
    known = taxonomy(grid.cells[0].config)
    ours = table[table["source"] != "gold"]
    shown = [
        measure
        for measure in BY_CATEGORY
        if ours[(ours["measure"] == measure) & (ours["category"] != ALL)]["value"].notna().any()
    ]
    columns = [
        Column(f"{name}/{measure}", TITLES[measure], name)
        for name in dict.fromkeys(ours["name"])
        for measure in shown
    ]
    rows = []
    for category in (*known.ids, NONE):
        records = ours[(ours["category"] == category) & ours["measure"].isin(shown)].to_dict(
            "records"
        )
        entries = {f"{row['name']}/{row['measure']}": _entry(row) for row in records}
        rows.append(Row((known[category].name if category != NONE else NONE,), entries))
    text = (
        "Each source against the training gold of the same category. A dash: too few sentences "
        "to say."
    )
    return Table(
        f"{grid.study}_quality_categories",
        "Quality by category",
        text,
        ("Category",),
        tuple(columns),
        tuple(rows),
    )


def agreement_table(grid: Grid) -> tuple[Table | None, str]:
    """Return the agreement of the corpus's annotators, or None and why there is none."""
    cell = grid.cells[0]
    try:
        config = configuration(cell)
        known = taxonomy_of(config.taxonomy)
        if (
            config.corpus.gold is None
            or (frame := read_annotators(config.corpus.gold, known, config.paths.data)) is None
        ):
            return None, f"corpus {config.corpus.name} names no annotator files"
        gold = corpus_gold(config)
        patient_of = dict(zip(gold["doc_id"], gold["patient_id"], strict=True))
    except UserError as error:
        return None, f"the annotator files are out of reach: {error}"
    labels = {str(name): frame[name].tolist() for name in frame.columns}
    measures = agreement(labels, known.ids)
    documents = [str(name).rpartition("/")[0] for name in frame.index]
    unit = [patient_of.get(one, one) for one in documents]
    rows = []
    for category in measures["category"].unique():
        ours = measures[measures["category"] == category].set_index("measure")
        entries = {measure: Entry(float(ours.loc[measure, "value"])) for measure in AGREEMENT}
        low, high = _kappa_interval(labels, category, known.ids, unit)
        entries["cohen_kappa"] = Entry(float(ours.loc["cohen_kappa", "value"]), low, high)
        entries["n"] = count(float(ours["n"].max()))
        title = (
            known[category].name
            if category in known.ids
            else {"any": "any category", "label_set": "whole label set"}[category]
        )
        rows.append(Row((title,), entries, "categories" if category in known.ids else "together"))
    columns = (
        *(Column(key, title, "", "interval") for key, title in AGREEMENT.items()),
        Column("n", "sentences"),
    )
    text = (
        f"Agreement of {len(labels)} annotators of {config.corpus.name} before adjudication, "
        "presence of each category. "
        "1 is perfect, 0 is chance. Brackets: 95 % intervals of Cohen's kappa over "
        f"{len(set(unit)):,} patients or documents."
    )
    return Table(
        f"{grid.study}_agreement",
        "Agreement of the annotators",
        text,
        ("Category",),
        columns,
        tuple(rows),
    ), ""


def _kappa_interval(
    given: dict[str, list], category: str, ids: tuple[str, ...], unit: list[str]
) -> tuple[float, float]:
    """Return the interval of Cohen's kappa over `unit`, averaged over pairs of annotators."""
    views: list[list[Any]] = []
    for labels in given.values():
        if category == "label_set":
            views.append([tuple(sorted(names)) for names in labels])
        else:
            views.append(
                [bool(names) if category == "any" else category in names for names in labels]
            )
    codes, values = pd.factorize(
        pd.Series([value for view in views for value in view], dtype=object)
    )
    codes = codes.reshape(len(views), -1)
    clusters, n = pd.factorize(pd.Series(unit))[0], len(set(unit))
    weights = resamples(n, N_RESAMPLES, generator()).astype(float)
    k, draws = len(values), []
    for first in range(len(views)):
        for second in range(first + 1, len(views)):
            joint = np.zeros((n, k * k))
            np.add.at(joint, (clusters, codes[first] * k + codes[second]), 1)
            draws.append(_kappas((weights @ joint).reshape(-1, k, k)))
    low, high = bounds(np.mean(draws, axis=0)[:, None], n, 0.95)
    return float(low[0]), float(high[0])


def _kappas(joint: np.ndarray) -> np.ndarray:
    """Return Cohen's kappa of each joint table (n, k, k); as agreement.cohen_kappa, which takes
    labels."""
    total = joint.sum(axis=(1, 2))
    observed = np.trace(joint, axis1=1, axis2=2) / total
    expected = (joint.sum(axis=1) * joint.sum(axis=2)).sum(axis=1) / total**2
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(expected < 1, (observed - expected) / (1 - expected), np.nan)


def _entry(row: Mapping[str, Any]) -> Entry:
    root = row["measure"].partition("/")[0]
    digits = None if root in WHOLE else 1 if root in ONE_DIGIT else 3
    return Entry(float(row["value"]), digits=digits, runs=(row["run_id"],))
