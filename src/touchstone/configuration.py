"""The composed configuration, checked once; and the one that a run has logged, read back.

`checked` turns what Hydra composed into plain dataclasses after the ranges that stand on the fields
(ranges.py) and the rules between keys that stand here. `typed` does the same for the config.yaml of
a run, of this version or an earlier one. Composes nothing (run/console.py, api.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import is_dataclass
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from touchstone import plugins
from touchstone.errors import UserError, no_such
from touchstone.ranges import counted, outside
from touchstone.schema import (
    CLASSIFIER_SCHEMAS,
    FAMILIES,
    LARGEST_SEED,
    SERVERS,
    TEMPLATES,
    Config,
    EstimatorConfig,
    SourceMix,
    asks_directly,
)
from touchstone.source_table import GOLD, SOURCES, SYNTHETIC

BACKENDS, READERS = "touchstone.llm.backends", "touchstone.data.readers"
RECORDED = "recorded"  # the one backend that is no module: recordings are read before any is asked
# Runs logged before the classifier's schema was: a key that only one of the schemas had.
KEY_OF_SCHEMA = {
    "learning_rate": "transformer",
    "char_ngrams": "tfidf",
    "c1": "crf",
    "encoder": "encoder_logreg",
}
Rule = tuple[bool, str, Any, str]


def checked(composed: DictConfig) -> Config:
    """Return the composed configuration as plain dataclasses, after checking ranges and rules
    between keys.

    Raises
    ------
    UserError
        One line: the key, what it must be, what was found.
    """
    for place, key, choices in _unknown(composed):
        raise UserError(
            f"+{place}{key}: {no_such('key', key, choices)}"
            + (f" (below {place[:-1]})" if place else "")
        )
    config: Config = OmegaConf.to_object(composed)  # type: ignore[assignment]
    for key, value, must in outside(config):
        raise UserError(f"{key}={value}: must be {must}")
    for holds, key, value, must in (*_rules(config), *_rules_of_sources(config)):
        if not holds:
            raise UserError(f"{key}={value}: must be {must}")
    if config.llm.backend != RECORDED:
        plugins.known("llm.backend", config.llm.backend, BACKENDS, "answer", (RECORDED,))
    return config


def identity(config: Config) -> dict[str, Any]:
    """Return what decides the result of a cell, as plain data: the configuration without
    bookkeeping, without what the cell does not use, and with the user's own code.

    Left out: mixture, classifier and seeds where the LLM is asked directly, settings of a source
    that is not used, and how much gold there is where nothing reads the gold.
    """
    plain = counted(config)
    if asks_directly(config):
        for name in ("mixture", "classifier", "seed", "seeds"):
            plain.pop(name)
    gold = config.mixture.gold
    for source in SOURCES:
        sizes_gold = source in (*gold.repeat_to, *gold.augment_to)
        if not getattr(config.mixture, source).use and not sizes_gold:
            plain.get("mixture", {}).pop(source, None)
    if not reads_gold(config):
        for name in ("gold_patients", "gold_sentences"):
            plain["task"].pop(name)
    return {"config": plain, "own_code": plugins.digests(own_code(config))}


def own_code(config: Config) -> dict[str, str]:
    """Return the user's own files that the configuration names: path below the working folder ->
    text. See `plugins.own_files`."""
    chosen: list[tuple[str, str | None]] = [(config.llm.backend, BACKENDS)]
    corpus = config.corpus
    sets = [getattr(corpus, source) for source in SYNTHETIC]
    files = [corpus.gold, corpus.pool, *sets, *corpus.sites.values()]
    chosen += [(one.reader, READERS) for one in files if one is not None]
    if isinstance(config.classifier, EstimatorConfig) and not asks_directly(config):
        chosen.append((config.classifier.target, None))
    chosen += [(name, None) for name in config.metrics]
    return plugins.texts(plugins.own_files(*chosen))


def reads_gold(config: Config) -> bool:
    """Return whether the training gold has a part in the cell: it is mixed in, shown in a prompt,
    or what it leaves out is the pool."""
    mixture = config.mixture
    generates = asks_directly(config) or any(getattr(mixture, source).use for source in SYNTHETIC)
    leaves_pool = (
        mixture.silver.use
        and config.corpus.pool is not None
        and config.corpus.pool.reader == "rest_of_train"
    )
    matched = any(getattr(mixture, source).match != "none" for source in SOURCES)
    return (
        (mixture.gold.use or matched)
        and not asks_directly(config)
        or generates
        and config.prompt.n_shots > 0
        or leaves_pool
    )


def typed(plain: Mapping[str, Any]) -> DictConfig:
    """Return a logged configuration (config.yaml of a run) as Hydra composed it.

    A key that this version has and the run's had not has its default; where the default of a key
    is in the YAML files only, that is an error when it is read.

    Raises
    ------
    UserError
        If the run has a key, or a schema of the classifier, that this version does not know.
    """
    plain = upgraded(plain)
    schema = plain["classifier"].get("schema")
    if schema not in CLASSIFIER_SCHEMAS:
        raise UserError(
            f"the run is of another version: {no_such('schema', str(schema), CLASSIFIER_SCHEMAS)}"
            f" (classifier={plain['classifier'].get('name')})"
        )
    base = OmegaConf.structured(Config)
    base.classifier = OmegaConf.structured(CLASSIFIER_SCHEMAS[schema])
    try:
        return OmegaConf.merge(base, plain)  # type: ignore[return-value]
    except OmegaConfBaseException as error:
        first = str(error).splitlines()[0]
        raise UserError(
            f"the run is of another version: {error.full_key or 'its configuration'}: {first}"
        ) from None


def upgraded(plain: Mapping[str, Any]) -> dict[str, Any]:
    """Return a logged configuration of an earlier version in the words of this one.

    Until schemas were logged the classifier's was guessed by its keys, and `classifier=llm` was a
    second way to say mixture=baseline/zero_shot.
    """
    classifier, mixture = dict(plain["classifier"]), dict(plain["mixture"])
    if "schema" not in classifier and set(classifier) <= {"name", "kinds"}:
        classifier = {"name": "tfidf_logreg", "schema": "tfidf"}
        mixture["direct"] = True
        for source in SOURCES:
            mixture[source] = {**mixture.get(source, {}), "use": False}
    elif "schema" not in classifier:
        known = [schema for key, schema in KEY_OF_SCHEMA.items() if key in classifier]
        classifier["schema"] = known[0] if known else None
    return {**plain, "classifier": classifier, "mixture": mixture}


def _rules(config: Config) -> Iterator[Rule]:
    """Yield whether a rule between keys holds, the key to change, its value, and what it must
    be."""
    task, llm, prompt, pool = config.task, config.llm, config.prompt, config.corpus.pool
    yield (
        0 <= task.dev_fraction < 1 - task.test_fraction,
        "task.dev_fraction",
        task.dev_fraction,
        "at least 0 and less than 1 - task.test_fraction",
    )
    yield (
        0 <= config.seed <= LARGEST_SEED - config.seeds,
        "seed",
        config.seed,
        f"at least 0, and seed + seeds at most {LARGEST_SEED}",
    )
    yield (
        llm.backend not in SERVERS or llm.endpoint.startswith(("http://", "https://")),
        "llm.endpoint",
        llm.endpoint,
        "the address of a server: http://... or https://...",
    )
    yield (
        pool is None or pool.reserve is None or pool.reader == "rest_of_train",
        "corpus.pool.reserve",
        pool and pool.reserve,
        "null: it is for corpus.pool.reader=rest_of_train",
    )
    families = tuple(dict.fromkeys(FAMILIES.values()))
    for stage in TEMPLATES:
        others = sorted(set(getattr(prompt, stage)) - set(families))
        yield not others, f"prompt.{stage}", others, f"templates for {', '.join(families)}"
    kinds = config.classifier.kinds
    yield (
        asks_directly(config) or not kinds or task.kind in kinds,
        "classifier",
        config.classifier.name,
        f"one that can do {task.kind} (this one: {', '.join(kinds)})",
    )


def _rules_of_sources(config: Config) -> Iterator[Rule]:
    mixture = config.mixture
    yield (
        mixture.direct != any(getattr(mixture, source).use for source in SOURCES),
        "mixture",
        mixture.name,
        "a mixture that uses at least one source, or is direct and uses none",
    )
    for source in SOURCES:
        mix: SourceMix = getattr(mixture, source)
        key, is_gold = f"mixture.{source}", source == GOLD
        yield (
            mix.count is None or mix.ratio is None,
            f"{key}.count",
            mix.count,
            f"null where {key}.ratio is set",
        )
        yield (
            mix.filter != "reviewed" or mix.corrections is not None,
            f"{key}.filter",
            mix.filter,
            f"used with {key}.corrections=FILE, which names the reviewed sentences",
        )
        yield (
            mix.corrections is None or (not is_gold and mix.use),
            f"{key}.corrections",
            mix.corrections,
            "null for gold, which experts labelled, and for a source that is not used",
        )
        yield (
            not is_gold or mix.match == "none",
            f"{key}.match",
            mix.match,
            "none: others follow gold",
        )
        yield (
            is_gold or not mix.oversample,
            f"{key}.oversample",
            mix.oversample,
            "false: only gold is oversampled",
        )
        for name, what in (("repeat_to", "repeated"), ("augment_to", "augmented")):
            sources = getattr(mix, name)
            yield (
                set(sources) <= set(SYNTHETIC) if is_gold else not sources,
                f"{key}.{name}",
                sources,
                f"of {' and '.join(SYNTHETIC)}" if is_gold else f"left out: only gold is {what}",
            )


def _unknown(node: Any, place: str = "") -> Iterator[tuple[str, str, list[str]]]:
    """Yield place, key and the keys there are, for each key that no class has: `+key=value` lets
    any through."""
    if not isinstance(node, DictConfig) or not node:
        return
    schema = OmegaConf.get_type(node)
    known = list(getattr(schema, "__dataclass_fields__", {})) if is_dataclass(schema) else None
    for key, value in node.items_ex(resolve=False):
        if known is not None and key not in known:
            yield place, str(key), known
        yield from _unknown(value, f"{place}{key!s}.")
