"""What `make serve-test` runs: built models behind the real Triton Inference Server, over HTTP and gRPC."""

from __future__ import annotations

import argparse
import shutil
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from bad_requests import check_bad_requests
from serving_client import PROTOCOLS, Arrays, cases, client, infer
from streams import check_cancellation, check_streams
from triton_server import FOLDER, Server

BUILD = FOLDER / "models"
REPOSITORY = BUILD / "triton/models"
BACKENDS = BUILD / "triton/backends"
# Those of one call each, and those whose cases are a sequence.
MODELS = (
    *("encoder", "transformer", "two_dynamic", "structured", "strided_inputs", "bfloat16", "float16", "related_sizes"),
    *("unbacked_sizes", "constant_outputs", "conv2d", "views", "written_inputs"),
)
STATEFUL = ("kv_cache", "recorder", "generator")


def check_golden(server: Server, models: tuple[str, ...] = MODELS + STATEFUL) -> str:
    """Every golden case of every model by both protocols."""
    count = 0
    for protocol in PROTOCOLS:
        connection = client(server, protocol)
        for model in models:
            options: dict[str, Any] = {}
            recorded = cases(BUILD, model)
            sessions = [case for case in recorded if case.name.startswith("session")]
            for number, case in enumerate(recorded, 1):
                if model in STATEFUL:
                    first, last = case not in sessions[1:], case not in sessions[:-1]
                    identifier = 1000 if case in sessions else number
                    options = {"sequence_id": identifier, "sequence_start": first, "sequence_end": last}
                    if model == "recorder" and case.inputs:  # two of its methods have the same inputs
                        in_session = "append" if not first and len(case.inputs["x"]) == 1 else "begin"
                        method = case.name.partition("/")[0] if "/" in case.name else in_session
                        options |= {"parameters": {"method": method}}
                problem = case.problem(infer(connection, protocol, model, case.inputs, **options))
                assert not problem, f"{model} by {protocol}: {problem}"
                count += 1
    return f"{count} golden cases of {len(models)} models over HTTP and gRPC"


def questions(connection: Any, model: str, count: int, length: int) -> list[tuple[Arrays, np.ndarray[Any, Any]]]:
    """Inputs of one row, and the answers to them when each is alone. No two answers are alike."""
    random = np.random.default_rng(0)
    found = []
    for _ in range(count):
        if model == "encoder":
            ids = random.integers(1000, 30000, (1, length))
            inputs: Arrays = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
        else:
            inputs = {"src": random.standard_normal((1, length, 32)).astype(np.float32)}
        (answer,) = infer(connection, "grpc", model, inputs).values()
        found.append((inputs, answer))
    flat = np.stack([answer.reshape(-1) for _, answer in found])
    for row in range(count - 1):
        assert np.abs(flat[row + 1 :] - flat[row]).max(1).min() > 1e-3, "two answers are alike: the test shows nothing"
    return found


@contextmanager
def clients(count: int, body: Callable[[int, threading.Event], None]) -> Iterator[list[str]]:
    """Threads that run ``body`` until the block ends; the list has what went wrong in them."""
    stops = threading.Event()
    problems: list[str] = []

    def run(number: int) -> None:
        try:
            body(number, stops)
        except Exception as error:  # whatever it is, it is what the test reports
            problems.append(f"client {number}: {type(error).__name__}: {error}")

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield problems
    finally:
        stops.set()
        for thread in threads:
            thread.join()


