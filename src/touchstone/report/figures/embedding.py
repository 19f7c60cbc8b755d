"""Sentences on a plane, for the map of gold, silver and bronze.

TF-IDF with a truncated SVD (seconds, the same everywhere), or on request the vectors of the frozen
MiniLM encoder; then the two principal components. A linear map: distances are not distorted to
please, and the same sentences give the same picture. It shows where sources lie apart; how far is
measured by the two-sample AUC of the quality table.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

SAMPLE = 400  # sentences per source: more would only cover each other
DIMENSIONS = 50  # of the truncated SVD


def positions(
    frames: Mapping[str, pd.DataFrame], encoder: str = "tfidf", seed: int = 0
) -> tuple[pd.DataFrame, str]:
    """Place a sample of each source's sentences on a plane.

    Parameters
    ----------
    frames : source -> example table.
    encoder : `tfidf`, or `minilm` (the optional package; about ten seconds).
    seed : of the samples.

    Returns
    -------
    positions : DataFrame[source, x, y].
    method : how they were found, in words.
    """
    texts, sources = [], []
    for name, frame in frames.items():
        chosen = np.sort(np.random.default_rng(seed).permutation(len(frame))[:SAMPLE])
        texts += frame["text"].iloc[chosen].tolist()
        sources += [name] * len(chosen)
    vectors, method = _vectors(texts, encoder)
    centred = vectors - vectors.mean(axis=0)
    _, values, axes = np.linalg.svd(centred, full_matrices=False)
    plane = centred @ axes[:2].T
    plane *= np.sign(
        axes[:2][np.arange(2), np.abs(axes[:2]).argmax(axis=1)]
    )  # a component's sign is arbitrary
    share = (values[:2] ** 2).sum() / (values**2).sum()
    caption = (
        f"first two principal components of {method}; {100 * share:.0f} % of the variance; at "
        f"most {SAMPLE} sentences of each source"
    )
    return pd.DataFrame({"source": sources, "x": plane[:, 0], "y": plane[:, 1]}), caption


def _vectors(texts: list[str], encoder: str) -> tuple[np.ndarray, str]:
    if encoder == "minilm":
        from touchstone.models.embeddings import embed
        from touchstone.models.encoder import find_encoder

        return embed(texts, find_encoder("minilm"), cache_folder=None).astype(
            float
        ), "MiniLM sentence vectors"
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    matrix = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True).fit_transform(texts)
    size = min(DIMENSIONS, min(matrix.shape) - 1)
    return TruncatedSVD(size, random_state=0).fit_transform(
        matrix
    ), "TF-IDF vectors (truncated SVD)"
