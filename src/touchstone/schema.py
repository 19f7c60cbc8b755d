"""The configuration: one dataclass for each axis of the grid, composed by Hydra, checked once, then
passed on as plain values.

A typo in an override or in a YAML file is an error that lists the choices (Hydra checks names and
types against these classes). Each field states its default, its range (ranges.py) and whether it
is bookkeeping, which makes no other cell; rules between keys stand in configuration.py. A default
stands in one place: here, or MISSING here and in the YAML files of the group, where a reader of the
paper looks for it. The classes are not frozen because Hydra composes into them; no code assigns to
them after `configuration.checked`. Imports nothing heavy: it is loaded before it is known whether
there is work to do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, make_dataclass
from typing import Any, Dict, List, Optional, TypeVar  # noqa: UP035 - omegaconf resolves these names at run time

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING

from touchstone.ranges import Range, above, at_least, between, inside, key, more_than, one_of
from touchstone.source_table import SYNTHETIC

T = TypeVar("T")

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
OVERLAPS = ("refuse", "drop", "allow")  # of corpus.overlap
LARGEST_SEED = 2**32 - 1  # of numpy and scikit-learn
FILTERS = ("none", "deduplicated", "confident", "round_trip", "reviewed")
SEED = between(0, LARGEST_SEED)
CLASS_WEIGHT = one_of(("balanced", None))
CHAR_NGRAMS = Range(lambda value: value == 0 or value >= 2, "0, or at least 2")
OR_ALL = ", or null for all"
OR_NO_LIMIT = ", or null for no limit"
NOT_SAID = ", or null where it is not said"
OR_ENDPOINTS = ", or null for the endpoint's default"


@dataclass
class GoldFiles:
    """Where the expert-labelled examples of a corpus are and how to read them."""

    # labelled_notes | sentences_jsonl | bio_tsv | relation_tsv | your own, see docs/extending.md
    reader: str = MISSING
    # one file, or notes for labelled_notes; looked for in paths.data, then in the built-in demo
    path: Optional[str] = None
    labels: Optional[str] = None  # labelled_notes: TSV of note_id, sentence, labels
    # label files before adjudication, for agreement
    annotators: List[str] = field(default_factory=list)
    # corpora that publish their own split: one file each; may hold {fold}
    train: Optional[str] = None
    dev: Optional[str] = None
    test: Optional[str] = None
    fold: Optional[int] = None
    text_field: str = "text"
    labels_field: str = "labels"
    doc_field: Optional[str] = "doc_id"  # table: null = each row is a document of its own
    # null: the document is the unit of splitting and resampling
    patient_field: Optional[str] = None
    token_column: int = 0  # bio_tsv; negative counts from the right
    tag_column: int = -1
    # bio_tsv and relation_tsv know no documents: sentences per pseudo-document, null = 1
    docs_of: Optional[int] = None
    # what the file looks like; null: found in the file, and said
    separator: Optional[str] = None  # table: of the columns
    encoding: Optional[str] = None  # table: utf-8, utf-16, cp1252, ...
    # what its words and marks mean
    # word or code of the file -> category, or none (left out); "*": every other word; with
    # relations also type of entity -> mark
    label_map: Dict[str, str] = field(default_factory=dict)
    label_separator: Optional[str] = None  # table: between the labels of a cell; null: , ; | or tab
    # table: columns of 0 and 1, one a label, in place of labels_field
    label_columns: List[str] = field(default_factory=list)
    # labels: a sentence has the categories of its mentions; relations: each pair of entities in a
    # sentence is an example, the two masked by the taxonomy's marks
    spans_as: str = key("spans", one_of(("spans", "labels", "relations")))
    # of mentions, that make a type of their own: [Negation] -> Disease/Negation
    attributes: List[str] = field(default_factory=list)
    # true: texts are cut into sentences; false: each is one example; null: as usual
    segment: Optional[bool] = None
    # characters | utf16 | bytes, ..._lf: \r\n as one; null: the one that fits
    offsets: Optional[str] = None
    patient_pattern: Optional[str] = None  # regex on the document's id; its (group) is the patient
    # of several in a file: this one; null: adjudicated, or majority
    annotator: Optional[str] = None
    subgroup_fields: List[str] = field(default_factory=list)  # columns kept for task.subgroups
    confidence_field: Optional[str] = None  # silver and bronze: high, medium, low, or 0 to 1
    origin_field: Optional[str] = None  # silver and bronze: what made the row
    options: Dict[str, Any] = field(default_factory=dict)  # what one format alone needs


@dataclass
class SetFiles(GoldFiles):
    """Silver or bronze that somebody else made: files in place of asking an LLM."""

    reader: str = "table"
    path: Any = None  # one file, or a list that is mixed; null: the LLM is asked
    doc_field: Optional[str] = None
    made_by: str = ""  # what is known of its making: tool, model, prompt; stands in tables and card


@dataclass
class PoolFiles:
    """Where the unlabelled text is that data-to-label labels."""

    # notes | noteevents | mimic_iv_note | rest_of_train (the training gold that task.gold_* left
    # out) | your own, see docs/extending.md
    reader: str = "notes"
    path: Optional[str] = None
    text_field: str = "text"
    id_field: str = "note_id"
    patient_field: Optional[str] = None
    type_field: Optional[str] = None
    max_notes: Optional[int] = key(None, at_least(1, OR_ALL))  # a seeded sample of patients
    # noteevents: keep these CATEGORY values; [] = all
    categories: List[str] = field(default_factory=list)
    # rest_of_train: documents, first in the order of the first draw of gold, that are never in the
    # pool, so that every gold size asks about the same sentences; null = those that the task's gold
    # takes
    reserve: Optional[int] = key(
        None, at_least(0, " documents, or null for those that the gold takes")
    )
    keep: Optional[str] = None  # regex a note must match
    # regex a sentence must match to be asked about; null = all sentences
    candidates: Optional[str] = None
    # TSV of note_id, sentence, labels: what experts say of some of its sentences; scores silver
    labels: Optional[str] = None


def _with_sources(settings: Callable[[], Any]) -> Callable[[type[T]], type[T]]:
    """Give a class a field of settings for each line of source_table.py that it does not name."""

    def extended(cls: type[T]) -> type[T]:
        more: list[Any] = [
            (name, settings, field(default_factory=settings))
            for name in SYNTHETIC
            if name not in cls.__dataclass_fields__  # type: ignore[attr-defined]
        ]
        return make_dataclass(cls.__name__, more, bases=(cls,)) if more else cls

    return extended


@dataclass
class Source:
    """A public corpus that `touchstone fetch` can download from its publisher. See
    data/fetch.py."""

    url: Optional[str] = None  # of a zip archive; null: `files` holds one url for each file
    sha256: Optional[str] = None  # of the archive
    # file below paths.data -> end of a member's path, or url; {fold}: 1 to 10
    files: Dict[str, str] = field(default_factory=dict)
    # file below paths.data -> how it is made from the whole archive: hoc
    convert: Dict[str, str] = field(default_factory=dict)
    # file below paths.data -> sha256; one without is not verified, and fetch says so
    sha256s: Dict[str, str] = field(default_factory=dict)


@_with_sources(SetFiles)
@dataclass
class CorpusConfig:
    name: str = MISSING
    # public | restricted: restricted text never leaves the machine unless llm.approved_for names
    # the corpus
    access: str = key("public", one_of(("public", "restricted")))
    license: str = "unknown"
    citation: str = ""
    gold: Optional[GoldFiles] = None
    pool: Optional[PoolFiles] = None
    silver: SetFiles = field(default_factory=SetFiles)
    bronze: SetFiles = field(default_factory=SetFiles)
    # NAME: expert-labelled test set of another place, scored by every cell and never trained on
    sites: Dict[str, GoldFiles] = field(default_factory=dict)
    # people (or documents) on both sides: refuse | drop (leave them out of training) | allow
    # (equal ids are different people)
    overlap: str = key("refuse", one_of(OVERLAPS))
    source: Optional[Source] = None


@dataclass
class CategoryConfig:
    """One category of the taxonomy, as the annotation guideline defines it."""

    id: str = MISSING
    name: str = MISSING
    counts: str = MISSING  # what counts as this category
    does_not_count: str = ""  # look-alikes that are not this category
    # written by the guideline's authors; not corpus sentences
    examples: List[str] = field(default_factory=list)
    # label-to-data: what sentences of the category can be about, for variety
    facets: List[str] = field(default_factory=list)


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
    # relation: how the two entities are written in the text, e.g. @GENE$
    marks: List[str] = field(default_factory=list)
    categories: List[CategoryConfig] = field(default_factory=list)
    # rules by which a sentence has no category
    always_none: List[str] = field(default_factory=list)
    several: str = ""  # rule for more than one category
    # primary label = first of these that the sentence has
    precedence: List[str] = field(default_factory=list)
    examples: List[LabelledExample] = field(default_factory=list)
    # label-to-data: the attribute grid, attribute -> values
    variety: Dict[str, List[str]] = field(default_factory=dict)
    # label-to-data: what hard negatives for none are made of
    look_alikes: List[str] = field(default_factory=list)


@dataclass
class TaskConfig:
    name: str = MISSING
    kind: str = key(MISSING, one_of(KINDS))
    # training patients (or documents) whose gold labels may be used; null = all
    gold_patients: Optional[int] = key(10, at_least(1, OR_ALL))
    # the same by sentences, for corpora without patients; null = all
    gold_sentences: Optional[int] = key(None, at_least(1, OR_ALL))
    # of patients; ignored where the corpus publishes its split
    test_fraction: float = key(0.4, inside(0, 1))
    dev_fraction: float = 0.1  # below 1 - test_fraction
    split_seed: int = key(0, SEED)
    # mixture=baseline/zero_shot: score a seeded sample of the test set of this size; null = all
    llm_test_sentences: Optional[int] = key(None, at_least(1, OR_ALL))
    # columns of the gold by which scores are told apart: [sex, service, age_band]
    subgroups: List[str] = field(default_factory=list)
    # cross-validation as one row: all (the published folds), a number (of parts of the patients),
    # or null for one split
    folds: Optional[str] = None
    positive: str = ""  # relation: the label whose F1 is reported; '' = the only category
    # where the runs of the task go unless `study` says otherwise
    study: str = key("two_directions", bookkeeping=True)


@dataclass
class GenerationConfig:
    """How much synthetic data is made, and with what variety."""

    # of the attribute grid, the order of entities and the few-shot examples
    seed: int = key(MISSING, SEED)
    # NER: sentences with entities of each type
    bronze_per_category: int = key(MISSING, at_least(0))
    bronze_none: int = key(MISSING, at_least(0))  # hard negatives
    sentences_per_request: int = key(MISSING, at_least(1))
    pool_sentences_per_request: int = key(MISSING, at_least(1))  # longer notes are asked in parts
    # NER label-to-data: size of the entity list
    entities_per_type: int = key(MISSING, at_least(1))


@dataclass
class PromptConfig:
    name: str = MISSING
    version: int = key(MISSING, at_least(1))  # raised when the wording changes
    # whether the LLM sees more than category names; false keeps facets and look-alikes out of slots
    # too
    definitions: bool = True
    n_shots: int = key(0, at_least(0))  # sentences of the training gold shown per category
    # Jinja templates; keys: sentences, ner, relation (task families)
    system: Dict[str, str] = field(default_factory=dict)
    data_to_label: Dict[str, str] = field(default_factory=dict)
    label_to_data: Dict[str, str] = field(default_factory=dict)
    # NER: asks for entity names of a type
    entity_list: Dict[str, str] = field(default_factory=dict)
    classify: Dict[str, str] = field(default_factory=dict)  # zero-shot; absent = data_to_label's


@dataclass
class LLMConfig:
    name: str = key(MISSING, bookkeeping=True)
    # recorded | batch_file | openai | openai_batch | transformers | your own, see docs/extending.md
    backend: str = key(MISSING, bookkeeping=True)
    model: str = MISSING
    # base_url of the server; 'file' for recordings and batch files. Part of every request's key
    endpoint: str = MISSING
    # whether text leaves the machine
    location: str = key("remote", one_of(("local", "remote")), bookkeeping=True)
    # names of restricted corpora that an agreement lets this endpoint see
    approved_for: List[str] = field(default_factory=list, metadata={"bookkeeping": True})
    agreement: Optional[str] = key(None, bookkeeping=True)  # what that agreement is, for the log
    # batch_file: why restricted text is exported
    purpose: Optional[str] = key(None, bookkeeping=True)
    # sampling, as sent
    temperature: Optional[float] = key(None, at_least(0, OR_ENDPOINTS))
    top_p: Optional[float] = key(None, above(0, 1, OR_ENDPOINTS))
    max_tokens: Optional[int] = key(4096, at_least(1, OR_ENDPOINTS))
    seed: Optional[int] = None
    # how it is reached; none of this is part of a request's key
    # auto: detected once
    structured: str = key("auto", one_of(STRUCTURED), bookkeeping=True)
    # name of the environment variable; never the key itself
    api_key_env: Optional[str] = key(None, bookkeeping=True)
    api_version: Optional[str] = key(None, bookkeeping=True)  # Azure
    # header -> environment variable
    headers_env: Dict[str, str] = field(default_factory=dict, metadata={"bookkeeping": True})
    workers: int = key(16, at_least(1), bookkeeping=True)
    timeout_s: float = key(120.0, more_than(0, " seconds"), bookkeeping=True)
    # a larger answer is refused, counted after decompression
    max_answer_mb: float = key(4.0, above(0, 1024), bookkeeping=True)
    max_tries: int = key(6, at_least(1), bookkeeping=True)
    # share of a stage's requests that may stay without a usable answer; with more the cell is
    # missing, not finished
    tolerate: float = key(0.0, between(0, 1))
    # batch_file: go on with what is answered so far, and say so
    partial: bool = False
    requests_per_minute: Optional[int] = key(None, at_least(1, OR_NO_LIMIT), bookkeeping=True)
    tokens_per_minute: Optional[int] = key(None, at_least(1, OR_NO_LIMIT), bookkeeping=True)
    # consecutive failed requests after which the endpoint counts as down
    breaker: int = key(10, at_least(1, " failed request"), bookkeeping=True)
    budget_usd: Optional[float] = key(None, at_least(0, OR_NO_LIMIT), bookkeeping=True)
    estimate_only: bool = key(False, bookkeeping=True)
    prices: str = key("prices.yaml", bookkeeping=True)  # dated table in conf/
    # recorded: PATH[,PATH] beside the shipped ones
    recording: Optional[str] = key(None, bookkeeping=True)
    # batch_file: where requests are written and answers are looked for
    batch_dir: str = key("batch", bookkeeping=True)
    # OpenAI's limits per file
    batch_max_requests: int = key(50_000, at_least(1), bookkeeping=True)
    batch_max_mb: int = key(200, at_least(1), bookkeeping=True)
    poll_s: float = key(30.0, more_than(0, " seconds"), bookkeeping=True)  # openai_batch
    # transformers
    dtype: str = "auto"
    device: str = key("auto", bookkeeping=True)
    batch_tokens: int = key(8192, at_least(1), bookkeeping=True)
    trust_remote_code: bool = False


@dataclass
class SourceMix:
    """How much of one source goes into the training set, and which of it."""

    use: bool = False
    # sentences, a seeded sample
    count: Optional[int] = key(None, at_least(0, OR_ALL))
    # of the number of gold training sentences
    ratio: Optional[float] = key(None, at_least(0, OR_ALL))
    weight: float = key(1.0, more_than(0))  # sample weight of its sentences
    # confident, round_trip and reviewed deduplicate too
    filter: str = key("deduplicated", one_of(FILTERS))
    # experts' labels that replace the LLM's: what `touchstone review import --corrections` wrote
    corrections: Optional[str] = None
    shuffle_labels: bool = False  # control: must not help
    # silver and bronze: draw from it so that it follows gold's training distribution; uniform:
    # every category in equal number
    match: str = key("none", one_of(MATCHES))
    # control, gold only: repeat it up to the size it has with these, [silver, bronze]
    repeat_to: List[str] = field(default_factory=list)
    # control, gold only: add as many changed copies of it as these have sentences
    augment_to: List[str] = field(default_factory=list)
    oversample: bool = False  # control, gold only: repeat rare categories until all are balanced


@_with_sources(SourceMix)
@dataclass
class MixtureConfig:
    name: str = MISSING
    # zero-shot: nothing is learned, the LLM is asked about the test sentences, whatever the
    # classifier
    direct: bool = False
    # gold is used as the experts left it; others are deduplicated
    gold: SourceMix = field(default_factory=lambda: SourceMix(filter="none"))
    silver: SourceMix = field(default_factory=SourceMix)
    bronze: SourceMix = field(default_factory=SourceMix)
    # rapidfuzz ratio from which two sentences of a source count as one
    near_duplicate: float = key(90.0, above(0, 100))
    # ratio to a test sentence from which a synthetic sentence is dropped
    leakage: float = key(80.0, above(0, 100))


@dataclass
class ClassifierConfig:
    name: str = MISSING
    schema: str = MISSING  # which of the classes below: what a logged run is read back as
    kinds: List[str] = field(default_factory=list)  # task kinds it can do; [] = all


@dataclass
class TfidfConfig(ClassifierConfig):
    """TF-IDF of words and character n-grams with a linear model."""

    schema: str = key("tfidf", one_of(("tfidf",)))
    model: str = key("logreg", one_of(("logreg", "svm")))
    C: float = key(1.0, more_than(0))  # inverse strength of the penalty
    # with scarce gold this alone moves macro-F1 by up to 30 points: keep it the same across
    # mixtures
    class_weight: Optional[str] = key("balanced", CLASS_WEIGHT)
    # words 1..N: relations hang on pairs (GAD F1 0.74 with them, 0.63 without)
    word_ngrams: int = key(2, at_least(0))
    # characters 2..N within words; 0 = none. On dev, over six splits: +2 points of macro-F1 for
    # gold of 10 patients, +4 with silver and bronze
    char_ngrams: int = key(4, CHAR_NGRAMS)
    min_df: int = key(1, at_least(1))  # sentences that a feature must stand in


@dataclass
class EncoderLogregConfig(ClassifierConfig):
    """Logistic regression on the mean-pooled output of a frozen encoder."""

    schema: str = key("encoder_logreg", one_of(("encoder_logreg",)))
    encoder: str = "minilm"  # minilm (the optional package), a Hugging Face name, or a folder
    revision: Optional[str] = None  # of a Hugging Face name; a commit keeps results stable
    # vectors have length 1, so 1.0 shrinks too much: 2 points of macro-F1 on the demo, authors held
    # out
    C: float = key(3.0, more_than(0))
    class_weight: Optional[str] = key("balanced", CLASS_WEIGHT)
    batch_size: int = key(64, at_least(1))  # sentences; does not change the vectors
    max_length: int = 128  # tokens read at once; longer texts are read in windows and pooled
    # bfloat16 is about twice as fast where the CPU has it, and moves vectors by less than 0.001
    # (cosine)
    dtype: str = "float32"


@dataclass
class TransformerConfig(ClassifierConfig):
    """Fine-tuned encoder: sentence classifier, or token tagger for NER."""

    schema: str = key("transformer", one_of(("transformer",)))
    encoder: str = "minilm"  # minilm (the optional package), a Hugging Face name, or a folder
    revision: Optional[str] = None  # of a Hugging Face name; a commit keeps results stable
    # small encoders take more than the 2e-5 of BERT
    learning_rate: float = key(1e-4, more_than(0))
    epochs: int = key(4, at_least(1))
    # a fixed number of epochs starves a small set: 50 sentences of NER end as all O
    min_steps: int = key(200, at_least(0))
    # on NCBI-disease as good on dev as 32 with 200 and with 1,000 sentences, in two thirds of the
    # time
    batch_size: int = key(16, at_least(1))
    max_length: int = 128  # tokens read at once; longer texts are read in windows and pooled
    # share of steps over which the learning rate rises
    warmup: float = key(
        0.1, Range(lambda value: 0 <= value < 1, "at least 0 and less than 1, the share of steps")
    )
    weight_decay: float = key(0.01, at_least(0))
    # looks at dev without a gain before it stops. The best state on dev is kept either way
    patience: Optional[int] = key(3, at_least(1, ", or null for no early stopping"))
    class_weight: Optional[str] = key(None, CLASS_WEIGHT)
    # batches of similar length in random order: less padding, at times 0.004 to 0.025 F1 less than
    # random batches
    bucket: bool = True
    viterbi: bool = True  # ner: the best legal tag sequence; false = the best tag of each word
    dtype: str = "auto"  # bfloat16 where the CPU or GPU has it; float32 elsewhere
    device: str = "auto"  # the GPU where there is one


@dataclass
class CrfConfig(ClassifierConfig):
    """Linear-chain CRF (python-crfsuite) on word-shape features."""

    schema: str = key("crf", one_of(("crf",)))
    c1: float = key(0.1, at_least(0))  # L1 penalty
    c2: float = key(0.1, at_least(0))  # L2 penalty
    max_iterations: int = key(100, at_least(1))  # of L-BFGS


@dataclass
class EstimatorConfig(ClassifierConfig):
    """Any scikit-learn estimator, or a class of the user's own; see docs/extending.md."""

    schema: str = key("estimator", one_of(("estimator",)))
    target: str = (
        MISSING  # sklearn.naive_bayes.ComplementNB, my_models.Rules, models/rules.py:Rules
    )
    options: Dict[str, Any] = field(default_factory=dict)  # arguments of the class
    # tfidf | embeddings | text: what its fit and predict receive
    features: str = key("tfidf", one_of(("tfidf", "embeddings", "text")))
    # features=tfidf, as of the tfidf classifiers
    word_ngrams: int = key(TfidfConfig.word_ngrams, at_least(0))
    char_ngrams: int = key(TfidfConfig.char_ngrams, CHAR_NGRAMS)
    min_df: int = key(TfidfConfig.min_df, at_least(1))
    # features=embeddings, as of the frozen encoder
    encoder: str = EncoderLogregConfig.encoder
    revision: Optional[str] = None
    max_length: int = EncoderLogregConfig.max_length
    dtype: str = EncoderLogregConfig.dtype


