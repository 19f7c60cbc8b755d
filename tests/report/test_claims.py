"""Claims: read from YAML, judged with the numbers of the tables."""

from __future__ import annotations

import math

import numpy as np
import pytest
import report_store as made

from touchstone import cli
from touchstone.errors import UserError
from touchstone.report.claims import Claim, Finding, claims_of, findings, judged
from touchstone.report.comparisons import compared
from touchstone.report.effects import FEWEST, Effect, _distance, _spearman, _two_sided
from touchstone.report.grid import collect
from touchstone.report.tables.claims import claims_table, line


@pytest.fixture(scope="module")
def grid():
    _, store, _ = made.shared()
    return collect(store, "two_directions")


@pytest.fixture(scope="module")
def scores(grid):
    return compared(grid)


def claim(**changes) -> Claim:
    plain = {
        "id": "c",
        "text": "bronze helps",
        "source": "ours",
        "measure": "score",
        "ours": {"mixture": "gold_bronze"},
        "against": {"mixture": "gold"},
        "direction": "higher",
    }
    return Claim(**{**plain, **changes})


def test_effects_are_those_of_the_tables(grid, scores):
    silver = claim(ours={"mixture": "gold_silver"})
    found = findings(grid, [silver], scores)
    assert [one.place for one in found] == ["ad_binary", "ad_multiclass"]
    alone = findings(grid, [silver])  # computed anew, without the tables
    for one, again in zip(found, alone, strict=True):
        row = scores[scores["run_id"] == one.runs[0]].set_index("name")
        name = "f1" if one.place == "ad_binary" else "macro_f1"
        assert one.effect.value == pytest.approx(row.loc[name, "difference"])
        assert one.effect.p == pytest.approx(row.loc[name, "p"])
        assert again.effect.value == pytest.approx(one.effect.value)
        assert again.effect.p == pytest.approx(one.effect.p)


@pytest.mark.parametrize(
    ("value", "p", "direction", "control", "expected"),
    [
        (0.1, 0.01, "higher", None, "supported"),
        (0.1, 0.01, "lower", None, "contradicted"),
        (-0.1, 0.01, "differs", None, "supported"),
        (0.1, 0.06, "higher", None, "undecided"),
        (float("nan"), float("nan"), "higher", None, "undecided"),
        (0.1, 0.01, "higher", Effect(0.1, p=0.01), "undecided"),
        (0.1, 0.01, "higher", Effect(-0.1, p=0.01), "supported"),
        (0.1, 0.01, "higher", Effect(0.1, p=0.3), "supported"),
    ],
)
def test_the_verdict_follows_corrected_p_direction_and_control(
    value, p, direction, control, expected
):
    one = claim(direction=direction)
    found = judged(Finding(one, "", "undecided", Effect(value, p=p), p_holm=p, control=control))
    assert found.verdict == expected
    assert (found.note == "its control shows it too") is (control == Effect(0.1, p=0.01))


def test_p_is_corrected_over_all_findings(grid, scores):
    few = findings(grid, [claim()], scores)
    many = findings(grid, [claim(id=str(i)) for i in range(6)], scores)
    assert all(a.p_holm <= b.p_holm for a, b in zip(few, many[: len(few)], strict=True))
    assert max(one.p_holm for one in many) <= 1


def test_what_its_control_shows_too_is_not_supported(grid, scores):
    found = findings(grid, [claim(control={"mixture": "gold_silver"})], scores)
    for one in found:
        assert one.control is not None
        if one.p_holm < 0.05 and one.control.p < 0.05:
            assert (one.verdict, one.note) == ("undecided", "its control shows it too")
    absent = findings(grid, [claim(control={"mixture": "gold_repeated"})], scores)
    assert all(one.note == "its control was not run: gold_repeated" for one in absent)


def test_a_claim_whose_cells_were_not_run_says_which(grid, scores):
    (one,) = findings(
        grid, [claim(ours={"mixture": "gold_bronze", "mixture.bronze.count": 30})], scores
    )
    assert (one.verdict, one.place) == ("undecided", "")
    assert one.note == "not run: mixture=gold_bronze mixture.bronze.count=30 against mixture=gold"
    assert "no effect" not in line(one)


