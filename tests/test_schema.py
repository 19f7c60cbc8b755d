"""The composed configuration: what no class knows, what is out of range, and what makes a cell
another cell."""

from __future__ import annotations

import pytest
from report_store import composed

from touchstone.configuration import checked
from touchstone.errors import UserError
from touchstone.run.identity import cell_key


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("+seedz=3", '+seedz: no key "seedz". Did you mean seed?'),
        ("+mixture.gold.wait=1", r'+mixture.gold.wait: no key "wait"'),
        ("llm.temperature=nan", "llm.temperature=nan: must be at least 0"),
        ("llm.top_p=9", "llm.top_p=9.0: must be more than 0 and at most 1"),
        ("llm.max_tokens=0", "llm.max_tokens=0: must be at least 1"),
        ("llm.structured=nope", "llm.structured=nope: must be one of auto, json_schema"),
        ("llm.breaker=0", "llm.breaker=0: must be at least 1"),
        ("llm.requests_per_minute=0", "llm.requests_per_minute=0: must be at least 1, or null"),
        ("llm.batch_max_requests=0", "llm.batch_max_requests=0: must be at least 1"),
        ("llm.poll_s=0", "llm.poll_s=0.0: must be more than 0"),
        ("corpus.pool.max_notes=0", "corpus.pool.max_notes=0: must be at least 1"),
        ("prompt.n_shots=-1", "prompt.n_shots=-1: must be at least 0"),
        (
            "+prompt.system.zzz=Hello",
            "prompt.system=['zzz']: must be templates for sentences, ner, relation",
        ),
        (
            "mixture.gold.repeat_to=[zzz]",
            "mixture.gold.repeat_to=['zzz']: must be of silver and bronze",
        ),
        (
            "mixture.silver.repeat_to=[bronze]",
            "mixture.silver.repeat_to=['bronze']: must be left out",
        ),
        ("mixture.bronze.weight=inf", "mixture.bronze.weight=inf: must be a finite number"),
        ("classifier.C=inf", "classifier.C=inf: must be a finite number"),
        (
            "seed=99999999999999999999",
            "seed=99999999999999999999: must be at least 0, and seed + seeds at most 4294967295",
        ),
    ],
)
def test_a_value_that_means_nothing_is_refused_with_what_it_must_be(override, said):
    with pytest.raises(UserError) as raised:
        checked(composed(override))
    assert said in str(raised.value)


def test_a_server_has_an_address():
    with pytest.raises(UserError, match="llm.endpoint=ftp://x: must be the address of a server"):
        checked(composed("llm=openai", "llm.endpoint=ftp://x"))


def test_settings_of_a_source_that_is_not_used_make_no_other_cell():
    def key(*overrides: str) -> str:
        return cell_key(checked(composed(*overrides)))

    assert key("mixture=gold") == key("mixture=gold", "mixture.silver.filter=confident")
    assert key("mixture=gold_silver") != key(
        "mixture=gold_silver", "mixture.silver.filter=confident"
    )
    repeated = ("mixture=gold", "mixture.gold.repeat_to=[silver]")
    assert key(*repeated) != key(*repeated, "mixture.silver.filter=confident")
