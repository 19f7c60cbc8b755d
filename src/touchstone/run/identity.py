"""What a cell is: the key that finds it again, its name in the run list, and its parameters there.

The key covers everything that decides the result: configuration, corpus files, own code, and the
package itself. Does not run a cell (job.py) or log one (logbook.py).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from touchstone.configuration import identity
from touchstone.digest import digest, digest_file
from touchstone.run.environment import code_digest
from touchstone.run.names import (
    classifier_name,
    mixture_name,
    values_overridden,
)
from touchstone.schema import Config, asks_directly
from touchstone.source_table import SYNTHETIC

if TYPE_CHECKING:
    pass


def cell_key(config: Config) -> str:
    """Return the digest that names a cell: what decides its result (`configuration.identity`), the
    corpus files, and the code that runs it."""
    from touchstone.data.corpus import input_digests
    from touchstone.folds import folds_of

    folds = folds_of(config)
    corpora = [fold.config.corpus for fold in folds] if folds else [config.corpus]
    inputs: dict[str, Any] = {
        f"{number}": input_digests(corpus, config.paths.data)
        for number, corpus in enumerate(corpora, start=1)
    }
    for source in SYNTHETIC:
        path = getattr(config.mixture, source).corrections
        if path and Path(path).is_file():  # one that is not there is told when it is read
            inputs[f"mixture.{source}.corrections"] = digest_file(path)
    return digest({**identity(config), "inputs": inputs, "code": code_digest()})


def params(config: Config) -> dict[str, Any]:
    """Return the few parameters of the run list: the axes of the grid and the seeds; the whole
    config is an artefact."""
    return {
        "mixture": mixture_name(config),
        "classifier": classifier_name(config),
        "prompt": config.prompt.name,
        "llm": config.llm.model,
        "task": config.task.name,
        "corpus": config.corpus.name,
        "gold_patients": "all" if config.task.gold_patients is None else config.task.gold_patients,
        "gold_sentences": "all"
        if config.task.gold_sentences is None
        else config.task.gold_sentences,
        **(
            {"llm_test_sentences": config.task.llm_test_sentences or "all"}
            if asks_directly(config)
            else {}
        ),
        "seed": config.seed,
        "seeds": config.seeds,
        "threads": config.threads,
        **values_overridden(),
    }
