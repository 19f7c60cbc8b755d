"""A chat-completion server that can be told what to answer and how to fail; real HTTP, so that
tests drive the real client.

    with FakeLLM(answer=lambda body: '{"n": 1}', fault=lambda n, body: "429" if n % 20 == 0 else
        None) as server: ask(..., LLMConfig(endpoint=server.url, ...))
    assert server.calls == 21

As a process of its own, for benchmarks and for tests that kill the client: `python
fake_llm_server.py --latency 0.2 --log calls.txt` prints its URL; each line of the log is the last
message of one call.

Faults: 429 and 503 with `retry_after` where given, 500, 400, 401, 404, drop (connection closed
before the answer), truncated (body ends early), garbled (200 with half of a JSON), html (200 with a
page), refusal, filtered, length (answer cut), wrong_model, trickle (a byte every 50 ms), hang,
surrogate (half a surrogate pair in the answer), empty (no choices). A fault may be a dict with
`kind`, `retry_after`, `seconds`, `message`, `code`, `param`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

from aiohttp import web

Answer = Callable[[dict[str, Any]], str]
Fault = Callable[[int, dict[str, Any]], Any]


def default_answer(body: dict[str, Any]) -> str:
    """Answer with how many words the last message has."""
    return json.dumps({"n": len(body["messages"][-1]["content"].split())})


class FakeLLM:
    """The server in a thread of its own; a context manager.

    Attributes
    ----------
    url : base_url for a client.
    calls : requests that arrived, refused ones included.
    bodies : their bodies, in order of arrival.
    asked : how often each last message arrived.
    most_at_once : the highest number of requests in flight.
    """

    def __init__(
        self,
        answer: Answer = default_answer,
        fault: Fault = lambda n, body: None,
        *,
        latency: float = 0.0,
        model: str = "fake-1",
        supports: tuple[str, ...] = ("json_schema", "json_object"),
        tokens_field: str | None = None,
        log: str | None = None,
        keep_bodies: bool = True,
        batch_polls: int = 1,
        tls: Any = None,
    ):
        self.answer, self.fault, self.latency, self.model = answer, fault, latency, model
        self.supports, self.tokens_field, self.keep_bodies, self.batch_polls = (
            supports,
            tokens_field,
            keep_bodies,
            batch_polls,
        )
        self.calls = self.at_once = self.most_at_once = 0
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.asked: Counter[str] = Counter()
        self.arrived: list[float] = []
        self.tls = tls  # an ssl.SSLContext: https
        self.log = open(log, "a", buffering=1) if log else None  # noqa: SIM115
        self.files: dict[str, str] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        self.url = ""
        self._lock = threading.Lock()

    def __enter__(self) -> FakeLLM:
        started = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, args=(started,), daemon=True)
        self._thread.start()
        started.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join(10)
        if self.log:
            self.log.close()

    def app(self) -> web.Application:
        app = web.Application(client_max_size=2**30)
        for prefix in ("", "/v1", "/openai/deployments/{deployment}"):
            app.router.add_post(f"{prefix}/chat/completions", self.chat)
        app.router.add_post("/v1/files", self.upload)
        app.router.add_get("/v1/files/{id}/content", self.download)
        app.router.add_post("/v1/batches", self.create_batch)
        app.router.add_get("/v1/batches", self.list_batches)
        app.router.add_get("/v1/batches/{id}", self.get_batch)
        return app

    def _run(self, started: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self.serve(started.set))
        self._loop.close()

    async def serve(self, ready: Callable[[], None], port: int = 0) -> None:
        self._stopped = asyncio.Event()
        runner = web.AppRunner(
            self.app(), access_log=None, handler_cancellation=True, shutdown_timeout=0.1
        )
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", port, ssl_context=self.tls)
        await site.start()
        scheme = "https" if self.tls else "http"
        self.url = f"{scheme}://127.0.0.1:{runner.addresses[0][1]}/v1"
        ready()
        await self._stopped.wait()
        await runner.cleanup()

    async def chat(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        with self._lock:
            self.calls += 1
            number = self.calls
            last = body["messages"][-1]["content"]
            self.asked[last] += 1
            self.arrived.append(self._loop.time() if hasattr(self, "_loop") else 0.0)
            if self.keep_bodies:
                self.bodies.append(body)
                self.headers.append(dict(request.headers))
        if self.log:
            self.log.write(last.replace("\n", " ")[:200] + "\n")
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            return await self._respond(request, body, number)
        finally:
            self.at_once -= 1

    async def _respond(
        self, request: web.Request, body: dict[str, Any], number: int
    ) -> web.StreamResponse:
        fault = self.fault(number, body)
        fault = {"kind": fault} if isinstance(fault, str) else fault or {"kind": None}
        kind = fault["kind"]
        if kind in ("400", "401", "402", "403", "404", "422", "429", "500", "503"):
            return _error(int(kind), fault)
        refused = self._unsupported(body)
        if refused is not None:
            return refused
        await asyncio.sleep(fault.get("seconds", 3600 if kind == "hang" else self.latency))
        if kind == "drop":
            request.transport.close()
            return web.Response()
        text = self.answer(body)
        made = completion(body, text, "other-2" if kind == "wrong_model" else self.model, number)
        choice = made["choices"][0]
        if kind == "refusal":
            choice["message"] |= {"content": None, "refusal": "I cannot help with that."}
        elif kind == "filtered":
            choice["message"]["content"], choice["finish_reason"] = None, "content_filter"
        elif kind == "length":
            choice["message"]["content"], choice["finish_reason"] = text[: len(text) // 2], "length"
        elif kind == "surrogate":
            choice["message"]["content"] = text + "\ud83d"
        elif kind == "empty":
            made["choices"] = []
        raw = json.dumps(made)
        if kind == "html":
            return web.Response(text="<html>a proxy says hello</html>", content_type="text/html")
        if kind == "garbled":
            return web.Response(text=raw[: len(raw) // 2], content_type="application/json")
        if kind in ("truncated", "trickle"):
            return await _slowly(request, raw.encode(), whole=kind == "trickle")
        return web.Response(text=raw, content_type="application/json")

    def _unsupported(self, body: dict[str, Any]) -> web.Response | None:
        asked = body.get("response_format", {}).get("type")
        if asked and asked not in self.supports:
            return _error(
                400,
                {
                    "message": f"response_format {asked} is not supported",
                    "param": "response_format",
                },
            )
        wrong = (
            {"max_tokens", "max_completion_tokens"} - {self.tokens_field}
            if self.tokens_field
            else set()
        )
        for name in wrong & body.keys():
            return _error(
                400,
                {
                    "message": f"use {self.tokens_field}",
                    "param": name,
                    "code": "unsupported_parameter",
                },
            )
        return None

    async def upload(self, request: web.Request) -> web.Response:
        form = await request.post()
        name = f"file-{len(self.files)}"
        self.files[name] = form["file"].file.read().decode()
        return web.json_response(
            {
                "id": name,
                "object": "file",
                "bytes": 1,
                "created_at": 0,
                "filename": "f",
                "purpose": "batch",
                "status": "processed",
            }
        )

    async def download(self, request: web.Request) -> web.Response:
        return web.Response(
            body=self.files[request.match_info["id"]].encode(),
            content_type="application/octet-stream",
        )

    async def create_batch(self, request: web.Request) -> web.Response:
        asked = await request.json()
        name = f"batch_{len(self.batches)}"
        self.batches[name] = {
            "id": name,
            "object": "batch",
            "endpoint": asked["endpoint"],
            "input_file_id": asked["input_file_id"],
            "completion_window": "24h",
            "status": "validating",
            "created_at": 0,
            "metadata": asked.get("metadata"),
            "polls": 0,
        }
        return web.json_response(self.batches[name])

    async def list_batches(self, request: web.Request) -> web.Response:
        found = list(reversed(self.batches.values()))
        return web.json_response(
            {"object": "list", "data": found, "has_more": False, "first_id": None, "last_id": None}
        )

    async def get_batch(self, request: web.Request) -> web.Response:
        batch = self.batches[request.match_info["id"]]
        batch["polls"] += 1
        if batch["status"] in ("validating", "in_progress"):
            batch["status"] = "in_progress"
            if batch["polls"] > self.batch_polls:
                self._complete(batch)
        return web.json_response(batch)

    def _complete(self, batch: dict[str, Any]) -> None:
        """Answer a batch; the fault of a line decides: `expired` for the batch, a status for the
        line."""
        good, bad = [], []
        for line in self.files[batch["input_file_id"]].splitlines():
            one = json.loads(line)
            self.calls += 1
            self.bodies.append(one["body"])
            self.asked[one["body"]["messages"][-1]["content"]] += 1
            kind = self.fault(self.calls, one["body"])
            made = completion(one["body"], self.answer(one["body"]), self.model, self.calls)
            if kind == "expired":
                bad.append(
                    {
                        "custom_id": one["custom_id"],
                        "response": None,
                        "error": {"code": "batch_expired", "message": "late"},
                    }
                )
            elif kind:
                bad.append(
                    {
                        "custom_id": one["custom_id"],
                        "response": {"status_code": int(kind), "body": {}},
                        "error": None,
                    }
                )
            else:
                good.append(
                    {
                        "custom_id": one["custom_id"],
                        "response": {"status_code": 200, "body": made},
                        "error": None,
                    }
                )
        for name, lines in (("output", reversed(good)), ("error", bad)):
            text = "".join(json.dumps(line) + "\n" for line in lines)
            if text:
                batch[f"{name}_file_id"] = f"file-{name}-{batch['id']}"
                self.files[batch[f"{name}_file_id"]] = text
        batch["status"] = "completed"


def completion(body: dict[str, Any], text: str, model: str, number: int) -> dict[str, Any]:
    prompt = sum(len(message["content"]) // 4 + 4 for message in body["messages"])
    made = len(text) // 4 + 1
    return {
        "id": f"chatcmpl-{number}",
        "object": "chat.completion",
        "created": 0,
        "model": model,
        "system_fingerprint": "fp_test",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        ],
        "usage": {
            "prompt_tokens": prompt,
            "completion_tokens": made,
            "total_tokens": prompt + made,
            "prompt_tokens_details": {"cached_tokens": 2},
            "completion_tokens_details": {"reasoning_tokens": 1},
        },
    }


def _error(status: int, fault: dict[str, Any]) -> web.Response:
    error = {name: fault.get(name) for name in ("message", "type", "param", "code")}
    error["message"] = error["message"] or f"status {status}"
    after = fault.get("retry_after")
    return web.json_response(
        {"error": error},
        status=status,
        headers={} if after is None else {"Retry-After": str(after)},
    )


async def _slowly(request: web.Request, raw: bytes, whole: bool) -> web.StreamResponse:
    response = web.StreamResponse(
        headers={"Content-Type": "application/json", "Content-Length": str(len(raw))}
    )
    await response.prepare(request)
    if not whole:
        await response.write(raw[: len(raw) // 2])
        request.transport.close()
        return response
    for index in range(len(raw)):
        await response.write(raw[index : index + 1])
        await asyncio.sleep(0.05)
    return response


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--latency", type=float, default=0.2)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--log")
    parser.add_argument("--share-429", type=float, default=0.0)
    parser.add_argument("--retry-after", type=float)
    arguments = parser.parse_args()
    chance = random.Random(0)

    def fault(number: int, body: dict[str, Any]) -> Any:
        share = arguments.share_429
        return (
            {"kind": "429", "retry_after": arguments.retry_after}
            if share and chance.random() < share
            else None
        )

    server = FakeLLM(fault=fault, latency=arguments.latency, log=arguments.log, keep_bodies=False)

    def ready() -> None:
        print(server.url, flush=True)

    try:
        asyncio.run(server.serve(ready, arguments.port))
    except KeyboardInterrupt:
        sys.exit(0)


if __name__ == "__main__":
    main()
