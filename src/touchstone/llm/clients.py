"""The one place where HTTP clients are made, for every backend that talks to an endpoint.

What all of them keep: no redirect is followed; a local endpoint is reached without proxies of the
environment, at an address that was checked (addresses.py), with no second look-up; an answer is
read up to a size and no further, counted after decompression; no key but the one that the
configuration names is sent. Does not retry (pool.py, openai_batch.py do) and does not judge an
answer.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

import certifi
import httpx2
import openai

from touchstone.llm.addresses import canonical_host, local_addresses
from touchstone.llm.secrets import api_key, headers

if TYPE_CHECKING:
    from touchstone.schema import LLMConfig

MIB = 1 << 20
BATCH_FILE_MIB = 1024  # a batch's output file holds up to 50,000 answers


class TooLarge(Exception):
    """An answer that passes the limit; the text says which limit."""


def online(llm: LLMConfig) -> openai.AsyncOpenAI:
    """Return the SDK's client for single requests, over aiohttp, without retries of its own."""
    transport = _Limits(llm, llm.max_answer_mb)
    workers = httpx2.Limits(
        max_connections=llm.workers + 4,
        max_keepalive_connections=llm.workers + 4,
        keepalive_expiry=30,
    )
    http = _Online(
        guarded=transport,
        timeout=llm.timeout_s,
        limits=workers,
        trust_env=llm.location != "local",
        verify=_certificates(),
        follow_redirects=False,
    )
    settings = {**_settings(llm), "http_client": http, "max_retries": 0}
    if llm.api_version:
        return openai.AsyncAzureOpenAI(
            azure_endpoint=llm.endpoint, api_version=llm.api_version, **settings
        )
    return openai.AsyncOpenAI(base_url=llm.endpoint, **settings)


def batch(llm: LLMConfig) -> openai.OpenAI:
    """Return the SDK's plain client for the Batch API: few calls, so its own retries do."""
    http = _Batch(
        guarded=_Limits(llm, BATCH_FILE_MIB),
        timeout=llm.timeout_s,
        trust_env=llm.location != "local",
        verify=_certificates(),
        follow_redirects=False,
    )
    settings = {**_settings(llm), "http_client": http, "max_retries": llm.max_tries - 1}
    if llm.api_version:
        return openai.AzureOpenAI(
            azure_endpoint=llm.endpoint, api_version=llm.api_version, **settings
        )
    return openai.OpenAI(base_url=llm.endpoint, **settings)


def certificate_fault(error: BaseException | None) -> str | None:
    """Return why the certificate of an endpoint was not accepted, None for any other error."""
    while error is not None:
        if why := getattr(error, "verify_message", None):  # of ssl.SSLCertVerificationError
            return f"{why}; SSL_CERT_FILE names a file of authorities to accept"
        error = error.__cause__ or error.__context__
    return None


def _certificates() -> ssl.SSLContext:
    """Return whom to believe: the machine's authorities or those of SSL_CERT_FILE, as a hospital's
    own, and the public ones."""
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    return context


def _settings(llm: LLMConfig) -> dict[str, Any]:
    return {
        "api_key": api_key(llm),
        "timeout": llm.timeout_s,
        "default_headers": headers(llm),
    }


class _Limits:
    """What a transport is held to: the addresses that were checked, and the size of an answer."""

    def __init__(self, llm: LLMConfig, answer_mb: float):
        self.host = canonical_host(llm.endpoint)
        self.addresses = local_addresses(llm.endpoint) if llm.location == "local" else []
        self.answer_mb = answer_mb
        self.largest = int(answer_mb * MIB)

    def aimed(self, request: httpx2.Request, address: str | None) -> httpx2.Request:
        """Return the request aimed at a checked address; its Host header and the name for TLS stay.

        Raises
        ------
        httpx2.UnsupportedProtocol
            If it goes to another host than the endpoint's.
        """
        if address is None:
            return request
        if request.url.host.strip("[]") != self.host:
            raise httpx2.UnsupportedProtocol("a request to another host than the endpoint")
        extensions = dict(request.extensions)
        if request.url.scheme == "https":
            extensions["sni_hostname"] = self.host
        return httpx2.Request(
            request.method,
            request.url.copy_with(host=address),
            headers=request.headers,
            content=request.content,
            extensions=extensions,
        )

    def add(self, read: int, chunk: bytes) -> int:
        """Return how many bytes were read with this chunk.

        Raises
        ------
        TooLarge
        """
        if read + len(chunk) > self.largest:
            raise TooLarge(
                f"the answer is larger than {self.answer_mb:g} MB (llm.max_answer_mb); it was not "
                "read"
            )
        return read + len(chunk)


