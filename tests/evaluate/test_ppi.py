"""Prevalence from a few expert labels and many of an LLM: the published estimator, and patients."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

import touchstone.demo
from touchstone.evaluate.ppi import ppi_mean, ppi_precision_recall


def sample(n=60, size=600, seed=0, error=0.1):
    rng = np.random.default_rng(seed)
    truth = rng.random(n + size) < 0.3
    llm = np.where(rng.random(n + size) < error, ~truth, truth).astype(float)
    return truth[:n].astype(float), llm[:n], llm[n:]


def test_without_clusters_it_is_ppi_python():
    ppi = pytest.importorskip("ppi_py")
    y, f, pool = sample()
    ours = ppi_mean(y, f, range(len(y)), pool, range(len(pool)))
    theirs = float(np.ravel(ppi.ppi_mean_pointestimate(y, f, pool, lam=ours.lam))[0])
    low, high = (
        float(np.ravel(b)[0]) for b in ppi.ppi_mean_ci(y, f, pool, alpha=0.05, lam=ours.lam)
    )
    assert ours.value == pytest.approx(theirs, abs=1e-9)
    # ours has t with 59 degrees of freedom and n - 1, theirs the normal and n
    assert ours.high - ours.low == pytest.approx(
        (high - low) * 2.001 / 1.96 * (60 / 59) ** 0.5, rel=0.01
    )
    # lambda is chosen by almost the same formula: theirs takes the variance of both samples
    # together
    at = [float(np.ravel(ppi.ppi_mean_pointestimate(y, f, pool, lam=lam))[0]) for lam in (0, 1)]
    best = float(np.ravel(ppi.ppi_mean_pointestimate(y, f, pool))[0])
    assert ours.lam == pytest.approx((best - at[0]) / (at[1] - at[0]), abs=0.1)


def test_worthless_labels_leave_the_experts_alone():
    y, _, pool = sample()
    noise = np.random.default_rng(1).random(len(y)).round()
    found = ppi_mean(y, noise * 0, range(len(y)), pool * 0, range(len(pool)))
    assert found.lam == 0 and found.value == pytest.approx(y.mean())


def test_sentences_of_one_patient_do_not_count_as_many():
    y, f, pool = sample()
    alone = ppi_mean(y, f, range(len(y)), pool, range(len(pool)), lam=0)
    same = np.repeat(np.arange(10), 6)
    order = np.argsort(y)  # alike within patients
    clustered = ppi_mean(y[order], f[order], same, pool, range(len(pool)), lam=0)
    assert clustered.high - clustered.low > 1.5 * (alone.high - alone.low)
    assert np.isnan(ppi_mean(y, f, [0] * len(y), pool, range(len(pool))).low)


def _labels(path: Path) -> dict[tuple[str, str], set[str]]:
    with path.open(encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle, delimiter="\t"))
    return {
        (r["note_id"], r["sentence"]): set(r["labels"].replace("|", ",").split(",")) - {"none"}
        for r in rows
    }


@pytest.mark.slow
def test_on_the_demo_clustered_intervals_cover_and_a_count_does_not(capsys):
    """15 patients judged and 35 in the pool, drawn from the demo's 50. The LLM is an annotator of
    the demo who leaves out a third of the labels."""
    folder = Path(touchstone.demo.__file__).parent / "ad_corpus"
    gold, llm = _labels(folder / "gold_labels.tsv"), _labels(folder / "annotator_1.tsv")
    rng = np.random.default_rng(0)
    names = sorted(set().union(*gold.values()))
    for labels in llm.values():
        labels -= {name for name in sorted(labels) if rng.random() < 1 / 3}
    right = sum(len(gold[key] & llm[key]) for key in gold)
    f1 = 2 * right / sum(len(labels[key]) for labels in (gold, llm) for key in gold)
    lines = (folder / "gold_notes.jsonl").read_text(encoding="utf-8").splitlines()
    patient = {note["note_id"]: note["patient_id"] for note in map(json.loads, lines)}
    sentences = {name: [k for k in gold if patient[k[0]] == name] for name in set(patient.values())}
    order = sorted(sentences)
    covered = []
    for _ in range(200):
        drawn = [sentences[order[i]] for i in rng.choice(len(order), 50)]
        judged, rest = drawn[:15], drawn[15:]
        own = [i for i, keys in enumerate(judged) for _ in keys]
        others = [i for i, keys in enumerate(rest) for _ in keys]
        for name in names:
            y, f = (_has(labels, name, judged) for labels in (gold, llm))
            pool = _has(llm, name, rest)
            truth = np.mean([name in labels for labels in gold.values()])
            ours = ppi_mean(y, f, own, pool, others)
            alone = ppi_mean(y, f, own, pool, others, lam=0)
            sentence = ppi_mean(y, f, range(len(y)), pool, range(len(pool)))
            half = 1.96 * np.sqrt(pool.mean() * (1 - pool.mean()) / len(pool))
            covered.append(
                (
                    ours.low <= truth <= ours.high,
                    alone.low <= truth <= alone.high,
                    sentence.low <= truth <= sentence.high,
                    abs(pool.mean() - truth) <= half,
                    (ours.high - ours.low) / (alone.high - alone.low),
                )
            )
    clustered, gold_only, unclustered, counted, width = np.mean(covered, axis=0)
    with capsys.disabled():
        print(
            f"\nprevalence from 15 gold patients and an LLM of F1 {f1:.2f}, nominal 95 %: counting "
            f"its labels covers {counted:.2f}, PPI++ without clusters {unclustered:.2f}, clustered "
            f"{clustered:.2f} at {100 * width:.0f} % of the width of gold alone ({gold_only:.2f})"
        )
    assert clustered > 0.9 and clustered > unclustered + 0.05 and counted < 0.5 and width < 0.9


def _has(labels, name: str, parts) -> np.ndarray:
    return np.array([name in labels[key] for keys in parts for key in keys], dtype=float)


def test_precision_and_recall_of_a_perfect_llm_are_one_and_of_a_blind_one_undefined():
    y, _, _ = sample()
    pool = sample(seed=1)[2]
    people, others = range(len(y)), range(len(pool))
    for found in ppi_precision_recall(y, y, people, pool, others):
        assert found.value == pytest.approx(1) and found.low == pytest.approx(1)
    precision, recall = ppi_precision_recall(y, y * 0, people, pool * 0, others)
    assert np.isnan(precision.value) and recall.value == 0


def test_precision_and_recall_cover_what_is_true_of_the_population():
    """The LLM gives the category to 8 in 10 sentences that have it and to 1 in 10 that have not:
    with a prevalence of 0.3 precision is 24 / 31 and recall 0.8. 25 patients of 8 sentences are
    judged, 100 are in the pool."""
    rng = np.random.default_rng(5)
    covered = []
    for _ in range(300):
        share = np.repeat(rng.beta(3, 7, 125), 8)
        truth = rng.random(1000) < share
        llm = (rng.random(1000) < np.where(truth, 0.8, 0.1)).astype(float)
        people = np.repeat(np.arange(125), 8)
        found = ppi_precision_recall(
            truth[:200].astype(float), llm[:200], people[:200], llm[200:], people[200:]
        )
        covered.append(
            [one.low <= true <= one.high for one, true in zip(found, (24 / 31, 0.8), strict=True)]
        )
    assert np.mean(covered, axis=0).tolist() == pytest.approx([0.95, 0.91], abs=0.02)
