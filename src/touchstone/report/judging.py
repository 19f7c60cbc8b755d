"""`touchstone review export|import`: have experts judge what the LLM made, and read their
judgements back.

Export draws a sample (review/sampling.py), writes it for the judges (review/formats) and keeps its
key, without text, on a run of its own in the store. Import finds that run, checks the judgements,
and logs tables (review/results.py), metrics and corrected labels there.
"""

from __future__ import annotations

import argparse
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from touchstone.errors import UserError
from touchstone.foreign_text import tell
from touchstone.source_table import SYNTHETIC

KIND_OF_RUN = "review"
TAG = "touchstone.review"
KEY = "review/key.json"
OF = ("generated", "disagreements", "dropped")
DEMO = "demo"  # stands for the review that is shipped with the demo


def add_cli(subparsers: Any) -> None:
    """Add `touchstone review`."""
    from touchstone.review.sampling import ASKS

    parser = subparsers.add_parser("review", help="have experts judge what the LLM made")
    actions = parser.add_subparsers(dest="action", required=True, metavar="export|import")
    out = actions.add_parser("export", help="draw sentences and write them for experts to judge")
    out.add_argument(
        "of_run", metavar="RUN_ID|SWEEP", nargs="?", default="last", help="default: the last sweep"
    )
    out.add_argument("--n", type=int, default=200, help="sentences (default: %(default)s)")
    out.add_argument(
        "--out",
        required=True,
        metavar="FILE",
        help=(
            ".html: a page to judge on, offline; .csv; .xlsx; .json: Label Studio; .jsonl: doccano"
        ),
    )
    out.add_argument("--format", metavar="F", help="page, label_studio, doccano, csv or xlsx")
    out.add_argument(
        "--of",
        choices=OF,
        default="generated",
        help="silver and bronze; where two prompts or LLMs disagree; what was dropped",
    )
    out.add_argument("--source", choices=SYNTHETIC, help="only this source")
    out.add_argument(
        "--calibration", type=int, default=0, metavar="N", help="gold sentences mixed in"
    )
    out.add_argument("--ask", default="", metavar="Q,Q", help=f"of {', '.join(ASKS)}")
    out.add_argument(
        "--show-labels",
        action="store_true",
        help="show source and LLM label: judges then agree more than they would (default: blind)",
    )
    out.add_argument("--seed", type=int, default=0, help="of the draw (default: %(default)s)")
    out.add_argument("--purpose", help="restricted corpora: what the file is for; it holds text")
    read = actions.add_parser("import", help="read judgements back and log what they say")
    read.add_argument("files", nargs="+", metavar="FILE", help=f"judgements, or `{DEMO}`")
    read.add_argument("--expert", help="who judged, where the file does not say")
    read.add_argument("--key", metavar="FILE", help="key of a review that is not in this store")
    read.add_argument(
        "--corrections", metavar="FILE", help="write the agreed labels here (JSONL, no text)"
    )
    for one in (out, read):
        one.add_argument("--store", default="mlflow", metavar="PATH_OR_URI", help="tracking store")
    out.set_defaults(run=_export)
    read.set_defaults(run=_import)


def _export(arguments: argparse.Namespace) -> int:
    from touchstone import tracking
    from touchstone.report.choosing import chosen, restricted
    from touchstone.report.grid import taxonomy
    from touchstone.review import formats, sampling

    store = tracking.open_existing(arguments.store)
    grid = chosen(store, arguments.of_run)
    secret = restricted(grid)
    if secret and not (arguments.purpose or "").strip():
        raise UserError(
            "the corpus is restricted and the file would hold its text; nothing was written. Say "
            "what it is for: --purpose '...' (the file is made readable to you only)"
        )
    cell = grid.cells[-1]
    known = taxonomy(cell.config)
    frame, datasets = population(grid, arguments.of, arguments.source)
    review = sampling.draw(
        frame,
        kind=cell.kind,
        categories={category.id: category.name for category in known.categories},
        definitions={category.id: category.counts for category in known.categories},
        n=arguments.n,
        seed=arguments.seed,
        calibration=_calibration(grid, arguments.calibration, arguments.seed),
        asks=[name.strip() for name in arguments.ask.split(",") if name.strip()],
        shows_labels=arguments.show_labels,
        datasets=datasets,
        restricted=secret,
    )
    out = Path(arguments.out)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        if secret:
            out.touch(mode=0o600)
            out.chmod(0o600)
        files = formats.write(review, out, arguments.format)
    except OSError as error:
        raise UserError(
            f"cannot write {out}: {error.strerror}; name another: --out FILE"
        ) from error
    store = replace(store, experiment_id=cell.run.info.experiment_id)
    run_id = _run_of(store, review)
    if run_id is None:
        params = {"of": arguments.of, "n": len(review.items), "seed": arguments.seed}
        params |= {"blind": not arguments.show_labels, "purpose": arguments.purpose or ""}
        run_id = _start(store, review, grid.study, params)
    key = f"key: run {run_id}, {KEY}"
    if secret:  # ids of a restricted corpus stay out of the store
        own = out.with_name(f"{out.name}.key.json")
        own.touch(mode=0o600)
        own.chmod(0o600)
        own.write_text(json.dumps(review.key(), ensure_ascii=False, indent=1), encoding="utf-8")
        files, key = [*files, own], f"--key {own}"
    how = "blind" if not review.shows_labels else "with the LLM's labels in sight"
    tell(f"review {review.id}: {len(review.items)} sentences to judge, {how}")
    tell(review.strata.to_string(index=False))
    tell("\n".join(map(str, files)))
    tell(f"Judgements back: touchstone review import FILE ({key})")
    return 0