def check_clients(server: Server, seconds: float, count: int = 64) -> str:
    """Many clients at a time: every answer is the one to its question."""
    model = "encoder"
    asked = questions(client(server, "grpc"), model, 128, 16)
    names = ("aotbuild_calls_total", "aotbuild_batch_size_sum")
    before = server.metrics(names, model)
    latencies: list[list[float]] = [[] for _ in range(count)]

    def body(number: int, stops: threading.Event) -> None:
        protocol = PROTOCOLS[number % 2]
        connection = client(server, protocol)
        turn = number
        while not stops.is_set():
            inputs, expected = asked[turn % len(asked)]
            begin = time.perf_counter()
            (answer,) = infer(connection, protocol, model, inputs, request_id=str(turn)).values()
            latencies[number].append(time.perf_counter() - begin)
            if answer.shape != expected.shape or np.abs(answer - expected).max() > 1e-5:
                raise AssertionError(f"question {turn}: the answer is another one")
            turn += count + 1

    with clients(count, body) as problems:
        time.sleep(seconds)
    assert not problems, "\n".join(problems)
    calls, rows = (after - first for after, first in zip(server.metrics(names, model), before, strict=True))
    all_latencies = np.sort(np.concatenate([np.asarray(one) for one in latencies]))
    assert all(latencies), "a client got no answer"
    # None is lost: as many rows were computed as answers came.
    assert rows == len(all_latencies), f"{rows} rows were computed for {len(all_latencies)} answers"
    assert rows > 2 * calls, f"{rows} rows in {calls} calls: requests were not joined"
    p50, p99 = (float(np.quantile(all_latencies, q)) * 1e3 for q in (0.5, 0.99))
    return (
        f"{len(all_latencies)} answers to {count} clients in {seconds:g} s, each checked: {rows / calls:.1f} rows "
        f"a call, p50 {p50:.0f} ms, p99 {p99:.0f} ms"
    )


def check_restart(server: Server) -> str:
    """Killed under load: clients see errors and no wrong answers; the server that starts again is as before."""
    asked = questions(client(server, "grpc"), "transformer", 16, 9)
    answered = 0
    refused = threading.Semaphore(0)

    def body(number: int, stops: threading.Event) -> None:
        nonlocal answered
        connection = client(server, "grpc")
        turn = number
        while not stops.is_set():
            inputs, expected = asked[turn % len(asked)]
            turn += 1
            try:
                (answer,) = infer(connection, "grpc", "transformer", inputs).values()
            except Exception:
                refused.release()
                return
            assert np.abs(answer - expected).max() <= 1e-5
            answered += 1

    with clients(8, body) as problems:
        time.sleep(1)
        server.kill()
        for _ in range(8):
            assert refused.acquire(timeout=60), "a client did not see that the server is gone"
    assert not problems and answered > 0, "\n".join(problems)
    server.start()
    return f"killed after {answered} answers and started again; then {check_golden(server, ('encoder', 'transformer'))}"


def check_swap(seconds: float) -> str:
    """New weights for a model under load, three times: a version folder, and files in the place of others."""
    repository = FOLDER / "swapped"
    shutil.rmtree(repository, ignore_errors=True)
    shutil.copytree(REPOSITORY / "transformer", repository / "transformer")
    folder = repository / "transformer"
    weights = folder / "1/transformer.safetensors"
    arguments = ("--model-control-mode=explicit", "--load-model=transformer")
    with Server(repository, BACKENDS, *arguments) as server:
        connection = client(server, "grpc")
        asked = questions(connection, "transformer", 8, 9)
        answers: list[list[np.ndarray[Any, Any]]] = [[answer for _, answer in asked]]
        seen = [0] * 5
        lock = threading.Lock()

        def body(number: int, stops: threading.Event) -> None:
            protocol = PROTOCOLS[number % 2]
            own = client(server, protocol)
            turn = number
            while not stops.is_set():
                index = turn % len(asked)
                turn += 1
                (answer,) = infer(own, protocol, "transformer", asked[index][0]).values()
                with lock:
                    pending.append((index, answer))

        pending: list[tuple[int, np.ndarray[Any, Any]]] = []
        with clients(16, body) as problems:
            for step in range(1, 5):
                time.sleep(seconds)
                swap(folder, weights, step)
                connection.load_model("transformer")
                answers.append([infer(connection, "grpc", "transformer", inputs)["output"] for inputs, _ in asked])
            time.sleep(seconds)
        assert not problems, "\n".join(problems)
        for index, answer in pending:
            versions = [v for v, known in enumerate(answers) if np.abs(known[index] - answer).max() <= 1e-5]
            assert versions, "an answer is that of no version"
            seen[versions[0]] += 1
    # The library in the place of the first one has the first weights.
    assert np.abs(answers[4][0] - answers[0][0]).max() > 1e-3
    for known in (1, 2, 3):
        assert np.abs(answers[known][0] - answers[known - 1][0]).max() > 1e-3, "the weights of a version are not used"
    assert all(seen[:4]), f"answers of each version: {seen}"
    return f"{len(pending)} answers while weights were swapped 4 times, each of one version: {seen}"


