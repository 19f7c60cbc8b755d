"""The generation stages: build requests, ask, parse, assemble. Each returns a data set with what it
cost and what was refused.

    silver      the pool, labelled by the LLM                 (data-to-label) entity_list names of
    each entity type                     (NER: what bronze sentences are to contain) bronze
    sentences written from category definitions   (label-to-data) zero_shot   test sentences,
    labelled directly             (the baseline of Tang et al. 2023) round_trip  bronze sentences,
    labelled without their label (a check of bronze)

A stage is computed once per content key (cache.py), whichever cell needs it first. Pending
requests, cost estimates and recording misses pass through as exceptions; the pipeline collects them
over all stages of a cell.
"""

from __future__ import annotations

import json
import math
import random
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd

from touchstone.cache import OF_SWEEPS, cached
from touchstone.data.examples import (
    CONTENT,
    Dataset,
    dataset,
    examples,
    read_parquet,
    write_parquet,
)
from touchstone.digest import digest, digest_file, digest_rows
from touchstone.errors import EstimateOnly, PendingRequests, UserError
from touchstone.generate.data_to_label import entities as label_entities
from touchstone.generate.data_to_label import sentences as data_to_label
from touchstone.generate.label_to_data import entities, relations
from touchstone.generate.label_to_data import sentences as label_to_data
from touchstone.generate.order import shuffled_requests
from touchstone.generate.prompts import Prompt
from touchstone.generate.shots import mixed, shots
from touchstone.llm import budget, recording
from touchstone.llm.ask import Answers, ask
from touchstone.llm.exchanges import Exchange, as_json, from_json, sampled
from touchstone.llm.protocol import Request
from touchstone.llm.usage import Usage, total_usage
from touchstone.schema import GenerationConfig, LLMConfig

VERSION = 2
# family of tasks -> the module that reads labels off sentences, and the one that has sentences
# written
DATA_TO_LABEL: Mapping[str, ModuleType] = {
    "sentences": data_to_label,
    "ner": label_entities,
    "relation": data_to_label,
}
LABEL_TO_DATA: Mapping[str, ModuleType] = {
    "sentences": label_to_data,
    "ner": entities,
    "relation": relations,
}


@dataclass(frozen=True)
class Generated:
    """What one generation stage made.

    Attributes
    ----------
    stage : silver, entity_list, bronze, zero_shot or round_trip.
    dataset : the examples, named after prompt and stage.
    quarantine : answers that could not be used: stage, key, reason, text.
    usage : requests, tokens and cost, as `llm.ask.Usage`; of the process that computed it, zero
        sent where it was reused.
    warnings : e.g. that the served model changed under way.
    messages : the first request's messages, as an example of the prompt.
    reused : whether the stage came from the cache.
    exchanges : a sample of its requests with what came of them (llm/exchanges.py); none of a
        restricted corpus.
    """

    stage: str
    dataset: Dataset
    quarantine: pd.DataFrame
    usage: Usage
    warnings: tuple[str, ...]
    messages: tuple[Mapping[str, str], ...]
    reused: bool
    exchanges: tuple[Exchange, ...] = ()


@dataclass(frozen=True)
class Setting:
    """What every stage of a cell shares."""

    prompt: Prompt
    llm: LLMConfig
    generation: GenerationConfig
    cache: Path
    corpus: str
    restricted: bool
    progress: bool = False
    sweep: str = ""  # whose cells share a stage that lacks a tolerated share

    @property
    def params(self) -> dict[str, Any]:
        """Sampling parameters, part of each request's key; None is not sent."""
        return {
            name: getattr(self.llm, name)
            for name in ("temperature", "top_p", "max_tokens", "seed")
            if getattr(self.llm, name) is not None
        }


def silver(setting: Setting, parts: Iterable[pd.DataFrame], train: pd.DataFrame) -> Generated:
    """Label the pool, part by part: data-to-label.

    Each part is a stage of its own in the cache, so a pool of millions of sentences is never in
    memory as a whole, and a run that was stopped goes on with the part it was at. Pending requests
    and estimates are gathered over all parts.
    """
    made: list[Generated] = []
    pending: list[PendingRequests] = []
    estimates: list[budget.Estimate] = []
    for sentences in parts:
        if not sentences["candidate"].any():
            continue
        try:
            made.append(_label(setting, "silver", sentences, train, "silver"))
        except PendingRequests as stop:
            pending.append(stop)
        except EstimateOnly as stop:
            estimates += stop.estimate
    if estimates:
        total = budget.added(estimates)
        raise EstimateOnly(budget.table(total, setting.llm), total)
    if pending:
        raise PendingRequests.merged(pending)
    return complete(_joined(made), setting.llm)


