"""Speed of the LLM layer against a bare pool of the same client, in one run: `make bench-llm`.

    wall and CPU     2,000 requests of 200 ms, 64 in flight, against AsyncOpenAI over aiohttp in a
    plain semaphore, without a store again            the same 2,000: nothing sent, answered from
    the store 429s             5 % of calls answered 429 with Retry-After 1 s, against the
    undisturbed run memory           peak of the client process, and with 50,000 requests queued a
    large store    2,000 hits among 1,000,000 responses

Each measurement is a process of its own against one server process; those that are compared run in
turn, and the best of each counts, since other work on the machine only adds. Exit code 1 when a
limit is missed. Not a test: it needs some two minutes and a quiet machine.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
SERVER = HERE.parent / "tests" / "harness" / "fake_llm_server.py"
N, IN_FLIGHT, LATENCY = 2_000, 64, 0.2
NOTE = (
    "Daughter reports that he repeats questions within minutes and has lost his way twice on the "
    "road to the church. " * 12
)
SCHEMA = {
    "title": "answer",
    "type": "object",
    "properties": {"n": {"type": "integer"}},
    "required": ["n"],
    "additionalProperties": False,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--child", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(globals()[arguments.child[0]](*arguments.child[1:])))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        rows = [
            *speed(Path(folder), arguments.repeats),
            *memory(Path(folder)),
            *large_store(Path(folder)),
        ]
    width = max(len(name) for name, *_ in rows)
    missed = [name for name, value, limit, _ in rows if limit is not None and value > limit]
    print(f"{'measure':{width}}  {'value':>8}  {'limit':>7}")
    for name, value, limit, unit in rows:
        mark = "" if limit is None else " ok" if value <= limit else " MISSED"
        print(
            f"{name:{width}}  {value:8.3f}  {'' if limit is None else f'{limit:g}':>7} {unit}{mark}"
        )
    return 1 if missed else 0


def speed(folder: Path, repeats: int) -> Iterator[tuple[str, float, float | None, str]]:
    """Yield wall, CPU and repetition figures."""
    names = ("bare", "ours", "again", "disturbed")
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for repeat in range(repeats):
        store = str(folder / f"store{repeat}")
        with server("--latency", str(LATENCY)) as url:
            runs["bare"].append(child("bare", url))
            runs["ours"].append(child("ours", url, store, str(N)))
            runs["again"].append(child("ours", url, store, str(N)))
        with server("--latency", str(LATENCY), "--share-429", "0.05", "--retry-after", "1") as url:
            runs["disturbed"].append(child("ours", url, str(folder / f"disturbed{repeat}"), str(N)))
    wall = {name: min(run["wall"] for run in runs[name]) for name in names}
    cpu = {name: min(run["cpu"] for run in runs[name]) for name in names}
    yield "bare pool, 2,000 requests of 200 ms, 64 in flight", wall["bare"], None, "s"
    yield "ours, with store, claims, parsing", wall["ours"], None, "s"
    yield "wall, x bare pool", wall["ours"] / wall["bare"], 1.05, "x"
    yield "CPU, x bare pool", cpu["ours"] / cpu["bare"], 1.3, "x"
    yield (
        "5 % of 429 with Retry-After 1 s, x undisturbed",
        wall["disturbed"] / wall["ours"],
        1.35,
        "x",
    )
    yield "again: calls", float(sum(run["sent"] for run in runs["again"])), 0.0, ""
    yield "again: wall after imports", wall["again"], 0.3, "s"
    yield "peak memory before torch", max(run["rss"] for run in runs["ours"]), 200.0, "MB"


def memory(folder: Path) -> Iterator[tuple[str, float, float | None, str]]:
    """Yield the peak memory with 50,000 requests queued; the run is interrupted after 20 s."""
    with server("--latency", "0.01") as url:
        yield (
            "peak memory, 50,000 requests queued",
            child("queued", url, str(folder / "queued"), "50000")["rss"],
            400.0,
            "MB",
        )


def large_store(folder: Path) -> Iterator[tuple[str, float, float | None, str]]:
    """Yield the time for 2,000 hits in a store with 1,000,000 responses."""
    yield (
        "2,000 hits among 1,000,000 responses",
        child("hits", str(folder / "large"))["wall"],
        1.0,
        "s",
    )


def bare(url: str) -> dict[str, float]:
    """The pool that one writes without this package: a semaphore over AsyncOpenAI, same transport,
    same bodies, no store."""
    import asyncio

    import openai

    async def run() -> list[str]:
        slots = asyncio.Semaphore(IN_FLIGHT)
        client = openai.AsyncOpenAI(
            base_url=url, api_key="none", http_client=openai.DefaultAioHttpClient()
        )

        async def one(number: int) -> str:
            async with slots:
                completion = await client.chat.completions.create(
                    model="fake-1",
                    messages=messages(number),
                    max_tokens=50,
                    response_format={
                        "type": "json_schema",
                        "json_schema": {"name": "answer", "schema": SCHEMA, "strict": True},
                    },
                )
                return json.loads(completion.choices[0].message.content)["n"]

        async with client:
            return await asyncio.gather(*(one(number) for number in range(N)))

    return measured(lambda: asyncio.run(run()))


def ours(url: str, folder: str, n: str) -> dict[str, float]:
    """`ask`, as the pipeline calls it."""
    import openai  # noqa: F401 - imports are not what is measured
    import pandas

    pandas.DataFrame({"a": ["b"]})  # imports the rest of pandas

    from touchstone.llm.answers import loads
    from touchstone.llm.ask import ask

    asked, llm = requests(int(n)), config(url)
    return measured(
        lambda: ask(asked, lambda request, text: loads(text)[0]["n"], llm, folder=folder)
    )


def queued(url: str, folder: str, n: str) -> dict[str, float]:
    """As `ours` with many requests, interrupted after some seconds: what counts is the memory."""
    import os
    import signal
    import threading

    threading.Timer(20, os.kill, (os.getpid(), signal.SIGINT)).start()
    try:
        return ours(url, folder, n)
    except KeyboardInterrupt:
        return {"rss": peak_mb()}


def hits(folder: str) -> dict[str, float]:
    """Fill a store with 1,000,000 responses, then answer 2,000 requests from it."""
    import sqlite3

    import pandas  # noqa: F401

    from touchstone.llm.answers import loads
    from touchstone.llm.ask import ask
    from touchstone.llm.store import Store, pack

    llm, asked = config("http://127.0.0.1:9/v1"), requests(N)
    with Store(folder) as store:
        path = store.path
    packed = pack(asked[0])
    chosen = [request.key(llm.endpoint, llm.model) for request in asked]

    def rows() -> Iterator[tuple[Any, ...]]:
        import hashlib

        for number in range(1_000_000):
            key = (
                chosen[number // 500]
                if number % 500 == 0
                else hashlib.sha256(str(number).encode()).hexdigest()
            )
            yield (
                bytes.fromhex(key),
                '{"n": 1}',
                "stop",
                "fake-1",
                "{}",
                "",
                0.2,
                1,
                "",
                llm.endpoint,
                llm.model,
                "bench",
                0,
                packed,
            )

    with sqlite3.connect(path) as db:
        db.executemany("INSERT INTO responses VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?)", rows())
    result = measured(
        lambda: ask(asked, lambda request, text: loads(text)[0]["n"], llm, folder=folder)
    )
    assert result["sent"] == 0
    return result


def messages(number: int) -> list[dict[str, str]]:
    return [
        {"role": "system", "content": "You label sentences of clinical notes."},
        {"role": "user", "content": f"{NOTE}\n{number}"},
    ]


def requests(n: int) -> list[Any]:
    from touchstone.llm.protocol import Request

    return [
        Request(tuple(messages(number)), SCHEMA, {"max_tokens": 50}, stage="bench")
        for number in range(n)
    ]


def config(url: str) -> Any:
    from touchstone.schema import LLMConfig

    settings = {
        "endpoint": url,
        "location": "local",
        "workers": IN_FLIGHT,
        "structured": "json_schema",
        "max_tokens": 50,
    }
    return LLMConfig(name="bench", backend="openai", model="fake-1", **settings)


def measured(work: Any) -> dict[str, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    done = work()
    return {
        "wall": time.perf_counter() - wall,
        "cpu": time.process_time() - cpu,
        "rss": peak_mb(),
        "sent": getattr(getattr(done, "usage", None), "sent", 0),
    }


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def child(name: str, *arguments: str) -> dict[str, float]:
    """Run a measurement in a fresh process."""
    done = subprocess.run(
        [sys.executable, __file__, "--child", name, *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stderr}")
    return json.loads(done.stdout.strip().splitlines()[-1])


@contextmanager
def server(*arguments: str) -> Iterator[str]:
    process = subprocess.Popen(
        [sys.executable, str(SERVER), *arguments], stdout=subprocess.PIPE, text=True
    )
    try:
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    sys.exit(main())
