"""What a cell is called in words: in the run list, on the screen, in the tables.

`gold_bronze · gold of 10 · tfidf_logreg · guideline · ad_multiclass`: what is learned from, how
much gold, what learns, how the LLM was asked, what is predicted, then whatever else the command
line sets, so that no two cells of a sweep share a name. Does not decide whether two cells are the
same (`configuration.identity`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from hydra.core.hydra_config import HydraConfig

from touchstone.ranges import bookkeeping_keys
from touchstone.schema import Config, asks_directly

SIZES = ("task.gold_patients", "task.gold_sentences", "task.llm_test_sentences")
LONGEST = 250  # characters of a run's name, MLflow's limit


def mixture_name(config: Config) -> str:
    """Return the row name of a cell in the tables: the mixture, or zero_shot where the LLM itself
    is the classifier."""
    return "zero_shot" if asks_directly(config) else config.mixture.name


def classifier_name(config: Config) -> str:
    """Return the classifier of a cell in the tables: the configured one, or llm where the LLM
    itself is asked."""
    return "llm" if asks_directly(config) else config.classifier.name


def values_overridden() -> dict[str, str]:
    """Return the values (not the choices of axes) that the command line sets for this job: what a
    search varies, for its rows."""
    overrides = HydraConfig.get().overrides.task if HydraConfig.initialized() else []
    pairs = (override.lstrip("+~").partition("=") for override in overrides)
    return {
        key: value
        for key, _, value in pairs
        if "." in key
        and key.split(".")[0] not in (*bookkeeping_keys(Config), "llm")
        and key not in SIZES
    }


def run_name(config: Config) -> str:
    """Return a cell's name in the run list, which no other cell of its sweep has."""
    return " · ".join(_parts(config, values_overridden()).values())[:LONGEST]


def cell_name(config: Config, varying: Collection[str], unit: str = "") -> str:
    """Return a cell's name on the screen, where its neighbours are seen: mixture and size of gold,
    then what varies in the sweep.

    Parameters
    ----------
    varying : keys of the command line that have several values: `classifier`, `task.gold_patients`.
    unit : of the size of gold, e.g. `patients`; '' where it is not known yet.
    """
    parts = _parts(config, values_overridden())
    if unit and config.task.gold_patients is not None:
        parts["task.gold_patients"] = f"{config.task.gold_patients} {unit}"
    return " · ".join(
        text for key, text in parts.items() if key in ("mixture", *SIZES[:2]) or key in varying
    )


def _parts(config: Config, overridden: Mapping[str, str]) -> dict[str, str]:
    """Return the parts of a name by the key of the command line that sets them."""
    parts = {"mixture": mixture_name(config)}
    if config.task.gold_patients is not None:
        parts["task.gold_patients"] = f"gold of {config.task.gold_patients}"
    if config.task.gold_sentences is not None:
        parts["task.gold_sentences"] = f"{config.task.gold_sentences:,} gold sentences"
    parts["classifier"] = classifier_name(config)
    parts["prompt"] = config.prompt.name
    parts["llm"] = config.llm.model or config.llm.name
    parts["task"] = config.task.name
    if config.seed:
        parts["seed"] = f"seed {config.seed}"
    return parts | {key: f"{key}={value}" for key, value in overridden.items()}
