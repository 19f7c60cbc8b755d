"""The run list of MLflow as this product wants it seen: which columns, in which order, under which
link; and the description of a sweep, which is its result table.

The view is MLflow's private format (a tag read by the run list's page); where it changes, the link
still opens the run list.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Sequence

from touchstone import tracking
from touchstone.digest import digest
from touchstone.report.formats.markdown import markdown
from touchstone.report.tables.layout import Table, slim
from touchstone.tracking import Run, Store

NOTE = "mlflow.note.content"  # shown as the description of a run
MARK = "<!-- touchstone: result table -->"  # what a report adds stands above it
AXES = (
    "task",
    "mixture",
    "classifier",
    "gold_patients",
    "gold_sentences",
    "prompt",
    "llm",
)  # params of a cell
NUMBERS = (
    "score",
    "score_low",
    "score_high",
    "vs_gold",
    "vs_gold_low",
    "vs_gold_high",
    "p_holm",
)  # of test/
ORDER = "metrics.`test/score`"


def description(tables: Sequence[Table]) -> dict[str, str]:
    """Return the tag that makes the result tables the description of a sweep's run; none without a
    table."""
    if not tables:
        return {}
    return {NOTE: "\n\n".join([MARK, *(markdown(slim(table)) for table in tables)])}


def columns(runs: Sequence[Run]) -> list[str]:
    """Return the columns of the run list: the axes and swept settings that vary in these runs
    first, then score, interval, change, p and n."""
    params = [run.data.params for run in runs]
    names = [*AXES, *sorted({name for one in params for name in one} - set(AXES))]
    varying = [
        name for name in names if len({one.get(name) for one in params}) > 1 or name == "mixture"
    ]
    numbers = [f"metrics.`test/{name}`" for name in NUMBERS]
    return [*(f"params.`{name}`" for name in varying), *numbers, "metrics.`n_train`"]


def link(store: Store, parent: str | None, runs: Sequence[Run]) -> str:
    """Store a view of the run list (`columns`, best first) and return the path of its link in the
    UI."""
    state = {
        "selectedColumns": columns(runs),
        "runsExpanded": {parent: True} if parent else {},
        "orderByKey": ORDER,
        "orderByAsc": False,
        "searchFilter": f"tags.`{tracking.PARENT}` = '{parent}'" if parent else "",
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "runsPinned": [],
        "runsHidden": [],
        "runsHiddenMode": "FIRST_10_RUNS",
        "viewMaximized": True,
    }
    packed = "deflate;" + base64.b64encode(zlib.compress(json.dumps(state).encode())).decode()
    key = digest(state)[:8]  # a link that fits a line; another view under it is not to be expected
    store.client.set_experiment_tag(store.experiment_id, f"mlflow.sharedViewState.{key}", packed)
    path = f"/#/experiments/{store.experiment_id}/runs"
    return f"{path}?workflowType=machine_learning&viewStateShareKey={key}"
