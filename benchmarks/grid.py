"""A grid of 28 cells and a single cell, from the shell, against scikit-learn by hand: ratios
measured in one run.

    python benchmarks/grid.py [--repeats 3]

The grid is 7 mixtures x 2 prompts x 2 linear classifiers on the demo corpus, default settings: data
sets, predictions, models and tables are logged and the closing table is printed. It runs in an
empty folder with a store and a stage cache of its own; a first pass fills both, as any sweep but
the first meets them, and is not counted.

    basic      wall of `python run.py -m ...`, from the shell and back bare       the same 28 cells
    as one would write them by hand: TF-IDF, fit, scores of dev and test, macro-F1. The training
    sets are
               those of the first pass, mixed already. Its wall, too, is from the shell and back:
               with the start of Python and the imports that it needs (numpy, scipy, scikit-learn),
               without Hydra, MLflow and pandas
    empty      the same 28 jobs with nothing in them: Hydra composes the configuration of each,
               MLflow's store gets a run with as many parameters and metrics. What the frameworks
               take, whatever is written around them
    joblib     as basic, with two processes at a time, in another store
    single     wall of `python run.py mixture=gold classifier=tfidf_logreg`

The first four take turns, so that a busy moment of the machine hits all of them; the best of each
counts, of `single` the median. The numbers are compared too: bare finds the macro-F1 of every cell,
and joblib the table of basic. Each process computes on one thread. Exit code 1 when a limit is
missed. Not a test: it needs some three minutes, two processors and a quiet machine.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
GRID = (
    "mixture=gold,silver,bronze,gold_silver,gold_bronze,silver_bronze,gold_silver_bronze",
    "prompt=minimal,guideline",
    "classifier=tfidf_logreg,tfidf_svm",
)
CELLS = 28
JOBLIB = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
SINGLE = ("mixture=gold", "classifier=tfidf_logreg")
AXES = ["mixture", "prompt", "classifier"]
OVERHEAD, TWO_WORKERS, SINGLE_S = 0.35, 0.65, 4.5
DIGITS = 4  # of a metric in the tracking store


def main() -> int:
    """Print the table and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--bare", metavar="CELLS", help=argparse.SUPPRESS)
    parser.add_argument("--empty", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.empty:
        return empty(arguments.empty)
    if arguments.bare:
        print(json.dumps(bare(Path(arguments.bare))))
        return 0
    with tempfile.TemporaryDirectory() as temporary:
        rows = measured(Path(temporary), arguments.repeats)
    width = max(len(name) for name, *_ in rows)
    print(f"{'measure':{width}}  {'value':>7}  {'limit':>6}")
    for name, value, limit, unit in rows:
        mark = "" if limit is None else " ok" if value <= limit else " MISSED"
        print(
            f"{name:{width}}  {value:7.2f}  {'' if limit is None else f'{limit:g}':>6} {unit}{mark}"
        )
    return 1 if any(limit is not None and value > limit for _, value, limit, _ in rows) else 0


def measured(folder: Path, repeats: int) -> list[tuple[str, float, float | None, str]]:
    """Return the rows of the table: measure, value, limit (None: none) and unit."""
    one, two = ("paths.store=one",), ("paths.store=two",)
    timed(folder, run("-m", *GRID, *one))  # the first pass: cache and both stores are filled
    timed(folder, run("-m", *GRID, *two))
    cells = prepared(folder / "one", folder / "cells.json")
    walls: dict[str, list[float]] = {"bare": [], "basic": [], "empty": [], "joblib": []}
    for _ in range(repeats):
        wall, printed = timed(folder, [sys.executable, __file__, "--bare", str(cells)])
        walls["bare"].append(wall)
        walls["basic"].append(timed(folder, run("-m", *GRID, *one))[0])
        walls["empty"].append(timed(folder, [sys.executable, __file__, "--empty", "-m", *GRID])[0])
        walls["joblib"].append(timed(folder, run("-m", *GRID, *two, *JOBLIB))[0])
        check_same_numbers(json.loads(printed), results(folder / "one"), results(folder / "two"))
    single = sorted(timed(folder, run(*SINGLE, *one))[0] for _ in range(repeats))[repeats // 2]
    best = {name: min(found) for name, found in walls.items()}
    return [
        (f"bare, {CELLS} cells of scikit-learn by hand", best["bare"], None, "s"),
        (f"empty, {CELLS} jobs of Hydra with a run of MLflow each", best["empty"], None, "s"),
        (f"basic, {CELLS} cells", best["basic"], None, "s"),
        (f"joblib, {CELLS} cells, 2 workers", best["joblib"], None, "s"),
        (
            "overhead of basic over bare",
            100 * (best["basic"] / best["bare"] - 1),
            100 * OVERHEAD,
            "%",
        ),
        ("joblib, x basic", best["joblib"] / best["basic"], TWO_WORKERS, "x"),
        (f"single cell, median of {repeats}", single, SINGLE_S, "s"),
    ]


def run(*overrides: str) -> list[str]:
    """Return the command of a sweep or of a single cell."""
    return [sys.executable, str(ROOT / "run.py"), *overrides]


def timed(folder: Path, command: Sequence[str]) -> tuple[float, str]:
    """Run a command in `folder` and return its wall in seconds and what it printed."""
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
    }
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # warm includes compiled
    start = time.perf_counter()
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    wall = time.perf_counter() - start
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return wall, done.stdout


def prepared(store: Path, path: Path) -> Path:
    """Write what the cells of the latest sweep learned from and were scored on, as the bare work
    reads it, and return the file."""
    import yaml

    from touchstone import configuration, tracking
    from touchstone.data import targets
    from touchstone.data.examples import read_parquet
    from touchstone.taxonomy import taxonomy_of

    opened = tracking.open_existing(store)
    cells = []
    for run_id in results(store)["run_id"]:
        artifacts = tracking.artifacts(opened, tracking.find_run(opened, run_id))
        config = configuration.checked(
            configuration.typed(
                yaml.safe_load((artifacts / "config.yaml").read_text(encoding="utf-8"))
            )
        )
        kind, taxonomy = config.task.kind, taxonomy_of(config.taxonomy)
        cell: dict[str, Any] = {
            "classifier": config.classifier.name,
            "n_classes": targets.n_classes(kind, taxonomy),
        }
        for context in ("training", "dev", "test"):
            frame = read_parquet(artifacts / "datasets" / f"{context}.parquet")
            classes = targets.encode(frame, taxonomy, kind).tolist()
            cell[context] = {
                "texts": frame["text"].tolist(),
                "classes": classes,
                "weights": frame["weight"].tolist(),
            }
        cells.append(cell)
    path.write_text(json.dumps(cells), encoding="utf-8")
    return path


def bare(path: Path) -> list[float]:
    """Do the work of the cells by hand, with the hyper-parameters of conf/classifier, and return
    their macro-F1 on the test set."""
    import numpy as np
    from scipy.sparse import hstack
    from scipy.special import softmax
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import f1_score
    from sklearn.svm import LinearSVC

    found = []
    for cell in json.loads(path.read_text(encoding="utf-8")):
        train, f1 = cell["training"], {}
        words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
        characters = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True)
        features = hstack(
            [words.fit_transform(train["texts"]), characters.fit_transform(train["texts"])],
            format="csr",
        )
        if cell["classifier"] == "tfidf_logreg":
            model = LogisticRegression(class_weight="balanced", solver="newton-cg", max_iter=10_000)
        else:
            model = LinearSVC(class_weight="balanced", max_iter=10_000, random_state=0)
        model.fit(features, train["classes"], sample_weight=train["weights"])
        for split in ("dev", "test"):
            features = hstack(
                [words.transform(cell[split]["texts"]), characters.transform(cell[split]["texts"])],
                format="csr",
            )
            if cell["classifier"] == "tfidf_logreg":
                scores = model.predict_proba(features)
            else:
                scores = softmax(model.decision_function(features), axis=1)
            predicted = model.classes_[np.argmax(scores, axis=1)]
            categories = range(1, cell["n_classes"])  # 0 is none
            f1[split] = f1_score(
                cell[split]["classes"],
                predicted,
                labels=categories,
                average="macro",
                zero_division=0,
            )
        found.append(float(f1["test"]))
    return found


