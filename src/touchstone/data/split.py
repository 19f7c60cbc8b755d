"""Splits by patient: no patient's sentences stand on both sides, and scarce gold is a nested subset
of the training patients.

Stratified as far as whole patients allow, seeded, and a table of its own (`patient_id, split,
order`) that is logged with the run. Corpora that publish a split keep it; only a missing dev part
is cut from their training documents.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from touchstone.errors import UserError

DRAWS = 200  # seeded random splits, of which the most balanced one is taken


def assign_splits(
    frame: pd.DataFrame,
    *,
    test_fraction: float,
    dev_fraction: float,
    seed: int,
    fold: tuple[int, int] | None = None,
) -> pd.DataFrame:
    """Fill the `split` column of an example table by patient.

    Of `DRAWS` random assignments of whole patients the one is taken in which each category's share
    of sentences, `none` included, is closest to its share in the whole corpus, in the worst case
    over splits and categories (largest absolute difference).

    Parameters
    ----------
    frame : example table; rows with a split already set keep it (published splits). If such a
        corpus has no dev part, `dev_fraction` of its training documents become dev.
    test_fraction, dev_fraction : of patients, rounded; at least one patient each where the fraction
        is not 0.
    seed : of the draws.
    fold : (k, n): the test patients are the k-th (from 1) of n parts of all patients, equal in
        number up to one; `test_fraction` is not used, dev is drawn from the rest.

    Raises
    ------
    UserError
        If there are too few patients to fill every part.
    """
    frame = frame.copy()
    if fold is not None:
        return _fold(frame, *fold, dev_fraction, seed)
    published = frame["split"] != ""
    if published.all():
        if dev_fraction and not (frame["split"] == "dev").any():
            train = frame[frame["split"] == "train"]
            parts = _draw(train, {"dev": dev_fraction}, seed)
            frame.loc[train.index, "split"] = train["patient_id"].map(parts).to_numpy()
        return frame
    if published.any():
        raise UserError(
            f"example {frame.loc[~published, 'example_id'].iloc[0]} has no split while others "
            "have one"
        )
    parts = _draw(frame, {"test": test_fraction, "dev": dev_fraction}, seed)
    frame["split"] = frame["patient_id"].map(parts).to_numpy()
    return frame


def training_order(frame: pd.DataFrame, seed: int, draw: int = 0) -> list[str]:
    """Return the training patients in one seeded order, so that fewer gold patients are always a
    subset of more; each draw has an order of its own."""
    patients = np.array(
        sorted(frame.loc[frame["split"] == "train", "patient_id"].unique()), dtype=object
    )
    key = [seed, 1, draw] if draw else [seed, 1]
    return list(np.random.default_rng(key).permutation(patients))


def scarce_gold(
    frame: pd.DataFrame, *, patients: int | None, sentences: int | None, seed: int, draw: int = 0
) -> pd.DataFrame:
    """Return the training rows whose gold labels may be used: those of the first `patients`, cut to
    the first `sentences`.

    Parameters
    ----------
    frame : example table with splits.
    patients, sentences : None for all. Sentences are counted along the order of patients, in
        reading order within each.
    seed : of the order of patients.
    draw : which of the draws of this seed: a repetition has its own. Where all gold is taken there
        is nothing to draw, and every draw is the first.

    Raises
    ------
    UserError
        If more is asked for than the training split has.
    """
    order = training_order(frame, seed, draw)
    train = frame[frame["split"] == "train"]
    if patients is not None and patients > len(order):
        raise UserError(
            f"task.gold_patients={patients}: the training split has {len(order)} patients; use at "
            "most that, or null for all"
        )
    members = order[:patients]
    if len(members) == len(order) and sentences in (None, len(train)):
        members = training_order(frame, seed)
    rank = {patient: index for index, patient in enumerate(members)}
    chosen = train[train["patient_id"].isin(rank)]
    chosen = chosen.iloc[np.argsort(chosen["patient_id"].map(rank).to_numpy(), kind="stable")]
    if sentences is not None:
        if sentences > len(chosen):
            raise UserError(
                f"task.gold_sentences={sentences}: the training gold has {len(chosen)} sentences; "
                "use at most that, or null for all"
            )
        chosen = chosen.iloc[:sentences]
    return chosen


def split_table(frame: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return the saved form of a split: patient_id, split, order (position among training patients,
    from 0; -1 elsewhere), n_sentences."""
    order = {patient: index for index, patient in enumerate(training_order(frame, seed))}
    table = (
        frame.groupby("patient_id", sort=True)
        .agg(split=("split", "first"), n_sentences=("example_id", "size"))
        .reset_index()
    )
    table["order"] = [order.get(patient, -1) for patient in table["patient_id"]]
    return table[["patient_id", "split", "order", "n_sentences"]]