def population(grid: Any, of: str, source: str | None) -> tuple[pd.DataFrame, dict[str, str]]:
    """Return the sentences that could be judged, with their strata, and the data sets that they
    are of.

    Raises
    ------
    UserError
        If there are none, their text is out of reach, or it is not plain which data set is meant.
    """
    from touchstone.report.grid import taxonomy
    from touchstone.report.tables.quality import generated
    from touchstone.review.sampling import strata_of

    kind, precedence = grid.cells[-1].kind, taxonomy(grid.cells[-1].config).precedence
    sets = [one for one in generated(grid) if source in (None, one.stage)]
    if not sets:
        raise UserError(
            f"no cell used {source or 'silver or bronze'} data; there is nothing to judge"
        )
    if reasons := [one.reason for one in sets if one.reason]:
        raise UserError(reasons[0])
    digests = {one.stage: one.run.data.tags["touchstone.dataset"] for one in sets}
    if of == "disagreements":
        return _disagreements(sets, kind, precedence), digests
    stages = [one.stage for one in sets]
    if twice := sorted({name for name in stages if stages.count(name) > 1}):
        raise UserError(
            f"the sweep has several {twice[0]} data sets; name one cell by its run id, or ask for "
            "what they disagree on: --of disagreements"
        )
    frame = pd.concat([one.frame for one in sets], ignore_index=True)
    frame = frame.assign(stratum=strata_of(frame, kind, precedence))
    return (_dropped(grid, frame) if of == "dropped" else frame), digests


def _disagreements(made: list, kind: str, precedence: tuple[str, ...]) -> pd.DataFrame:
    """Return silver sentences that two prompts or LLMs labelled differently, with both labels."""
    from touchstone.review.sampling import strata_of

    silver = [one.frame for one in made if one.stage == "silver"]
    if len(silver) < 2:
        raise UserError(
            "--of disagreements needs two silver data sets: sweep over prompt or llm first"
        )
    first, second = silver[:2]
    column = "spans" if kind == "ner" else "labels"
    other = dict(zip(second["example_id"], second[column], strict=True))
    frame = first[first["example_id"].isin(list(other))]
    theirs = [other[name] for name in frame["example_id"]]

    def differ(a: list, b: list) -> bool:
        return sorted(map(str, a)) != sorted(map(str, b))

    frame = frame.assign(other_labels=theirs)
    frame = frame[[differ(a, b) for a, b in zip(frame[column], theirs, strict=True)]]
    if kind == "ner":
        frame = frame.assign(other_labels=[[] for _ in range(len(frame))])
    return frame.assign(stratum=strata_of(frame, kind, precedence)).reset_index(drop=True)


def _dropped(grid: Any, frame: pd.DataFrame) -> pd.DataFrame:
    """Return what a filter, the search for duplicates or the leakage guard dropped; strata are the
    reasons."""
    from touchstone.report import reading

    parts = [reading.table(grid.store, cell.run, "dropped") for cell in grid.cells]
    rows = pd.concat([part for part in parts if len(part)] or [pd.DataFrame()])
    if rows.empty:
        raise UserError("--of dropped: the cells dropped nothing")
    rows = rows[rows["reason"] != "not_sampled"].drop_duplicates(["source", "example_id"])
    reason = {(row.source, str(row.example_id)): row.reason for row in rows.itertuples()}
    keys = list(zip(frame["source"], frame["example_id"].astype(str), strict=True))
    frame = frame.assign(stratum=[reason.get(key, "") for key in keys])
    return frame[frame["stratum"] != ""].reset_index(drop=True)


