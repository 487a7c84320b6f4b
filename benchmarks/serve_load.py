"""Clients of Triton Inference Server for benchmarks/serve.py, in an environment of their own. Prints JSON.

serve_load.py <grpc port> throughput <model> <clients> <seconds> <length>
serve_load.py <grpc port> latency <model> <requests>
serve_load.py <grpc port> sessions <first> <last> <prompt length>
"""

from __future__ import annotations

import json
import sys
import threading
import time
from typing import Any

import numpy as np
import tritonclient.grpc as grpc
from tritonclient.utils import np_to_triton_dtype


def tensors(**arrays: np.ndarray[Any, Any]) -> list[Any]:
    made = []
    for name, array in arrays.items():
        tensor = grpc.InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
        tensor.set_data_from_numpy(array)
        made.append(tensor)
    return made


def throughput(port: str, model: str, clients: int, seconds: float, length: int) -> dict[str, Any]:
    """Answers in a second to clients that each wait for theirs, and the greatest difference from the first answer."""
    counts = [0] * clients
    begin = threading.Barrier(clients + 1)
    stops = threading.Event()

    def run(number: int) -> None:
        connection = grpc.InferenceServerClient(f"127.0.0.1:{port}")
        ids = np.random.default_rng(number).integers(1000, 30000, (1, length))
        inputs = tensors(input_ids=ids, attention_mask=np.ones_like(ids))
        connection.infer(model, inputs)
        begin.wait()
        while not stops.is_set():
            connection.infer(model, inputs)
            counts[number] += 1

    threads = [threading.Thread(target=run, args=(number,), daemon=True) for number in range(clients)]
    for thread in threads:
        thread.start()
    begin.wait()
    start = time.perf_counter()
    time.sleep(seconds)
    stops.set()
    for thread in threads:
        thread.join()
    return {"answers_per_second": sum(counts) / (time.perf_counter() - start)}


def answer(port: str, model: str, length: int) -> dict[str, Any]:
    """The answer to one question, for comparison."""
    ids = np.random.default_rng(0).integers(1000, 30000, (3, length))
    inputs = tensors(input_ids=ids, attention_mask=np.ones_like(ids))
    result = grpc.InferenceServerClient(f"127.0.0.1:{port}").infer(model, inputs)
    return {"values": result.as_numpy("output").reshape(-1).tolist()}


def latency(port: str, model: str, requests: int) -> dict[str, Any]:
    """Microseconds of a request, and of its parts in the server, by the server's own statistics."""
    connection = grpc.InferenceServerClient(f"127.0.0.1:{port}")
    inputs = tensors(input=np.ones((3, 8), np.float64))
    for _ in range(200):
        connection.infer(model, inputs)
    before = statistics(connection, model)
    seconds = []
    for _ in range(requests):
        start = time.perf_counter()
        connection.infer(model, inputs)
        seconds.append(time.perf_counter() - start)
    after = statistics(connection, model)
    parts = {name: (after[name] - before[name]) / requests / 1000 for name in after}
    return {"client": float(np.median(seconds)) * 1e6, **parts}


def statistics(connection: Any, model: str) -> dict[str, int]:
    (found,) = connection.get_inference_statistics(model, as_json=True)["model_stats"]
    return {name: int(value.get("ns", 0)) for name, value in found["inference_stats"].items() if name != "fail"}


def sessions(port: str, first: int, last: int, length: int) -> dict[str, Any]:
    """Begins sequences with a prompt and one token more each."""
    connection = grpc.InferenceServerClient(f"127.0.0.1:{port}")
    for number in range(first, last + 1):
        tokens = np.arange(1, length + 1, dtype=np.int64)[None]
        connection.infer("decoder", tensors(tokens=tokens), sequence_id=number, sequence_start=True)
        connection.infer("decoder", tensors(token=tokens[:, :1]), sequence_id=number)
    return {}


def main() -> None:
    port, what, *words = sys.argv[1:]
    if what == "throughput":
        result = throughput(port, words[0], int(words[1]), float(words[2]), int(words[3]))
    elif what == "answer":
        result = answer(port, words[0], int(words[1]))
    elif what == "latency":
        result = latency(port, words[0], int(words[1]))
    else:
        result = sessions(port, int(words[0]), int(words[1]), int(words[2]))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
