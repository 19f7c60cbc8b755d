"""Reading and segmenting a NOTEEVENTS.csv.gz of 300 MB: ratios measured in one run.

    python benchmarks/noteevents.py [--megabytes 300] [--file NOTEEVENTS.csv.gz]

Reading: rows of six categories, not entered in error, whose text matches a regex; ours streams
them, duckdb and polars return one table, pyarrow and pandas read block by block. Each reader runs
in a process of its own; imports are not timed; peak memory is that of the process. Readers that are
not installed are named and left out (`pip install duckdb polars`). Segmentation: 120 MB of the
notes so filtered, in shards, on one process and on two, stage cache included, start of the
processes included. Two processes that only count, each in its registers, show what a second one is
worth on this machine. Exit code 1 if reading is slower than 0.7 x the fastest, takes 500 MB or
more, or two processes are less than 1.8 x one.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import multiprocessing
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

CATEGORIES = ("Nursing", "Physician", "Discharge summary", "Consult", "Social Work", "Nutrition")
KEEP = "dementia|memory|alzheimer|forgetful"
COLUMNS = ("ROW_ID", "SUBJECT_ID", "CATEGORY", "ISERROR", "TEXT")
GZIP_SHARE = 0.334  # compressed size of the synthetic file by its uncompressed size
LIMITS = {"reading": 0.7, "peak RSS MB": 500, "two processes": 1.8}
REPEATS = 3  # the best of each is compared
COUNTED = 100_000_000  # by each of two processes: some seconds
SEGMENTED_MB = (
    120  # of the filtered notes, as many as make the start of the processes small beside the work
)


def touchstone(path: str) -> int:
    return sum(len(frame) for frame in _ours(path))


def _ours(path: str):
    from touchstone.data.readers.noteevents import iter_noteevents
    from touchstone.schema import PoolFiles

    return iter_noteevents(
        Path(path),
        PoolFiles(reader="noteevents", categories=list(CATEGORIES), keep=KEEP),
        0,
        shown=False,
    )


def duckdb(path: str) -> int:
    import duckdb

    query = f"""select ROW_ID, SUBJECT_ID, CATEGORY, TEXT
        from read_csv('{path}', header=true, all_varchar=true, quote='"', escape='"', max_line_size=10000000)
        where trim(CATEGORY) in {CATEGORIES} and coalesce(ISERROR, '') <> '1' and regexp_matches(TEXT, '(?i){KEEP}')"""  # noqa: E501
    return duckdb.sql(query).fetch_arrow_table().num_rows


def polars(path: str) -> int:
    import polars as pl

    rows = pl.scan_csv(path, infer_schema=False).filter(
        pl.col("CATEGORY").str.strip_chars().is_in(CATEGORIES)
        & pl.col("ISERROR").fill_null("").ne("1")
    )
    rows = rows.filter(pl.col("TEXT").str.contains(f"(?i){KEEP}")).select(
        "ROW_ID", "SUBJECT_ID", "CATEGORY", "TEXT"
    )
    return rows.collect(engine="streaming").height


def pyarrow(path: str) -> int:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.csv as pacsv

    blocks = pacsv.open_csv(
        path,
        read_options=pacsv.ReadOptions(block_size=16 << 20),
        parse_options=pacsv.ParseOptions(newlines_in_values=True),
        convert_options=pacsv.ConvertOptions(
            include_columns=COLUMNS, column_types=dict.fromkeys(COLUMNS, pa.string())
        ),
    )
    count = 0
    for block in blocks:
        kind = pc.is_in(pc.utf8_trim_whitespace(block["CATEGORY"]), pa.array(CATEGORIES))
        block = block.filter(pc.and_(kind, pc.not_equal(block["ISERROR"], "1")))
        count += block.filter(pc.match_substring_regex(block["TEXT"], f"(?i){KEEP}")).num_rows
    return count


def pandas(path: str) -> int:
    import pandas as pd

    count = 0
    for frame in pd.read_csv(path, dtype=str, usecols=list(COLUMNS), chunksize=20_000):
        frame = frame[frame["CATEGORY"].str.strip().isin(CATEGORIES) & frame["ISERROR"].ne("1")]
        count += int(frame["TEXT"].str.contains(KEEP, case=False).sum())
    return count


READERS = {reader.__name__: reader for reader in (touchstone, duckdb, polars, pyarrow, pandas)}


def child(name: str, path: str) -> None:
    """Run one reader and print its rows, seconds and peak memory as JSON."""
    if name == "touchstone":
        import touchstone.data.readers.noteevents  # noqa: F401 - so that imports are not timed
    else:
        __import__({"pyarrow": "pyarrow.csv"}.get(name, name))
    start = time.perf_counter()
    rows = READERS[name](path)
    seconds = time.perf_counter() - start
    peak = next(
        line
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith("VmHWM")
    )
    print(json.dumps({"rows": rows, "s": seconds, "MB": int(peak.split()[1]) / 1024}))


def reading(path: Path) -> dict[str, float]:
    print(f"{'reader':<12}{'rows':>8}{'s':>8}{'MB/s':>8}{'peak MB':>9}{'x fastest':>11}")
    best: dict[str, dict[str, float]] = {}
    for _ in range(
        REPEATS
    ):  # in turn, so that a busy moment of the machine does not hit one reader only
        for name in READERS:
            if importlib.util.find_spec(name) is None:
                continue
            command = [sys.executable, __file__, "--child", name, "--file", str(path)]
            found = json.loads(
                subprocess.run(command, check=True, capture_output=True, text=True).stdout
            )
            if name not in best or found["s"] < best[name]["s"]:
                best[name] = found
    fastest = min(found["s"] for found in best.values())
    for name in READERS:
        if name not in best:
            print(f"{name:<12}not installed")
            continue
        rows, seconds, peak = (best[name][key] for key in ("rows", "s", "MB"))
        print(
            f"{name:<12}{rows:>8}{seconds:>8.2f}{path.stat().st_size / 1e6 / seconds:>8.1f}"
            f"{peak:>9.0f}{fastest / seconds:>11.2f}"
        )
    if len({found["rows"] for found in best.values()}) > 1:
        raise SystemExit("the readers do not agree on the rows")
    return {"reading": fastest / best["touchstone"]["s"], "peak RSS MB": best["touchstone"]["MB"]}


def segmentation(path: Path) -> dict[str, float]:
    from touchstone.data.shards import iter_shards, segment_shards
    from touchstone.schema import PoolFiles

    pool = PoolFiles(reader="noteevents", categories=list(CATEGORIES), keep=KEEP)
    shards, size = [], 0.0
    for shard in iter_shards(path, pool, 0, size=500):
        shards.append(shard)
        size += shard.notes["text"].str.len().sum() / 1e6
        if size >= SEGMENTED_MB:
            break
    best = {1: float("inf"), 2: float("inf")}
    for processes in [1, 2] * 2:
        with tempfile.TemporaryDirectory() as cache:
            start = time.perf_counter()
            sentences = sum(
                len(frame)
                for _, frame in segment_shards(shards, None, cache=cache, processes=processes)
            )
            best[processes] = min(best[processes], time.perf_counter() - start)
    print(f"\n{'segmentation':<14}{'shards':>7}{'sentences':>11}{'s':>8}{'MB/s':>8}")
    for processes, seconds in best.items():
        label = f"{processes} process{'es' if processes > 1 else ''}"
        print(f"{label:<14}{len(shards):>7}{sentences:>11}{seconds:>8.2f}{size / seconds:>8.2f}")
    return {"two processes": best[1] / best[2]}


def counting() -> float:
    """Return how many times as fast two processes count as one: no data, no memory, no start that
    is timed."""
    best = {1: float("inf"), 2: float("inf")}
    for processes in [1, 2] * 2:
        with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as workers:
            list(workers.map(_count, [1, 1]))  # started
            start = time.perf_counter()
            list(workers.map(_count, [COUNTED * 2 // processes] * processes))
            best[processes] = min(best[processes], time.perf_counter() - start)
    return best[1] / best[2]


def _count(to: int) -> int:
    total = 0
    for number in range(to):
        total += number
    return total


def main() -> int:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument(
        "--megabytes", type=float, default=300, help="size of the compressed synthetic file"
    )
    options.add_argument(
        "--file", type=Path, help="use this file; if it does not exist it is made, and kept"
    )
    options.add_argument("--child", choices=READERS, help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.child:
        child(chosen.child, str(chosen.file))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        path = chosen.file or Path(folder) / "NOTEEVENTS.csv.gz"
        if not path.exists():
            from synthetic_noteevents import write_noteevents

            write_noteevents(path, megabytes=chosen.megabytes / GZIP_SHARE)
        print(f"{path.name}: {path.stat().st_size / 1e6:.0f} MB")
        found = {**reading(path), **segmentation(path)}
        print(f"two processes that only count: {counting():.2f} x one")
    print()
    missed = 0
    for name, limit in LIMITS.items():
        met = found[name] < limit if name == "peak RSS MB" else found[name] >= limit
        missed += not met
        print(
            f"{name:<14}{found[name]:>8.2f}   "
            f"{'at most' if name == 'peak RSS MB' else 'at least'} {limit}   "
            f"{'met' if met else 'MISSED'}"
        )
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