def _calibration(grid: Any, n: int, seed: int) -> pd.DataFrame | None:
    from touchstone.report.tables.quality import training_gold

    if n <= 0:
        return None
    gold, _, reason = training_gold(grid)
    if gold.empty:
        raise UserError(f"--calibration: {reason or 'there is no training gold'}")
    return gold.sample(n=min(n, len(gold)), random_state=seed)


def _start(store: Any, review: Any, study: str, params: dict[str, Any]) -> str:
    """Put a review's key on a run of its own."""
    from touchstone import tracking

    run_id = tracking.start_run(
        store,
        f"review {review.id}",
        tags={tracking.KIND: KIND_OF_RUN, tracking.STUDY: study, TAG: review.id}
        | {f"touchstone.generation.{name}": value for name, value in review.datasets.items()},
        params=params,
    )
    if not review.restricted:
        text = json.dumps(review.key(), ensure_ascii=False, indent=1)
        tracking.log_text(store, run_id, text + "\n", KEY)
    tracking.end_run(store, run_id, "FINISHED")
    return run_id


def _run_of(store: Any, review: Any) -> str | None:
    from touchstone.report import reading

    runs = reading.search(store, **{"kind": KIND_OF_RUN, TAG: review.id})
    return runs[-1].info.run_id if runs else None


def _import(arguments: argparse.Namespace) -> int:
    from touchstone import tracking
    from touchstone.review import formats, results
    from touchstone.review.judgements import checked, corrections, write_corrections

    files = [Path(name) for name in arguments.files]
    key = Path(arguments.key) if arguments.key else None
    if arguments.files == [DEMO]:
        folder = Path(__file__).parents[1] / "demo" / "review"
        files, key = [folder / "judgements.csv"], folder / "key.json"
    store = tracking.open_existing(arguments.store)
    review, store, run_id = _review(store, files[0], key)
    read = [formats.read(path, review, arguments.expert) for path in files]
    judgements = checked(pd.concat(read, ignore_index=True), review, "the files together")
    run = store.client.get_run(run_id)
    tables = results.tables(
        judgements, review, _precedence(store, run, review), _patients(store, review)
    )
    _log(store, run_id, review, judgements, tables)
    if arguments.corrections:
        rows = corrections(judgements, review)
        write_corrections(rows, Path(arguments.corrections))
        tell(f"{len(rows)} agreed labels: mixture.silver.corrections={arguments.corrections}")
    experts = sorted(judgements["expert"].unique())
    tell(
        f"review {review.id}: {judgements['item'].nunique()} of {len(review.items)} sentences "
        f"judged by {', '.join(experts)}"
    )
    for name, table in _on_screen(tables).items():
        tell(f"\n{name}\n{_shown(table)}")
    tell(f"\nLogged on run {run_id}: review/. In the report: touchstone report")
    return 0