def entity_list(setting: Setting) -> Generated:
    """Ask for names of each entity type, the first of the two steps of label-to-data for NER."""
    built = entities.entity_requests(
        setting.prompt, params=setting.params, per_type=setting.generation.entities_per_type
    )

    def assemble(answers: Answers, keys: Sequence[str]) -> pd.DataFrame:
        return entities.entity_table(built, answers.values, keys)

    try:
        listed = _stage(setting, "entity_list", built, entities.parse_names, assemble)
        return complete(listed, setting.llm)
    except PendingRequests as stop:
        text = (
            f"{stop}\nThey ask for entity names; the sentences that contain them are exported in "
            "a second round, once these are answered"
        )
        raise PendingRequests(text, stop.paths, stop.n) from stop


def bronze(setting: Setting, train: pd.DataFrame, names: Dataset | None = None) -> Generated:
    """Write sentences from category definitions: label-to-data.

    Parameters
    ----------
    names : NER: the entity list; None stands for one that is not there yet, with placeholders, and
        is for cost estimates only.
    """
    prompt = setting.prompt
    writer = LABEL_TO_DATA[prompt.family]
    listed = {}
    if prompt.family == "ner":
        listed["names"] = (
            entities.placeholders(prompt.taxonomy)
            if names is None
            else entities.grouped(names.frame)
        )
    built = writer.requests(
        prompt,
        **listed,
        params=setting.params,
        per_category=setting.generation.bronze_per_category,
        n_none=setting.generation.bronze_none,
        per_request=setting.generation.sentences_per_request,
        seed=setting.generation.seed,
        shots=_shots(setting, train),
        restricted=setting.restricted and prompt.n_shots > 0,
    )

    def assemble(answers: Answers, keys: Sequence[str]) -> pd.DataFrame:
        return writer.bronze(built, answers.values, keys)

    written = _stage(
        setting,
        "bronze",
        built,
        lambda request, text: writer.parse(request, text, prompt.taxonomy),
        assemble,
    )
    return complete(written, setting.llm)


def zero_shot(
    setting: Setting, test: pd.DataFrame, asked: pd.Series, train: pd.DataFrame
) -> Generated:
    """Ask the LLM for the labels of test sentences; `asked` (bool) marks them, the others are
    context only."""
    frame = test.assign(candidate=asked.to_numpy())
    return complete(_label(setting, "zero_shot", frame, train, "silver"), setting.llm)


def round_trip(setting: Setting, written: Dataset) -> Generated:
    """Ask for the labels of bronze sentences without showing the label asked for, in an order that
    mixes the categories."""
    order = list(range(len(written)))
    random.Random(f"{setting.generation.seed}/round_trip").shuffle(order)
    frame = written.frame.sort_values("example_id").iloc[order].assign(note_type="", candidate=True)
    return complete(_label(setting, "round_trip", frame, None, "bronze"), setting.llm)


def complete(generated: Generated, llm: LLMConfig) -> Generated:
    """Return a stage if it lacks no more than `llm.tolerate` of its requests, with a warning where
    it lacks some.

    A request lacks where it was given up (content filter, context length, an endpoint down) or
    where neither of two answers could be used. Of test sentences and of the round trip only the
    former: that an answer cannot be used is then a result.

    Raises
    ------
    UserError
        With the commonest reasons and their counts: a finished cell never lacks LLM data.
    """
    n_requests = int(generated.dataset.provenance["n_requests"])
    lacking = _lacking(generated)
    if not lacking or not n_requests:
        return generated
    common = Counter(generated.quarantine["reason"].map(_kind_of)).most_common(3)
    reasons = "; ".join(f"{count} x {reason}" for reason, count in common)
    if generated.dataset.provenance.get("restricted"):
        reasons = "the reasons stand in the quarantine table"
    warning = (
        f"{generated.stage}: {lacking} of {n_requests} requests have no usable answer ({reasons})"
    )
    if lacking / n_requests > llm.tolerate and not llm.partial:
        again = (
            "The same command asks again for what was given up" if generated.usage.failed else ""
        )
        raise UserError(
            f"{warning}, so its cells are missing. {again}{'; ' * bool(again)}"
            f"llm.tolerate={math.ceil(1000 * lacking / n_requests) / 1000:g} goes on without them"
        )
    return replace(generated, warnings=(*generated.warnings, warning))


def _lacking(generated: Generated) -> int:
    """Return how many requests of a stage lack, see `complete`."""
    judged = generated.stage in ("zero_shot", "round_trip")
    return generated.usage.failed if judged else len(generated.quarantine)