def _draw(frame: pd.DataFrame, fractions: dict[str, float], seed: int) -> dict[str, str]:
    """Assign each patient to one of `fractions`, the rest to train."""
    patients = np.array(sorted(frame["patient_id"].unique()), dtype=object)
    sizes = {
        name: max(1, round(fraction * len(patients))) if fraction else 0
        for name, fraction in fractions.items()
    }
    if sum(sizes.values()) >= len(patients):
        raise UserError(
            f"{len(patients)} patients cannot be split into "
            f"{' + '.join(f'{n} {name}' for name, n in sizes.items())} and at least 1 train"
        )
    names = [name for name, size in sizes.items() for _ in range(size)]
    return _balanced(frame, patients, names + ["train"] * (len(patients) - len(names)), seed)


def _fold(frame: pd.DataFrame, k: int, n: int, dev_fraction: float, seed: int) -> pd.DataFrame:
    """Split for one fold of cross-validation; the parts are the same for every k."""
    patients = np.array(sorted(frame["patient_id"].unique()), dtype=object)
    if n > len(patients):
        raise UserError(f"{len(patients)} patients cannot be cut into {n} folds; use fewer")
    parts = _balanced(frame, patients, [str(i % n + 1) for i in range(len(patients))], seed)
    part = frame["patient_id"].map(parts).to_numpy()
    frame["split"] = np.where(part == str(k), "test", "train")
    if dev_fraction:
        train = frame[frame["split"] == "train"]
        drawn = _draw(train, {"dev": dev_fraction}, seed)
        frame.loc[train.index, "split"] = train["patient_id"].map(drawn).to_numpy()
    return frame


def _balanced(
    frame: pd.DataFrame, patients: np.ndarray, parts: list[str], seed: int
) -> dict[str, str]:
    """Assign `parts` to patients, in the draw whose categories are spread most evenly."""
    counts = _category_counts(frame, patients)
    overall = counts.sum(axis=0) / counts.sum()
    names = np.array(parts, dtype=object)
    random = np.random.default_rng([seed, 0])
    best, best_distance = names, np.inf
    for _ in range(DRAWS):
        drawn = random.permutation(names)
        shares = [
            counts[drawn == name].sum(axis=0) / max(1, counts[drawn == name].sum())
            for name in dict.fromkeys(names)
        ]
        distance = max(float(np.abs(share - overall).max()) for share in shares)
        if distance < best_distance:
            best, best_distance = drawn, distance
    return dict(zip(patients, best, strict=True))


def _category_counts(frame: pd.DataFrame, patients: np.ndarray) -> np.ndarray:
    """Return counts of shape (n_patients, n_categories + 1), the last column counting sentences
    without label or span."""
    position = {patient: index for index, patient in enumerate(patients)}
    labels = [
        [*row.labels, *(span["type"] for span in row.spans)]
        for row in frame.itertuples(index=False)
    ]
    categories = {
        name: index
        for index, name in enumerate(sorted({name for names in labels for name in names}))
    }
    counts = np.zeros((len(patients), len(categories) + 1))
    for patient, names in zip(frame["patient_id"], labels, strict=True):
        for name in names:
            counts[position[patient], categories[name]] += 1
        if not names:
            counts[position[patient], -1] += 1
    return counts
