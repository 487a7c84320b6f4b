"""Requests that are wrong in every way there is: the message, the status, and a server that goes on."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import numpy as np
from serving_client import PROTOCOLS, Arrays, client, infer
from triton_server import Server

IDS = np.full((1, 8), 2000, np.int64)
GOOD: Arrays = {"input_ids": IDS, "attention_mask": np.ones_like(IDS)}


def encoder(**changes: Any) -> Arrays:
    """The inputs of a good request to the encoder but for ``changes``; None leaves one out."""
    return {name: array for name, array in {**GOOD, **changes}.items() if array is not None}


X = np.ones((1, 4), np.float32)
ROWS = np.ones((5, 3), np.float32)
TOKENS = np.ones((1, 4), np.int64)
# Model, inputs, options, and what the message has. The server itself refuses what config.pbtxt excludes.
REQUESTS: dict[str, tuple[str, Arrays, dict[str, Any], str]] = {
    "a size out of range": (
        "encoder",
        encoder(input_ids=np.ones((1, 513), np.int64), attention_mask=np.ones((1, 513), np.int64)),
        {},
        "encoder: input 'input_ids' dimension 1 is 513, allowed range is 1..512 (symbol 'sequence')",
    ),
    "sizes that differ": (
        "encoder",
        encoder(attention_mask=np.ones((1, 9), np.int64)),
        {},
        "encoder: input 'attention_mask' dimension 1 is 9, expected 8 to agree with the dimensions before it",
    ),
    "an index out of bounds": (
        "encoder",
        encoder(input_ids=np.full((1, 8), 10**6, np.int64)),
        {},
        "encoder: an index is outside 0 <= index < 30522",
    ),
    "sizes that do not fit": (
        "related_sizes",
        {"args_0": ROWS, "args_1": np.ones((9, 3), np.float32), "args_2": np.ones((4, 6), np.float32)},
        {},
        "related_sizes: the inputs' sizes do not fit: the model needs ",
    ),
    "a number that the model refuses": (
        "unbacked_sizes",
        {"args_0": ROWS, "args_1": np.asarray([77], np.int64)},
        {},
        "unbacked_sizes: ",
    ),
    "a method that is not there": (
        "generator",
        {"tokens": TOKENS},
        {"sequence_id": 900, "sequence_start": True, "parameters": {"method": "encode"}},
        'generator: the request\'s parameter "method" is "encode", the model has prefill, decode',
    ),
    "inputs of two methods": (
        "generator",
        {"tokens": TOKENS, "token": TOKENS[:, :1]},
        {"sequence_id": 901, "sequence_start": True},
        "generator: no method has the request's inputs, ",
    ),
    "an input of another method": (
        "generator",
        {"token": TOKENS[:, :1]},
        {"sequence_id": 902, "sequence_start": True, "parameters": {"method": "prefill"}},
        "generator: prefill needs the input 'tokens', the request has token",
    ),
    "methods with the same inputs": (
        "recorder",
        {"x": X},
        {"sequence_id": 903, "sequence_start": True},
        'recorder: the methods begin and append have the same inputs; name one as the request\'s parameter "method"',
    ),
    "no sequence": ("kv_cache", {"x": X}, {}, "must specify a non-zero or non-empty correlation ID"),
    "a sequence without its start": (
        "kv_cache",
        {"x": X},
        {"sequence_id": 904},
        "must specify the START flag on the first request of the sequence",
    ),
    "another type": ("encoder", encoder(input_ids=IDS.astype(np.int32)), {}, "data-type is 'INT32'"),
    "another rank": ("encoder", encoder(input_ids=IDS[0]), {}, "input_ids"),
    "an input too few": ("encoder", encoder(attention_mask=None), {}, "expected 2 inputs but got 1 inputs"),
    "an input too many": ("encoder", encoder(more=IDS), {}, "more"),
    "too many rows": (
        "encoder",
        {name: np.repeat(array, 65, 0) for name, array in GOOD.items()},
        {},
        "batch-size must be <= 64",
    ),
    "no rows": ("encoder", {name: array[:0] for name, array in GOOD.items()}, {}, ""),
    "an unknown model": ("decoder", GOOD, {}, "decoder"),
    "an unknown version": ("encoder", GOOD, {"model_version": "9"}, "9"),
}


def check_bad_requests(server: Server) -> str:
    for protocol in PROTOCOLS:
        connection = client(server, protocol)
        for name, (model, inputs, options, text) in REQUESTS.items():
            message = refusal(lambda: infer(connection, protocol, model, inputs, **options))  # noqa: B023
            assert message, f"{name} by {protocol}: the request was answered"
            assert text in message, f"{name} by {protocol}: {message}"
            assert server.is_alive, f"{name} by {protocol}: the server is gone"
    raw = check_raw_requests(server)
    check_neighbours(server)
    return f"{len(REQUESTS)} kinds by HTTP and gRPC, {raw} of bytes, and one among good ones that are joined"


def refusal(request: Callable[[], object]) -> str:
    try:
        request()
    except Exception as error:  # the clients have one for each protocol, and own ones before they send
        return str(error)
    return ""


def check_raw_requests(server: Server) -> int:
    """What no client library sends: no JSON, sizes that are no numbers, too few bytes, too many."""
    url = f"http://127.0.0.1:{server.http}/v2/models/encoder/infer"
    tensor = {"name": "input_ids", "datatype": "INT64", "shape": [1, 2], "data": [5, 6]}
    mask = {**tensor, "name": "attention_mask", "data": [1, 1]}
    header = json.dumps(
        {
            "inputs": [
                {**tensor, "data": None, "parameters": {"binary_data_size": 16}},
                {**mask, "data": None, "parameters": {"binary_data_size": 16}},
            ]
        }
    ).encode()
    bodies: list[tuple[bytes, dict[str, str]]] = [
        (b"{", {}),
        (b"", {}),
        (json.dumps({"inputs": "x"}).encode(), {}),
        (json.dumps({"inputs": [{**tensor, "shape": ["a"]}, mask]}).encode(), {}),
        (json.dumps({"inputs": [{**tensor, "shape": [1, -2]}, mask]}).encode(), {}),
        (json.dumps({"inputs": [{**tensor, "data": [5]}, mask]}).encode(), {}),
        (json.dumps({"inputs": [{**tensor, "data": ["five", 6]}, mask]}).encode(), {}),
        (header.replace(b'"data": null, ', b"") + b"\1" * 17, {"Inference-Header-Content-Length": str(len(header))}),
    ]
    for body, headers in bodies:
        request = urllib.request.Request(url, body, headers)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                raise AssertionError(f"{body[:60]!r} was answered: {answer.read()[:200]!r}")
        except urllib.error.HTTPError as error:
            code, message = error.code, error.read()
        assert 400 <= code < 600 and b"error" in message
    assert server.is_alive
    return len(bodies)


def check_neighbours(server: Server, count: int = 48) -> None:
    """Of requests that come together one is wrong: it alone is refused, also where it was joined with others."""
    good = infer(client(server, "grpc"), "grpc", "encoder", GOOD)["output"]
    results: list[Any] = [None] * count
    begin = threading.Barrier(count)

    def run(number: int) -> None:
        connection = client(server, "grpc")
        inputs = encoder(input_ids=np.full((1, 8), 10**6, np.int64)) if number == 7 else GOOD
        begin.wait()
        try:
            results[number] = infer(connection, "grpc", "encoder", inputs)["output"]
        except Exception as error:
            results[number] = error

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, result in enumerate(results):
        if number == 7:
            assert "an index is outside" in str(result), result
        else:
            assert isinstance(result, np.ndarray), f"a good request was refused: {result}"
            assert np.abs(result - good).max() <= 1e-5
