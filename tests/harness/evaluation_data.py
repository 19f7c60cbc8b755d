"""Made-up systems for the tests of evaluate/: indicators and counts with patients who are alike
within themselves."""

import numpy as np

from touchstone.evaluate.counts import Counts, from_indicators

CATEGORIES = ("a", "b", "c")


def indicators(rng, n=300, k=3, rate=0.3, flip=0.2):
    """Random truth and a prediction that differs from it in a share `flip` of cells."""
    true = rng.random((n, k)) < rate
    return true, true ^ (rng.random((n, k)) < flip)


def patients(rng, n=300, n_patients=12):
    """A patient id for each example; every patient has at least one."""
    ids = np.concatenate([np.arange(n_patients), rng.integers(0, n_patients, n - n_patients)])
    return [f"p{i:03d}" for i in ids]


def counts(rng, n=300, n_patients=12, flip=0.2):
    true, pred = indicators(rng, n, flip=flip)
    return from_indicators(true, pred, patients(rng, n, n_patients), CATEGORIES)


def pair(rng, n_patients=12, flips=(0.3, 0.15), n=300):
    """Two systems on the same test set."""
    true = rng.random((n, 3)) < 0.3
    clusters = patients(rng, n, n_patients)
    return tuple(
        from_indicators(true, true ^ (rng.random(true.shape) < flip), clusters, CATEGORIES)
        for flip in flips
    )


def population(rng, n_patients, n_sentences=(20, 60), gap=0.0):
    """Two systems over patients that differ in how often each category occurs and how hard they
    are; the second is `gap` less sensitive.

    With gap 0 the two are exchangeable: the null hypothesis of the permutation test holds.
    """
    k = 3
    prevalence = np.array([0.15, 0.08, 0.04])
    n = rng.integers(*n_sentences, n_patients)[:, None]
    support = rng.binomial(n, rng.beta(prevalence * 20, (1 - prevalence) * 20, (n_patients, k)))
    sensitivity = rng.beta(6, 3, (n_patients, k))
    systems = []
    for loss in (0.0, gap):
        tp = rng.binomial(
            support, np.clip(sensitivity - loss + rng.normal(0, 0.05, (n_patients, k)), 0, 1)
        )
        fp = rng.binomial(n - support, rng.beta(1, 25, (n_patients, k)))
        values = np.stack([tp, fp, support - tp], axis=-1)
        systems.append(Counts(values, tuple(f"p{i:06d}" for i in range(n_patients)), CATEGORIES))
    return systems
