"""`touchstone export`: what a cell or a sweep made, as a folder that others can use, with its
cards.

Splits are the sources: silver and bronze, or of one cell its training set and test set. A
restricted corpus is refused unless the agreement that allows it is named. `--push` sends the folder
to the Hugging Face hub with the user's own token, after showing what would be public and only when
told `--yes`.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pandas as pd

from touchstone.errors import UserError, no_such
from touchstone.foreign_text import tell

LANGUAGE = "en"  # of the demo and of the corpora that conf/corpus names


def add_cli(subparsers: Any) -> None:
    """Add `touchstone export`."""
    from touchstone.data.export import FORMATS

    parser = subparsers.add_parser("export", help="generated data as files, with a data card")
    parser.add_argument("of_run", metavar="RUN_ID|SWEEP", help="cell, sweep, or `last`")
    parser.add_argument(
        "--format", default="huggingface", metavar="F", help=f"of {', '.join(FORMATS)}"
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="an empty or new folder")
    parser.add_argument("--agreement", help="restricted corpora: what allows the export")
    parser.add_argument("--language", default=LANGUAGE, help="of the text (default: en)")
    parser.add_argument("--push", metavar="REPO", help="send to the hub: user/name")
    parser.add_argument("--yes", action="store_true", help="with --push: what was shown is right")
    parser.add_argument("--store", default="mlflow", metavar="PATH_OR_URI", help="tracking store")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from touchstone import tracking
    from touchstone.data import cards
    from touchstone.data.export import FORMATS, write
    from touchstone.report.choosing import chosen, restricted

    if arguments.format not in FORMATS:
        raise UserError(f"--format: {no_such('format', arguments.format, FORMATS)}")
    grid = chosen(tracking.open_existing(arguments.store), arguments.of_run)
    secret = restricted(grid)
    if secret and not (arguments.agreement or "").strip():
        raise UserError(
            "the corpus is restricted; nothing was written. If an agreement allows the export of "
            "what was generated from it, name it: --agreement '...'"
        )
    if secret and arguments.push:
        raise UserError("--push: data of a restricted corpus are not sent anywhere by this command")
    out = Path(arguments.out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"--out {out}: not an empty folder; name a new one")
    splits = _splits(grid)
    cell = grid.cells[-1]
    facts = _facts(grid, splits, arguments, secret)
    try:
        files = write(splits, out, arguments.format, kind=cell.kind, categories=facts["categories"])
        card = out / "README.md"
        card.write_text(cards.dataset_card(facts, _tables(grid, splits)), encoding="utf-8")
        files.append(card)
        if len(grid.cells) == 1:
            model = out / "MODEL_CARD.md"
            model.write_text(cards.model_card(_model_facts(grid, facts), {}), encoding="utf-8")
            files.append(model)
        if secret:
            for file in files:
                file.chmod(0o600)
    except OSError as error:
        raise UserError(f"cannot write to {out}: {error.strerror}; name another: --out") from error
    tell(f"{sum(map(len, splits.values())):,} sentences in {len(files)} files: {out}")
    for name, frame in splits.items():
        tell(f"  {name}: {len(frame):,}")
    return _push(arguments, out, splits) if arguments.push else 0


def _splits(grid: Any) -> dict[str, pd.DataFrame]:
    """Return split -> example table: a cell's training and test set, a sweep's generated data."""
    from touchstone.report import reading
    from touchstone.report.tables.quality import generated

    if len(grid.cells) == 1 and not grid.sweeps:
        run = grid.cells[0].run
        frames = {
            split: reading.examples(grid.store, run, f"datasets/{context}.parquet")
            for split, context in (("train", "training"), ("validation", "dev"), ("test", "test"))
        }
        splits = {name: frame for name, frame in frames.items() if len(frame)}
        if any(reading.withheld(frame) for frame in splits.values()):
            raise UserError(
                "the text of this cell is not in the store (restricted); export its sweep, whose "
                "generated data this machine's stage cache may hold"
            )
        return splits
    sets = generated(grid)
    if not sets:
        raise UserError("no cell of it used silver or bronze data; there is nothing to export")
    if reasons := [one.reason for one in sets if one.reason]:
        raise UserError(reasons[0])
    names = [one.name.replace(", ", "_").replace(" ", "_") for one in sets]
    return {name: one.frame for name, one in zip(names, sets, strict=True)}


def _facts(
    grid: Any, splits: dict[str, pd.DataFrame], arguments: argparse.Namespace, secret: bool
) -> dict[str, Any]:
    from touchstone.report import reading
    from touchstone.report.grid import taxonomy
    from touchstone.report.spending import spending
    from touchstone.report.tables.quality import generated

    cell = grid.cells[-1]
    corpus = cell.config["corpus"]
    making = []
    for one in generated(grid):
        params, metrics = one.run.data.params, one.run.data.metrics
        making.append(
            {
                "stage": one.name,
                "model": params.get("model", "unknown"),
                "served": params.get("served_models", "") or params.get("model", "unknown"),
                "prompt": params.get("prompt", "unknown"),
                "read_from": params.get("read_from", ""),
                "version": params.get("prompt_version", "?"),
                "date": f"{pd.Timestamp(one.run.info.start_time, unit='ms'):%Y-%m-%d}",
                "requests": int(metrics.get("llm/requests", 0)),
                "cost": spending(grid, one.run).words(),
                "messages": "" if secret else reading.text(grid.store, one.run, "prompt.md"),
            }
        )
    return {
        "title": f"{corpus['name']}: {', '.join(splits)} ({grid.study.replace('_', ' ')})",
        "license": corpus["license"],
        "language": [name.strip() for name in arguments.language.split(",")],
        "kind": cell.kind,
        "categories": list(taxonomy(cell.config).ids),
        "splits": {name: len(frame) for name, frame in splits.items()},
        "corpus": corpus["name"],
        "citation": corpus["citation"],
        "restricted": secret,
        "agreement": arguments.agreement or "",
        "making": making,
    }


def _model_facts(grid: Any, facts: dict[str, Any]) -> dict[str, Any]:
    cell = grid.cells[0]
    metrics, nan = cell.run.data.metrics, float("nan")
    name = "test/score" if "test/score" in metrics else "test/macro_f1"
    return {
        **facts,
        "title": f"{cell.axes['classifier']} on {cell.axes['mixture']}, {cell.axes['task']}",
        "classifier": cell.axes["classifier"],
        "mixture": cell.axes["mixture"],
        "run": cell.run_id,
        "code": cell.run.data.tags.get("mlflow.source.git.commit", "")[:12] or "see git.json",
        "score": {
            "name": "macro F1" if name == "test/macro_f1" else "main score",
            "value": metrics[name],
            "low": metrics.get("test/score_low", nan),
            "high": metrics.get("test/score_high", nan),
            "n": int(metrics.get("n_test", cell.predictions["example_id"].nunique())),
        },
    }


def _tables(grid: Any, splits: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Return the tables of a card: quality as measured by a report, review, identifiers, copies."""
    from touchstone.evaluate.quality.phi import identifiers
    from touchstone.report import reading
    from touchstone.report.tables.quality import TABLE, generated

    quality, reviews = [], []
    for one in generated(grid):
        table = reading.csv(grid.store, one.run, TABLE)
        if len(table):
            rows = table[(table["category"] == "all") & (table["source"] != "gold")]
            quality.append(rows[["source", "measure", "value"]])
        key = f"touchstone.generation.{one.stage}"
        judged: dict[str, Any] = {"kind": "review", key: one.run.data.tags["touchstone.dataset"]}
        for run in reading.search(grid.store, **judged)[-1:]:
            table = reading.csv(grid.store, run, "review/quality.csv")
            if len(table):
                rows = table[(table["source"] == one.stage) & (table["n"] > 0)]
                reviews.append(rows[["source", "category", "measure", "value", "low", "high"]])
    empty = pd.DataFrame()
    frames = [
        {
            "split": name,
            "sentences with an identifier": sum(bool(identifiers(text)) for text in frame["text"]),
        }
        for name, frame in splits.items()
    ]
    every = pd.concat(quality, ignore_index=True) if quality else empty
    copies = every[every["measure"].str.contains("cop|near_dup")] if len(every) else empty
    return {
        "Quality": every,
        "Experts' review": pd.concat(reviews, ignore_index=True) if reviews else empty,
        "Scan for identifiers": pd.DataFrame(frames),
        "Near-copies of sources": copies,
    }


def _push(arguments: argparse.Namespace, out: Path, splits: dict[str, pd.DataFrame]) -> int:
    """Show what would be public, and send it when told so."""
    tell(f"\n--push {arguments.push}: everything in {out} would be public, such as")
    for name, frame in splits.items():
        tell(f"  {name}: {frame['text'].iloc[0][:160]}")
    if not arguments.yes:
        tell(
            "Nothing was sent. If that is right, give the command again with --yes and a new --out"
        )
        return 0
    from huggingface_hub import HfApi, get_token
    from huggingface_hub.errors import HfHubHTTPError

    if get_token() is None:
        raise UserError("--push: no token of the hub; log in with `hf auth login`, then try again")
    api = HfApi()
    try:
        api.create_repo(arguments.push, repo_type="dataset", exist_ok=True)
        address = api.upload_folder(
            folder_path=str(out), repo_id=arguments.push, repo_type="dataset"
        )
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise UserError(f"--push {arguments.push}: {str(error).splitlines()[0][:200]}") from error
    tell(address)
    return 0