def _kind_of(reason: str) -> str:
    """Return a reason without what differs from request to request: numbers and quotations."""
    return re.sub(r"'[^']*'|\"[^\"]*\"|\d+", "...", reason)[:80]


def agreeing(
    written: Dataset, relabelled: Dataset, primary: Callable[[Sequence[str]], str]
) -> list[str]:
    """Return ids of bronze examples that the LLM, not knowing the label, gave the same primary
    label, or entities, again."""

    def label(row: Any) -> tuple[str, list[Any]]:
        return primary(row.labels), list(row.spans)

    again = {row.example_id: label(row) for row in relabelled.frame.itertuples(index=False)}
    return [
        row.example_id
        for row in written.frame.itertuples(index=False)
        if again.get(row.example_id) == label(row)
    ]


def _shots(setting: Setting, train: pd.DataFrame) -> dict[str, list[dict[str, Any]]]:
    return shots(train, setting.prompt.taxonomy, setting.prompt.n_shots, setting.generation.seed)


def _label(
    setting: Setting, stage: str, sentences: pd.DataFrame, train: pd.DataFrame | None, source: str
) -> Generated:
    """Have sentences labelled; those of entity and relation corpora, and of the round trip (without
    `train`), each stand alone."""
    prompt = setting.prompt
    reader = DATA_TO_LABEL[prompt.family]
    built = reader.requests(
        _drawn(setting, sentences) if prompt.family == "relation" else sentences,
        prompt,
        params=setting.params,
        per_request=setting.generation.pool_sentences_per_request,
        shots=mixed(_shots(setting, train), setting.generation.seed) if train is not None else (),
        restricted=setting.restricted and (train is not None or prompt.n_shots > 0),
        standalone=prompt.family != "sentences" or train is None,
        in_order=prompt.family == "ner" and train is not None,
        stage="data_to_label" if stage == "silver" else stage,
    )

    def assemble(answers: Answers, keys: Sequence[str]) -> pd.DataFrame:
        labelled: dict[Any, Any] = {}
        origins: dict[Any, Any] = {}
        for value, key in zip(answers.values, keys, strict=True):
            if value is not None:
                labelled |= value
                origins |= dict.fromkeys(value, key)
        return reader.silver(sentences, labelled, origins).assign(source=source)

    return _stage(
        setting,
        stage,
        built,
        lambda request, text: reader.parse(request, text, prompt.taxonomy),
        assemble,
    )


def _drawn(setting: Setting, sentences: pd.DataFrame) -> pd.DataFrame:
    """Return the sentences asked about in an order of their own, with the number of their request:
    files of relations are sorted by label, and copies of one sentence unmask each other."""
    candidates = sentences[sentences["candidate"].to_numpy()]
    numbered = shuffled_requests(
        candidates["text"].tolist(),
        setting.prompt.taxonomy.marks,
        setting.generation.pool_sentences_per_request,
        setting.generation.seed,
    )
    order = [position for request in numbered for position in request]
    numbers = [number for number, request in enumerate(numbered) for _ in request]
    return candidates.iloc[order].assign(request=numbers)


def _stage(
    setting: Setting,
    stage: str,
    built: Sequence[Request],
    parse: Callable[[Request, str], Any],
    assemble: Callable[[Answers, Sequence[str]], pd.DataFrame],
) -> Generated:
    """Ask, once per content key, and assemble the answers into a data set."""
    llm, prompt = setting.llm, setting.prompt
    keys = [request.key(llm.endpoint, llm.model) for request in built]
    contexts = [request.context for request in built]
    identity: dict[str, Any] = {
        "requests": keys,
        "contexts": digest([_plain(context) for context in contexts]),
        "backend": llm.backend,
    }
    if llm.backend == "recorded":
        identity["recordings"] = [
            digest_file(path) for path in (*recording.files(llm.recording), *recording.shipped())
        ]

    def compute() -> Generated:
        answers = ask(
            built,
            parse,
            llm,
            folder=setting.cache / "llm",
            corpus=setting.corpus,
            progress=setting.progress,
        )
        frame = assemble(answers, keys)
        if frame.empty:
            frame = examples([])
        data = dataset(
            frame,
            f"{prompt.name}/{stage}",
            stage=stage,
            prompt=prompt.name,
            prompt_version=prompt.version,
            prompt_digest=prompt.digest,
            model=llm.model,
            served_models=list(answers.usage.served_models),
            n_requests=len(built),
            responses_digest=digest_rows(
                {"key": r.key, "text": r.text} for r in answers.responses if r is not None
            ),
            restricted=setting.restricted,
            answer_keys=list(answers.keys),
        )
        first = built[0].messages if built else ()
        return Generated(
            stage,
            data,
            answers.quarantine,
            answers.usage,
            tuple(answers.warnings),
            first,
            False,
            () if setting.restricted else answers.exchanges,
        )

    return _kept(setting, stage, identity, len(built), compute)