@dataclass
class TrackingConfig:
    # null = the embedded SQLite store in paths.store; sweep = one in the sweep's own folder
    uri: Optional[str] = None
    experiment: str = "two_directions"
    log_models: bool = True
    log_restricted_text: bool = False
    # LLM requests as traces: the first 20 of a generation and all that failed; never of a
    # restricted corpus
    traces: bool = True
    # name in the model registry of a sweep's best cell, by test/score; null: none is registered
    register: Optional[str] = None


@dataclass
class PathsConfig:
    data: Optional[str] = None  # where corpora are looked for first
    cache: str = ".cache"
    store: str = "mlflow"


@dataclass
class WorthConfig:
    """What an expert's labels cost: tables and reports then say in hours and money what a mixture
    saves. Nothing is assumed where it is not said."""

    minutes_per_sentence: Optional[float] = key(None, more_than(0, NOT_SAID))
    hourly_rate: Optional[float] = key(None, more_than(0, NOT_SAID))  # money an hour


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
    # scores beside the built-in ones: functions of (true, predicted), see docs/extending.md
    metrics: List[str] = field(default_factory=list)
    tracking: TrackingConfig = field(default_factory=TrackingConfig, metadata={"bookkeeping": True})
    paths: PathsConfig = field(default_factory=PathsConfig, metadata={"bookkeeping": True})
    worth: WorthConfig = field(default_factory=WorthConfig, metadata={"bookkeeping": True})
    study: str = key(MISSING, bookkeeping=True)  # which paper table the results belong to
    seed: int = 0  # of the first repetition
    seeds: int = key(1, at_least(1))  # repetitions: seed, seed + 1, ...
    # torch, BLAS: changes bits, so it is part of the cell
    threads: int = key(1, at_least(1))
    debug: bool = key(False, bookkeeping=True)  # full tracebacks


CLASSIFIER_SCHEMAS: dict[str, type[ClassifierConfig]] = {
    "tfidf": TfidfConfig,
    "encoder_logreg": EncoderLogregConfig,
    "transformer": TransformerConfig,
    "crf": CrfConfig,
    "estimator": EstimatorConfig,
}


def register() -> None:
    """Make the classes known to Hydra; conf/config.yaml names the first, conf/classifier/*.yaml the
    others."""
    store = ConfigStore.instance()
    store.store(name="touchstone", node=Config)
    for name, node in CLASSIFIER_SCHEMAS.items():
        store.store(group="schema/classifier", name=name, node=node)


def asks_directly(config: Config) -> bool:
    """Return whether a cell is the zero-shot baseline, mixture=baseline/zero_shot."""
    return config.mixture.direct