def _whole(response: httpx2.Response, content: bytes) -> httpx2.Response:
    """Return a response that was read and decompressed."""
    headers = [
        (name, value)
        for name, value in response.headers.raw
        if name.lower() not in (b"content-encoding", b"content-length", b"transfer-encoding")
    ]
    return httpx2.Response(
        response.status_code, headers=headers, content=content, extensions=dict(response.extensions)
    )


def _never_connected(error: httpx2.TransportError) -> bool:
    """Tell whether nothing was sent: only then may another address be tried."""
    import aiohttp

    return isinstance(error, httpx2.ConnectError) or isinstance(
        error.__cause__, aiohttp.ClientConnectorError
    )


class _GuardedAsync(httpx2.AsyncBaseTransport):
    def __init__(self, inner: httpx2.AsyncBaseTransport, limits: _Limits, direct: bool):
        self.inner, self.limits = inner, limits
        self.addresses: list[str | None] = [*limits.addresses] if direct else []
        self.addresses = self.addresses or [None]

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        response = await self._sent(request)
        content, read = [], 0
        try:
            async for chunk in response.aiter_bytes():
                read = self.limits.add(read, chunk)
                content.append(chunk)
        finally:
            await response.aclose()
        return _whole(response, b"".join(content))

    async def _sent(self, request: httpx2.Request) -> httpx2.Response:
        await request.aread()
        for address in list(self.addresses):
            try:
                response = await self.inner.handle_async_request(
                    self.limits.aimed(request, address)
                )
                self.addresses = [address]  # the one that answered, from now on
                return response
            except httpx2.TransportError as error:
                if address == self.addresses[-1] or not _never_connected(error):
                    raise
        raise httpx2.ConnectError("no address of the endpoint answers")

    async def aclose(self) -> None:
        await self.inner.aclose()


class _Guarded(httpx2.BaseTransport):
    def __init__(self, inner: httpx2.BaseTransport, limits: _Limits, direct: bool):
        self.inner, self.limits = inner, limits
        self.addresses: list[str | None] = [*limits.addresses] if direct else []
        self.addresses = self.addresses or [None]

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        response = self._sent(request)
        content, read = [], 0
        try:
            for chunk in response.iter_bytes():
                read = self.limits.add(read, chunk)
                content.append(chunk)
        finally:
            response.close()
        return _whole(response, b"".join(content))

    def _sent(self, request: httpx2.Request) -> httpx2.Response:
        request.read()
        for address in list(self.addresses):
            try:
                response = self.inner.handle_request(self.limits.aimed(request, address))
                self.addresses = [address]
                return response
            except httpx2.TransportError as error:
                if address == self.addresses[-1] or not _never_connected(error):
                    raise
        raise httpx2.ConnectError("no address of the endpoint answers")

    def close(self) -> None:
        self.inner.close()


class _Online(openai.DefaultAioHttpClient):
    def __init__(self, guarded: _Limits, **settings: Any):
        self._guarded = guarded
        super().__init__(**settings)

    def _init_transport(self, *args: Any, **settings: Any) -> httpx2.AsyncBaseTransport:
        return _GuardedAsync(super()._init_transport(*args, **settings), self._guarded, True)

    def _init_proxy_transport(self, *args: Any, **settings: Any) -> httpx2.AsyncBaseTransport:
        return _GuardedAsync(super()._init_proxy_transport(*args, **settings), self._guarded, False)


class _Batch(openai.DefaultHttpxClient):
    def __init__(self, guarded: _Limits, **settings: Any):
        self._guarded = guarded
        super().__init__(**settings)

    def _init_transport(self, *args: Any, **settings: Any) -> httpx2.BaseTransport:
        return _Guarded(super()._init_transport(*args, **settings), self._guarded, True)

    def _init_proxy_transport(self, *args: Any, **settings: Any) -> httpx2.BaseTransport:
        return _Guarded(super()._init_proxy_transport(*args, **settings), self._guarded, False)
