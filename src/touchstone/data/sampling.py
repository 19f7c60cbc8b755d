"""A seeded sample of notes by patient, the same whatever the order of the file.

Notes of one patient stay together, since splits and intervals are by patient. Does not read notes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping


def sample_patients(counts: Mapping[str, int], max_notes: int, seed: int) -> dict[str, int]:
    """Choose patients in a seeded random order until `max_notes` notes are reached.

    Patients are ordered by the sha256 of seed and id, so that neither the order of the file nor
    other patients change who comes first: a smaller sample is a subset of a larger one, and the
    same patients are chosen on every machine.

    Parameters
    ----------
    counts : notes of each patient, after all other filters.
    max_notes : at least 0.
    seed : of the order.

    Returns
    -------
    dict of patient -> how many of their notes to take, in the order of the file: all of them, fewer
    only for the last patient chosen. The values add up to `max_notes`, or to all notes if there are
    fewer.
    """
    quota: dict[str, int] = {}
    left = max_notes
    for patient in sorted(
        counts, key=lambda name: hashlib.sha256(f"{seed}\t{name}".encode()).digest()
    ):
        if left <= 0:
            break
        quota[patient] = min(counts[patient], left)
        left -= quota[patient]
    return quota
