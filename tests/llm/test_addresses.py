"""Local means: every address behind the name is on this machine or in a private network."""

from __future__ import annotations

import pytest

from touchstone.errors import UserError
from touchstone.llm import addresses
from touchstone.llm.addresses import canonical_host, is_private, local_addresses


@pytest.fixture
def names(monkeypatch):
    """A resolver of the test's own: name -> addresses."""
    known: dict[str, list[str]] = {}
    monkeypatch.setattr(
        addresses, "resolve", lambda host: known.get(host, [host] if host[0].isdigit() else [])
    )
    return known


@pytest.mark.parametrize(
    "host",
    [
        "0x5db8d822",
        "1572395042",
        "0135.0270.0330.042",
        "127.1",
        "0177.0.0.1",
        "127.0.0.1.0x7f",
        "\uff11\uff12\uff17.0.0.1",
        "localhost\u3002example.com",
        "l\u00f6calhost",
        "localhost%00.example.com",
        "-gpu",
        "a..b",
        "",
        "[::1",
        "host:port",
    ],
)
def test_a_host_that_is_not_written_plainly_is_refused(names, host):
    with pytest.raises(UserError, match="not written plainly"):
        local_addresses(f"http://{host}/v1")


@pytest.mark.parametrize(
    ("endpoint", "host"),
    [
        ("http://LOCALHOST:8000/v1", "localhost"),
        ("http://10.1.2.3/v1", "10.1.2.3"),
        ("http://[::1]:8/v1", "::1"),
        ("https://llm.ward.local/v1", "llm.ward.local"),
    ],
)
def test_plain_hosts_are_read_in_one_way(endpoint, host):
    assert canonical_host(endpoint) == host


@pytest.mark.parametrize(
    ("address", "private"),
    [
        ("127.0.0.1", True),
        ("10.0.0.1", True),
        ("172.31.0.1", True),
        ("172.32.0.1", False),
        ("192.168.1.1", True),
        ("192.0.2.1", False),
        ("0.0.0.0", False),
        ("100.64.0.1", False),
        ("240.0.0.1", False),
        ("::1", True),
        ("fd12::1", True),
        ("fe80::1%eth0", True),
        ("::ffff:10.0.0.1", True),
        ("::ffff:8.8.8.8", False),
        ("64:ff9b::808:808", False),
        ("2001:4860:4860::8888", False),
    ],
)
def test_which_addresses_are_private(address, private):
    assert is_private(address) is private


@pytest.mark.parametrize("name", ["gpu7", "llm.internal", "vllm.local", "localhost.evil.com"])
def test_a_name_is_as_local_as_its_addresses(names, name):
    names[name] = ["10.0.0.7", "fd00::7"]
    assert local_addresses(f"http://{name}/v1") == ["10.0.0.7", "fd00::7"]
    names[name] = ["10.0.0.7", "93.184.216.34"]
    with pytest.raises(UserError, match="neither this machine nor in a private network"):
        local_addresses(f"http://{name}/v1")


def test_a_name_without_an_address_is_told(names):
    with pytest.raises(UserError, match="gpu9 has no address here; nothing was sent"):
        local_addresses("http://gpu9/v1")


def test_a_refusal_shows_no_password(names):
    with pytest.raises(UserError) as caught:
        local_addresses("http://me:secret@8.8.8.8/v1")
    assert "secret" not in str(caught.value)
