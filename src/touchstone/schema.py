"""The configuration: one dataclass for each axis of the grid, composed by Hydra, checked once, then
passed on as plain values.

A typo in an override or in a YAML file is an error that lists the choices (Hydra checks names and
types against these classes); `checked` adds ranges and rules between fields. Defaults stand here
only where no YAML of the group sets them; a reader of the paper reads conf/. The classes are not
frozen because Hydra composes into them; no code assigns to them after `checked`. Imports nothing
heavy: run.py loads this before it knows whether there is work to do.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, Dict, List, Optional  # noqa: UP035 - omegaconf resolves these names at run time

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf

from touchstone.errors import UserError, no_such

KINDS = ("binary", "multiclass", "multilabel", "ner", "relation")
FAMILIES = {
    "binary": "sentences",
    "multiclass": "sentences",
    "multilabel": "sentences",
    "ner": "ner",
    "relation": "relation",
}  # of prompts
TEMPLATES = (
    "system",
    "data_to_label",
    "label_to_data",
    "entity_list",
    "classify",
)  # of a prompt variant
SERVERS = ("openai", "openai_batch")  # backends that reach an endpoint
STRUCTURED = ("auto", "json_schema", "json_object", "instruction")
MATCHES = ("none", "labels", "lengths", "both", "uniform")  # of mixture.bronze.match
LARGEST_SEED = 2**32 - 1  # of numpy and scikit-learn
LLM_BACKENDS = ("recorded", "batch_file", "openai", "openai_batch", "transformers")


@dataclass
class GoldFiles:
    """Where the expert-labelled examples of a corpus are and how to read them."""

    reader: str = MISSING  # labelled_notes | sentences_jsonl | bio_tsv | relation_tsv
    path: Optional[str] = (
        # one file, or notes for labelled_notes; looked for in paths.data, then in the built-in demo
        None
    )
    labels: Optional[str] = None  # labelled_notes: TSV of note_id, sentence, labels
    annotators: List[str] = field(
        default_factory=list
    )  # label files before adjudication, for agreement
    train: Optional[str] = (
        None  # corpora that publish their own split: one file each; may hold {fold}
    )
    dev: Optional[str] = None
    test: Optional[str] = None
    fold: Optional[int] = None
    text_field: str = "text"
    labels_field: str = "labels"
    doc_field: Optional[str] = "doc_id"  # table: null = each row is a document of its own
    patient_field: Optional[str] = (
        None  # null: the document is the unit of splitting and resampling
    )
    token_column: int = 0  # bio_tsv; negative counts from the right
    tag_column: int = -1
    docs_of: Optional[int] = (
        None  # bio_tsv and relation_tsv know no documents: sentences per pseudo-document, null = 1
    )
    # what the file looks like; null: found in the file, and said
    separator: Optional[str] = None  # table: of the columns
    encoding: Optional[str] = None  # table: utf-8, utf-16, cp1252, ...
    # what its words and marks mean
    label_map: Dict[str, str] = field(
        default_factory=dict
    )  # word or code of the file -> category, or none (left out); "*": every other word
    label_separator: Optional[str] = None  # table: between the labels of a cell; null: , ; | or tab
    label_columns: List[str] = field(
        default_factory=list
    )  # table: columns of 0 and 1, one a label, in place of labels_field
    spans_as: str = "spans"  # spans | labels: a sentence has the categories of its mentions
    attributes: List[str] = field(
        default_factory=list
    )  # of mentions, that make a type of their own: [Negation] -> Disease/Negation
    segment: Optional[bool] = (
        None  # true: texts are cut into sentences; false: each is one example; null: as usual
    )
    offsets: Optional[str] = (
        None  # characters | utf16 | bytes, ..._lf: \r\n as one; null: the one that fits
    )
    patient_pattern: Optional[str] = None  # regex on the document's id; its (group) is the patient
    annotator: Optional[str] = (
        None  # of several in a file: this one; null: adjudicated, or majority
    )
    subgroup_fields: List[str] = field(default_factory=list)  # columns kept for task.subgroups
    confidence_field: Optional[str] = None  # silver and bronze: high, medium, low, or 0 to 1
    origin_field: Optional[str] = None  # silver and bronze: what made the row
    options: Dict[str, Any] = field(default_factory=dict)  # what one format alone needs


@dataclass
class PoolFiles:
    """Where the unlabelled text is that data-to-label labels."""

    # notes | noteevents | mimic_iv_note | rest_of_train (the training gold that task.gold_* left
    # out)
    reader: str = "notes"
    path: Optional[str] = None
    text_field: str = "text"
    id_field: str = "note_id"
    patient_field: Optional[str] = None
    type_field: Optional[str] = None
    max_notes: Optional[int] = None  # null = all; else a seeded sample of patients
    categories: List[str] = field(
        default_factory=list
    )  # noteevents: keep these CATEGORY values; [] = all
    # rest_of_train: documents, first in the order of the first draw of gold, that are never in the
    # pool, so that every gold size asks about the same sentences; null = those that the task's gold
    # takes
    reserve: Optional[int] = None
    keep: Optional[str] = None  # regex a note must match
    candidates: Optional[str] = (
        None  # regex a sentence must match to be asked about; null = all sentences
    )


@dataclass
class Source:
    """A public corpus that `touchstone fetch` can download from its publisher. See
    data/fetch.py."""

    url: Optional[str] = None  # of a zip archive; null: `files` holds one url for each file
    sha256: Optional[str] = None  # of the archive
    files: Dict[str, str] = field(
        default_factory=dict
    )  # file below paths.data -> end of a member's path, or url; {fold}: 1 to 10
    convert: Dict[str, str] = field(
        default_factory=dict
    )  # file below paths.data -> how it is made from the whole archive: hoc
    sha256s: Dict[str, str] = field(
        default_factory=dict
    )  # file below paths.data -> sha256; one without is not verified, and fetch says so


@dataclass
class CorpusConfig:
    name: str = MISSING
    # public | restricted: restricted text never leaves the machine unless llm.approved_for names
    # the corpus
    access: str = "public"
    license: str = "unknown"
    citation: str = ""
    gold: Optional[GoldFiles] = None
    pool: Optional[PoolFiles] = None
    source: Optional[Source] = None


@dataclass
class CategoryConfig:
    """One category of the taxonomy, as the annotation guideline defines it."""

    id: str = MISSING
    name: str = MISSING
    counts: str = MISSING  # what counts as this category
    does_not_count: str = ""  # look-alikes that are not this category
    examples: List[str] = field(
        default_factory=list
    )  # written by the guideline's authors; not corpus sentences
    facets: List[str] = field(
        default_factory=list
    )  # label-to-data: what sentences of the category can be about, for variety


@dataclass
class LabelledExample:
    text: str = MISSING
    labels: List[str] = field(default_factory=list)  # [] = none


@dataclass
class TaxonomyConfig:
    """The annotation guideline as data: read by the prompts, the parsers and the tables alike. See
    taxonomy.py."""

    name: str = MISSING
    version: int = MISSING
    title: str = MISSING  # "signs and symptoms of Alzheimer's disease"
    subject: str = ""  # who or what a sentence must be about
    documents: str = "clinical notes"  # what the sentences are taken from
    positive_name: str = "positive"  # what a sentence with at least one category is called
    marks: List[str] = field(
        default_factory=list
    )  # relation: how the two entities are written in the text, e.g. @GENE$
    categories: List[CategoryConfig] = field(default_factory=list)
    always_none: List[str] = field(
        default_factory=list
    )  # rules by which a sentence has no category
    several: str = ""  # rule for more than one category
    precedence: List[str] = field(
        default_factory=list
    )  # primary label = first of these that the sentence has
    examples: List[LabelledExample] = field(default_factory=list)
    variety: Dict[str, List[str]] = field(
        default_factory=dict
    )  # label-to-data: the attribute grid, attribute -> values
    look_alikes: List[str] = field(
        default_factory=list
    )  # label-to-data: what hard negatives for none are made of


@dataclass
class TaskConfig:
    name: str = MISSING
    kind: str = MISSING  # binary | multiclass | multilabel | ner | relation
    gold_patients: Optional[int] = (
        10  # training patients (or documents) whose gold labels may be used; null = all
    )
    gold_sentences: Optional[int] = (
        None  # the same by sentences, for corpora without patients; null = all
    )
    test_fraction: float = 0.4  # of patients; ignored where the corpus publishes its split
    dev_fraction: float = 0.1
    split_seed: int = 0
    llm_test_sentences: Optional[int] = (
        None  # classifier=llm: score a seeded sample of the test set of this size; null = all
    )
    positive: str = ""  # relation: the label whose F1 is reported; '' = the only category


@dataclass
class GenerationConfig:
    """How much synthetic data is made, and with what variety."""

    seed: int = MISSING  # of the attribute grid, the order of entities and the few-shot examples
    bronze_per_category: int = MISSING  # NER: sentences with entities of each type
    bronze_none: int = MISSING  # hard negatives
    sentences_per_request: int = MISSING
    pool_sentences_per_request: int = MISSING  # longer notes are asked in parts
    entities_per_type: int = MISSING  # NER label-to-data: size of the entity list


@dataclass
class PromptConfig:
    name: str = MISSING
    version: int = MISSING  # raised when the wording changes
    # whether the LLM sees more than category names; false keeps facets and look-alikes out of slots
    # too
    definitions: bool = True
    n_shots: int = 0  # sentences of the training gold shown per category
    system: Dict[str, str] = field(
        default_factory=dict
    )  # Jinja templates; keys: sentences, ner, relation (task families)
    data_to_label: Dict[str, str] = field(default_factory=dict)
    label_to_data: Dict[str, str] = field(default_factory=dict)
    entity_list: Dict[str, str] = field(
        default_factory=dict
    )  # NER: asks for entity names of a type
    classify: Dict[str, str] = field(default_factory=dict)  # zero-shot; absent = data_to_label's


@dataclass
class LLMConfig:
    name: str = MISSING
    backend: str = MISSING  # recorded | batch_file | openai | openai_batch | transformers
    model: str = MISSING
    # base_url of the server; 'file' for recordings and batch files. Part of every request's key
    endpoint: str = MISSING
    location: str = "remote"  # local | remote: whether text leaves the machine
    approved_for: List[str] = field(
        default_factory=list
    )  # names of restricted corpora that an agreement lets this endpoint see
    agreement: Optional[str] = None  # what that agreement is, for the log
    purpose: Optional[str] = None  # batch_file: why restricted text is exported
    # sampling, as sent
    temperature: Optional[float] = None
    top_p: Optional[float] = None
    max_tokens: Optional[int] = 4096
    seed: Optional[int] = None
    structured: str = "auto"  # json_schema | json_object | instruction | auto (detected once)
    # how it is reached; none of this is part of a request's key
    api_key_env: Optional[str] = None  # name of the environment variable; never the key itself
    api_version: Optional[str] = None  # Azure
    headers_env: Dict[str, str] = field(default_factory=dict)  # header -> environment variable
    workers: int = 16
    timeout_s: float = 120.0
    max_answer_mb: float = 4.0  # a larger answer is refused, counted after decompression
    max_tries: int = 6
    requests_per_minute: Optional[int] = None
    tokens_per_minute: Optional[int] = None
    breaker: int = 10  # consecutive failed requests after which the endpoint counts as down
    budget_usd: Optional[float] = None
    estimate_only: bool = False
    prices: str = "prices.yaml"  # dated table in conf/
    recording: Optional[str] = None  # recorded: PATH[,PATH] beside the shipped ones
    batch_dir: str = "batch"  # batch_file: where requests are written and answers are looked for
    batch_max_requests: int = 50_000  # OpenAI's limits per file
    batch_max_mb: int = 200
    poll_s: float = 30.0  # openai_batch
    # transformers
    dtype: str = "auto"
    device: str = "auto"
    batch_tokens: int = 8192
    trust_remote_code: bool = False


@dataclass
class SourceMix:
    """How much of one source goes into the training set, and which of it."""

    use: bool = False
    count: Optional[int] = None  # sentences, a seeded sample; null = all
    ratio: Optional[float] = None  # of the number of gold training sentences; null = all
    weight: float = 1.0  # sample weight of its sentences
    # none | deduplicated | confident | round_trip (the last two deduplicate too)
    filter: str = "deduplicated"
    shuffle_labels: bool = False  # control: must not help
    # silver and bronze: draw from it so that it follows gold's training distribution:
    # none | labels | lengths | both | uniform (every category in equal number)
    match: str = "none"
    repeat_to: List[str] = field(
        default_factory=list
    )  # control, gold only: repeat it up to the size it has with these, [silver, bronze]
    augment_to: List[str] = field(
        default_factory=list
    )  # control, gold only: add as many changed copies of it as these have sentences
    oversample: bool = False  # control, gold only: repeat rare categories until all are balanced


@dataclass
class MixtureConfig:
    name: str = MISSING
    # zero-shot: nothing is learned, the LLM is asked about the test sentences, whatever the
    # classifier
    direct: bool = False
    # gold is used as the experts left it; the other two are deduplicated
    gold: SourceMix = field(default_factory=lambda: SourceMix(filter="none"))
    silver: SourceMix = field(default_factory=SourceMix)
    bronze: SourceMix = field(default_factory=SourceMix)
    near_duplicate: float = (
        90.0  # rapidfuzz ratio from which two sentences of a source count as one
    )
    leakage: float = 80.0  # ratio to a test sentence from which a synthetic sentence is dropped


@dataclass
class ClassifierConfig:
    name: str = MISSING
    kinds: List[str] = field(default_factory=list)  # task kinds it can do


@dataclass
class TfidfConfig(ClassifierConfig):
    """TF-IDF of words and character n-grams with a linear model."""

    model: str = "logreg"  # logreg | svm
    C: float = 1.0
    class_weight: Optional[str] = "balanced"  # balanced | null; hold it fixed across mixtures
    word_ngrams: int = 2
    char_ngrams: int = 4  # 0 = none
    min_df: int = 1


@dataclass
class EncoderLogregConfig(ClassifierConfig):
    """Logistic regression on the mean-pooled output of a frozen encoder."""

    encoder: str = MISSING  # minilm (the optional package), a Hugging Face name, or a folder
    revision: Optional[str] = None
    C: float = 1.0
    class_weight: Optional[str] = "balanced"
    batch_size: int = 64
    max_length: int = 128
    dtype: str = "float32"


@dataclass
class TransformerConfig(ClassifierConfig):
    """Fine-tuned encoder: sentence classifier, or token tagger for NER."""

    encoder: str = MISSING
    revision: Optional[str] = None
    learning_rate: float = 1e-4
    epochs: int = 4
    min_steps: int = 200  # a fixed number of epochs starves a small set
    batch_size: int = 16
    max_length: int = 128
    warmup: float = 0.1
    weight_decay: float = 0.01
    patience: Optional[int] = 3  # dev evaluations without a gain; null = no early stopping
    class_weight: Optional[str] = None
    bucket: bool = True  # batches of similar length, in random order
    viterbi: bool = True  # NER: only legal tag transitions
    dtype: str = "auto"  # auto = bf16 autocast where the device has it
    device: str = "auto"


@dataclass
class CrfConfig(ClassifierConfig):
    """Linear-chain CRF (python-crfsuite) on word-shape features."""

    c1: float = 0.1
    c2: float = 0.1
    max_iterations: int = 100


@dataclass
class LLMClassifierConfig(ClassifierConfig):
    """The LLM asked directly (zero-shot), through the same backends; learns nothing from the
    mixture."""


@dataclass
class TrackingConfig:
    uri: Optional[str] = None  # null = the embedded SQLite store in paths.store
    experiment: str = "two_directions"
    log_models: bool = True
    log_restricted_text: bool = False


@dataclass
class PathsConfig:
    data: Optional[str] = None  # where corpora are looked for first
    cache: str = ".cache"
    store: str = "mlflow"


@dataclass
class Config:
    corpus: CorpusConfig = MISSING
    taxonomy: TaxonomyConfig = MISSING
    task: TaskConfig = MISSING
    prompt: PromptConfig = MISSING
    llm: LLMConfig = MISSING
    mixture: MixtureConfig = MISSING
    classifier: ClassifierConfig = MISSING
    generation: GenerationConfig = MISSING
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    paths: PathsConfig = field(default_factory=PathsConfig)
    study: str = "two_directions"  # which paper table the results belong to
    seed: int = 0  # of the first repetition
    seeds: int = 1  # repetitions: seed, seed + 1, ...
    threads: int = 1  # torch, BLAS: changes bits, so it is part of the cell
    debug: bool = False  # full tracebacks


CLASSIFIER_SCHEMAS = {
    "tfidf": TfidfConfig,
    "encoder_logreg": EncoderLogregConfig,
    "transformer": TransformerConfig,
    "crf": CrfConfig,
    "llm": LLMClassifierConfig,
}


def register() -> None:
    """Make the classes known to Hydra; conf/config.yaml names the first, conf/classifier/*.yaml the
    others."""
    store = ConfigStore.instance()
    store.store(name="touchstone", node=Config)
    for name, node in CLASSIFIER_SCHEMAS.items():
        store.store(group="schema/classifier", name=name, node=node)


def checked(composed: DictConfig) -> Config:
    """Return the composed configuration as plain dataclasses, after checking ranges and rules
    between fields.

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
    llm, pool, prompt = config.llm, config.corpus.pool, config.prompt
    rules: list[tuple[bool, str, Any, str]] = [
        (config.task.kind in KINDS, "task.kind", config.task.kind, f"one of {', '.join(KINDS)}"),
        (config.task.gold_patients is None or config.task.gold_patients >= 1, "task.gold_patients", config.task.gold_patients, "at least 1, or null for all"),
        (config.task.gold_sentences is None or config.task.gold_sentences >= 1, "task.gold_sentences", config.task.gold_sentences, "at least 1, or null for all"),
        (0 < config.task.test_fraction < 1, "task.test_fraction", config.task.test_fraction, "between 0 and 1"),
        (0 <= config.task.dev_fraction < 1 - config.task.test_fraction, "task.dev_fraction", config.task.dev_fraction, "at least 0 and less than 1 - task.test_fraction"),
        (config.seeds >= 1, "seeds", config.seeds, "at least 1"),
        (0 <= config.seed <= LARGEST_SEED - config.seeds, "seed", config.seed, f"at least 0, and seed + seeds at most {LARGEST_SEED}"),
        (0 <= config.task.split_seed <= LARGEST_SEED, "task.split_seed", config.task.split_seed, f"at least 0 and at most {LARGEST_SEED}"),
        (0 <= config.generation.seed <= LARGEST_SEED, "generation.seed", config.generation.seed, f"at least 0 and at most {LARGEST_SEED}"),
        (config.threads >= 1, "threads", config.threads, "at least 1"),
        (config.corpus.access in ("public", "restricted"), "corpus.access", config.corpus.access, "public or restricted"),
        (config.llm.backend in LLM_BACKENDS, "llm.backend", config.llm.backend, f"one of {', '.join(LLM_BACKENDS)}"),
        (config.llm.location in ("local", "remote"), "llm.location", config.llm.location, "local or remote"),
        (config.llm.workers >= 1, "llm.workers", config.llm.workers, "at least 1"),
        (
            0 < config.llm.max_answer_mb <= 1024,
            "llm.max_answer_mb",
            config.llm.max_answer_mb,
            "above 0 and at most 1024",
        ),
        (config.llm.max_tries >= 1, "llm.max_tries", config.llm.max_tries, "at least 1"),
        (config.llm.timeout_s > 0, "llm.timeout_s", config.llm.timeout_s, "more than 0 seconds"),
        (config.llm.budget_usd is None or config.llm.budget_usd >= 0, "llm.budget_usd", config.llm.budget_usd, "at least 0, or null for no limit"),
        (config.generation.bronze_per_category >= 0, "generation.bronze_per_category", config.generation.bronze_per_category, "at least 0"),
        (config.generation.bronze_none >= 0, "generation.bronze_none", config.generation.bronze_none, "at least 0"),
        (config.generation.entities_per_type >= 1, "generation.entities_per_type", config.generation.entities_per_type, "at least 1"),
        (config.generation.pool_sentences_per_request >= 1, "generation.pool_sentences_per_request", config.generation.pool_sentences_per_request, "at least 1"),
        (config.generation.sentences_per_request >= 1, "generation.sentences_per_request", config.generation.sentences_per_request, "at least 1"),
        (config.mixture.direct != (config.mixture.gold.use or config.mixture.silver.use or config.mixture.bronze.use), "mixture", config.mixture.name, "a mixture that uses at least one source, or is direct and uses none"),
        (config.task.llm_test_sentences is None or config.task.llm_test_sentences >= 1, "task.llm_test_sentences", config.task.llm_test_sentences, "at least 1, or null for all"),
        (llm.backend not in SERVERS or llm.endpoint.startswith(("http://", "https://")), "llm.endpoint", llm.endpoint, "the address of a server: http://... or https://..."),
        (llm.temperature is None or llm.temperature >= 0, "llm.temperature", llm.temperature, "at least 0, or null for the endpoint's default"),
        (llm.top_p is None or 0 < llm.top_p <= 1, "llm.top_p", llm.top_p, "more than 0 and at most 1, or null for the endpoint's default"),
        (llm.max_tokens is None or llm.max_tokens >= 1, "llm.max_tokens", llm.max_tokens, "at least 1, or null for the endpoint's default"),
        (llm.structured in STRUCTURED, "llm.structured", llm.structured, f"one of {', '.join(STRUCTURED)}"),
        (llm.requests_per_minute is None or llm.requests_per_minute >= 1, "llm.requests_per_minute", llm.requests_per_minute, "at least 1, or null for no limit"),
        (llm.tokens_per_minute is None or llm.tokens_per_minute >= 1, "llm.tokens_per_minute", llm.tokens_per_minute, "at least 1, or null for no limit"),
        (llm.breaker >= 1, "llm.breaker", llm.breaker, "at least 1 failed request"),
        (llm.batch_max_requests >= 1, "llm.batch_max_requests", llm.batch_max_requests, "at least 1"),
        (llm.batch_max_mb >= 1, "llm.batch_max_mb", llm.batch_max_mb, "at least 1"),
        (llm.batch_tokens >= 1, "llm.batch_tokens", llm.batch_tokens, "at least 1"),
        (llm.poll_s > 0, "llm.poll_s", llm.poll_s, "more than 0 seconds"),
        (pool is None or pool.max_notes is None or pool.max_notes >= 1, "corpus.pool.max_notes", pool and pool.max_notes, "at least 1, or null for all"),
        (pool is None or pool.reserve is None or pool.reserve >= 0, "corpus.pool.reserve", pool and pool.reserve, "at least 0 documents, or null for those that the gold takes"),
        (prompt.n_shots >= 0, "prompt.n_shots", prompt.n_shots, "at least 0"),
        (prompt.version >= 1, "prompt.version", prompt.version, "at least 1"),
        (0 < config.mixture.leakage <= 100, "mixture.leakage", config.mixture.leakage, "more than 0 and at most 100"),
        (0 < config.mixture.near_duplicate <= 100, "mixture.near_duplicate", config.mixture.near_duplicate, "more than 0 and at most 100"),
    ]  # fmt: skip
    for name in ("gold", "silver", "bronze"):
        mix: SourceMix = getattr(config.mixture, name)
        key = f"mixture.{name}"
        rules += [
            (
                mix.filter in ("none", "deduplicated", "confident", "round_trip"),
                f"{key}.filter",
                mix.filter,
                "none, deduplicated, confident or round_trip",
            ),
            (
                mix.count is None or mix.ratio is None,
                f"{key}.count",
                mix.count,
                f"null where {key}.ratio is set",
            ),
            (
                mix.count is None or mix.count >= 0,
                f"{key}.count",
                mix.count,
                "at least 0, or null for all",
            ),
            (
                mix.ratio is None or mix.ratio >= 0,
                f"{key}.ratio",
                mix.ratio,
                "at least 0, or null for all",
            ),
            (mix.weight > 0, f"{key}.weight", mix.weight, "more than 0"),
            (
                mix.match in (MATCHES if name != "gold" else ("none",)),
                f"{key}.match",
                mix.match,
                f"one of {', '.join(MATCHES)}" if name != "gold" else "none: others follow gold",
            ),
            (
                set(mix.augment_to) <= {"silver", "bronze"}
                if name == "gold"
                else not mix.augment_to,
                f"{key}.augment_to",
                mix.augment_to,
                "of silver and bronze" if name == "gold" else "left out: only gold is augmented",
            ),
            (
                name == "gold" or not mix.oversample,
                f"{key}.oversample",
                mix.oversample,
                "false: only gold is oversampled",
            ),
            (
                set(mix.repeat_to) <= {"silver", "bronze"} if name == "gold" else not mix.repeat_to,
                f"{key}.repeat_to",
                mix.repeat_to,
                "of silver and bronze" if name == "gold" else "left out: only gold is repeated",
            ),
        ]
    for stage in TEMPLATES:
        found = sorted(set(getattr(prompt, stage)) - set(FAMILIES.values()))
        rules.append(
            (
                not found,
                f"prompt.{stage}",
                found,
                f"templates for {', '.join(dict.fromkeys(FAMILIES.values()))}",
            )
        )
    rules += [
        (False, key, value, "a finite number")
        for key, value in _numbers(config)
        if not math.isfinite(value)
    ]
    kinds = config.classifier.kinds
    rules.append(
        (
            config.mixture.direct or not kinds or config.task.kind in kinds,
            "classifier",
            config.classifier.name,
            f"one that can do {config.task.kind} (this one: {', '.join(kinds)})",
        )
    )
    for holds, key, found, must in rules:
        if not holds:
            raise UserError(f"{key}={found}: must be {must}")
    return config


def _unknown(node: Any, place: str = "") -> Iterator[tuple[str, str, list[str]]]:
    """Yield place, key and the keys there are, for each key that no class has: `+key=value` lets
    any through."""
    if not isinstance(node, DictConfig) or not node:
        return
    known = OmegaConf.get_type(node)
    for key, value in node.items_ex(resolve=False):
        if is_dataclass(known) and key not in known.__dataclass_fields__:
            yield place, str(key), list(known.__dataclass_fields__)
        yield from _unknown(value, f"{place}{key}.")


def _numbers(part: Any, place: str = "") -> Iterator[tuple[str, float]]:
    """Yield key and value of every number with a fraction in the configuration."""
    for one in fields(part):
        value = getattr(part, one.name)
        if is_dataclass(value):
            yield from _numbers(value, f"{place}{one.name}.")
        elif isinstance(value, float):
            yield f"{place}{one.name}", value


def asks_directly(config: Config) -> bool:
    """Return whether a cell is the zero-shot baseline: mixture=baseline/zero_shot with any
    classifier, or classifier=llm with any mixture."""
    return config.mixture.direct or isinstance(config.classifier, LLMClassifierConfig)


def typed(plain: Dict[str, Any]) -> DictConfig:
    """Return a logged configuration (config.yaml of a run) as Hydra composed it, with the
    classifier's own class.

    Raises
    ------
    UserError If its classifier has the fields of no class known here: the run was made by another
        version.
    """
    fields = set(plain["classifier"])
    found = [
        node for node in CLASSIFIER_SCHEMAS.values() if set(node.__dataclass_fields__) == fields
    ]
    if len(found) != 1:
        raise UserError(
            f"classifier={plain['classifier'].get('name')}: no classifier of this version has the fields {', '.join(sorted(fields))}"
        )
    base = OmegaConf.structured(Config)
    base.classifier = OmegaConf.structured(found[0])
    return OmegaConf.merge(base, plain)  # type: ignore[return-value]
