"""Restricted text goes nowhere that no agreement covers, and stands in nothing that is not 0600."""

from __future__ import annotations

import json
import logging
import stat
from pathlib import Path

import pytest
from fake_llm_server import FakeLLM
from omegaconf import OmegaConf

from touchstone.errors import UserError
from touchstone.llm import guard, pool, recording, secrets
from touchstone.llm.answers import loads
from touchstone.llm.ask import ask
from touchstone.llm.facts import observe
from touchstone.llm.protocol import ParseError, Request
from touchstone.llm.store import Store
from touchstone.pseudonyms import pseudonyms_of
from touchstone.schema import LLMConfig

CONF = Path(__file__).resolve().parents[2] / "conf" / "llm"
CANARY = "CANARY-7719 lives at 12 Elm Street"


def config(**changes):
    settings = {
        "name": "x",
        "backend": "openai",
        "model": "fake-1",
        "endpoint": "https://api.example.com/v1",
        "location": "remote",
    }
    return LLMConfig(**{**settings, **changes})


def request(text=CANARY, restricted=True):
    return Request(
        ({"role": "user", "content": text},),
        None,
        {"max_tokens": 20},
        stage="label",
        restricted=restricted,
    )


def shipped(name):
    """A ready configuration, as Hydra would compose it."""
    return OmegaConf.to_object(
        OmegaConf.merge(OmegaConf.structured(LLMConfig), OmegaConf.load(CONF / f"{name}.yaml"))
    )


@pytest.mark.parametrize("backend", ["openai", "openai_batch"])
def test_a_restricted_corpus_is_refused_by_a_remote_backend_before_anything_is_sent(
    tmp_path, backend
):
    with FakeLLM() as server:
        with pytest.raises(
            UserError, match="corpus mimic is restricted and llm=x is remote; nothing was sent"
        ) as caught:
            ask(
                [request()],
                None,
                config(backend=backend, endpoint=server.url),
                folder=tmp_path / "llm",
                corpus="mimic",
            )
        assert server.calls == 0 and not server.files and not (tmp_path / "llm").exists()
    assert CANARY not in str(caught.value) and "llm.approved_for=[mimic]" in str(caught.value)


def test_one_restricted_request_among_many_is_enough():
    with pytest.raises(UserError, match="restricted"):
        guard.check([request("a", False), request()], config(), "mimic")


def test_a_public_corpus_may_go_anywhere_and_access_restricts_all():
    guard.check([request("a", False)], config(), "hoc", "public")
    with pytest.raises(UserError):
        guard.check([request("a", False)], config(), "mimic", "restricted")


def test_an_agreement_covers_the_corpora_that_it_names_and_no_other(tmp_path):
    llm = config(approved_for=["mimic"])
    guard.check([request()], llm, "mimic")
    for other in ("n2c2", ""):
        with pytest.raises(UserError, match="restricted"):
            guard.check([request()], llm, other)


def test_code_of_a_model_folder_reads_restricted_text_only_under_an_agreement():
    local = {"backend": "transformers", "location": "local", "endpoint": "local"}
    guard.check([request()], config(**local), "mimic")
    foreign = {**local, "trust_remote_code": True, "model": "their/model"}
    with pytest.raises(UserError, match="trust_remote_code=true lets code .* their/model read"):
        guard.check([request()], config(**foreign), "mimic")
    guard.check([request()], config(**foreign, approved_for=["mimic"]), "mimic")
    guard.check([request(restricted=False)], config(**foreign), "public")


@pytest.mark.parametrize(
    "name",
    [
        "recorded",
        "batch_file",
        "openai",
        "azure",
        "vllm",
        "ollama",
        "llamacpp",
        "openai_batch",
        "transformers",
    ],
)
def test_every_ready_configuration_composes_and_says_where_text_goes(name, monkeypatch):
    monkeypatch.delenv("AZURE_OPENAI_ENDPOINT", raising=False)
    llm = shipped(name)
    assert llm.name == name and llm.model and llm.endpoint
    if name in ("openai", "azure", "openai_batch", "batch_file"):
        with pytest.raises(UserError, match="restricted"):
            guard.check([request()], llm, "mimic")
    else:
        guard.check([request()], llm, "mimic")


def test_keys_of_recorded_and_batch_file_and_of_openai_and_openai_batch_agree():
    for one, other in (("recorded", "batch_file"), ("openai", "openai_batch")):
        first, second = shipped(one), shipped(other)
        for name in ("endpoint", "model", "temperature", "top_p", "max_tokens", "seed"):
            assert getattr(first, name) == getattr(second, name), name


