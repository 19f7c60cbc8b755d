"""`touchstone run` for a checkout: `python run.py mixture=gold`, `python run.py -m
mixture=gold,gold_silver` (Hydra overrides)."""

import sys
from pathlib import Path

sys.path.insert(
    0, str(Path(__file__).resolve().parent / "src")
)  # a checkout runs without installation

from touchstone.cli import main

if __name__ == "__main__":
    sys.exit(main(["run", *sys.argv[1:]], program="python run.py"))
