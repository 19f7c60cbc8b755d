"""Generation stages that a process keeps at hand for its next cells.

Names a stage by what it depends on, without rendering a prompt. Does not run stages; between
processes the stage cache keeps them (cache.py).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import pandas as pd

from touchstone.digest import digest, digest_columns, digest_input
from touchstone.generate.stages import Generated
from touchstone.llm import recording
from touchstone.schema import Config

STAGES_REMEMBERED = 8

_stages: OrderedDict[str, Generated] = OrderedDict()


def remembered(
    config: Config,
    name: str,
    inputs: Sequence[pd.DataFrame | Mapping[str, Any]],
    run: Callable[[], Generated],
) -> Generated:
    """Return a stage as an earlier cell of this process made it, if nothing that it depends on
    differs; else run it.

    `inputs` are what it reads: example tables, or plain data that names them.

    The stage cache would find it too, but only after a thousand prompts were rendered to name it.
    """
    named: dict[str, Any] = {
        part: asdict(getattr(config, part)) for part in ("prompt", "taxonomy", "llm", "generation")
    }
    named |= {
        "stage": name,
        "kind": config.task.kind,
        "corpus": [config.corpus.name, config.corpus.access],
        "cache": config.paths.cache,
    }
    named |= {"sample": [config.task.llm_test_sentences, config.task.split_seed]}
    if config.llm.backend == "recorded":
        named["recordings"] = [
            digest_input(path)
            for path in (*recording.files(config.llm.recording), *recording.shipped())
        ]
    named["inputs"] = [
        digest_columns(read, ("example_id", "text", "labels"))
        if isinstance(read, pd.DataFrame)
        else digest(read)
        for read in inputs
    ]
    key = digest(named)
    if key in _stages:
        _stages.move_to_end(key)
        earlier = _stages[key]
        return replace(earlier, usage=earlier.usage.reused(), reused=True)
    generated = run()
    if generated.usage.failed == 0:
        _stages[key] = generated
        if len(_stages) > STAGES_REMEMBERED:
            _stages.popitem(last=False)
    return generated