def swap(folder: Path, weights: Path, step: int) -> None:
    """The next weights: a folder of version 2, 3 with them alone; then a file for another one; then a library too."""
    data = scaled(weights, 1 + step / 8)
    if step <= 2:
        target = folder / str(step + 1) / weights.name
        target.parent.mkdir()
    else:
        target = folder / "3" / weights.name
    if step == 4:
        for file in weights.parent.iterdir():
            if file.suffix != ".safetensors":
                place(file.read_bytes(), target.parent / file.name)
    place(data, target)


def place(data: bytes, target: Path) -> None:
    temporary = target.with_suffix(".new")
    temporary.write_bytes(data)
    temporary.chmod(0o755)
    temporary.replace(target)


def scaled(weights: Path, factor: float) -> bytes:
    """The file with other matrices."""
    from safetensors.numpy import load_file, save

    tensors = load_file(weights)
    return bytes(save({name: array * factor if array.ndim > 1 else array for name, array in tensors.items()}))


def check_unload(rounds: int = 12) -> str:
    """Loading and unloading a model leaves no memory, no thread and no open file behind."""
    with Server(REPOSITORY, BACKENDS, "--model-control-mode=explicit", "--load-model=bfloat16") as server:
        connection = client(server, "grpc")
        sizes: list[int] = []
        threads: list[int] = []
        for _ in range(rounds):
            for model in ("encoder", "kv_cache", "writer"):
                connection.load_model(model)
            check_golden(server, ("encoder", "kv_cache"))
            for model in ("encoder", "kv_cache", "writer"):
                connection.unload_model(model)
            end = time.monotonic() + 30
            while any(model["state"] == "READY" for model in index(connection) if model["name"] != "bfloat16"):
                assert time.monotonic() < end, "a model is not unloaded"
                time.sleep(0.05)
            while threads and server.threads() > threads[0] and time.monotonic() < end:
                time.sleep(0.05)  # threads end after their model does
            sizes.append(server.memory())
            threads.append(server.threads())
    growth = (sizes[-1] - sizes[rounds // 2]) / 2**20
    assert growth < 16, f"{rounds - rounds // 2} more loads and unloads took {growth:.1f} MiB: {sizes}"
    assert threads[-1] <= threads[0], f"threads after each unload: {threads}"
    return f"{rounds} loads and unloads of 3 models: {growth:+.1f} MiB in the last half, {threads[-1]} threads"


def index(connection: Any) -> list[dict[str, str]]:
    answer = connection.get_model_repository_index(as_json=True)
    return [{"state": "", **model} for model in answer["models"]]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="of the 64 clients")
    parser.add_argument("--only", help="the one check of this name")
    args = parser.parse_args()
    failed = []

    def run(name: str, check: Callable[[], str]) -> None:
        if args.only not in (None, name):
            return
        begin = time.monotonic()
        try:
            result = check()
        except Exception:  # the others are still worth a look
            failed.append(name)
            result = f"FAILED: {traceback.format_exc()}"
        print(f"{name}: {result} ({time.monotonic() - begin:.0f} s)", flush=True)

    with Server(REPOSITORY, BACKENDS) as server:
        run("golden", lambda: check_golden(server))
        run("streams", lambda: check_streams(server))
        run("cancellation", lambda: check_cancellation(server))
        run("bad requests", lambda: check_bad_requests(server))
        run("clients", lambda: check_clients(server, args.seconds))
        run("golden again", lambda: check_golden(server))
        run("restart", lambda: check_restart(server))
    run("swap", lambda: check_swap(max(args.seconds / 30, 1)))
    run("unload", check_unload)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