def _review(store: Any, file: Path, key: Path | None) -> tuple[Any, Any, str]:
    """Return the review that a file of judgements is of, the store at its experiment, and its
    run."""
    from touchstone.report import reading
    from touchstone.review.sampling import of_key

    name = _id_in(file)
    runs = reading.search(store, **dict[str, Any]({"kind": KIND_OF_RUN, TAG: name}))
    stored = reading.json_file(store, runs[-1], KEY) if runs else None
    if stored is not None:
        review = of_key(stored)
        at = replace(store, experiment_id=runs[-1].info.experiment_id)
        return review, at, runs[-1].info.run_id
    if key is None:
        raise UserError(
            f"{file}: the key of review {name} is not in this store; name the store (--store) or "
            f"the key (--key FILE: {KEY} of the run that exported it, or beside the exported file)"
        )
    try:
        review = of_key(json.loads(key.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise UserError(f"{key}: cannot be read as a key ({type(error).__name__})") from error
    if review.id != name:
        raise UserError(f"{key} is the key of review {review.id}; {file} is of review {name}")
    if runs:
        at = replace(store, experiment_id=runs[-1].info.experiment_id)
        return review, at, runs[-1].info.run_id
    generations = _generations(store, review)
    if not generations:
        raise UserError(
            f"review {name} judges data that no run of this store made; run its sweep first "
            "(the demo's: python run.py -m mixture=gold,gold_silver,gold_bronze)"
        )
    run = next(iter(generations.values()))
    at = replace(store, experiment_id=run.info.experiment_id)
    cells = reading.search(
        store,
        kind="cell",
        **{f"touchstone.generation.{k}": str(v) for k, v in list(review.datasets.items())[:1]},  # type: ignore[arg-type]
    )
    study = cells[-1].data.tags.get("touchstone.study", "study") if cells else "study"
    return review, at, _start(at, review, study, {"of": "generated", "n": len(review.items)})


def _id_in(file: Path) -> str:
    """Return the id of the review in the name of a file's first item."""
    from touchstone.review.formats.sheets import first_item

    try:
        text = (
            first_item(file)
            if file.suffix.lower() == ".xlsx"
            else file.read_text(encoding="utf-8", errors="replace")
        )
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror}") from error
    match = re.search(r"(?<![0-9a-f])([0-9a-f]{8})-\d+\b", text)
    if match is None:
        raise UserError(f"{file}: holds no item of a review (such as 1a2b3c4d-007)")
    return match[1]


def _generations(store: Any, review: Any) -> dict[str, Any]:
    """Return source -> the run that generated the judged data, where this store has it."""
    from touchstone.report import reading

    out = {}
    for source, digest in review.datasets.items():
        runs = reading.search(store, **{"kind": "generation", "touchstone.dataset": digest})
        if runs:
            out[source] = runs[-1]
    return out


def _patients(store: Any, review: Any) -> pd.DataFrame:
    """Return source, patient_id, labels and spans of the judged data sets; no text is needed."""
    from touchstone.report import reading

    parts = []
    for source, run in _generations(store, review).items():
        frame = reading.examples(store, run, "examples.parquet")
        size = review.strata.loc[review.strata["source"] == source, "population"].sum()
        if len(frame) and len(frame) == size:  # not a part of it: disagreements, say
            parts.append(frame[["patient_id", "labels", "spans"]].assign(source=source))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def _precedence(store: Any, run: Any, review: Any) -> tuple[str, ...]:
    """Return the categories in the order in which one is the primary label, of a cell that used
    the judged data; else in table order."""
    from touchstone.report import reading
    from touchstone.report.grid import taxonomy

    for source, digest in review.datasets.items():
        cells = reading.search(store, **{"kind": "cell", f"touchstone.generation.{source}": digest})
        for cell in reversed(cells):
            if config := reading.config(store, cell):
                return taxonomy(config).precedence
    return tuple(review.categories)


def _log(store: Any, run_id: str, review: Any, judgements: Any, tables: dict) -> None:
    from touchstone import tracking
    from touchstone.review.judgements import corrections

    shown = judgements.drop(columns="comment") if review.restricted else judgements
    for column in ("labels", "spans"):
        shown = shown.assign(**{column: [json.dumps(value) for value in shown[column]]})
    tracking.log_text(store, run_id, shown.to_csv(index=False), "review/judgements.csv")
    if not review.restricted:
        rows = corrections(judgements, review).to_dict("records")
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        tracking.log_text(store, run_id, lines, "review/corrections.jsonl")
    for name, table in tables.items():
        tracking.log_text(store, run_id, table.to_csv(index=False), f"review/{name}.csv")
    quality = tables["quality"]
    values: dict[str, float] = {}
    for row in quality[quality["value"].notna()].itertuples(index=False):
        name = f"review/{row.source}/{row.category}/{row.measure}"
        values |= {name: row.value, f"{name}_low": row.low, f"{name}_high": row.high}
    if "claim" in tables:
        claim = tables["claim"].iloc[0]
        values |= {"review/bronze_minus_silver_errors": claim["difference"], "review/p": claim["p"]}
    tracking.log_metrics(store, run_id, values)
    experts = ", ".join(sorted(judgements["expert"].unique()))
    tracking.set_tags(store, run_id, {"touchstone.experts": experts, "touchstone.judged": "true"})


def _on_screen(tables: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Return what is worth reading at once: errors without what is right, agreement as alpha."""
    out = dict(tables)
    quality = out["quality"]
    out["quality"] = quality[quality["n"] > 0]
    out["errors"] = out["errors"][out["errors"]["llm"] != out["errors"]["expert"]]
    if "agreement" in out:
        alpha = out["agreement"]["measure"] == "krippendorff_alpha"
        out["agreement"] = out["agreement"][alpha].drop(columns="measure")
    return {name: table for name, table in out.items() if len(table)}


def _shown(table: pd.DataFrame) -> str:
    rounded = table.copy()
    for name in rounded.select_dtypes("number"):
        rounded[name] = rounded[name].round(3)
    return rounded.to_string(index=False, na_rep="")