def _kept(
    setting: Setting,
    stage: str,
    identity: Mapping[str, Any],
    n_requests: int,
    compute: Callable[[], Generated],
) -> Generated:
    """Return a stage from the cache, or compute it.

    One that lacks requests is no result for others, who ask again. But where a share is tolerated
    the cells of one sweep share it, whichever asked first, so that they can be compared.
    """
    llm = setting.llm

    def own() -> Generated:
        return _reused(
            *cached(setting.cache, stage, identity, VERSION, compute, save, load, _whole)
        )

    if not setting.sweep or not (llm.tolerate or llm.partial):
        return own()
    shared = {**identity, "sweep": setting.sweep}
    keep = partial(_bearable, n_requests=n_requests, llm=llm)
    return _reused(*cached(setting.cache, OF_SWEEPS, shared, VERSION, own, save, load, keep))


def _whole(generated: Generated) -> bool:
    return generated.usage.failed == 0


def _bearable(generated: Generated, n_requests: int, llm: LLMConfig) -> bool:
    return llm.partial or _lacking(generated) <= llm.tolerate * n_requests


def _reused(generated: Generated, reused: bool) -> Generated:
    """Mark a stage that was found as found; what it lacks it still lacks."""
    if not reused:
        return generated
    usage = replace(generated.usage.reused(), failed=generated.usage.failed)
    return replace(generated, usage=usage, reused=True)


def _joined(parts: Sequence[Generated]) -> Generated:
    """Return the parts of one stage as one."""
    if len(parts) == 1:
        return parts[0]
    first, provenances = parts[0], [part.dataset.provenance for part in parts]
    served = sorted({model for one in provenances for model in one["served_models"]})
    data = dataset(
        pd.concat([part.dataset.frame for part in parts], ignore_index=True),
        first.dataset.name,
        **{
            **first.dataset.provenance,
            "served_models": served,
            "n_requests": sum(one["n_requests"] for one in provenances),
            "responses_digest": digest([one["responses_digest"] for one in provenances]),
            "answer_keys": [key for one in provenances for key in one["answer_keys"]],
        },
    )
    warnings = [warning for part in parts for warning in part.warnings]
    if len(served) > 1 and not warnings:
        warnings.append("the served model changed under way: " + ", ".join(served))
    return Generated(
        first.stage,
        data,
        pd.concat([part.quarantine for part in parts], ignore_index=True),
        total_usage([part.usage for part in parts]),
        tuple(dict.fromkeys(warnings)),
        first.messages,
        all(part.reused for part in parts),
        sampled(one for part in parts for one in part.exchanges),
    )


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def save(generated: Generated, folder: Path) -> None:
    """Write a stage into a folder of the cache."""
    write_parquet(generated.dataset.frame, folder / "examples.parquet")
    generated.quarantine.to_parquet(folder / "quarantine.parquet", index=False)
    described = {
        "stage": generated.stage,
        "name": generated.dataset.name,
        "digest": generated.dataset.digest,
        "provenance": dict(generated.dataset.provenance),
        "usage": asdict(generated.usage),
        "warnings": list(generated.warnings),
        "messages": [dict(message) for message in generated.messages],
    }
    (folder / "exchanges.json").write_text(as_json(generated.exchanges), encoding="utf-8")
    (folder / "generated.json").write_text(json.dumps(described, ensure_ascii=False))


def load(folder: Path) -> Generated:
    """Read what `save` wrote.

    Raises
    ------
    UserError
        If it is damaged.
    """
    described = json.loads((folder / "generated.json").read_text())
    frame = read_parquet(folder / "examples.parquet")
    if digest_rows(frame[list(CONTENT)].to_dict("records")) != described["digest"]:
        raise UserError(
            f"the cached {described['stage']} data is damaged; run `touchstone cache verify` and "
            "prune it"
        )
    data = Dataset(frame, described["name"], described["digest"], described["provenance"])
    usage = Usage(
        **{**described["usage"], "served_models": tuple(described["usage"]["served_models"])}
    )
    quarantine = pd.read_parquet(folder / "quarantine.parquet")
    return Generated(
        described["stage"],
        data,
        quarantine,
        usage,
        tuple(described["warnings"]),
        tuple(described["messages"]),
        False,
        from_json((folder / "exchanges.json").read_text(encoding="utf-8")),
    )
