"""The tiny encoder that the tests of fine-tuning share."""

import pytest
from tiny_encoder import save_bert


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    """Folder of a BERT with a few thousand random weights."""
    return str(save_bert(tmp_path_factory.mktemp("bert")))
