"""Streams of tokens: many at a time over one set of weights, and one that is cancelled."""

from __future__ import annotations

import queue
import threading
import time
import urllib.request
from typing import Any

import numpy as np
from serving_client import client, infer, tensors
from triton_server import Server

PROMPTS = [[1, 2, 3, 4], [5], [7, 8, 9], list(range(20, 60))]


class Stream:
    """One gRPC stream with requests to the model ``writer``, which is one sequence of tokens each."""

    def __init__(self, server: Server) -> None:
        self.connection = client(server, "grpc")
        self.answers: queue.Queue[tuple[Any, Any]] = queue.Queue()
        self.connection.start_stream(lambda result, error: self.answers.put((result, error)))

    def send(self, prompt: list[int], count: int, **options: Any) -> None:
        inputs = {"tokens": np.asarray([prompt], np.int64), "max_tokens": np.asarray([count], np.int64)}
        self.connection.async_stream_infer("writer", tensors("grpc", inputs), **options)

    def next(self) -> int:
        result, error = self.answers.get(timeout=60)
        if error is not None:
            raise RuntimeError(str(error))
        return int(result.as_numpy("token")[0])

    def tokens(self, prompt: list[int], count: int, **options: Any) -> list[int]:
        self.send(prompt, count, **options)
        return [self.next() for _ in range(count)]


def by_steps(server: Server, prompt: list[int], count: int) -> list[int]:
    """The same tokens by a sequence of requests to the methods."""
    connection = client(server, "http")
    options: dict[str, Any] = {"sequence_id": 77, "sequence_start": True}
    inputs = {"tokens": np.asarray([prompt], np.int64)}
    found: list[int] = []
    for step in range(count):
        answer = infer(connection, "http", "generator", inputs, **options, sequence_end=step == count - 1)
        found.append(int(answer["output"].argmax()))
        inputs = {"token": np.asarray([[found[-1]]], np.int64)}
        options = {"sequence_id": 77}
    return found


def check_streams(server: Server, users: int = 32, count: int = 40) -> str:
    """Users at a time get the tokens of a user alone, and each its first one before others have all of theirs."""
    expected = [by_steps(server, prompt, count) for prompt in PROMPTS]
    results: list[list[int]] = [[] for _ in range(users)]
    firsts, lasts = [0.0] * users, [0.0] * users
    begin = threading.Barrier(users)

    def run(user: int) -> None:
        stream = Stream(server)
        begin.wait()
        stream.send(PROMPTS[user % len(PROMPTS)], count)
        for step in range(count):
            results[user].append(stream.next())
            if step == 0:
                firsts[user] = time.perf_counter()
        lasts[user] = time.perf_counter()
        stream.connection.stop_stream()

    threads = [threading.Thread(target=run, args=(user,)) for user in range(users)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for user, tokens in enumerate(results):
        assert tokens == expected[user % len(PROMPTS)], f"user {user}: {tokens}, alone {expected[user % len(PROMPTS)]}"
    assert max(firsts) < min(lasts), "a user had all tokens before another one had the first"
    body = b'{"tokens":[1,2,3,4],"max_tokens":[5]}'
    request = urllib.request.Request(f"http://127.0.0.1:{server.http}/v2/models/writer/generate_stream", body)
    with urllib.request.urlopen(request, timeout=30) as answer:
        events = [line for line in answer.read().decode().split("\n") if line.startswith("data:")]
    sent = [int(event.partition('"token":')[2].rstrip("}")) for event in events]
    assert sent == expected[0][:5], f"server-sent events {events}, expected {expected[0][:5]}"
    return f"{users} users at a time, {count} tokens each, all as those of one user; {len(sent)} as server-sent events"


def check_cancellation(server: Server) -> str:
    """A stream that is cancelled, and one whose time is over, stop the generation and free the session."""
    (before,) = server.metrics(("aotbuild_tokens_total",), "writer")
    stream = Stream(server)
    for _ in range(40):
        stream.send(PROMPTS[0], 250)
    stream.next()
    stream.connection.stop_stream(cancel_requests=True)
    (counted,) = server.metrics(("aotbuild_tokens_total",), "writer")
    end = time.monotonic() + 30
    while True:
        time.sleep(0.2)
        (now,) = server.metrics(("aotbuild_tokens_total",), "writer")
        if now == counted:
            break
        counted = now
        assert time.monotonic() < end, "the generation goes on after it was cancelled"
    assert counted - before < 40 * 250, "all tokens were generated"
    timed = Stream(server)
    timed.send(PROMPTS[0], 250, timeout=2000)
    received = 0
    message = ""
    try:
        while received < 250:
            timed.next()
            received += 1
    except RuntimeError as error:
        message = str(error)
    timed.connection.stop_stream()
    assert f"writer: the request's timeout passed after {received} tokens" in message, message
    assert received < 250, "the request's timeout did not end it"
    return f"cancelled after {counted - before:.0f} of 10000 tokens; a timeout of 2 ms after {received}"
