"""A CSV of synthetic sentences from anywhere: how good is it, and what is it worth?

Takes the demo's own bronze as the foreign file, so that the script runs as it is.
"""

import subprocess
import sys

import touchstone as ts

gold = ts.read_corpus("ad_demo")
cell = ts.run("mixture=gold_bronze", "task.gold_patients=5").runs["run_id"].iloc[0]
theirs = ts.generated(cell)
theirs.assign(labels=theirs["labels"].map(",".join))[["text", "labels"]].to_csv(
    "theirs.csv", index=False
)
for split in ("train", "test"):
    part = gold[gold["split"] == split]
    part.assign(labels=part["labels"].map(",".join))[
        ["text", "labels", "doc_id", "patient_id"]
    ].to_csv(f"gold_{split}.csv", index=False)

measures = ts.quality(theirs, gold[gold["split"] == "train"])
print(measures[measures["category"] == "all"].round(3).to_string(index=False))
worth = ["worth", "--gold", "gold_train.csv", "--test", "gold_test.csv", "--bronze", "theirs.csv"]
subprocess.run([sys.executable, "-m", "touchstone", *worth], check=True)
