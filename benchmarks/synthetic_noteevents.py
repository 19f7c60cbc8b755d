"""Write a synthetic NOTEEVENTS.csv(.gz) of any size, for tests and benchmarks of the MIMIC-III
reader.

Same columns, quoting and shape as the real file: hard-wrapped notes in quoted fields with line
breaks and doubled quotes inside, categories with their trailing spaces, rows marked ISERROR. The
text is drawn word by word from a small vocabulary by frequency, so that it compresses about as real
notes do (3 to 4 times); it means nothing, and no word of it comes from a patient.
"""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np

HEADER = (
    "ROW_ID,SUBJECT_ID,HADM_ID,CHARTDATE,CHARTTIME,STORETIME,CATEGORY,DESCRIPTION,CGID,ISERROR,TEXT"
)
# category as it stands in the file, description, share of rows, median length in characters:
# roughly those of MIMIC-III 1.4
CATEGORIES = (
    ("Nursing/other", "Report", 0.395, 900),
    ("Radiology", "CHEST (PORTABLE AP)", 0.251, 1300),
    ("Nursing", "Nursing Progress Note", 0.107, 1700),
    ("ECG", "Report", 0.100, 250),
    ("Physician ", "Physician Resident Progress Note", 0.068, 5500),
    ("Discharge summary", "Report", 0.029, 9000),
    ("Echo", "Report", 0.022, 2600),
    ("Respiratory ", "Respiratory Care Shift Note", 0.015, 900),
    ("Nutrition", "Clinical Nutrition Note", 0.005, 2000),
    ("Social Work", "Social Work Progress Note", 0.004, 1800),
    ("Consult", "Physician Surgical Consult", 0.004, 3500),
)
ERROR_SHARE = 0.01
# drawn once; longer apart than gzip looks back, so that repetition does not make the file smaller
PARAGRAPHS = 4000
COLUMNS = 72  # where lines are wrapped
WORDS = (
    "the of and to was with in a for on he she is patient at no his her by as from noted right "
    "left then that be had this per given after or "
    "not are blood will pain stable continue history normal without started status today chest "
    "small remains mild increased well neuro "
    "respiratory daily follow up seen plan family hypertension alert oriented lung clear changes "
    "evidence heart disease denies edema "
    "currently felt pressure temp monitor skin intact abdomen soft tender bilaterally renal "
    "function improved overnight admitted home wife "
    "daughter son reports fever cough sputum culture sent antibiotics vancomycin levofloxacin "
    "heparin insulin sliding scale coumadin aspirin "
    "metoprolol lasix drip titrated weaned extubated intubated vent settings suctioned secretions "
    "thick yellow diet tolerated advanced bowel "
    "sounds present foley draining urine output adequate line placed central arterial catheter "
    "tip position effusion opacity atelectasis "
    "pneumothorax film unchanged comparison previous study impression clinical indication year "
    "old man woman presented shortness breath "
    "weakness fall fracture surgery procedure tolerated complication transferred floor unit "
    "service attending team discussed agreed code full "
    "social work physical therapy rehab discharge medications tablet sig one twice three times "
    "needed days weeks appointment clinic primary "
    "care physician cardiology neurology consult recommended imaging mri ct head scan negative "
    "positive labs sodium potassium creatinine "
    "hematocrit platelets white count glucose magnesium calcium phosphate lactate gas troponin "
    "ejection fraction systolic murmur rate rhythm "
    "sinus tachycardia atrial fibrillation paced interval wave axis deviation block infarct "
    "ischemia cardiac catheterization stent graft valve"
).split()
# rare enough to filter by: about one paragraph in twenty holds one of them
KEYWORDS = (
    "dementia",
    "forgetful",
    "memory loss",
    "Alzheimer's disease",
    "confused",
    "wanders",
    "disoriented",
)