def test_a_canary_stands_in_no_byte_outside_the_private_store(tmp_path, monkeypatch, caplog, capfd):
    """A run in which everything goes wrong: retries, refusals, quarantine, a dead endpoint, an
    interrupted export."""
    monkeypatch.setattr(pool, "FIRST_WAIT_S", 0.01)
    caplog.set_level(logging.DEBUG)
    kinds = {0: "500", 1: "400", 2: "garbled", 3: "refusal", 4: "html", 5: "422", 6: "length"}
    asked = [request(f"{CANARY} {n}") for n in range(9)]

    def fault(_, body):
        kind = kinds.get(int(body["messages"][0]["content"].split()[-1]))
        return (
            {
                "kind": kind,
                "message": f"you said: {body['messages'][0]['content']}",
                "code": CANARY,
                "param": CANARY,
            }
            if kind
            else None
        )

    def parse(request, text):
        if CANARY not in text or not text.endswith("8"):
            raise ParseError(f"{text[:60]!r} is no label")
        return text

    told = []
    with FakeLLM(lambda body: body["messages"][0]["content"], fault) as server:
        local = config(location="local", endpoint=server.url, max_tries=2, workers=3)
        answers = ask(asked, parse, local, folder=tmp_path / "llm", corpus="mimic")
        server.fault = lambda n, body: {"kind": "503", "message": CANARY}
        with pytest.raises(UserError) as down:
            ask(
                asked + [request(f"{CANARY} {n}") for n in range(20, 40)],
                parse,
                config(**{**vars(local), "breaker": 2}),
                folder=tmp_path / "llm",
                corpus="mimic",
            )
        told.append(str(down.value))
        server.fault = lambda n, body: {"kind": "401", "message": CANARY}
        with pytest.raises(UserError) as refused:
            ask([request(CANARY + " 99")], parse, local, folder=tmp_path / "llm", corpus="mimic")
        told.append(str(refused.value))
    assert answers.values[8] is not None and len(answers.quarantine) == 8
    shown = guard.publishable(answers.quarantine, False, pseudonyms_of(tmp_path))
    (tmp_path / "quarantine.json").write_text(shown.to_json())
    assert (
        shown["stage"].tolist() == answers.quarantine["stage"].tolist()
        and shown["text"].str.contains("withheld").any()
    )
    with Store(tmp_path / "llm") as store:
        assert recording.export(store, tmp_path / "public.jsonl")[0] == 0, (
            "restricted answers are not exported unless asked for"
        )
        recording.export(store, tmp_path / "private.jsonl", restricted=True)
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    private = {path for path in written if stat.S_IMODE(path.stat().st_mode) == 0o600}
    assert (
        tmp_path / "llm" / "responses.sqlite" in private and tmp_path / "private.jsonl" in private
    )
    assert stat.S_IMODE((tmp_path / "llm").stat().st_mode) == 0o700
    for path in set(written) - private:
        assert b"CANARY" not in path.read_bytes(), path.name
    everything = "\n".join([*told, caplog.text, *capfd.readouterr(), json.dumps(answers.warnings)])
    assert "CANARY" not in everything and "Elm Street" not in everything
    assert "CANARY" in (tmp_path / "private.jsonl").read_text()


def test_an_unrestricted_quarantine_is_published_as_it_is():
    import pandas as pd

    frame = pd.DataFrame([{"stage": "s", "key": "k", "reason": "r", "text": "t"}])
    assert guard.publishable(frame, True, None) is frame


