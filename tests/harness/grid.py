"""What tests of several stages share: small example tables, taxonomies, and running run.py in a
folder of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
from omegaconf import OmegaConf

from touchstone.data.examples import examples
from touchstone.schema import CategoryConfig, PromptConfig, TaxonomyConfig
from touchstone.taxonomy import Taxonomy, taxonomy_of

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("TOUCHSTONE_DATA") or ROOT.parent / "shared" / "data")


def small_taxonomy(**changes) -> Taxonomy:
    """Two categories, `falls` before `memory` in precedence."""
    config = TaxonomyConfig(
        name="small",
        version=1,
        title="signs of trouble",
        subject="the patient",
        categories=[
            CategoryConfig(
                id="memory", name="Memory", counts="forgets things", facets=["names", "dates"]
            ),
            CategoryConfig(
                id="falls",
                name="Falls",
                counts="falls down",
                facets=["at home", "outside", "at night"],
            ),
        ],
        precedence=["falls", "memory"],
        variety={"style": ["short", "long"], "author": ["nurse", "doctor", "aide"]},
        look_alikes=["denied", "a relative"],
    )
    for name, value in changes.items():
        setattr(config, name, value)
    return taxonomy_of(config)


def group(folder: str, name: str, schema: type):
    """Load conf/FOLDER/NAME.yaml (without its defaults list) as plain dataclasses, as Hydra
    would."""
    raw = OmegaConf.load(ROOT / "conf" / folder / f"{name}.yaml")
    parents = raw.pop("defaults", [])
    layers = [
        OmegaConf.load(ROOT / "conf" / folder / f"{parent}.yaml")
        for parent in parents
        if isinstance(parent, str) and parent != "_self_"
    ]
    return OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(schema), *layers, raw))


def alzheimer() -> Taxonomy:
    return taxonomy_of(group("taxonomy", "alzheimer", TaxonomyConfig))


def prompt_config(name: str) -> PromptConfig:
    return group("prompt", name, PromptConfig)


def table(*rows: tuple, source: str = "gold", split: str = "train") -> pd.DataFrame:
    """An example table from (example_id, text, labels[, patient_id]) rows."""
    return examples(
        {
            "example_id": row[0],
            "text": row[1],
            "labels": list(row[2]),
            "source": source,
            "doc_id": row[3] if len(row) > 3 else row[0],
            "patient_id": row[3] if len(row) > 3 else row[0],
            "split": split,
        }
        for row in rows
    )


def run(
    *arguments: str, cwd: Path, timeout: int = 300, **environment: str
) -> subprocess.CompletedProcess:
    """Run run.py in `cwd` (results and cache land there) with the repository's conf."""
    return subprocess.run(
        [sys.executable, str(ROOT / "run.py"), *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=timeout,
        env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "COLUMNS": "200", **environment},
    )