def test_every_claim_of_the_papers_is_judged_or_says_what_was_not_run(grid, scores):
    claims = claims_of("two_directions")
    found = findings(grid, claims, scores)
    assert {one.claim.id for one in found} == {one.id for one in claims}
    for one in found:
        assert one.verdict in ("supported", "contradicted", "undecided")
        assert not math.isnan(one.effect.value) or one.note
    table = claims_table(grid, found)
    assert len(table.rows) == len(found)
    by_id = {one.claim.id: one for one in found}
    assert (
        by_id["minority_gains_most"].effect.told
        or -1 <= by_id["minority_gains_most"].effect.value <= 1
    )


def test_the_command_prints_verdicts_effects_and_runs(capsys):
    _, store, _ = made.shared()
    assert cli.main(["claims", "two_directions", "--store", str(store.uri)]) == 0
    out = capsys.readouterr().out
    assert "Gold with LLM-written sentences beats gold alone [ad_multiclass]" in out
    assert "effect +0." in out and "runs: " in out and "would have shown from" in out
    assert "Undecided does not mean that there is no effect" in out


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("claims: []", "must have the keys studies and claims"),
        ("studies: [x]\nclaims: [{id: a, txt: b}]", 'no key "txt". Did you mean text?'),
        (
            "studies: [x]\nclaims: [{id: a, text: b}]",
            "source, measure, ours, direction must be given",
        ),
        (
            (
                "studies: [x]\nclaims: [{id: a, text: b, source: c, measure: scores, ours: {}, "
                "direction: higher}]"
            ),
            "Did you mean score?",
        ),
        (
            (
                "studies: [x]\nclaims: [{id: a, text: b, source: c, measure: score, ours: {}, "
                "direction: higher}]"
            ),
            "measure score needs against",
        ),
        (
            (
                "studies: [x]\nclaims: [{id: a, text: b, source: c, measure: score, ours: {}, "
                "against: {}, direction: up}]"
            ),
            "differs, higher, lower",
        ),
    ],
)
def test_a_file_of_claims_that_is_wrong_is_told_with_its_place(tmp_path, monkeypatch, text, said):
    (tmp_path / "conf" / "claims").mkdir(parents=True)
    (tmp_path / "conf" / "claims" / "own.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as error:
        claims_of("x", ["own"])
    assert said in str(error.value) and "own.yaml" in str(error.value)


def test_claims_of_ones_own_are_read_and_unknown_files_and_studies_are_told(tmp_path, monkeypatch):
    (tmp_path / "conf" / "claims").mkdir(parents=True)
    (tmp_path / "conf" / "claims" / "own.yaml").write_text(
        "studies: [mine]\nclaims: [{id: a, text: b, source: c, measure: score, "
        "ours: {mixture: bronze}, against: {mixture: gold}, direction: higher}]"
    )
    monkeypatch.chdir(tmp_path)
    assert [one.id for one in claims_of("mine")] == ["a"]
    with pytest.raises(UserError, match="Did you mean own"):
        claims_of("mine", ["owm"])
    with pytest.raises(UserError, match="no claims about study=nothing; name some: --claims"):
        claims_of("nothing")


def test_rank_correlation_distance_and_p_by_their_definitions():
    from scipy.stats import spearmanr

    rng = np.random.default_rng(0)
    gains, frequency = rng.random(9), rng.integers(1, 5, 9).astype(float)
    assert _spearman(gains, frequency) == pytest.approx(spearmanr(gains, frequency).statistic)
    gains[:6] = np.nan
    assert FEWEST == 4 and math.isnan(_spearman(gains, frequency))
    effect = _distance(["a"] * 30 + ["b"] * 10, ["a"] * 10 + ["b"] * 30, rng)
    assert effect.value == pytest.approx(0.5) and effect.p < 0.01 and effect.low < 0.5 < effect.high
    assert _distance(["a", "b"] * 20, ["a", "b"] * 20, rng).p == 1
    assert _two_sided(np.array([1.0] * 99)) == pytest.approx(0.02)
    assert math.isnan(_two_sided(np.array([np.nan])))