def empty(overrides: Sequence[str]) -> int:
    """Launch the sweep with jobs that only log a run: composing and logging alone, with the
    configuration, sweeper and store of ours."""
    import hydra
    from hydra.core.config_store import ConfigStore

    from touchstone.paths import conf_dir
    from touchstone.run.conf_files import reading_conf

    def job(_: Any) -> None:
        from mlflow.entities import Metric, Param

        from touchstone import tracking

        store = tracking.open_store(None, "empty", "empty")
        run_id = store.client.create_run(store.experiment_id).info.run_id
        values = {
            "params": [Param(f"p{n}", "1") for n in range(12)],
            "metrics": [Metric(f"m{n}", 0.5, 0, 0) for n in range(50)],
        }
        store.client.log_batch(run_id, **values)
        store.client.set_terminated(run_id, "FINISHED")

    sys.argv = [sys.argv[0], *overrides]
    with reading_conf():
        ConfigStore.instance().store(group="hydra/callbacks", name="touchstone", node={})
        hydra.main(config_path=str(conf_dir()), config_name="config", version_base="1.3")(job)()
    return 0


def results(store: Path) -> Any:
    """Return the closing table of the latest sweep in a store, a row for each cell."""
    import pandas as pd

    from touchstone import tracking

    opened = tracking.open_existing(store)
    experiments = [experiment.experiment_id for experiment in opened.client.search_experiments()]
    filters, order = f"tags.`{tracking.KIND}` = 'sweep'", ["attributes.start_time DESC"]
    (latest,) = opened.client.search_runs(experiments, filters, max_results=1, order_by=order)
    table = pd.read_csv(tracking.artifacts(opened, latest) / "tables" / "results.csv")
    if len(table) != CELLS or (table["status"] != "FINISHED").any():
        raise SystemExit(f"{len(table)} cells in the table, {CELLS} expected, all of them finished")
    return table.sort_values(
        AXES, ignore_index=True
    )  # two workers start the cells in an order of their own


def check_same_numbers(by_hand: Sequence[float], basic: Any, joblib: Any) -> None:
    """Stop if scikit-learn by hand does not find the macro-F1 that the store has, or the two
    launchers do not give one table."""
    import numpy as np

    if not np.allclose(by_hand, basic["test/macro_f1"], rtol=0, atol=0.51 * 10**-DIGITS):
        raise SystemExit("the cells and the work by hand do not give the same macro-F1")
    if not basic.drop(columns="run_id").equals(joblib.drop(columns="run_id")):
        raise SystemExit("the sweep with two workers does not give the table of the basic one")


if __name__ == "__main__":
    sys.exit(main())