def write_noteevents(
    path: str | Path, *, megabytes: float, seed: int = 0, patients: int | None = None
) -> int:
    """Write a synthetic NOTEEVENTS file and return its number of rows.

    Parameters
    ----------
    path : ends in `.csv` or `.csv.gz`; replaced if it is there.
    megabytes : size of the uncompressed file, in 10^6 bytes; passed by at most one block of 500
        rows.
    seed : equal seeds write equal bytes.
    patients : how many different patients; None: one for each 45 rows, as in MIMIC-III.
    """
    path = Path(path)
    rows = 0
    with open(path, "wb") as raw:
        # no name and no time in the gzip header: equal bytes for equal seeds
        handle = (
            gzip.GzipFile(filename="", mode="wb", fileobj=raw, compresslevel=6, mtime=0)
            if path.suffix == ".gz"
            else raw
        )
        written = handle.write((HEADER + "\n").encode())
        for block, count in _blocks(np.random.default_rng(seed), patients):
            if written >= megabytes * 1e6:
                break
            written += handle.write(block)
            rows += count
        if handle is not raw:
            handle.close()
    return rows


def _blocks(rng: np.random.Generator, patients: int | None) -> Iterator[tuple[bytes, int]]:
    """Yield blocks of 500 rows as CSV, without end."""
    paragraphs = [_paragraph(rng) for _ in range(PARAGRAPHS)]
    shares = np.array([share for _, _, share, _ in CATEGORIES])
    row = 0
    while True:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_MINIMAL)
        kinds = rng.choice(len(CATEGORIES), size=500, p=shares / shares.sum())
        for kind in kinds:
            category, description, _, median = CATEGORIES[kind]
            row += 1
            patient = int(rng.integers(patients)) if patients else row // 45 + int(rng.integers(8))
            error = "1" if rng.random() < ERROR_SHARE else ""
            day = f"21{rng.integers(10, 99)}-{rng.integers(1, 13):02d}-{rng.integers(1, 29):02d}"
            length = median * float(rng.lognormal(0.0, 0.5))
            note = [
                f"[**{day}**] "
                f"{rng.integers(24):02d}:{rng.integers(60):02d}\n{description.upper()}\n"
            ]
            while length > 0:
                note.append(paragraphs[int(rng.integers(PARAGRAPHS))])
                length -= len(note[-1])
            fields = (
                row,
                patient,
                100000 + patient,
                day,
                "",
                "",
                category,
                description,
                rng.integers(14000, 22000),
                error,
                "\n".join(note),
            )
            writer.writerow(fields)
        yield text.getvalue().encode(), 500


def _paragraph(rng: np.random.Generator) -> str:
    """Return one paragraph of random words: running text that is wrapped, or a list."""
    if rng.random() < 0.15:
        return "".join(
            f"{number}. {' '.join(_words(rng, 4)).capitalize()} {rng.integers(2, 500)} mg\n"
            for number in range(1, 6)
        )
    text = []
    for _ in range(int(rng.integers(2, 7))):
        words = _words(rng, int(rng.integers(4, 22)))
        text.append(f"{' '.join(words).capitalize()}.")
    if rng.random() < 0.05:
        text.insert(
            1,
            f'Family says "{KEYWORDS[int(rng.integers(len(KEYWORDS)))]}" since '
            f"[**{rng.integers(2090, 2200)}**].",
        )
    lines, line = [], ""
    for word in " ".join(text).split(" "):
        if len(line) + 1 + len(word) > COLUMNS:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}" if line else word
    return "\n".join([*lines, line]) + "\n"


def _words(rng: np.random.Generator, count: int) -> list[str]:
    """Draw words by Zipf's law, every eighth a number."""
    ranks = np.minimum(len(WORDS) - 1, (len(WORDS) ** rng.random(count)).astype(int) - 1)
    return [f"{rng.integers(1, 400)}" if rng.random() < 0.125 else WORDS[rank] for rank in ranks]
