"""Own notes as the pool: what would it take to have an LLM label them? Nothing is sent.

Writes twenty notes of the demo as if they were a hospital's CSV, names its columns, and has the
requests written to files that an approved machine (or person) can answer.
"""

import csv
import json
import subprocess
import sys
from pathlib import Path

import touchstone.demo

folder = Path("own_notes")
folder.mkdir(exist_ok=True)
shipped = Path(touchstone.demo.__file__).parent / "ad_corpus" / "pool_notes.jsonl"
with open(folder / "notes.csv", "w", newline="", encoding="utf-8") as file:
    rows = csv.writer(file)
    rows.writerow(["record", "mrn", "body"])
    for line in shipped.read_text(encoding="utf-8").splitlines()[:20]:
        note = json.loads(line)
        rows.writerow([note["note_id"], note["patient_id"], note["text"]])

overrides = [
    "mixture=silver",
    "llm=batch_file",
    "llm.batch_dir=own_notes/batch",
    f"corpus.pool.path={(folder / 'notes.csv').resolve()}",
    "corpus.pool.id_field=record",
    "corpus.pool.patient_field=mrn",
    "corpus.pool.text_field=body",
    "corpus.pool.type_field=null",
]
subprocess.run([sys.executable, "-m", "touchstone", "run", *overrides], check=True)
print(sum(1 for file in (folder / "batch").glob("requests*.jsonl") for _ in open(file)), "requests")
