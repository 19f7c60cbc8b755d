"""Encoders of a few thousand random weights, saved as folders: a BERT with a word-piece tokenizer,
a RoBERTa with a byte-level one."""

from __future__ import annotations

import re
from pathlib import Path

TEXTS = [
    "The patient's p53-null tumour (grade 2) was treated... again!",
    "Ataxia-telangiectasia, APC2; café 10 mg b.i.d. \U0001f9ec end",
]

# a fit on one of these that learns in a second
OPTIONS = {
    "epochs": 1,
    "min_steps": 60,
    "batch_size": 8,
    "learning_rate": 2e-2,
    "dtype": "float32",
    "device": "cpu",
    "threads": 1,
}


def save_bert(folder: Path) -> Path:
    import torch
    from tokenizers import BertWordPieceTokenizer
    from transformers import BertConfig, BertModel, BertTokenizerFast

    tokenizer = BertWordPieceTokenizer(vocab=_pieces())
    tokenizer.save(str(folder / "trained.json"))
    made = BertTokenizerFast(tokenizer_file=str(folder / "trained.json"), model_max_length=64)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(made),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
    )
    return _save(BertModel(config), made, folder)


def _pieces() -> dict[str, int]:
    """Return a vocabulary: letters, and of each word its first three and the rest. Training one
    gives another in every process."""
    words = sorted(
        {
            word
            for text in TEXTS
            for word in re.findall(r"[a-z0-9]+", text.lower().replace("é", "e"))
        }
    )
    letters = sorted(
        {
            letter
            for text in TEXTS
            for letter in text.lower().replace("é", "e")
            if not letter.isspace()
        }
    )
    pieces = [word[:3] for word in words] + [f"##{word[3:]}" for word in words if len(word) > 3]
    every = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        *letters,
        *(f"##{letter}" for letter in letters),
        *pieces,
    ]
    return {piece: number for number, piece in enumerate(dict.fromkeys(every))}


def save_roberta(folder: Path) -> Path:
    import torch
    from tokenizers import ByteLevelBPETokenizer
    from transformers import RobertaConfig, RobertaModel, RobertaTokenizerFast

    tokenizer = ByteLevelBPETokenizer()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    tokenizer.train_from_iterator(
        TEXTS * 3, vocab_size=400, min_frequency=2, special_tokens=special, show_progress=False
    )
    tokenizer.save_model(str(folder))
    made = RobertaTokenizerFast(
        vocab=str(folder / "vocab.json"), merges=str(folder / "merges.txt"), model_max_length=64
    )
    torch.manual_seed(0)
    config = RobertaConfig(
        vocab_size=len(made),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=66,
    )
    return _save(RobertaModel(config), made, folder)


def _save(model, tokenizer, folder: Path) -> Path:
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
