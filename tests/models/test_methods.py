"""METHODS: several functions of one library over one set of weights and one state; sessions with their own state."""

from __future__ import annotations

import gc
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import model_zoo
import pytest
import torch
from model_builds import assert_same
from safetensors.torch import load_file

Load = Callable[..., Any]


def eager() -> Any:
    module = model_zoo.recorder().module
    assert isinstance(module, torch.nn.Module)
    return module.eval()


def calls(count: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(1, 4, generator=generator) for _ in range(count)]


@torch.no_grad()
def test_methods_share_state(load: Load) -> None:
    library, module = load("recorder"), eager()
    prompt = torch.randn(5, 4)
    assert_same(library.begin(prompt), module.begin(prompt))
    for x in calls(6):
        assert_same(library.append(x), module.append(x))
        assert_same(library.read(), list(module.read().values()))
    assert_same(library.begin(prompt[:2]), module.begin(prompt[:2]))
    assert_same(library.read(), list(module.read().values()))


@torch.no_grad()
def test_sessions_have_state_of_their_own(load: Load) -> None:
    library = load("recorder")
    sessions = [library, library.new_session(), library.new_session()]
    modules = [eager() for _ in sessions]
    for turn, x in enumerate(calls(12)):
        number = turn * turn % 3
        assert_same(sessions[number].append(x), modules[number].append(x))
    late = library.new_session()  # begins anew, whatever the others did
    assert_same(late.read(), list(eager().read().values()))
    del library
    sessions[0] = None
    gc.collect()
    assert_same(sessions[1].read(), list(modules[1].read().values()))


def test_sessions_run_at_the_same_time(load: Load) -> None:
    library = load("recorder", num_threads=1)
    inputs = calls(16)
    with torch.no_grad():
        module = eager()
        expected = [module.append(x) for x in inputs]
    failures: list[Exception] = []

    def use() -> None:
        try:
            for _ in range(5):
                session = library.new_session()
                for x, want in zip(inputs, expected):
                    assert_same(session.append(x), want)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_loading_weights_changes_one_session_and_begins_its_state_anew(load: Load, zoo_build: Path) -> None:
    library = load("recorder")
    session = library.new_session()
    library.append(torch.ones(1, 4))
    state = {name: value + 1 for name, value in eager().state_dict().items()}
    library.load_weights(state)
    module = eager()
    with torch.no_grad():
        assert_same(session.append(torch.ones(1, 4)), module.append(torch.ones(1, 4)))
        module = eager()
        module.load_state_dict(state)
        assert_same(library.append(torch.ones(1, 4)), module.append(torch.ones(1, 4)))


def test_a_session_without_room_says_so_and_others_go_on(load: Load) -> None:
    library = load("recorder")
    for x in calls(16):
        library.append(x)
    with pytest.raises(Exception, match=r"recorder\.append: .*u0.* < 16|recorder\.append: .*u0 <= 15"):
        library.append(torch.ones(1, 4))
    library.new_session().append(torch.ones(1, 4))


def test_weights_are_stored_once_and_zeros_nowhere(zoo_build: Path) -> None:
    folder = zoo_build / "recorder.aotbuild"
    manifest = json.loads((folder / "recorder.manifest.json").read_text())
    assert [method["name"] for method in manifest["methods"]] == ["begin", "append", "read"]
    assert manifest["metadata"]["counters"]["exports"] == 3
    sizes = {"projection.weight": 128, "projection.bias": 32, "total": 32, "scale": 32}
    assert (folder / "recorder.weights.bin").stat().st_size <= sum(-(-size // 64) * 64 for size in sizes.values()) + 512
    in_file = load_file(zoo_build / "recorder_in_file.aotbuild" / "recorder_in_file.safetensors")
    assert {"projection.weight", "projection.bias", "total"} == set(in_file) - {"constant_scale"}
    assert (folder / "src" / "recorder.cpp").read_text().count("kLinear0Weights[]") == 1


def test_errors_name_the_method(load: Load) -> None:
    library = load("recorder")
    assert library.methods == ("begin", "append", "read")
    text = r"recorder.begin\(x: float32\[rows=1..8, 4\]\) -> float32\[8\]"
    assert repr(library.begin) == f"<aotbuild method {text.replace(chr(92), '')}>"
    with pytest.raises(TypeError, match=rf"recorder is called through its methods: {text}; recorder.append\("):
        library(torch.ones(1, 4))
    with pytest.raises(AttributeError, match=r"'recorder' has no attribute 'rewind'; its methods are: recorder.begin"):
        library.rewind(torch.ones(1, 4))
    with pytest.raises(TypeError, match=r"recorder.append\(\) misses the input 'x'"):
        library.append()
    with pytest.raises(Exception, match=r"recorder.begin: input 'x' dimension 0 is 9, allowed range is 1..8"):
        library.begin(torch.ones(9, 4))


@torch.no_grad()
def test_the_example_generates_the_tokens_of_eager_pytorch(load: Load) -> None:
    module: Any = model_zoo.generator().module
    library = load("generator", num_threads=1)

    def generate(model: Any, prompt: list[int], count: int) -> list[int]:
        logits = model.prefill(torch.tensor([prompt]))
        tokens = [int(logits.argmax())]
        while len(tokens) < count:
            logits = model.decode(torch.tensor([[tokens[-1]]]))
            tokens.append(int(logits.argmax()))
        return tokens

    for session, prompt in [(library, [1, 2, 3]), (library.new_session(), [5] * 40), (library, [9])]:
        expected = generate(module.eval(), prompt, 200)
        assert len(set(expected)) > 20
        assert generate(session, prompt, 200) == expected
    with pytest.raises(Exception, match=r"generator\.decode: "):
        generate(library, [1], 300)  # the cache has room for 256