def test_secrets_come_from_the_environment_or_dotenv(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MY_LLM_KEY", raising=False)
    with pytest.raises(
        UserError, match="llm.api_key_env=MY_LLM_KEY: that environment variable is not set.*[.]env"
    ):
        secrets.api_key(config(api_key_env="MY_LLM_KEY"))
    secrets._dotenv.cache_clear()
    (tmp_path / ".env").write_text("MY_LLM_KEY=from-dotenv-1234\n")
    assert secrets.api_key(config(api_key_env="MY_LLM_KEY")) == "from-dotenv-1234"
    monkeypatch.setenv("MY_LLM_KEY", "from-environment-1234")
    assert secrets.api_key(config(api_key_env="MY_LLM_KEY")) == "from-environment-1234"
    assert secrets.api_key(config()) == "none"


def test_a_missing_key_is_told_before_anything_is_sent(tmp_path, monkeypatch):
    monkeypatch.delenv("MY_LLM_KEY", raising=False)
    with FakeLLM() as server:
        with pytest.raises(UserError, match="MY_LLM_KEY"):
            ask(
                [request("a", False)],
                None,
                config(endpoint=server.url, api_key_env="MY_LLM_KEY"),
                folder=tmp_path,
            )
        assert server.calls == 0


def test_a_logged_configuration_is_scrubbed(monkeypatch):
    monkeypatch.setenv("ODD_NAME", "plainlookingvalue")
    monkeypatch.setenv("TENANT_VARIABLE", "tenant-secret-9")
    plain = {
        "llm": {
            "api_key": "abc",
            "api_key_env": "ODD_NAME",
            "headers_env": {"X-Tenant": "TENANT_VARIABLE"},
            "endpoint": "https://me:pw@host/v1",
            "model": "sk-abcdefghijklmnopqrstuvwxyz",
            "max_tokens": 5,
            "tokens_per_minute": 100,
            "approved_for": ["mimic", "has plainlookingvalue inside"],
        },
        "tracking": {"uri": "postgresql://user:hunter22@db/mlflow", "password": "hunter22"},
        "overrides": [
            "llm.headers.Authorization=Bearer abcdefghijklmnop1234",
            "x=http://host/v1?token=abcdefgh9&n=1",
            "gsk_abcdefghijklmnop5678",
        ],
    }
    scrubbed = json.dumps(secrets.scrub(plain))
    for secret in (
        'abc"',
        "plainlookingvalue",
        "tenant-secret-9",
        "me:pw",
        "sk-abc",
        "hunter22",
        "abcdefghijklmnop1234",
        "abcdefgh9",
        "gsk_",
    ):
        assert secret not in scrubbed
    kept = secrets.scrub(plain)
    assert (
        kept["llm"]["api_key_env"] == "ODD_NAME"
        and kept["llm"]["max_tokens"] == 5
        and kept["llm"]["tokens_per_minute"] == 100
    )
    assert (
        kept["llm"]["endpoint"] == "https://***@host/v1"
        and kept["tracking"]["uri"] == "postgresql://***@db/mlflow"
    )


def test_the_store_is_made_private_even_where_the_folder_was_open(tmp_path):
    (tmp_path / "llm").mkdir(mode=0o755)
    with Store(tmp_path / "llm") as store:
        observe(store, "e", "m", "n", "v")
        modes = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "llm").iterdir()}
    assert modes == {0o600} and stat.S_IMODE((tmp_path / "llm").stat().st_mode) == 0o700


def test_an_unwritable_store_is_one_clear_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="paths.cache"):
        Store(tmp_path / "file" / "llm")
    (tmp_path / "no_store").mkdir()
    (tmp_path / "no_store" / "responses.sqlite").write_text(
        "this is no database, but text that is long enough to be looked at" * 20
    )
    with pytest.raises(UserError, match="cannot open the response store"):
        Store(tmp_path / "no_store")


def test_loads_is_what_the_parsers_use():
    assert loads('{"a": 1}') == ({"a": 1}, False)


@pytest.mark.parametrize(
    "override",
    [
        "llm.api_key_env=sk-abcdefghijklmnop1234",
        "llm.api_key_env=0123456789abcdef0123456789abcdef",
        "llm.api_key_env=hf_abcdefghijklmnopqrstuvwxyz12345678",
        "llm.api_key_env=gsk_abcdefghijklmnopqrstuvwx",
        "llm.api_key_env=abcdefghijklmnopqrstuvwxyzabcdef",
        "+llm.headers_env.X=r8_abcdefghijklmnopqrstuvwx",
        "llm.endpoint=HTTP://me:hunter22@host/v1",
        "llm.endpoint='http://me:hun/ter22@host/v1'",
        "llm.endpoint=http://hunter22@host/v1",
        "llm.endpoint=http://host/v1?api_key=hunter22",
        "llm.headers_env={Authorization:Bearer abcdefghijklmnop123}",
        "llm.headers_env.x-key=a-b-c",
        "llm.endpoint=http://me:hunter22@host/v1",
        "tracking.uri=http://me:hunter22@host",
        "+note=hf_abcdefghijklmnopqrst",
    ],
)
def test_a_pasted_key_is_refused_and_not_repeated(override):
    with pytest.raises(UserError) as caught:
        secrets.refuse_pasted([override])
    told = str(caught.value)
    assert override.lstrip("+").partition("=")[0] in told and "not" in told
    assert not any(part in told for part in ("hunter22", "abcdefgh", "0123456789", "a-b-c"))


@pytest.mark.parametrize(
    "override",
    [
        "llm.api_key_env=OPENAI_API_KEY",
        "llm.api_key_env=null",
        "paths.store=/home/me@clinic/store",
        "tracking.uri=sqlite:////home/me@clinic/mlflow.db",
        "llm.headers_env={x-tenant:TENANT}",
        "llm.endpoint=${oc.env:URL}",
        "mixture=gold,silver",
        "tracking.uri=postgresql://me:pw@host/db",
    ],
)
def test_names_of_variables_and_ordinary_values_pass(override):
    secrets.refuse_pasted([override])


def test_a_key_in_a_configuration_file_is_refused_too():
    with pytest.raises(UserError, match="llm.api_key_env"):
        secrets.refuse_secrets(config(api_key_env="sk-abcdefghijklmnop1234"))
